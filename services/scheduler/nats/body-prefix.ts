/** Which cached prefix a Messages body begins with: a hash of its bytes up to and with the last block of `tools`, of
 *  `system` or of the first message that holds a `cache_control`, in the order in which the provider reads them.
 *
 *  Read from bytes that `body-scan` has found to be JSON, so nothing is checked twice. Cost: one search where there is
 *  no `cache_control`; else a pass over the body, most of it four bytes at a time, and a hash of the prefix. */
import { createHash } from 'node:crypto'
import {
  BACKSLASH,
  CLOSE_LIST,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  OPEN_LIST,
  OPEN_OBJECT,
  QUOTE,
  SPACES,
  bytesOf,
  stopIn,
  type Bytes,
} from './json-bytes.ts'

/** Where a value stands: its first byte, and the one behind its last. */
interface Span {
  readonly start: number
  readonly end: number
}

const MARK = Buffer.from('"cache_control"')
const PARTS = ['tools', 'system', 'messages'] as const
type Part = (typeof PARTS)[number]

/** Of the hash, as hex: what two prefixes of one tenant have in common by chance is nobody's harm. */
const HASH_CHARS = 32

/** A token; null: the body marks no prefix. */
export function prefixOfBody(data: Uint8Array): string | null {
  const text = Buffer.from(data.buffer, data.byteOffset, data.length)
  if (!text.includes(MARK)) return null
  const bytes = bytesOf(data)
  const parts = partsOf(bytes, text)
  for (let last = PARTS.length - 1; last >= 0; last--) {
    const end = endOfMarked(bytes, text, parts[last] ?? null)
    if (end === null) continue
    const hash = createHash('sha256')
    for (const [i, span] of parts.slice(0, last + 1).entries())
      if (span !== null)
        hash.update(PARTS[i] ?? '').update(text.subarray(span.start, i === last ? end : span.end))
    return hash.digest('hex').slice(0, HASH_CHARS)
  }
  return null
}

/** Tools, system and the first message; null: there is none. */
function partsOf(bytes: Bytes, text: Buffer): (Span | null)[] {
  const found: Record<Part, Span | null> = { tools: null, system: null, messages: null }
  for (const { key, value } of members(bytes, spaces(bytes.data, 0))) {
    const part = PARTS.find((one) => isNamed(text, key, one))
    // Of a key that stands twice the last one counts.
    if (part !== undefined) found[part] = value
  }
  const [first = null] = found.messages === null ? [] : elements(bytes, found.messages.start)
  return [found.tools, found.system, first]
}

/** Behind the last block with a mark; null: none has one. */
function endOfMarked(bytes: Bytes, text: Buffer, part: Span | null): number | null {
  if (part === null) return null
  const at = lastMark(text.subarray(part.start, part.end))
  if (at === null) return null
  for (const block of elements(bytes, listIn(bytes, text, part)))
    if (part.start + at < block.end) return block.end
  return part.end
}

/** Where the blocks of a part begin: a message has them in its content. */
function listIn(bytes: Bytes, text: Buffer, part: Span): number {
  let start = part.start
  for (const { key, value } of members(bytes, part.start))
    if (isNamed(text, key, 'content')) start = value.start
  return start
}

/** As a key: within a text its quotes would be escaped, and behind a value there is no colon. */
function lastMark(text: Buffer): number | null {
  for (
    let at = text.lastIndexOf(MARK);
    at >= 0;
    at = at === 0 ? -1 : text.lastIndexOf(MARK, at - 1)
  )
    if (text[at - 1] !== BACKSLASH && text[spaces(text, at + MARK.length)] === COLON) return at
  return null
}

// ---- the grammar; what stands there is JSON ----

/** Keys and values of the object that begins here; of anything else none. */
function* members(bytes: Bytes, at: number): Generator<{ key: Span; value: Span }> {
  const { data } = bytes
  if (data[at] !== OPEN_OBJECT) return
  let next = spaces(data, at + 1)
  while (data[next] === QUOTE) {
    const key = { start: next, end: endOfText(bytes, next) }
    const value = spanAt(bytes, spaces(data, spaces(data, key.end) + 1))
    yield { key, value }
    next = behind(data, value.end)
  }
}

/** Values of the list that begins here; of anything else none. */
function* elements(bytes: Bytes, at: number): Generator<Span> {
  const { data } = bytes
  if (data[at] !== OPEN_LIST) return
  let next = spaces(data, at + 1)
  while (next < data.length && data[next] !== CLOSE_LIST) {
    const value = spanAt(bytes, next)
    yield value
    next = behind(data, value.end)
  }
}

/** Behind a value, and the comma that may follow it. */
function behind(data: Uint8Array, at: number): number {
  const next = spaces(data, at)
  return data[next] === COMMA ? spaces(data, next + 1) : next
}

function spanAt(bytes: Bytes, start: number): Span {
  const { data } = bytes
  let depth = 0
  for (let at = start; at < data.length;) {
    const byte = data[at]
    if (byte === QUOTE) at = endOfText(bytes, at)
    else {
      if (byte === OPEN_LIST || byte === OPEN_OBJECT) depth++
      else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--
      at++
    }
    if (depth === 0 && !continues(data[at])) return { start, end: at }
  }
  return { start, end: data.length }
}

/** Numbers and words end where something else begins. */
const continues = (byte: number | undefined): boolean =>
  byte !== undefined &&
  byte !== COMMA &&
  byte !== CLOSE_LIST &&
  byte !== CLOSE_OBJECT &&
  SPACES[byte] === 0

function endOfText(bytes: Bytes, start: number): number {
  const { data } = bytes
  let at = stopIn(bytes, start + 1)
  while (at < data.length && data[at] !== QUOTE) at = stopIn(bytes, at + 2)
  return at + 1
}

function spaces(data: Uint8Array, from: number): number {
  let at = from
  while (SPACES[data[at] ?? 0] === 1) at++
  return at
}

function isNamed(text: Buffer, { start, end }: Span, name: string): boolean {
  return end - start === name.length + 2 && text.toString('latin1', start + 1, end - 1) === name
}
