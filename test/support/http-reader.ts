/** The answers on one HTTP/1.1 connection, read strictly (RFC 9112): whatever is no answer is an error, and
 *  bytes that belong to none are left over. */

export interface HttpReply {
  status: number
  /** Names in lower case; one that comes twice is an error. */
  headers: Record<string, string>
  body: Buffer
  trailers: Record<string, string>
}

/** `asked`: the methods, in order, since an answer to HEAD has no body. `ended`: no more bytes will come. */
export function readReplies(
  bytes: Buffer,
  asked: readonly string[],
  ended: boolean,
): { replies: HttpReply[]; rest: Buffer } {
  const replies: HttpReply[] = []
  let rest = bytes
  let answered = 0
  for (;;) {
    const method = asked[answered] ?? ''
    const read = readOne(rest, method, ended)
    if (read === null) return { replies, rest }
    replies.push(read.reply)
    // An interim one is not the answer.
    if (read.reply.status >= 200) answered++
    rest = read.rest
  }
}

function readOne(
  bytes: Buffer,
  method: string,
  ended: boolean,
): { reply: HttpReply; rest: Buffer } | null {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0) return null
  const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n')
  const status = Number(/^HTTP\/1\.1 (\d{3}) [\x20-\x7e]+$/.exec(first)?.[1] ?? NaN)
  if (Number.isNaN(status))
    throw new Error(`no status line: ${JSON.stringify(first.slice(0, 200))}`)
  const headers = fieldsOf(lines)
  const reply: HttpReply = { status, headers, body: Buffer.alloc(0), trailers: {} }
  const after = bytes.subarray(end + 4)
  if (status < 200 || method === 'HEAD') return { reply, rest: after }
  if (headers['transfer-encoding'] === 'chunked') return chunked(reply, after)
  const length = headers['content-length']
  if (length === undefined) {
    if (!ended) return null
    return { reply: { ...reply, body: after }, rest: Buffer.alloc(0) }
  }
  if (!/^\d+$/.test(length)) throw new Error(`content-length: ${length}`)
  if (after.length < Number(length)) return null
  return {
    reply: { ...reply, body: after.subarray(0, Number(length)) },
    rest: after.subarray(Number(length)),
  }
}

function chunked(reply: HttpReply, bytes: Buffer): { reply: HttpReply; rest: Buffer } | null {
  const parts: Buffer[] = []
  let at = 0
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd < 0) return null
    const size = bytes.toString('latin1', at, lineEnd)
    if (!/^[0-9a-f]+$/i.test(size))
      throw new Error(`a chunk of ${JSON.stringify(size.slice(0, 50))}`)
    const length = parseInt(size, 16)
    at = lineEnd + 2
    if (length === 0) break
    if (bytes.length < at + length + 2) return null
    if (bytes.toString('latin1', at + length, at + length + 2) !== '\r\n')
      throw new Error('a chunk that is longer than it says')
    parts.push(bytes.subarray(at, at + length))
    at += length + 2
  }
  const end = bytes.indexOf('\r\n', at) === at ? at : bytes.indexOf('\r\n\r\n', at)
  if (end < 0) return null
  const trailers = end === at ? {} : fieldsOf(bytes.toString('latin1', at, end).split('\r\n'))
  const rest = bytes.subarray(end === at ? at + 2 : end + 4)
  return { reply: { ...reply, body: Buffer.concat(parts), trailers }, rest }
}

function fieldsOf(lines: readonly string[]): Record<string, string> {
  const fields: Record<string, string> = {}
  for (const line of lines) {
    const [, name = '', value = ''] =
      /^([A-Za-z0-9-]+): ?([\t\x20-\x7e\x80-\xff]*)$/.exec(line) ?? []
    if (name === '') throw new Error(`no header: ${JSON.stringify(line.slice(0, 200))}`)
    if (Object.hasOwn(fields, name.toLowerCase())) throw new Error(`${name} came twice`)
    fields[name.toLowerCase()] = value
  }
  return fields
}
