/** A body for another model: only the value of its top-level `model` is replaced, every other byte stays as
 *  the caller wrote it, numbers and spaces included. Pure; one pass over well-formed JSON. */

const QUOTE = 34
const BACKSLASH = 92
const OPEN = new Set([91, 123])
const CLOSE = new Set([93, 125])
const COLON = 58
const SPACES = new Set([9, 10, 13, 32])

/** `body` is JSON with an object at its top, in UTF-8. */
export function withModel(body: Uint8Array, model: string): Uint8Array {
  const value = Buffer.from(JSON.stringify(model))
  const parts: Uint8Array[] = []
  let copied = 0
  for (const { start, end } of modelValues(body)) {
    parts.push(body.subarray(copied, start), value)
    copied = end
  }
  parts.push(body.subarray(copied))
  return new Uint8Array(Buffer.concat(parts))
}

/** Where each top-level `model` has its value; a key may stand more than once, and the last counts. */
function* modelValues(body: Uint8Array): Generator<{ start: number; end: number }> {
  let depth = 0
  for (let at = 0; at < body.length; at++) {
    const byte = body[at]!
    if (OPEN.has(byte)) depth++
    else if (CLOSE.has(byte)) depth--
    else if (byte === QUOTE) {
      const end = stringEnd(body, at)
      const colon = skipSpaces(body, end)
      if (depth === 1 && body[colon] === COLON && isModelKey(body, at, end)) {
        const start = skipSpaces(body, colon + 1)
        at = start - 1
        // The door has seen that the last one is a string; one before it may be anything.
        if (body[start] !== QUOTE) continue
        const valueEnd = stringEnd(body, start)
        yield { start, end: valueEnd }
        at = valueEnd - 1
      } else at = end - 1
    }
  }
}

/** One past the closing quote of the string that begins at `at`. */
function stringEnd(body: Uint8Array, at: number): number {
  for (let i = at + 1; i < body.length; i++) {
    if (body[i] === BACKSLASH) i++
    else if (body[i] === QUOTE) return i + 1
  }
  return body.length
}

function skipSpaces(body: Uint8Array, from: number): number {
  let at = from
  while (at < body.length && SPACES.has(body[at]!)) at++
  return at
}

/** Keys may be written with escapes: `\u006dodel` is `model` too. */
const isModelKey = (body: Uint8Array, start: number, end: number): boolean =>
  end - start <= 32 && JSON.parse(Buffer.from(body.subarray(start, end)).toString()) === 'model'
