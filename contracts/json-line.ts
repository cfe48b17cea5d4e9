/** One line of a file, by a schema, or an error that says where, what stands there and what is allowed. */
import type { z } from 'zod'
import { shown, wrongLine, type TraceError } from './trace-file.ts'

export function readLine<Out>(
  schema: z.ZodType<Out>,
  place: { path: string; number: number; line: string },
): Out {
  const wrong = (what: string): TraceError => wrongLine(place.path, place.number, what)
  let value: unknown
  try {
    value = JSON.parse(place.line)
  } catch {
    throw wrong(`expected one JSON object, found ${shown(place.line)}`)
  }
  const checked = schema.safeParse(value)
  if (checked.success) return checked.data
  const [issue] = checked.error.issues
  const name = issue?.path[0]
  if (issue === undefined || name === undefined)
    throw wrong(`expected one JSON object, found ${shown(place.line)}`)
  const stands = (value as Record<PropertyKey, unknown>)[name]
  throw wrong(
    `${String(name)}: ${issue.message}, ` +
      (stands === undefined ? 'found nothing' : `found ${shown(textOf(stands))}`),
  )
}

const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value)
