/** Some fields of a large JSON object, read as its bytes go by. Parsing tens of megabytes would stop the
 *  process for seconds and cost a hundred times their size; this costs a few nanoseconds for each byte and
 *  keeps nothing but the fields it was asked for. It knows strings, nesting and the top level, no more of the
 *  grammar: `whole` says that the object was closed, not that all in it is JSON. */
import { GatheredBytes } from './gathered-bytes.ts'

const QUOTE = 34
const COMMA = 44
const COLON = 58
const BACKSLASH = 92
const BRACKET = 91
const BRACKET_END = 93
const BRACE = 123
const BRACE_END = 125
const SPACE = 32
/** Longer keys are none that anybody asks for. */
const KEY_BYTES_MAX = 64
/** A larger value is there, and not read. */
const VALUE_BYTES_MAX = 65_536

export class JsonSkim {
  readonly #wanted: ReadonlySet<string>
  readonly #values = new Map<string, unknown>()
  #depth = 0
  #state: 'before' | 'key' | 'value' | 'after' | 'wrong' = 'before'
  #inString = false
  /** The last byte so far was a backslash that escapes the next. */
  #escaping = false
  #key: string | null = null
  /** What is being kept, from `#from` of the present chunk on. */
  #kept: GatheredBytes | null = null
  #from = 0
  #keptMax = 0

  constructor(wanted: readonly string[]) {
    this.#wanted = new Set(wanted)
  }

  push(chunk: Buffer): void {
    this.#from = 0
    for (let i = 0; i < chunk.length; i += 1) {
      if (this.#inString) i = this.#toStringEnd(chunk, i)
      else this.#byte(chunk, i)
    }
    this.#keep(chunk, chunk.length)
  }

  /** Whether it was one object, closed, and nothing else. */
  whole(): boolean {
    return this.#state === 'after'
  }

  /** The fields that were there; null for a value that is not to be read. */
  values(): Record<string, unknown> {
    return Object.fromEntries(this.#values)
  }

  /** The index of the last byte that belongs to the string, as far as the chunk goes. */
  #toStringEnd(chunk: Buffer, start: number): number {
    let from = this.#escaping ? start + 1 : start
    this.#escaping = false
    for (;;) {
      const end = chunk.indexOf(QUOTE, from)
      const until = end === -1 ? chunk.length : end
      let slashes = 0
      while (until - 1 - slashes >= from && chunk[until - 1 - slashes] === BACKSLASH) slashes += 1
      const escaped = slashes % 2 === 1
      if (end === -1) {
        this.#escaping = escaped
        return chunk.length
      }
      if (!escaped) {
        this.#stringEnded(chunk, end)
        return end
      }
      from = end + 1
    }
  }

  #stringEnded(chunk: Buffer, at: number): void {
    this.#inString = false
    if (this.#depth !== 1 || this.#state !== 'key') return
    const text = this.#kept === null ? null : this.#taken(chunk, at + 1)
    const key = read(text)
    this.#key = typeof key === 'string' ? key : null
  }

  #byte(chunk: Buffer, at: number): void {
    const byte = chunk[at] ?? 0
    switch (byte) {
      case QUOTE:
        this.#inString = true
        if (this.#depth === 0) this.#state = 'wrong'
        else if (this.#depth === 1 && this.#state === 'key') this.#begin(at, KEY_BYTES_MAX)
        return
      case BRACE:
      case BRACKET:
        if (this.#depth === 0)
          this.#state = this.#state === 'before' && byte === BRACE ? 'key' : 'wrong'
        this.#depth += 1
        return
      case BRACE_END:
      case BRACKET_END:
        if (this.#depth === 1) this.#valueEnded(chunk, at)
        this.#depth -= 1
        if (this.#depth <= 0)
          this.#state = this.#state === 'wrong' || this.#depth < 0 ? 'wrong' : 'after'
        return
      default:
        if (this.#depth === 1) this.#between(chunk, at, byte)
        else if (this.#depth === 0 && byte > SPACE) this.#state = 'wrong'
    }
  }

  #between(chunk: Buffer, at: number, byte: number): void {
    if (byte === COLON && this.#state === 'key') {
      this.#state = 'value'
      if (this.#key !== null && this.#wanted.has(this.#key)) this.#begin(at + 1, VALUE_BYTES_MAX)
    } else if (byte === COMMA) {
      this.#valueEnded(chunk, at)
      this.#state = 'key'
    }
  }

  #valueEnded(chunk: Buffer, at: number): void {
    if (this.#state !== 'value' || this.#key === null) return
    if (this.#wanted.has(this.#key)) this.#values.set(this.#key, read(this.#taken(chunk, at)))
    this.#key = null
  }

  #begin(from: number, limit: number): void {
    this.#kept = new GatheredBytes()
    this.#from = from
    this.#keptMax = limit
  }

  #keep(chunk: Buffer, until: number): void {
    if (this.#kept === null) return
    const piece = chunk.subarray(this.#from, until)
    if (this.#kept.length + piece.length > this.#keptMax) this.#kept = null
    // A copy: a few bytes would hold the chunk they came in.
    else this.#kept.push(Buffer.from(piece))
  }

  #taken(chunk: Buffer, until: number): string | null {
    this.#keep(chunk, until)
    const text = this.#kept?.whole().toString('utf8') ?? null
    this.#kept = null
    return text
  }
}

function read(text: string | null): unknown {
  if (text === null) return null
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
