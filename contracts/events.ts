/** Everything that happened, in order: CloudEvents 1.0 with these data. Never a prompt, a completion,
 *  a key, or an upstream's message. Source: wire contract, section Events. */
import { z } from 'zod'
import { DEAD_REASONS } from './jobs.ts'
import { OUTCOMES, SERVED_BY } from './outcome.ts'
import { refusals, type RefusalCode } from './refusals.ts'

const codes = Object.keys(refusals) as [RefusalCode, ...RefusalCode[]]

const aboutRequest = {
  tenant: z.string(),
  lane: z.string(),
  id: z.string(),
  model: z.string().nullable(),
}

const aboutJob = { tenant: z.string(), lane: z.string(), id: z.string() }

/** Of a claim: who has the job, and what was done of it before. */
const claimed = {
  ...aboutJob,
  instance: z.string().describe('Who has it now.'),
  claims: z.int().describe('How often it was begun, this time included.'),
  attempts: z.int().describe('Calls that were begun before, by whomever.'),
  age_ms: z.int().describe('Since it was accepted.'),
  ambiguous: z
    .boolean()
    .describe('A call of its last owner was under way and may have run: it may run twice.'),
}

const ownWait = z
  .int()
  .optional()
  .describe(
    "Of queue_ms, what its tenant's own limits or its prefix took; absent: nothing. No guardrail counts it.",
  )

const events = {
  'request.queued': z.object({
    ...aboutRequest,
    route: z.string(),
    stream: z.boolean(),
    max_tokens: z.int(),
    bytes: z.int().describe('Size of the body.'),
    deadline_ms: z.int().nullable().describe("What the caller gave it; null: the lane's default."),
    predicted_wait_ms: z
      .int()
      .nullable()
      .describe('The wait that was expected at admission; null: nobody could say.'),
  }),
  'request.dispatched': z.object({
    ...aboutRequest,
    route: z.string(),
    attempt: z.int(),
    queue_ms: z.int(),
    own_wait_ms: ownWait,
    predicted_wait_ms: z
      .int()
      .nullable()
      .describe('The wait that was expected at admission; null: this is not the first start.'),
  }),
  'request.forwarding': z.object({ ...aboutRequest, route: z.string(), ttft_ms: z.int() }),
  'request.retrying': z.object({
    ...aboutRequest,
    route: z.string(),
    attempt: z.int(),
    max_attempts: z.int(),
    status: z.int().nullable(),
    error_type: z.string().nullable(),
    cause: z.string(),
    wait_ms: z.int(),
  }),
  'request.preempted': z.object({
    ...aboutRequest,
    route: z.string(),
    preemptions: z.int(),
    wasted_ms: z.int(),
  }),
  /** Refused on one route, and in line again on another: `model` and `route` are the other's. */
  'request.rerouted': z.object({
    ...aboutRequest,
    route: z.string(),
    asked_model: z.string(),
    attempts: z.int(),
  }),
  'request.settled': z.object({
    ...aboutRequest,
    route: z.string().nullable(),
    outcome: z.enum(OUTCOMES),
    served_by: z.enum(SERVED_BY),
    code: z.enum(codes).nullable(),
    reason: z.string().nullable(),
    status: z.int(),
    error_type: z.string().nullable(),
    attempts: z.int(),
    preemptions: z.int(),
    queue_ms: z.int(),
    own_wait_ms: ownWait,
    upstream_ms: z.int(),
    total_ms: z.int(),
    input_tokens: z.int().nullable(),
    output_tokens: z.int().nullable(),
    cost_usd: z
      .number()
      .nullable()
      .optional()
      .describe(
        'Of all calls that this instance made for it, but for those that yielded to others; null: of one no price is known.',
      ),
    unpriced: z.boolean().optional().describe('True where `cost_usd` is null.'),
  }),
  'request.dropped': z.object({
    tenant: z.string(),
    lane: z.string(),
    reason: z.enum(['no_reply', 'reply_not_allowed', 'bad_subject']),
  }),
  'attempt.ended': z.object({
    ...aboutRequest,
    route: z.string(),
    attempt: z.int(),
    verdict: z.string(),
    status: z.int().nullable(),
    error_type: z.string().nullable(),
    cause: z.string(),
    duration_ms: z.int(),
    may_have_run: z
      .boolean()
      .describe('True when the upstream may have executed, and billed, the attempt.'),
    input_tokens: z.int().nullable(),
    output_tokens: z.int().nullable(),
  }),
  'job.accepted': z.object({
    ...aboutJob,
    bytes: z.int().describe('Size of the body.'),
    deadline_ms: z.int(),
    not_before_ms: z.int().describe('0: it may start at once.'),
  }),
  'job.claimed': z.object(claimed),
  'job.taken_over': z.object({
    ...claimed,
    from: z.string().describe('The instance that had it, and is dead.'),
  }),
  'job.returned': z.object({
    ...aboutJob,
    instance: z.string().describe('Who had it.'),
    attempts: z.int(),
  }),
  'job.ended': z.object({
    ...aboutJob,
    outcome: z.enum(OUTCOMES),
    claims: z.int(),
    attempts: z.int(),
    total_ms: z.int().describe('Since it was accepted.'),
  }),
  'job.dead': z.object({
    ...aboutJob,
    reason: z.enum(DEAD_REASONS),
    claims: z.int(),
    attempts: z.int(),
  }),
  breaker: z.object({
    route: z.string(),
    from: z.string(),
    state: z.enum(['closed', 'ramp', 'half_open', 'open']),
    reason: z.string(),
    open_ms: z.int().nullable(),
  }),
  limit: z.object({
    route: z.string(),
    state: z.enum(['steady', 'recovering', 'held']),
    from: z.int(),
    limit: z.int(),
    inflight: z.int(),
    reason: z.string(),
  }),
  fleet: z.object({
    what: z
      .enum(['joined', 'left', 'dead', 'lapsed', 'renewed', 'superseded'])
      .describe(
        'dead: its lease has run out unseen; lapsed, renewed: that of the instance that tells this.',
      ),
    member: z.string(),
  }),
  budget: z.object({
    tenant: z.string(),
    span: z.enum(['day', 'month']),
    unit: z.enum(['tokens', 'usd']).describe('What is counted; usd: in micro-dollars.'),
    window: z.string().describe('The day or month.'),
    what: z.enum(['mark', 'end']).describe('mark: four fifths of it are drawn; end: all of it is.'),
    most: z.number(),
  }),
  guardrail: z.object({
    name: z.enum(['ratio_429', 'p95_e2e_ms', 'retry_amplification']),
    met: z.boolean(),
    value: z.number(),
    bound: z.number(),
  }),
  alarm: z.object({ name: z.string(), route: z.string().nullable(), detail: z.string() }),
} as const

export const eventData = events
export type EventName = keyof typeof events
/** `at` is wall time, milliseconds since 1970. */
export type HeadgateEvent = {
  [N in EventName]: {
    name: N
    at: number
    data: z.infer<(typeof events)[N]>
    /** The caller's W3C trace context, where it gave one that is well-formed. */
    trace?: TraceContext
  }
}[EventName]

export interface TraceContext {
  traceparent: string
  tracestate?: string
}

/** Well-formed trace headers, or null: other text of the caller's has no place in an event. */
export function traceContext(of: {
  traceparent?: string
  tracestate?: string
}): TraceContext | null {
  const { traceparent, tracestate } = of
  if (traceparent === undefined || !TRACEPARENT.test(traceparent)) return null
  if (tracestate === undefined || !TRACESTATE.test(tracestate)) return { traceparent }
  return { traceparent, tracestate }
}

const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/
const TRACESTATE = /^[a-z0-9][\x21-\x7e]{0,511}$/

/** `ce-type` of an event. */
export const ceType = (name: EventName): string => `dev.headgate.${name}`
