/** What an answer is, by what it says and not by its label: upstreams and what stands before them answer a
 *  streamed call with an object and an unstreamed one with a stream, and call either by any name or none. */

/** `other`: a page, a word, nothing that this API says. */
export type Form = 'json' | 'sse' | 'other'

/** By then the answer has said what it is. */
const HEAD_BYTES_MAX = 1_024
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf]
const FIELDS = ['data', 'event', 'id', 'retry']

/** Null: too little has come to tell. */
export function formOf(head: Buffer, of: { contentType: string; ended: boolean }): Form | null {
  const final = of.ended || head.length >= HEAD_BYTES_MAX
  const marked = markLength(head)
  if (marked > 0 && marked < BYTE_ORDER_MARK.length && !final) return null
  const text = head.toString('latin1', marked, HEAD_BYTES_MAX).trimStart()
  if (text === '' && !final) return null
  if (text.startsWith('{') || text.startsWith('[')) return 'json'
  if (text.startsWith('<')) return 'other'
  if (text.startsWith(':') || of.contentType.includes('event-stream')) return 'sse'
  const name = /^[a-z]*/.exec(text)?.[0] ?? ''
  if (name === text && !final && FIELDS.some((field) => field.startsWith(name))) return null
  if (FIELDS.includes(name) && /^[:\r\n]/.test(text.slice(name.length))) return 'sse'
  return of.contentType.includes('json') ? 'json' : 'other'
}

/** How many bytes of a byte order mark stand first. */
export function markLength(bytes: Buffer): number {
  const differs = BYTE_ORDER_MARK.findIndex((byte, index) => bytes[index] !== byte)
  if (differs === -1) return BYTE_ORDER_MARK.length
  return differs === bytes.length ? differs : 0
}
