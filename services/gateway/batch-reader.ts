/** The body of `POST /v1/messages/batches`, read as its bytes go by: each entry is handed over when it is whole, and
 *  nothing else is kept. It knows the grammar as far as the members of the body and of its entries go; what is in
 *  `params` it takes as it is, for whoever reads it.
 *  Bound: one entry, of at most `entryBytesMax`. Cost: a few nanoseconds for each byte. */

const TAB = 9
const LF = 10
const CR = 13
const SPACE = 32
const QUOTE = 34
const COMMA = 44
const COLON = 58
const BRACKET = 91
const BACKSLASH = 92
const BRACKET_END = 93
const BRACE = 123
const BRACE_END = 125
/** A longer key is none that we know. */
const KEY_BYTES_MAX = 64
/** A `custom_id` of 64 characters, each written as an escape. */
const NAME_BYTES_MAX = 6 * 64 + 2
const SCALAR_BYTES_MAX = 512

export interface Entry {
  /** As it was written, if it was text; null: there was none. */
  customId: string | null
  /** The bytes of its object; null: there was none. */
  params: Buffer | null
}

/** What is wrong with the body, as `field: what was expected`. */
export class BodyFault extends Error {
  override readonly name = 'BodyFault'
  readonly tooLarge: boolean
  constructor(message: string, tooLarge = false) {
    super(message)
    this.tooLarge = tooLarge
  }
}

/** What the next byte that is no space may be. */
type Want =
  | 'body'
  | 'key or end'
  | 'key'
  | 'colon'
  | 'value'
  | 'comma or end'
  | 'entry or end'
  | 'entry'
  | 'entry comma or end'
  | 'nothing'

export class RequestReader {
  readonly #entryBytesMax: number
  readonly #take: (entry: Entry) => void
  #want: Want = 'body'
  /** Whether what is read is a member of an entry, or of the body. */
  #inEntry = false
  #key = ''
  #value: Value | null = null
  #entry: Entry = { customId: null, params: null }
  #entries = 0
  #listed = false

  /** `take` hears of each entry, in order. */
  constructor(of: { entryBytesMax: number; take: (entry: Entry) => void }) {
    this.#entryBytesMax = of.entryBytesMax
    this.#take = of.take
  }

  /** Throws a `BodyFault`. */
  push(chunk: Buffer): void {
    let i = 0
    while (i < chunk.length) {
      if (this.#value !== null) {
        i = this.#value.push(chunk, i)
        if (this.#value.over) this.#valueEnded(this.#value)
      } else if (!this.#structure(chunk[i] ?? 0)) i += 1
    }
  }

  /** After the last byte. Throws a `BodyFault` where more was to come. */
  end(): void {
    if (this.#want !== 'nothing') throw new BodyFault('body: expected JSON; it ends too early')
    if (!this.#listed) throw new BodyFault('requests: expected a list of entries')
  }

  /** A byte outside values; true: it is the first of a value, and still to be read. */
  #structure(byte: number): boolean {
    if (byte === SPACE || byte === LF || byte === CR || byte === TAB) return false
    switch (this.#want) {
      case 'body':
        return this.#must(byte === BRACE, 'key or end')
      case 'key or end':
        if (byte === BRACE_END) return this.#objectEnded()
        return this.#begin(byte === QUOTE, KEY_BYTES_MAX)
      case 'key':
        return this.#begin(byte === QUOTE, KEY_BYTES_MAX)
      case 'colon':
        return this.#must(byte === COLON, 'value')
      case 'value':
        return this.#member(byte)
      case 'comma or end':
        if (byte === BRACE_END) return this.#objectEnded()
        return this.#must(byte === COMMA, 'key')
      case 'entry or end':
        if (byte === BRACKET_END) return this.#listEnded()
        return this.#entryBegins(byte)
      case 'entry':
        return this.#entryBegins(byte)
      case 'entry comma or end':
        if (byte === BRACKET_END) return this.#listEnded()
        return this.#must(byte === COMMA, 'entry')
      case 'nothing':
        throw new BodyFault('body: expected JSON, and nothing after it')
    }
  }

  #must(fits: boolean, next: Want): false {
    if (!fits) throw new BodyFault(`${this.#place()}: expected JSON`)
    this.#want = next
    return false
  }

  #begin(fits: boolean, keepMax: number): true {
    if (!fits) throw new BodyFault(`${this.#place()}: expected JSON`)
    this.#value = new Value(keepMax)
    return true
  }

  #member(byte: number): boolean {
    const kind = this.#inEntry ? this.#key : ''
    if (!this.#inEntry && this.#key === 'requests') {
      if (byte !== BRACKET || this.#listed)
        throw new BodyFault('requests: expected one list of entries')
      this.#listed = true
      this.#want = 'entry or end'
      return false
    }
    if (kind === 'params' && byte !== BRACE)
      throw new BodyFault(`${this.#place()}.params: expected an object`)
    if (kind === 'custom_id' && byte !== QUOTE)
      throw new BodyFault(`${this.#place()}.custom_id: expected text`)
    const keepMax = kind === 'params' ? this.#entryBytesMax : SCALAR_BYTES_MAX
    return this.#begin(true, kind === 'custom_id' ? NAME_BYTES_MAX : keepMax)
  }

  #entryBegins(byte: number): false {
    if (byte !== BRACE) throw new BodyFault(`requests.${this.#entries}: expected an object`)
    this.#inEntry = true
    this.#entry = { customId: null, params: null }
    this.#want = 'key or end'
    return false
  }

  #objectEnded(): false {
    if (!this.#inEntry) {
      this.#want = 'nothing'
      return false
    }
    this.#inEntry = false
    this.#want = 'entry comma or end'
    this.#entries += 1
    this.#take(this.#entry)
    return false
  }

  #listEnded(): false {
    this.#want = 'comma or end'
    return false
  }

  #valueEnded(value: Value): void {
    this.#value = null
    if (this.#want === 'key' || this.#want === 'key or end') {
      this.#key = textOf(value.kept) ?? ''
      if (value.kept !== null && textOf(value.kept) === null)
        throw new BodyFault(`${this.#place()}: expected JSON`)
      this.#want = 'colon'
      return
    }
    this.#want = 'comma or end'
    if (!this.#inEntry) return this.#checkScalar(value)
    if (this.#key === 'custom_id') this.#entry.customId = this.#nameIn(value)
    else if (this.#key === 'params') {
      if (value.kept === null)
        throw new BodyFault(
          `${this.#place()}.params: expected at most ${this.#entryBytesMax} bytes`,
          true,
        )
      this.#entry.params = value.kept
    } else this.#checkScalar(value)
  }

  /** Too long a name is one that does not fit: told by whoever checks it. */
  #nameIn({ kept }: Value): string {
    if (kept === null) return ''
    const text = textOf(kept)
    if (text === null) throw new BodyFault(`${this.#place()}.custom_id: expected text`)
    return text
  }

  /** Of what is not kept whole, only where it ends is known. */
  #checkScalar({ kept }: Value): void {
    if (kept === null || kept[0] === BRACE || kept[0] === BRACKET) return
    try {
      JSON.parse(kept.toString())
    } catch {
      throw new BodyFault(`${this.#place()}: expected JSON`)
    }
  }

  #place(): string {
    return this.#inEntry ? `requests.${this.#entries}` : 'body'
  }
}

/** One value, from its first byte to its last, kept up to a bound. */
class Value {
  /** Null: it was longer than what is kept. */
  kept: Buffer | null = null
  over = false
  readonly #keepMax: number
  #parts: Buffer[] = []
  #length = 0
  #depth = 0
  #inText = false
  #escaping = false
  #kind: 'none' | 'text' | 'nested' | 'scalar' = 'none'

  constructor(keepMax: number) {
    this.#keepMax = keepMax
  }

  /** Where the chunk goes on after what belongs to it. */
  push(chunk: Buffer, start: number): number {
    let i = start
    while (i < chunk.length && !this.over)
      i = this.#inText ? this.#text(chunk, i) : this.#byte(chunk, i)
    this.#keep(chunk.subarray(start, i))
    if (this.over && this.#length <= this.#keepMax) this.kept = Buffer.concat(this.#parts)
    return i
  }

  #byte(chunk: Buffer, i: number): number {
    const byte = chunk[i] ?? 0
    if (byte === QUOTE) {
      if (this.#kind === 'scalar') throw new BodyFault('body: expected JSON')
      this.#inText = true
      if (this.#kind === 'none') this.#kind = 'text'
    } else if (byte === BRACE || byte === BRACKET) {
      if (this.#kind === 'scalar') throw new BodyFault('body: expected JSON')
      this.#kind = 'nested'
      this.#depth += 1
    } else if (this.#kind === 'nested') {
      if (byte === BRACE_END || byte === BRACKET_END) this.over = --this.#depth === 0
    } else if (endsScalar(byte)) {
      // It belongs to what is around the value.
      this.over = true
      return i
    } else this.#kind = 'scalar'
    return i + 1
  }

  #text(chunk: Buffer, start: number): number {
    for (let i = start; i < chunk.length; i++) {
      if (this.#escaping) this.#escaping = false
      else if (chunk[i] === BACKSLASH) this.#escaping = true
      else if (chunk[i] === QUOTE) {
        this.#inText = false
        this.over = this.#kind === 'text'
        return i + 1
      }
    }
    return chunk.length
  }

  #keep(part: Buffer): void {
    this.#length += part.length
    if (this.#length > this.#keepMax) this.#parts = []
    // The chunk itself is given back: a small entry must not hold all of it.
    else this.#parts.push(Buffer.from(part))
  }
}

const endsScalar = (byte: number): boolean =>
  byte === COMMA ||
  byte === BRACE_END ||
  byte === BRACKET_END ||
  byte === SPACE ||
  byte === LF ||
  byte === CR ||
  byte === TAB

/** Null: it is none. */
function textOf(json: Buffer | null): string | null {
  if (json === null) return null
  try {
    const text: unknown = JSON.parse(json.toString())
    return typeof text === 'string' ? text : null
  } catch {
    return null
  }
}
