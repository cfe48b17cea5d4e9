/** What a caller of `models` may ask for: a page of the list, or one model. The body of the NATS message, and
 *  over HTTP the query; an empty body asks for the first page. */
import { z } from 'zod'
import { MODEL, MODEL_SHAPE } from './ids.ts'

const model = z
  .string({ error: `expected ${MODEL_SHAPE}` })
  .regex(MODEL, { error: `expected ${MODEL_SHAPE}` })
const LIMIT = 'expected a whole number from 1 to 1000'

export const modelsAsk = z.object({
  /** One model instead of a page. */
  id: model.optional(),
  after_id: model.optional(),
  before_id: model.optional(),
  limit: z.coerce.number({ error: LIMIT }).int(LIMIT).min(1, LIMIT).max(1_000, LIMIT).optional(),
})
export type ModelsAsk = z.infer<typeof modelsAsk>

/** The path of the API that answers it. */
export function modelsPath({ id, ...page }: ModelsAsk): string {
  if (id !== undefined) return `/v1/models/${encodeURIComponent(id)}`
  const query = Object.entries(page).map(
    ([name, value]) => `${name}=${encodeURIComponent(String(value))}`,
  )
  return query.length === 0 ? '/v1/models' : `/v1/models?${query.join('&')}`
}
