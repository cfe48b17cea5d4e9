/** What Headgate must know of a Messages body, read from its bytes in one pass. Nothing is built of it and nothing
 *  is kept, so a body costs no memory and time in proportion to its bytes (1 to 5 ns each) and values (30 to 60 ns
 *  each), whatever a tenant put into it: `JSON.parse` makes an object of each `{}`, at up to 2 µs each, while
 *  everybody else waits.
 *
 *  The grammar is RFC 8259; of a key that stands twice the last one counts, as for `JSON.parse`. */
import { isUtf8 } from 'node:buffer'
import { isCallersTool } from '#contracts/acting'
import { isModel } from '#contracts/ids'
import { MAX_TOKENS_SHAPE } from '#contracts/messages'
import {
  QUOTE,
  COMMA,
  COLON,
  OPEN_LIST,
  BACKSLASH,
  CLOSE_LIST,
  OPEN_OBJECT,
  CLOSE_OBJECT,
  SPACES,
  ESCAPES,
  bytesOf,
  isHex4,
  numberEnd,
  stopIn,
  type Bytes,
} from './json-bytes.ts'
import {
  MESSAGES_EXPECTED,
  MODEL_EXPECTED,
  MODEL_PROBLEM,
  NOUNS,
  SCAN_LIMITS,
  unfitNumber,
  type Kind,
  type ScanLimits,
  type ScannedBody,
} from './body-words.ts'
import { lookForMedia, MEDIA_FROM_BYTES, type Media } from './body-media.ts'

export { SCAN_LIMITS, type ScanLimits, type ScannedBody }

export function scanBody(data: Uint8Array, limits: ScanLimits = SCAN_LIMITS): ScannedBody {
  if (!isUtf8(data)) return no(`${NO_JSON}; its bytes are no UTF-8`)
  const scan = new Scan(data, limits)
  try {
    return scan.body()
  } catch (fault) {
    const { depthMax, valuesMax } = limits
    if (fault === TOO_DEEP) return no(`body: nested deeper than ${depthMax} (limits.json_depth)`)
    if (fault === TOO_MANY)
      return no(`body: more than ${valuesMax} values in lists and objects (limits.json_values)`)
    if (fault !== FAULT) throw fault
    return no(`${NO_JSON}; ${scan.faultAt()}`)
  }
}

const no = (problem: string) => ({ ok: false, problem, known: null }) as const

const NO_JSON = 'body: expected JSON in UTF-8'
/** Thrown and caught here; an Error each would cost a stack. */
const FAULT = Symbol('not JSON')
const TOO_DEEP = Symbol('too deep')
const TOO_MANY = Symbol('too many')

/** Longer models and numbers are none. */
const LOOKED_AT_BYTES_MAX = 1_024
/** A character of a key as `\u006d`. */
const ESCAPED_BYTES = 6

const FIELDS = ['model', 'max_tokens', 'messages', 'stream'] as const
/** By these the provider may do more than answer. */
const ACTING = ['tools', 'mcp_servers', 'container'] as const
/** How it is to be served; the caller's word counts, whatever its lane says. */
const SERVED = ['speed', 'service_tier'] as const
const KNOWN = [...FIELDS, ...ACTING, ...SERVED]
type Field = (typeof KNOWN)[number]

class Scan {
  readonly #data: Uint8Array
  readonly #bytes: Bytes
  readonly #limits: ScanLimits
  #at = 0
  #depth = 0
  #values = 0
  // Each null where the field was not seen, or is right.
  #model: string | null = null
  #maxTokens: number | null = null
  #stream = false
  readonly #media: Media = { bytes: 0, tokens: 0 }
  #seenMessages = false
  #mayAct = false
  #speed: string | null = null
  #tier: string | null = null
  #problems: Record<(typeof FIELDS)[number], string | null> = {
    model: null,
    max_tokens: null,
    messages: null,
    stream: null,
  }

  constructor(data: Uint8Array, limits: ScanLimits) {
    this.#data = data
    this.#bytes = bytesOf(data)
    this.#limits = limits
  }

  body(): ScannedBody {
    this.#spaces()
    const isObject = this.#data[this.#at] === OPEN_OBJECT
    if (isObject) this.#object((start, end) => this.#field(this.#fieldAt(start, end)))
    else this.#value()
    this.#spaces()
    if (this.#at !== this.#data.length) throw FAULT
    const known = { model: this.#model, stream: this.#stream }
    if (!isObject) return { ok: false, problem: 'body: expected a JSON object', known }
    const { model, max_tokens, messages, stream } = this.#problems
    const problem =
      model ??
      (this.#model === null ? `${MODEL_EXPECTED}; it is missing` : null) ??
      max_tokens ??
      messages ??
      (this.#seenMessages ? null : `${MESSAGES_EXPECTED}; it is missing`) ??
      stream
    if (problem !== null || this.#model === null)
      return { ok: false, problem: problem ?? MODEL_EXPECTED, known }
    return {
      ok: true,
      model: this.#model,
      maxTokens: this.#maxTokens,
      stream: this.#stream,
      media: this.#media,
      mayAct: this.#mayAct,
      speed: this.#speed,
      tier: this.#tier,
    }
  }

  /** Where it stopped being JSON, for a person. */
  faultAt(): string {
    const { length } = this.#data
    if (length === 0) return 'it is empty'
    if (this.#at >= length) return 'it ends in the middle'
    if (this.#at === 0 && this.#data[0] === 0xef) return 'it begins with a byte order mark'
    return `it is none from byte ${this.#at + 1} of ${length} on`
  }

  /** The value of a key at the top. */
  #field(key: Field | null): void {
    const start = this.#at
    switch (key) {
      case 'model': {
        const kind = this.#value()
        const text = kind === 'text' ? this.#textFrom(start) : null
        this.#model = text !== null && isModel(text) ? text : null
        const problem = kind === 'text' ? MODEL_PROBLEM : `${MODEL_EXPECTED}; it is ${NOUNS[kind]}`
        this.#problems.model = this.#model === null ? problem : null
        return
      }
      case 'max_tokens': {
        const kind = this.#value()
        const tokens = kind === 'number' ? this.#numberFrom(start) : NaN
        const fits = Number.isSafeInteger(tokens) && tokens >= 0
        this.#maxTokens = fits ? Math.abs(tokens) : null
        const is = kind === 'number' ? unfitNumber(tokens) : NOUNS[kind]
        this.#problems.max_tokens = fits ? null : `max_tokens: ${MAX_TOKENS_SHAPE}; it is ${is}`
        return
      }
      case 'messages':
        this.#seenMessages = true
        this.#problems.messages = null
        if (this.#data[start] === OPEN_LIST) return this.#messages()
        this.#problems.messages = `${MESSAGES_EXPECTED}; it is ${NOUNS[this.#value()]}`
        return
      case 'stream': {
        const kind = this.#value()
        this.#stream = kind === 'true'
        const fits = kind === 'true' || kind === 'false'
        this.#problems.stream = fits ? null : `stream: expected true or false; it is ${NOUNS[kind]}`
        return
      }
      case 'tools':
        if (this.#data[start] === OPEN_LIST) return this.#list(() => this.#tool())
        return void this.#value()
      case 'mcp_servers':
      case 'container': {
        const kind = this.#value()
        return void (this.#mayAct ||= kind !== 'null' && this.#at - start > '[]'.length)
      }
      case 'speed':
        return void (this.#speed = this.#said())
      case 'service_tier':
        return void (this.#tier = this.#said())
      default:
        this.#value()
    }
  }

  /** What is said there: its text, or '' for whatever else stands there. */
  #said(): string {
    const start = this.#at
    return this.#value() === 'text' ? (this.#textFrom(start) ?? '') : ''
  }

  #fieldAt(start: number, end: number): Field | null {
    return KNOWN.find((field) => this.#isKey(field, start, end)) ?? null
  }

  /** One that the provider runs itself says so by its type. */
  #tool(): void {
    if (this.#data[this.#at] !== OPEN_OBJECT) return void this.#value()
    this.#object((start, end) => {
      const from = this.#at
      const kind = this.#value()
      if (kind !== 'text' || !this.#isKey('type', start, end)) return
      const type = this.#textFrom(from)
      if (type === null || !isCallersTool(type)) this.#mayAct = true
    })
  }

  #messages(): void {
    let index = 0
    this.#list(() => {
      // The first one that is wrong is told, so the others need no words.
      if (this.#problems.messages !== null) return void this.#value()
      const problem = this.#message()
      if (problem !== null) this.#problems.messages = `messages.${index}${problem}`
      index++
    })
    if (index === 0) this.#problems.messages = `${MESSAGES_EXPECTED}; it is empty`
  }

  /** What is wrong with it, behind its place. */
  #message(): string | null {
    if (this.#data[this.#at] !== OPEN_OBJECT) {
      return `: expected an object with role and content; it is ${NOUNS[this.#value()]}`
    }
    let role: Kind | null = null
    this.#object((start, end) => {
      const kind = this.#value()
      if (this.#isKey('role', start, end)) role = kind
    })
    if (role === 'text') return null
    return `.role: expected a string; it is ${role === null ? 'missing' : NOUNS[role]}`
  }

  // ---- the grammar; `#at` stands at the first byte of what is read, and after it behind its last ----

  #value(): Kind {
    const byte = this.#data[this.#at]
    switch (byte) {
      case QUOTE:
        this.#text()
        return 'text'
      case OPEN_OBJECT:
        this.#object(null)
        return 'object'
      case OPEN_LIST:
        this.#list(null)
        return 'list'
      case 0x74:
        return this.#word('true')
      case 0x66:
        return this.#word('false')
      case 0x6e:
        return this.#word('null')
      default:
        this.#number()
        return 'number'
    }
  }

  /** `on` hears where each key stands, quotes included, and reads its value; null: any value is read. */
  #object(on: ((start: number, end: number) => void) | null): void {
    this.#enter()
    this.#spaces()
    if (this.#data[this.#at] === CLOSE_OBJECT) return this.#leave()
    for (;;) {
      const start = this.#at
      if (this.#data[start] !== QUOTE) throw FAULT
      this.#text()
      const end = this.#at
      this.#spaces()
      if (this.#data[this.#at] !== COLON) throw FAULT
      this.#at++
      this.#spaces()
      if (on === null) this.#value()
      else on(start, end)
      if (this.#isLast(CLOSE_OBJECT)) return
    }
  }

  #list(on: (() => void) | null): void {
    this.#enter()
    this.#spaces()
    if (this.#data[this.#at] === CLOSE_LIST) return this.#leave()
    do {
      if (on === null) this.#value()
      else on()
    } while (!this.#isLast(CLOSE_LIST))
  }

  #enter(): void {
    if (++this.#depth > this.#limits.depthMax) throw TOO_DEEP
    this.#at++
  }

  #leave(): void {
    this.#depth--
    this.#at++
  }

  /** Behind a member of an object or list: its end, or a comma and the beginning of the next one. */
  #isLast(close: number): boolean {
    if (++this.#values > this.#limits.valuesMax) throw TOO_MANY
    this.#spaces()
    const byte = this.#data[this.#at]
    if (byte === close) {
      this.#leave()
      return true
    }
    if (byte !== COMMA) throw FAULT
    this.#at++
    this.#spaces()
    return false
  }

  #text(): void {
    const data = this.#data
    let at = this.#at + 1
    for (;;) {
      at = stopIn(this.#bytes, at)
      const byte = data[at]
      if (byte === QUOTE) break
      this.#at = at
      if (byte !== BACKSLASH) throw FAULT
      const escape = data[at + 1] ?? 0
      if (ESCAPES[escape] === 1) at += 2
      else if (escape === 0x75 && isHex4(data, at + 2)) at += 6
      else throw FAULT
    }
    const bytes = at - this.#at - 1
    if (bytes >= MEDIA_FROM_BYTES) lookForMedia(this.#data, this.#at + 1, bytes, this.#media)
    this.#at = at + 1
  }

  #number(): void {
    const end = numberEnd(this.#data, this.#at)
    if (end === null) throw FAULT
    this.#at = end
  }

  #word<W extends 'true' | 'false' | 'null'>(word: W): W {
    for (let i = 0; i < word.length; i++, this.#at++)
      if (this.#data[this.#at] !== word.charCodeAt(i)) throw FAULT
    return word
  }

  #spaces(): void {
    const data = this.#data
    let at = this.#at
    while (SPACES[data[at] ?? 0] === 1) at++
    this.#at = at
  }

  // ---- what was read ----

  /** A key may be written with escapes: `\u006dodel` is `model` too. */
  #isKey(name: string, start: number, end: number): boolean {
    const length = end - start - 2
    if (length === name.length) {
      for (let i = 0; i < length; i++)
        if (this.#data[start + 1 + i] !== name.charCodeAt(i)) return false
      return true
    }
    if (length < name.length || length > name.length * ESCAPED_BYTES) return false
    for (let at = start + 1; at < end; at++)
      if (this.#data[at] === BACKSLASH) return this.#textOf(start, end) === name
    return false
  }

  #textFrom(start: number): string | null {
    return this.#at - start > LOOKED_AT_BYTES_MAX ? null : this.#textOf(start, this.#at)
  }

  #numberFrom(start: number): number {
    return this.#at - start > LOOKED_AT_BYTES_MAX ? NaN : Number(this.#raw(start, this.#at))
  }

  #textOf(start: number, end: number): string {
    const raw = this.#raw(start + 1, end - 1)
    return raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw
  }

  #raw(start: number, end: number): string {
    const { buffer, byteOffset } = this.#data
    return Buffer.from(buffer, byteOffset + start, end - start).toString('utf8')
  }
}
