/** JSON of unknown shape, read without trust. */

/** A larger text is not parsed: the parser needs 70 ms for a megabyte of the worst kind, and nobody else runs
 *  meanwhile. */
export const PARSED_BYTES_MAX = 1_000_000

/** The field of a JSON value of unknown shape. */
export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined
}

/** A JSON text's value; undefined when it is none. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const textOf = (value: unknown): string | null => (typeof value === 'string' ? value : null)
