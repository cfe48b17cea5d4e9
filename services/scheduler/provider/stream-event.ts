/** What one server-sent event is, by its data first: upstreams name events `message`, or not at all. */
import { JsonSkim } from './json-skim.ts'
import { field, isObject, parsed, PARSED_BYTES_MAX } from './json-fields.ts'

/** The API's own names of events that have data to read. */
const NAMES: ReadonlySet<string> = new Set([
  'message_start',
  'content_block_start',
  'content_block_delta',
  'content_block_stop',
  'message_delta',
  'message_stop',
])
/** As the API begins its data; the rest need not be read. */
const BEGINNING = /^\s*\{\s*"type"\s*:\s*"([\w.-]{1,64})"/
const BEGINNING_BYTES = 120
const BRACE = 123
const SPACE = 32

/** The event's type; `nothing` for what is no event of the API, and `not_json` for one of its events without
 *  the JSON that makes it one. */
export function kindOfEvent(name: string, data: Buffer): string {
  const first = firstByte(data)
  if (first === null) return 'nothing'
  const type = BEGINNING.exec(data.toString('latin1', 0, BEGINNING_BYTES))?.[1]
  if (type !== undefined) return type
  const value = first === BRACE ? fieldsIn(data, ['type', 'error']) : null
  if (value === null) {
    if (name === 'error') return name
    // A sign of life, or the end mark of another API.
    return NAMES.has(name) || first === BRACE ? 'not_json' : 'nothing'
  }
  const told = field(value, 'type')
  if (typeof told === 'string' && told !== '') return told
  return field(value, 'error') === undefined ? name : 'error'
}

/** Some fields of a JSON object; null when it is none. A large one is not parsed. */
export function fieldsIn(data: Buffer, names: readonly string[]): Record<string, unknown> | null {
  if (data.length <= PARSED_BYTES_MAX) {
    const value = parsed(data.toString('utf8'))
    return isObject(value) ? value : null
  }
  const skim = new JsonSkim(names)
  skim.push(data)
  return skim.whole() ? skim.values() : null
}

/** White space aside; null: there is nothing else. */
function firstByte(data: Buffer): number | null {
  let at = 0
  while (at < data.length && (data[at] ?? 0) <= SPACE) at += 1
  return data[at] ?? null
}
