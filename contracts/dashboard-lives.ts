/** One request's life, and one durable job's. */
import { z } from 'zod'
import { OUTCOMES, REQUEST_STATES } from './outcome.ts'

export const SPAN_KINDS = [
  'queued',
  'attempt',
  'streaming',
  'backoff',
  'preempted',
  'settled',
] as const

/** One stretch of a life, milliseconds since the request arrived. `preempted` and `settled` are instants. */
export const span = z.object({
  kind: z.enum(SPAN_KINDS),
  from_ms: z.number(),
  /** Null: it lasts. */
  to_ms: z.number().nullable(),
  /** Number of the attempt, of `attempt` and `streaming`. */
  attempt: z.int().nullable(),
  /** A verdict, an outcome; null while there is none. */
  verdict: z.string().nullable(),
  status: z.int().nullable(),
  /** Why it began or ended as it did: a cause, a code. */
  reason: z.string().nullable(),
})
export type Span = z.infer<typeof span>

/** `GET /api/requests/:tenant/:id`; 404 where it is not kept: the last `settled_lives_max` are. `streaming` lies
 *  within its attempt. */
export const life = z.object({
  tenant: z.string(),
  lane: z.string(),
  id: z.string(),
  model: z.string().nullable(),
  route: z.string().nullable(),
  arrived_at: z.int(),
  /** Its state now where it lives; `settled` where not. */
  state: z.enum(REQUEST_STATES),
  stream: z.boolean(),
  max_tokens: z.int().nullable(),
  deadline_ms: z.int().nullable(),
  predicted_wait_ms: z.int().nullable(),
  outcome: z.enum(OUTCOMES).nullable(),
  code: z.string().nullable(),
  input_tokens: z.int().nullable(),
  output_tokens: z.int().nullable(),
  spans: z.array(span),
  /** True: it had more than are kept, and the earliest are missing. */
  cut: z.boolean(),
})
export type Life = z.infer<typeof life>

/** `GET /api/jobs/:tenant/:id`: what the store has of a job, over restarts and instances; 404 where it has nothing
 *  of it (a result is kept for `results.max_age`), 503 where it does not answer. */
export const jobLife = z.object({
  tenant: z.string(),
  lane: z.string(),
  id: z.string(),
  /** `delayed`: its time has not come. `stored`: nobody has it. `claimed`: an instance has it; `calling`: and a call
   *  of it is under way, or was when its owner was heard last. */
  state: z.enum(['delayed', 'stored', 'claimed', 'calling', 'ended']),
  accepted_at: z.int(),
  /** When it may start; null: at once, or it has ended. */
  due_at: z.int().nullable(),
  /** Null: it has ended. */
  deadline_at: z.int().nullable(),
  ended_at: z.int().nullable(),
  outcome: z.enum(OUTCOMES).nullable(),
  /** Calls that were begun, by all its owners. */
  attempts: z.int(),
  /** A call may have run without its result being seen: some work may be done twice. */
  ambiguous: z.boolean(),
  /** The first one first; the last sixteen. */
  owners: z.array(
    z.object({
      instance: z.string(),
      /** Null: nobody wrote it down. */
      since: z.int().nullable(),
      /** `has`: it has the job now. */
      how: z.enum(['has', 'died', 'returned', 'ended']),
      attempts: z.int(),
      calling: z.boolean(),
    }),
  ),
})
export type JobLife = z.infer<typeof jobLife>
