/** Everything true at one instant; what `/api/snapshot` and `admin.snapshot` answer. */
import { z } from 'zod'
import { condition } from './conditions.ts'
import { DOORS } from './readiness.ts'
import { waitingRow } from './waiting.ts'

const counts = z.record(z.string(), z.int())

/** One dimension of a quota; null where it is not paced: no limit is configured and none was learned. */
const bucket = z
  .object({
    limit_per_minute: z.number().describe('Configured or learned, whichever is less.'),
    rate_per_minute: z
      .number()
      .describe('What is used of it now: less a margin, less what 429s have cut.'),
    level: z.number().describe('What may start at once; below 0: debt.'),
    burst: z.number().describe('The most that the level rises to.'),
  })
  .nullable()

export const snapshot = z.object({
  instance: z.string(),
  version: z.string(),
  at: z.string().describe('RFC 3339.'),
  uptime_ms: z.int(),
  draining: z.boolean(),
  emergency: z.boolean(),
  config_refused: z
    .boolean()
    .describe('The configuration file as it stands is refused, and an older one is in force.'),
  bus: z.object({ kind: z.enum(['nats', 'memory']), connected: z.boolean() }),
  doors: z
    .partialRecord(z.enum(DOORS), z.object({ ready: z.boolean(), reasons: z.array(z.string()) }))
    .describe('Whether requests are taken, by each door of this process; what `/readyz` answers.'),
  global: z.object({
    limit: z.int(),
    inflight: z.int(),
    queued: z.int(),
    backoff: z.int(),
    level: z.int().min(0).max(3).describe('Of degradation: 0 is none, 3 sheds.'),
  }),
  lanes: z.array(
    z.object({
      name: z.string(),
      weight: z.number(),
      preemptible: z.boolean(),
      paused: z.boolean(),
      guarantee: z.int(),
      cap: z.int(),
      inflight: z.int(),
      queued: z.int(),
      oldest_ms: z.int().nullable(),
    }),
  ),
  routes: z.array(
    z.object({
      id: z.string(),
      model: z.string(),
      upstream: z.string(),
      limit: z.int(),
      limit_state: z.string(),
      breaker: z.string(),
      breaker_cap: z
        .int()
        .nullable()
        .describe('Concurrent attempts that the breaker permits; null when it sets no cap.'),
      inflight: z.int(),
      queued: z.int(),
      paused_ms: z.int(),
      blocked_ms: z.int().describe('Until the next test of a blocked upstream.'),
      blocked: z
        .object({
          status: z.int().nullable().describe('What the upstream answered.'),
          reason: z.enum(['key_refused', 'spend_limit', 'stopped']),
          since: z.number().describe('Wall time in ms.'),
        })
        .nullable()
        .describe('Null: the upstream account is not blocked.'),
      silent_ms: z
        .int()
        .nullable()
        .describe(
          'For how long the upstream has said nothing although calls in flight should have been answered by now; null: it answers.',
        ),
      overdue: z
        .object({
          calls: z.int(),
          oldest_ms: z.int(),
          usual_known: z
            .boolean()
            .describe('False: nothing has answered yet from which the usual could be known.'),
        })
        .nullable()
        .describe(
          'Calls in flight without a byte for well over what is usual, where they are too many for chance; others may be answered.',
        ),
      inflight_by_lane: counts,
      quota: z.string().describe('Routes of one quota share its buckets and its pause.'),
      buckets: z.object({ requests: bucket, input_tokens: bucket, output_tokens: bucket }),
      reserve: z
        .int()
        .describe("Slots of all that are kept for this route's callers while it is short of them."),
      peak: z.int().describe('Largest load of the last 24 h.'),
    }),
  ),
  /** The busiest tenants, at most `metrics.tenants_max`. */
  tenants: z.array(z.object({ tenant: z.string(), inflight: z.int(), queued: z.int() })),
  requests_by_state: counts,
  waiting: z
    .array(waitingRow)
    .describe(
      'Why requests wait: which bound holds them. Those in back-off are in `global.backoff`.',
    ),
  guardrails: z.array(
    z.object({
      name: z.string(),
      value: z.number().nullable(),
      bound: z.number(),
      met: z.boolean(),
    }),
  ),
  conditions: z
    .array(condition)
    .describe('What holds for a while and is worth attention, with when it began.'),
  /** Zero at rest: what the conservation law watches. */
  held: z.object({
    requests: z.int(),
    slots: z.int(),
    probes: z.int(),
    timers: z.int(),
    replies: z.int(),
  }),
})
export type Snapshot = z.infer<typeof snapshot>
export type BucketSnapshot = z.infer<typeof bucket>
