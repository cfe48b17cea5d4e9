/** Server-sent events, scanned as bytes by the grammar of the WHATWG (HTML, section 9.2.6): LF, CR or CRLF at
 *  the end of a line, a byte order mark before the first, comments, several `data` lines joined by LF, any
 *  chunking. `id` and `retry` are for a reader who comes back, which nobody does here. Ours: at the end of the
 *  bytes an event without its blank line is told all the same.
 *  Bounds: bytes are searched once and copied at most twice, and only where a chunk boundary cuts a line;
 *  every byte since the last blank line counts towards the largest event, whatever it says. */
import { GatheredBytes } from './gathered-bytes.ts'

const LF = 10
const CR = 13
const COLON = 58
const SPACE = 32
const LOWER_D = 100
const LOWER_E = 101
const JOINT = Buffer.from('\n')
const MARK = [0xef, 0xbb, 0xbf]
const NOWHERE = Infinity

/** `name` is the `event` field, empty when the frame had none; `data` may alias the chunk it came in. */
export type OnSseEvent = (name: string, data: Buffer) => void

export class SseScanner {
  readonly #on: OnSseEvent
  readonly #eventBytesMax: number
  /** The beginning of a line whose end has not come yet. */
  readonly #partial = new GatheredBytes()
  /** Bytes of the byte order mark that came; 3 where there is none or it is behind us. */
  #mark = 0
  /** The last byte ended a line and was a CR: a LF that follows belongs to it. */
  #afterCr = false
  #name = ''
  #data: Buffer | null = null
  /** All `data` lines where there are several; rare, so the common event gathers nothing. */
  #lines: GatheredBytes | null = null
  /** Bytes since the last blank line. */
  #held = 0

  constructor(options: { on: OnSseEvent; eventBytesMax: number }) {
    this.#on = options.on
    this.#eventBytesMax = options.eventBytesMax
  }

  /** Takes the next bytes; false when one event outgrew the limit, after which nothing more may come. */
  push(chunk: Buffer): boolean {
    let start = this.#mark < MARK.length ? this.#skipMark(chunk) : 0
    if (this.#afterCr && start < chunk.length) {
      if (chunk[start] === LF) start += 1
      this.#afterCr = false
    }
    let lf = start
    let cr = start
    for (;;) {
      // Each is searched anew only once it was passed: a chunk without a CR is searched for one but once.
      if (lf <= start) lf = found(chunk, LF, start)
      if (cr <= start) cr = found(chunk, CR, start)
      const end = Math.min(lf, cr)
      if (end === NOWHERE) break
      this.#held += end + 1 - start
      this.#lineEnds(chunk, start, end)
      if (this.#held > this.#eventBytesMax) return false
      start = end + 1
      if (end === cr) {
        if (start === chunk.length) this.#afterCr = true
        else if (chunk[start] === LF) start += 1
      }
      if (lf < start) lf = start
      if (cr < start) cr = start
    }
    if (start < chunk.length) {
      this.#partial.push(chunk.subarray(start))
      this.#held += chunk.length - start
    }
    return this.#held <= this.#eventBytesMax
  }

  /** No more comes. What stands there without its blank line is told, whole or not. */
  end(): void {
    if (this.#partial.length > 0) {
      const rest = this.#partial.take()
      this.#line(rest, 0, rest.length)
    }
    this.#dispatch()
  }

  /** Skips the mark at the very beginning, however it is cut; where it was none, its bytes are a line's. */
  #skipMark(chunk: Buffer): number {
    let at = 0
    while (at < chunk.length && this.#mark < MARK.length && chunk[at] === MARK[this.#mark]) {
      this.#mark += 1
      at += 1
    }
    if (at === chunk.length || this.#mark === MARK.length) return at
    if (this.#mark > at) this.#partial.push(Buffer.from(MARK.slice(0, this.#mark - at)))
    this.#mark = MARK.length
    return 0
  }

  #lineEnds(chunk: Buffer, start: number, end: number): void {
    if (this.#partial.length === 0) return this.#line(chunk, start, end)
    this.#partial.push(chunk.subarray(start, end))
    const whole = this.#partial.take()
    this.#line(whole, 0, whole.length)
  }

  #line(bytes: Buffer, start: number, end: number): void {
    if (end === start) return this.#dispatch()
    const first = bytes[start]
    if (first === LOWER_D && isField(bytes, start, end, 'data')) {
      this.#take(bytes.subarray(valueStart(bytes, start + 4, end), end))
    } else if (first === LOWER_E && isField(bytes, start, end, 'event')) {
      this.#name = bytes.toString('utf8', valueStart(bytes, start + 5, end), end)
    }
    // Everything else is a comment or a field that means nothing here.
  }

  #take(value: Buffer): void {
    if (this.#data === null) {
      this.#data = value
      return
    }
    if (this.#lines === null) {
      this.#lines = new GatheredBytes()
      this.#lines.push(this.#data)
    }
    this.#lines.push(JOINT)
    this.#lines.push(value)
  }

  #dispatch(): void {
    const name = this.#name
    const data = this.#lines === null ? this.#data : this.#lines.take()
    this.#name = ''
    this.#data = null
    this.#lines = null
    this.#held = 0
    if (data !== null) this.#on(name, data)
  }
}

function found(chunk: Buffer, byte: number, from: number): number {
  const at = chunk.indexOf(byte, from)
  return at === -1 ? NOWHERE : at
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
