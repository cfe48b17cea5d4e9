/** NATS messages as the Bus has them, and back. */
import type { Msg, MsgHdrs } from '@nats-io/transport-node'
import type { BusHeaders, BusMessage } from '#ports'

export function busMessage(message: Msg, headerBytesMax: number): BusMessage {
  let headers: Headers | null = null
  /** Throws if they are larger than they may be. */
  const read = () => (headers ??= readHeaders(message, headerBytesMax))
  const { subject, reply, data } = message
  return {
    subject,
    data,
    reply: reply === '' ? undefined : reply,
    nobody: isNobody(message),
    header: (name) => read().first.get(name.toLowerCase()),
    names: () => read().names,
  }
}

/** The server's own word that nobody listens: status 503, no payload. */
export function isNobody(message: Msg): boolean {
  if (message.data.length > 0) return false
  const bytes = headerBytes(message)
  return bytes.length > 0 && bytes.toString('latin1', 0, STATUS_503.length) === STATUS_503
}

const NO_BYTES = Buffer.alloc(0)
const NO_HEADERS: Headers = { first: new Map(), names: [] }
const STATUS_503 = 'NATS/1.0 503'

interface Headers {
  /** First value of each name, lower case. */
  first: ReadonlyMap<string, string>
  /** Each as often as it stands, lower case. */
  names: readonly string[]
}

/** The client's own reading takes quadratic time in the number of
 *  headers, and any tenant may send many; this one is linear. */
function readHeaders(message: Msg, bytesMax: number): Headers {
  const bytes = headerBytes(message)
  if (bytes.length === 0) return NO_HEADERS
  if (bytes.length > bytesMax) throw new RangeError(`headers of ${bytes.length} bytes`)
  const first = new Map<string, string>()
  const names: string[] = []
  for (const line of bytes.toString('utf8').split('\r\n').slice(1)) {
    const colon = line.indexOf(':')
    if (colon <= 0) continue
    const name = line.slice(0, colon).toLowerCase()
    names.push(name)
    if (!first.has(name)) first.set(name, line.slice(colon + 1).trim())
  }
  return { first, names }
}

/** The bytes before the payload, which is a window on the same read. */
function headerBytes(message: Msg): Buffer {
  const { subject, reply, data } = message
  const around = Buffer.byteLength(subject) + Buffer.byteLength(reply ?? '') + data.length
  // The class says its size; its published type forgets to.
  const length = (message as Msg & { size(): number }).size() - around
  return length === 0 ? NO_BYTES : Buffer.from(data.buffer, data.byteOffset - length, length)
}

/** Headers as the client sends them: it only asks for their bytes. Its own builder checks, sorts and copies
 *  every name and value, which costs more than the rest of a publish. The line has checked them. */
export function toNatsHeaders(pairs: BusHeaders): MsgHdrs {
  let text = 'NATS/1.0\r\n'
  for (const [name, value] of pairs) text += `${name}: ${value}\r\n`
  const bytes = Buffer.from(`${text}\r\n`)
  const encoded: Encoded = { encode: () => bytes }
  return encoded as unknown as MsgHdrs
}

interface Encoded {
  encode(): Uint8Array
}
/** A probe's word as one subject token, and back. */
export const token = (probe: string) =>
  /^[A-Za-z0-9_/-]+$/.test(probe) ? probe : `~${Buffer.from(probe).toString('base64url')}`
export const word = (token: string) =>
  token.startsWith('~') ? Buffer.from(token.slice(1), 'base64url').toString() : token
