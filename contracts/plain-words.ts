/** What does not fit a schema, in our words: what was expected, and what stands there, by its kind and never by
 *  its value. zod's own speak of zod. */
import { z } from 'zod'
import { meant } from './known-names.ts'

/** For `safeParse(value, { error: plainWords })`; what a schema says itself goes before it. */
export const plainWords: z.core.$ZodErrorMap = (issue) => {
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${NOUNS[issue.expected] ?? issue.expected}; it is ${kindOf(issue.input)}`
    case 'invalid_value':
      return `expected ${issue.values.length === 1 ? '' : 'one of '}${issue.values.join(', ')}`
    case 'too_small':
      return `expected at least ${issue.minimum} ${UNITS[issue.origin] ?? ''}`.trimEnd()
    case 'too_big':
      return `expected at most ${issue.maximum} ${UNITS[issue.origin] ?? ''}`.trimEnd()
    case 'unrecognized_keys':
      return 'there is a key that nobody reads'
    default:
      return 'does not fit'
  }
}

const NOUNS: Record<string, string> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
}
const UNITS: Record<string, string> = { string: 'characters', array: 'items', set: 'items' }

/** Of a JSON value; undefined is no value at all. */
export function kindOf(value: unknown): string {
  if (value === undefined) return 'missing'
  if (value === null || typeof value === 'boolean') return String(value)
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/** An object of these keys and no other: one that nobody reads is told by what was meant, and not repeated. */
export const only = <Shape extends z.core.$ZodLooseShape>(shape: Shape) =>
  z.strictObject(shape, {
    error: (issue) => {
      if (issue.code === 'invalid_type')
        return `expected a JSON object; it is ${kindOf(issue.input)}`
      const [key = ''] = issue.code === 'unrecognized_keys' ? issue.keys : []
      return `nobody reads a key of that name; ${meant(key, Object.keys(shape))}`
    },
  })
