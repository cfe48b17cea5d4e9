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

/** Durable jobs. What the store holds is the same for every instance, and as old as `store.looked_at`. */
export const jobsNow = z.object({
  stored: z.int().describe('Jobs that have not ended, of all instances.'),
  oldest_ms: z
    .int()
    .nullable()
    .describe('Since the oldest of them that might start at once was accepted.'),
  states: z
    .object({
      delayed: z.int().describe('Their time has not come, as far as this instance has heard.'),
      stored: z.int().describe('Nobody has taken them yet.'),
      waiting: z.int().describe('In this instance, for a slot.'),
      calling: z.int().describe('In this instance, under way at the upstream.'),
      settling: z.int().describe('In this instance, until the store has their result.'),
      elsewhere: z.int().describe('Other instances have them, the dead ones too.'),
    })
    .describe('Where they stand.'),
  lanes: z.array(
    z.object({
      lane: z.string(),
      stored: z.int().describe('Without those that were not to start at once.'),
      oldest_ms: z.int().nullable(),
      expected_ms: z.int().describe('Half of `timeout_ms` of the lane: an older one is told.'),
    }),
  ),
  tenants: z
    .array(
      z.object({
        tenant: z.string(),
        lane: z.string(),
        stored: z.int().describe('In the store alone, as this instance last read it.'),
        taken: z.int().describe('By this instance.'),
        oldest_ms: z.int().nullable().describe('Of those in the store, the first.'),
      }),
    )
    .describe('Those with most jobs, at most `metrics.tenants_max`.'),
  counts: z
    .object({
      accepted: z.int(),
      ended: z.int(),
      taken_over: z.int().describe('From an instance that died.'),
      returned: z.int().describe('Put back into the store without having ended.'),
      ambiguous: z.int().describe('A call was under way when its owner died: it may run twice.'),
      late_results: z.int().describe('Another owner had stored one before.'),
      dead: z.int().describe('Given up.'),
      store_errors: z.int(),
    })
    .describe('Of this instance, since its start. Taken over and returned are the redeliveries.'),
  dead: z.object({
    kept: z.int().describe('Dead letters in the store.'),
    last_at: z.number().nullable().describe('When the last of them came, wall time in ms.'),
  }),
  store: z.object({
    reachable: z.boolean().describe('It answered when it was asked last.'),
    full: z
      .boolean()
      .describe('It refused a write for want of room, or less than 5 % of its room is left.'),
    bytes: z.int().describe('Jobs and claims.'),
    bytes_max: z
      .int()
      .nullable()
      .describe("`jobs.backlog_bytes`; null: the server's own bound, which it does not tell."),
    looked_at: z.number().nullable().describe('Wall time in ms; null: it was never asked.'),
    last_error: z
      .object({ reason: z.enum(['away', 'full', 'too_large']), at: z.number() })
      .nullable(),
  }),
})
export type JobsNow = z.infer<typeof jobsNow>

/** The instances that divide the limits, as the one that tells of them sees the others. */
export const fleetNow = z.object({
  member: z.string().describe('The name of the instance that tells this.'),
  whole: z.int().describe('Slots that are divided: the global limit.'),
  lapses: z.int().describe('Times that its lease ran out since its start.'),
  lapsed: z
    .boolean()
    .describe('It has no lease that is valid: it uses its safe part for a while, then nothing.'),
  usable: z.int().describe('Slots that it may use now.'),
  name_taken: z
    .string()
    .nullable()
    .describe('The name that it was given and another process has; it goes on under `member`.'),
  trouble: z.string().nullable().describe('Why the record could not be read or written last.'),
  at: z.number().describe('Wall time in ms.'),
  members: z.array(
    z.object({
      member: z.string(),
      instance: z.string(),
      version: z.string(),
      standing: z
        .enum(['alive', 'leaving', 'silent', 'safe', 'gone'])
        .describe(
          'silent: its lease has run out, and its attempts may still run; safe: all that may still run of it is its safe part.',
        ),
      own: z.boolean().describe('It is the one that tells this.'),
      share: z.int().describe('Slots that it holds.'),
      want: z.int().describe('Slots that it could use.'),
      inflight: z.int(),
      routes: z
        .record(z.string(), z.object({ share: z.number(), want: z.number() }))
        .optional()
        .describe(
          'Routes of which it does not have what it has of the whole, by id: its part of the limit, and what it could use of it; 1 is all.',
        ),
      heard_ms: z.int().describe('Since its last write was seen.'),
      config_differs: z
        .boolean()
        .describe(
          'What must be equal in all configurations is not; then the least of the global limits holds.',
        ),
    }),
  ),
})
export type FleetNow = z.infer<typeof fleetNow>

/** A budget of which four fifths are drawn, as this instance last heard of the store. */
export const budgetNow = z.object({
  tenant: z.string().describe('`*`: those past `limits.accounts_max`, together.'),
  span: z.enum(['day', 'month']),
  unit: z.enum(['tokens', 'usd']),
  whole: z.number().describe('Of this day or month: tokens, or USD, with what operators added.'),
  left: z.number().describe('What no instance has drawn of it.'),
  ends_at: z.int().describe('Wall time, ms since 1970.'),
})

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
  jobs: jobsNow.nullable().describe('Null: no durable jobs are kept here.'),
  fleet: fleetNow
    .nullable()
    .describe('Null: this instance works alone and has the whole of every limit.'),
  budgets: z
    .array(budgetNow)
    .describe(
      'Those of which four fifths are drawn, of tenants that use them: at most 20, the fullest first.',
    ),
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
