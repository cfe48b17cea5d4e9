/** What was, as columns. */
import { z } from 'zod'

/** How a breaker's band stands in a column. */
export const BANDS = ['closed', 'ramp', 'half_open', 'open'] as const

const column = z.array(z.number().nullable())

export const historyQuery = z.object({
  span: z.enum(['live', 'day']).default('live'),
  route: z.string().max(64).optional(),
})

/** `GET /api/history?span=live|day&route=<id>`: columns of equal length for uPlot, oldest first. `live` is 15
 *  minutes a second apart, `day` 24 hours a minute apart (means; of `band` and waits the largest). Without
 *  `route`, or with one that is not known, `route` is null. */
export const history = z.object({
  span: z.enum(['live', 'day']),
  step_ms: z.int(),
  /** Seconds since 1970, as uPlot wants them. */
  t: z.array(z.number()),
  /** All routes together; rates are per second. */
  total: z.object({
    limit: column,
    inflight: column,
    queued: column,
    attempts: column,
    settled: column,
    http_429: column,
    http_529: column,
  }),
  lanes: z.array(
    z.object({
      name: z.string(),
      inflight: column,
      queued: column,
      wait_p50_ms: column,
      wait_p95_ms: column,
    }),
  ),
  /** Durable jobs that have not ended, by lane and by the tenants that have, or had, most. */
  jobs: z.object({
    lanes: z.array(z.object({ name: z.string(), stored: column, oldest_ms: column })),
    tenants: z.array(z.object({ name: z.string(), stored: column })),
  }),
  /** Those that have a history. */
  routes: z.array(z.string()),
  route: z
    .object({
      id: z.string(),
      limit: column,
      inflight: column,
      /** Place in `BANDS`. */
      band: column,
      http_429: column,
      http_529: column,
      /** Level over burst, below 0 in debt; null: not paced. */
      requests: column,
      input_tokens: column,
      output_tokens: column,
    })
    .nullable(),
})
export type History = z.infer<typeof history>
