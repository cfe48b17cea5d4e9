/** Request, reply and headers: what crosses the wire. Source: wire contract. */
import { z } from 'zod'
import { MODEL, MODEL_SHAPE } from './ids.ts'
import { REQUEST_STATES, type Outcome, type ServedBy } from './outcome.ts'
import { refusals, type RefusalCode } from './refusals.ts'
import { TOKEN, TOKEN_SHAPE } from './ids.ts'
import type { Millis } from './units.ts'
import { waitReason } from './waiting.ts'

/** Header names, requests and replies. */
export const HEADER = {
  id: 'Headgate-Id',
  deadline: 'Headgate-Deadline-Ms',
  degrade: 'Headgate-Degrade',
  maxAttempts: 'Headgate-Max-Attempts',
  again: 'Headgate-Again',
  prefix: 'Headgate-Prefix',
  only: 'Headgate-Only',
  waitMs: 'Headgate-Wait-Ms',
  notBefore: 'Headgate-Not-Before-Ms',
  batch: 'Headgate-Batch',
  version: 'anthropic-version',
  beta: 'anthropic-beta',
  traceparent: 'traceparent',
  tracestate: 'tracestate',
  outcome: 'Headgate-Outcome',
  servedBy: 'Headgate-Served-By',
  model: 'Headgate-Model',
  attempts: 'Headgate-Attempts',
  preemptions: 'Headgate-Preemptions',
  ambiguous: 'Headgate-Ambiguous',
  queueMs: 'Headgate-Queue-Ms',
  upstreamMs: 'Headgate-Upstream-Ms',
  totalMs: 'Headgate-Total-Ms',
  requestId: 'Request-Id',
  inputTokens: 'Headgate-Input-Tokens',
  outputTokens: 'Headgate-Output-Tokens',
  events: 'Headgate-Events',
  instance: 'Headgate-Instance',
  errorCode: 'Nats-Service-Error-Code',
  error: 'Nats-Service-Error',
} as const

/** How one call is to be scheduled, besides its subject: what a caller may say of Headgate's own on any way in. */
export const SCHEDULING_HEADERS: readonly string[] = [
  HEADER.id,
  HEADER.deadline,
  HEADER.degrade,
  HEADER.maxAttempts,
  HEADER.prefix,
  HEADER.again,
]

/** A message of a stream that has nothing to say: a sign of life, and no event. */
export const PING = new TextEncoder().encode('{"type":"ping"}')

/** Whether a message of a stream is that sign of life. */
export const isPing = (data: Uint8Array): boolean =>
  data.length === PING.length && PING.every((byte, i) => data[i] === byte)

/** The largest `Headgate-Deadline-Ms`: 7 days. */
export const DEADLINE_MAX_MS = 604_800_000

/** The largest `Headgate-Max-Attempts`. */
export const ATTEMPTS_MAX = 10
const NOT_BEFORE_SHAPE = `expected an integer from 0 to ${DEADLINE_MAX_MS}`
const ATTEMPTS_SHAPE = `expected an integer from 1 to ${ATTEMPTS_MAX}`

export const MAX_TOKENS_SHAPE = 'expected a whole number from 0, or nothing'
/** What is reckoned with for a call that states no `max_tokens`: whether it may is the API's to decide. */
export const UNSTATED_MAX_TOKENS = 4_096
/** Beyond any answer: a larger `max_tokens` is reckoned with as this, and goes upstream as it is. */
export const RECKONED_MAX_TOKENS = 10_000_000

/** What Headgate must know of a Messages body; everything else passes through unread. The doors read it from the
 *  bytes (`body-scan`); documents and tests speak from this. */
export const requestBody = z.looseObject({
  model: z.string().regex(MODEL, { error: `expected ${MODEL_SHAPE}` }),
  max_tokens: z
    .number({ error: MAX_TOKENS_SHAPE })
    .int(MAX_TOKENS_SHAPE)
    .min(0, MAX_TOKENS_SHAPE)
    .optional(),
  messages: z.array(z.looseObject({ role: z.string() })).min(1),
  stream: z.boolean({ error: 'expected true or false' }).optional(),
})

export const DEGRADE_STEPS = ['fallback', 'cache', 'defer'] as const
export type DegradeStep = (typeof DEGRADE_STEPS)[number]

/** Every step once, with room for spaces: what is longer is not read. */
const DEGRADE_CHARS_MAX = 64
const DEGRADE_SHAPE = `expected a comma list of ${DEGRADE_STEPS.join(', ')}, each at most once`

/** `Headgate-Again`: a call that may have run is not asked a second time by whoever asks for its caller. */
export const NEVER_AGAIN = 'never'
/** `Headgate-Only` of a `status`: who has the request, and nothing that must be reckoned or looked up. */
export const ONLY_HOLDER = 'holder'

/** The scheduling headers, as text; absent ones undefined. */
export const requestHeaders = z.object({
  id: z
    .string()
    .regex(TOKEN, { error: `expected ${TOKEN_SHAPE}` })
    .optional(),
  deadlineMs: z
    .string()
    .regex(/^[0-9]{1,12}$/, { error: `expected an integer from 1 to ${DEADLINE_MAX_MS}` })
    .transform(Number)
    .pipe(
      z
        .int()
        .min(1, { error: `expected an integer from 1 to ${DEADLINE_MAX_MS}` })
        .max(DEADLINE_MAX_MS, { error: `expected an integer from 1 to ${DEADLINE_MAX_MS}` }),
    )
    .optional(),
  degrade: z
    .string()
    .max(DEGRADE_CHARS_MAX, { error: DEGRADE_SHAPE, abort: true })
    .transform((text) => text.split(',').map((step) => step.trim()))
    .pipe(
      z
        .array(z.enum(DEGRADE_STEPS, { error: DEGRADE_SHAPE }))
        .refine((steps) => new Set(steps).size === steps.length, { error: DEGRADE_SHAPE }),
    )
    .optional(),
  maxAttempts: z
    .string()
    .regex(/^[0-9]{1,2}$/, { error: ATTEMPTS_SHAPE })
    .transform(Number)
    .pipe(z.int().min(1, ATTEMPTS_SHAPE).max(ATTEMPTS_MAX, ATTEMPTS_SHAPE))
    .optional(),
  again: z.literal(NEVER_AGAIN, { error: `expected ${NEVER_AGAIN}, or no such header` }).optional(),
  prefix: z
    .string()
    .regex(TOKEN, { error: `expected ${TOKEN_SHAPE}` })
    .optional(),
  notBeforeMs: z
    .string()
    .regex(/^[0-9]{1,9}$/, { error: NOT_BEFORE_SHAPE })
    .transform(Number)
    .pipe(z.int().max(DEADLINE_MAX_MS, { error: NOT_BEFORE_SHAPE }))
    .optional(),
  batch: z
    .string()
    .regex(TOKEN, { error: `expected ${TOKEN_SHAPE}` })
    .optional(),
})

/** What goes upstream beside the body. */
export interface UpstreamHeaders {
  version?: string
  beta?: string
  traceparent?: string
  tracestate?: string
}

/** The accounting of one ended request. Milliseconds are whole. */
export interface Accounting {
  id: string
  outcome: Outcome
  servedBy: ServedBy
  model: string | null
  attempts: number
  preemptions: number
  queueMs: Millis
  upstreamMs: Millis
  totalMs: Millis
  upstreamRequestId: string | null
  inputTokens: number | null
  outputTokens: number | null
}

/** The accounting of what was refused before any attempt. */
export const unattempted = (id: string, model: string | null = null): Accounting => ({
  id,
  outcome: 'refused',
  servedBy: 'none',
  model,
  attempts: 0,
  preemptions: 0,
  queueMs: 0,
  upstreamMs: 0,
  totalMs: 0,
  upstreamRequestId: null,
  inputTokens: null,
  outputTokens: null,
})

/** A no, with everything the wire says of it. */
export interface Refusal {
  code: RefusalCode
  /** One line for the caller: what, where, what is allowed. Never the caller's own text. */
  message: string
  /** HTTP status; the row's, else the upstream's. */
  status: number
  /** The API's `error.type`. */
  type: string
  retryable: boolean
  retryAfterMs: Millis | null
}

/** Builds a refusal from its row; `more` fills what the row leaves to the upstream. `inVain`: this one is not
 *  retryable, though its kind is. */
export function refusal(
  code: RefusalCode,
  message: string,
  more: {
    retryAfterMs?: Millis
    status?: number | null
    type?: string | null
    inVain?: boolean
  } = {},
): Refusal {
  const row = refusals[code]
  const retryable = row.retryable && more.inVain !== true
  const waits = retryable || (row.retryable && more.retryAfterMs !== undefined)
  return {
    code,
    message,
    status: row.http ?? more.status ?? 502,
    type: row.type ?? more.type ?? 'api_error',
    retryable,
    retryAfterMs: waits ? Math.max(0, Math.round(more.retryAfterMs ?? 1_000)) : null,
  }
}

/** The JSON of an error reply; `upstreamError` is the upstream's own `error` object, passed on whole. */
export function errorBody(of: {
  refusal: Refusal
  requestId: string
  attempts: number
  upstreamError?: unknown
}): string {
  const { code, message, type, retryable, retryAfterMs } = of.refusal
  return JSON.stringify({
    type: 'error',
    error: of.upstreamError ?? { type, message },
    request_id: of.requestId,
    headgate: { code, retryable, retry_after_ms: retryAfterMs, attempts: of.attempts },
  })
}

/** The first thing wrong, as `field: what was expected`. Says the path and never the value. */
export function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0]
  if (issue === undefined) return 'does not fit the schema'
  const path = issue.path.map(String).join('.')
  return `${path === '' ? 'body' : path}: ${issue.message}`
}

export const cancelAnswer = z.union([
  z.object({ cancelled: z.literal(true), state: z.string() }),
  z.object({ cancelled: z.literal(false), reason: z.enum(['unknown_id', 'already_settled']) }),
])
export type CancelAnswer = z.infer<typeof cancelAnswer>

export const statusAnswer = z.object({
  id: z.string(),
  tenant: z.string(),
  lane: z.string(),
  model: z.string(),
  state: z.string().describe(`One of ${REQUEST_STATES.join(', ')}.`),
  attempts: z.int(),
  position: z
    .int()
    .nullable()
    .describe("The same tenant's requests before it in its lane; null: not queued."),
  estimated_wait_ms: z.int().nullable().describe('Null: not queued, or not known.'),
  waits_for: z
    .object({
      reason: waitReason,
      text: z.string().describe('The same for a person, with its numbers.'),
    })
    .nullable()
    .optional()
    .describe('What holds it; null: neither queued nor in back-off.'),
  enqueued_at: z.string().describe('RFC 3339.'),
  instance: z
    .string()
    .optional()
    .describe('Which instance has it, or had it; absent: it waits in the store of jobs.'),
})
export type StatusAnswer = z.infer<typeof statusAnswer>

/** What `submit` is answered with: the job is stored. Milliseconds are whole. */
export const jobReceipt = z.object({
  id: z.string(),
  accepted: z.literal(true),
  /** The same id with the same body was there before. */
  duplicate: z.boolean(),
  result_subject: z.string(),
  position: z.int().nullable(),
  estimated_wait_ms: z.int().nullable(),
})
export type JobReceipt = z.infer<typeof jobReceipt>
