/** Server-sent events, scanned as bytes. Follows the WHATWG grammar (HTML, section 9.2.6) where an
 *  upstream uses it: LF or CRLF, comments, several `data` lines joined by LF, any chunking. Not followed:
 *  a bare CR as line end, a byte order mark, `id` and `retry`, which mean nothing here.
 *  Bound: each byte is copied at most once, and only where a chunk boundary cuts its line. */

const LF = 10
const CR = 13
const COLON = 58
const SPACE = 32
const LOWER_D = 100
const LOWER_E = 101
const JOINT = Buffer.from('\n')

/** `name` is the `event` field, empty when the frame had none; `data` may alias the chunk it came in. */
export type OnSseEvent = (name: string, data: Buffer) => void

export class SseScanner {
  readonly #on: OnSseEvent
  readonly #eventBytesMax: number
  /** The pieces of a line whose end has not come yet. */
  #partial: Buffer[] = []
  #name = ''
  #data: Buffer | null = null
  /** `data` lines after the first; rare, so the common event makes no list. */
  #moreData: Buffer[] = []
  /** Bytes held for the event in the making. */
  #held = 0

  constructor(options: { on: OnSseEvent; eventBytesMax: number }) {
    this.#on = options.on
    this.#eventBytesMax = options.eventBytesMax
  }

  /** Takes the next bytes; false when one event outgrew the limit, after which nothing more may come. */
  push(chunk: Buffer): boolean {
    let start = 0
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
      if (this.#partial.length > 0) {
        this.#partial.push(chunk.subarray(start, end))
        const whole = Buffer.concat(this.#partial)
        this.#partial = []
        this.#line(whole, 0, whole.length)
      } else {
        this.#line(chunk, start, end)
      }
      if (this.#held > this.#eventBytesMax) return false
      start = end + 1
    }
    if (start < chunk.length) {
      this.#partial.push(chunk.subarray(start))
      this.#held += chunk.length - start
    }
    return this.#held <= this.#eventBytesMax
  }

  #line(bytes: Buffer, start: number, lineEnd: number): void {
    const end = lineEnd > start && bytes[lineEnd - 1] === CR ? lineEnd - 1 : lineEnd
    if (end === start) return this.#dispatch()
    const first = bytes[start]
    if (first === LOWER_D && isField(bytes, start, end, 'data')) {
      this.#take(bytes.subarray(valueStart(bytes, start + 4, end), end))
    } else if (first === LOWER_E && isField(bytes, start, end, 'event')) {
      this.#name = bytes.toString('latin1', valueStart(bytes, start + 5, end), end)
    }
    // Everything else is a comment or a field that means nothing here.
  }

  #take(value: Buffer): void {
    this.#held += value.length
    if (this.#data === null) this.#data = value
    else this.#moreData.push(JOINT, value)
  }

  #dispatch(): void {
    const name = this.#name
    const first = this.#data
    this.#name = ''
    this.#data = null
    this.#held = 0
    if (first === null) return
    if (this.#moreData.length === 0) return this.#on(name, first)
    const data = Buffer.concat([first, ...this.#moreData])
    this.#moreData = []
    this.#on(name, data)
  }
}

/** Whether the line's field is `name`: followed by a colon, or the whole line. */
function isField(bytes: Buffer, start: number, end: number, name: string): boolean {
  const after = start + name.length
  if (after > end || (after < end && bytes[after] !== COLON)) return false
  for (let i = 1; i < name.length; i += 1) {
    if (bytes[start + i] !== name.charCodeAt(i)) return false
  }
  return true
}

/** Where the value begins: after the colon and at most one space. */
function valueStart(bytes: Buffer, colon: number, end: number): number {
  if (colon >= end) return end
  return bytes[colon + 1] === SPACE && colon + 1 < end ? colon + 2 : colon + 1
}
