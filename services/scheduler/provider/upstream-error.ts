/** An upstream's error, in whichever words it comes: the API's own, a proxy's, a framework's, a page's. What is
 *  said there is made an error of the API for the caller; nothing of it may reach a log, an event, a metric or
 *  a span, since it may quote a prompt. */
import { typeOfStatus } from '#contracts/api-errors'
import { formOf, markLength } from './answer-form.ts'
import { field, isObject, parsed, PARSED_BYTES_MAX, textOf } from './json-fields.ts'
import { fieldsIn } from './stream-event.ts'
import { SseScanner } from './sse-scanner.ts'

/** An error as the upstream words it. */
export interface UpstreamError {
  /** `error.type`; null when it named none. */
  type: string | null
  /** `error.details.error_code`. */
  code: string | null
  /** Its words, or the raw text when it is no JSON: to be matched. Never leaves this room. */
  text: string
  /** True when another Headgate says it, which has tried already or would say the same again. */
  final: boolean
  /** An error of the API in JSON: for the caller's eyes. Null when nothing was said. */
  body: Uint8Array | null
}

export const noError: UpstreamError = { type: null, code: null, text: '', final: false, body: null }

/** The longest words that are passed on. The API's own have a few hundred characters; what is longer quotes
 *  the request. */
export const ERROR_TEXT_CHARS_MAX = 4_000
/** A page says little in many words: its title, or its first heading. */
const PAGE_TEXT_CHARS_MAX = 200
/** Up to this size an error keeps all its fields. */
const ERROR_OBJECT_BYTES_MAX = 65_536
/** Entries of a list of faults that are worth reading. */
const FAULTS_MAX = 10
/** Longer than any type of the API. */
const TYPE = /^[\w.-]{1,64}$/

/** `status`: the answer's own, of which an error without a type has the type; null where it has none. */
export function readError(bytes: Uint8Array, status: number | null): UpstreamError {
  const marked = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const raw = marked.subarray(markLength(marked) === 3 ? 3 : 0)
  if (raw.length > PARSED_BYTES_MAX) {
    const fields = fieldsIn(raw, FIELDS)
    const less =
      fields === null ? raw.subarray(0, PARSED_BYTES_MAX) : Buffer.from(JSON.stringify(fields))
    return readError(less, status)
  }
  const text = raw.toString('utf8')
  const whole = parsed(text)
  if (isErrorOfTheApi(whole, raw)) return { ...aboutOf(whole), text: wordsIn(whole), body: raw }
  const value = whole === undefined ? inStream(raw) : whole
  const said = value === undefined ? plainWords(text) : (wordsOf(value, 0) ?? '')
  const about = aboutOf(Array.isArray(value) ? value[0] : value)
  const words = bounded(said === '' ? (about.type ?? '') : said, ERROR_TEXT_CHARS_MAX)
  return {
    ...about,
    // A page is matched as a whole: its title may say less than its text.
    text: typeof value === 'object' && value !== null ? said : text,
    body: words === '' ? null : errorJson(about, words, status),
  }
}

/** An error in the shape of the API and of decent size goes on byte for byte. */
function isErrorOfTheApi(value: unknown, raw: Buffer): value is { error: { message: string } } {
  const error = field(value, 'error')
  const message = field(error, 'message')
  return (
    raw.length <= ERROR_OBJECT_BYTES_MAX &&
    isType(field(error, 'type')) &&
    typeof message === 'string' &&
    message !== '' &&
    message.length <= ERROR_TEXT_CHARS_MAX
  )
}

const wordsIn = ({ error }: { error: { message: string } }): string => error.message

function aboutOf(value: unknown): Pick<UpstreamError, 'type' | 'code' | 'final'> {
  const error = field(value, 'error')
  const told = field(isObject(error) ? error : value, 'type')
  const headgate = field(value, 'headgate')
  const attempts = field(headgate, 'attempts')
  return {
    // `error` is the type of the whole, not of what went wrong.
    type: isType(told) && told !== 'error' ? told : null,
    code: textOf(field(field(error, 'details'), 'error_code')),
    final: field(headgate, 'retryable') === false || (typeof attempts === 'number' && attempts > 0),
  }
}

function errorJson(
  { type, code }: Pick<UpstreamError, 'type' | 'code'>,
  message: string,
  status: number | null,
): Uint8Array {
  const details = code === null ? {} : { details: { error_code: code } }
  const error = { type: type ?? typeOfStatus(status ?? 500), message, ...details }
  return Buffer.from(JSON.stringify({ type: 'error', error }))
}

/** The fields in which errors say what is wrong, the most telling first. */
const WORDS = [
  'message',
  'Message',
  'detail',
  'error',
  'errors',
  'msg',
  'reason',
  'error_description',
  'description',
  'title',
]
/** What is looked for in an error that is too large to be parsed. */
const FIELDS = [...WORDS, 'type', 'headgate']
/** Errors inside errors, as proxies pack what they got. */
const DEPTH_MAX = 4

/** What a JSON value says; null: nothing. */
function wordsOf(value: unknown, depth: number): string | null {
  if (typeof value === 'string') return value.trim() === '' ? null : value.trim()
  if (depth > DEPTH_MAX || typeof value !== 'object' || value === null) return null
  if (Array.isArray(value)) {
    const faults = value.slice(0, FAULTS_MAX).map((fault) => faultOf(fault, depth))
    return faults.filter((fault) => fault !== null).join('; ') || null
  }
  // The API's own place first.
  const names = isObject(field(value, 'error')) ? ['error', ...WORDS] : WORDS
  for (const name of names) {
    const words = wordsOf(field(value, name), depth + 1)
    if (words !== null) return words
  }
  return null
}

/** One of a list: its words, after the place that it is about. */
function faultOf(fault: unknown, depth: number): string | null {
  const words = wordsOf(fault, depth + 1)
  const place = field(fault, 'loc') ?? field(fault, 'path')
  return words === null || !Array.isArray(place)
    ? words
    : `${place.map(String).join('.')}: ${words}`
}

/** The first event of a stream that is an error's body. */
function inStream(raw: Buffer): unknown {
  if (formOf(raw, { contentType: '', ended: true }) !== 'sse') return undefined
  let value: unknown
  const scanner = new SseScanner({
    eventBytesMax: raw.length,
    on: (_name, data) => {
      if (!isObject(value) && field(value, 'error') === undefined) value = parsed(String(data))
    },
  })
  scanner.push(raw)
  scanner.end()
  return value
}

/** What is no JSON: a page's title or heading, an XML document's message, or the text as it is; of JSON that
 *  broke off, and of bytes that are no text, nothing. */
function plainWords(text: string): string {
  if (/^\s*[{[]/.test(text)) return ''
  if (!/^\s*</.test(text)) return /[\uFFFD\u0000]/.test(text) ? '' : text
  for (const name of ['message', 'title', 'h1']) {
    const found = new RegExp(`<${name}(?: [^<>]{0,200})?>([^<]{1,1000})</${name}>`, 'i').exec(text)
    const words = bounded(unescaped(found?.[1] ?? ''), PAGE_TEXT_CHARS_MAX)
    if (words !== '') return words
  }
  return ''
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  '#39': "'",
  apos: "'",
}

const unescaped = (text: string): string =>
  text.replace(/&(amp|lt|gt|quot|#39|apos);/g, (_all, name: string) => ENTITIES[name] ?? '')

/** Whole characters, no control characters but line ends. */
function bounded(text: string, charsMax: number): string {
  // eslint-disable-next-line no-control-regex
  const clean = text
    .slice(0, charsMax + 1)
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, ' ')
    .trim()
  if (clean.length <= charsMax) return clean
  return `${clean.slice(0, charsMax - 1).replace(/[\uD800-\uDBFF]$/, '')}…`
}

const isType = (value: unknown): value is string => typeof value === 'string' && TYPE.test(value)
