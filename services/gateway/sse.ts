/** An upstream event as server-sent text. Its name is the `type` of its data, as the API has it; the data go
 *  on as they are. Pure. */

const OPEN = Buffer.from('{"type":"')
const QUOTE = 34
const LF = 10
const CR = 13
const END = Buffer.from('\n\n')
/** Names longer than any that the API has are read the slow way. */
const NAME_CHARS_MAX = 64
/** `event: <name>` and `data: `, by name; bounded, since a name is the upstream's. */
const PREFIXES_MAX = 64
const prefixes = new Map<string, Buffer>()

export const frameOf = (data: Uint8Array): Buffer => framed(nameOf(data), data)

export const pingFrame = Buffer.from('event: ping\ndata: {"type": "ping"}\n\n')

export const errorFrame = (body: Uint8Array | string): Buffer =>
  framed('error', typeof body === 'string' ? Buffer.from(body) : body)

function framed(name: string, data: Uint8Array): Buffer {
  const prefix = prefixOf(name)
  if (data.includes(LF) || data.includes(CR)) return Buffer.concat([prefix, linesOf(data), END])
  const frame = Buffer.allocUnsafe(prefix.length + data.length + END.length)
  frame.set(prefix, 0)
  frame.set(data, prefix.length)
  frame.set(END, prefix.length + data.length)
  return frame
}

function prefixOf(name: string): Buffer {
  const known = prefixes.get(name)
  if (known !== undefined) return known
  const made = Buffer.from(`event: ${name}\ndata: `)
  if (prefixes.size < PREFIXES_MAX) prefixes.set(name, made)
  return made
}

/** The type stands first in what the API sends; where it does not, the JSON is read. */
function nameOf(data: Uint8Array): string {
  if (OPEN.every((byte, i) => data[i] === byte)) {
    const end = data.indexOf(QUOTE, OPEN.length)
    if (end > 0 && end - OPEN.length <= NAME_CHARS_MAX) {
      const name = latin1(data.subarray(OPEN.length, end))
      if (NAME.test(name)) return name
    }
  }
  try {
    const { type } = JSON.parse(new TextDecoder().decode(data)) as { type?: unknown }
    return typeof type === 'string' && NAME.test(type) ? type : 'message'
  } catch {
    return 'message'
  }
}

const NAME = /^[A-Za-z0-9_.-]{1,64}$/

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')

/** A line break in the data, of the three that a reader takes for one, begins another `data` line. Byte by
 *  byte: what is no UTF-8 goes on as it is. */
const linesOf = (data: Uint8Array): Buffer =>
  Buffer.from(latin1(data).replaceAll(/\r\n|\r|\n/g, '\ndata: '), 'latin1')
