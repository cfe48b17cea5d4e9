/** What `messages` and the doors build by hand, as zod: blocks of headers, whose values are all text, the error
 *  body, and what the operator's subjects answer. Nothing is parsed with these at run time; documents and tests
 *  speak from them. */
import { z } from 'zod'
import { ceType, type EventName } from './events.ts'
import { TOKEN } from './ids.ts'
import { jobsAnswer } from './jobs.ts'
import {
  ATTEMPTS_MAX,
  DEADLINE_MAX_MS,
  DEGRADE_STEPS,
  HEADER,
  ONLY_HOLDER,
  cancelAnswer,
  requestHeaders,
  statusAnswer,
} from './messages.ts'
import { OUTCOMES, SERVED_BY } from './outcome.ts'
import { refusals, type RefusalCode } from './refusals.ts'
import { snapshot } from './snapshot.ts'
import type { AdminOp } from './subjects.ts'
import { budgetsAnswer } from './budget-ask.ts'
import { usageReport } from './usage-report.ts'

// ---- headers of what is asked ----

const steps = DEGRADE_STEPS.join('|')

export const requestHeaderBlock = z.object({
  [HEADER.id]: requestHeaders.shape.id.describe(
    "The caller's id, for cancel and status; made by Headgate if absent; unique per tenant while live.",
  ),
  [HEADER.deadline]: requestHeaders.shape.deadlineMs.describe(
    `Remaining budget in ms: queue, retries and stream together; from 1 to ${DEADLINE_MAX_MS}. Absent: the lane's timeout_ms.`,
  ),
  [HEADER.degrade]: z
    .string()
    .regex(new RegExp(`^\\s*(${steps})\\s*(,\\s*(${steps})\\s*)*$`))
    .optional()
    .describe(
      'What may be done instead when the call cannot be made in time, tried in order. Absent: refuse.',
    ),
  [HEADER.maxAttempts]: requestHeaders.shape.maxAttempts.describe(
    `Tries in all, the first included; from 1 to ${ATTEMPTS_MAX}. Absent: the lane's max_attempts.`,
  ),
  [HEADER.prefix]: requestHeaders.shape.prefix.describe(
    "Names the cached beginning that this call shares with others of its tenant and model, which wait for the first of them where scheduling.prefix_wait_ms says so. Absent: the body's cache_control says it.",
  ),
  [HEADER.again]: requestHeaders.shape.again.describe(
    'For the HTTP door and the client library: a call whose instance died before it said a word is not asked again, since it may have run. Absent: it is, once.',
  ),
  [HEADER.version]: upstreamText('Sent upstream as it is. Absent: the version of the upstream.'),
  [HEADER.beta]: upstreamText('Sent upstream as it is.'),
  [HEADER.traceparent]: z
    .string()
    .optional()
    .describe('W3C trace context. One that is not well-formed is left out.'),
  [HEADER.tracestate]: z.string().optional().describe('W3C trace context.'),
})

/** A job is taken over by itself, and has two more. */
export const jobHeaderBlock = requestHeaderBlock.omit({ [HEADER.again]: true }).extend({
  [HEADER.notBefore]: requestHeaders.shape.notBeforeMs.describe(
    'Ms from its acceptance before which it must not start; less than its deadline. Absent: 0.',
  ),
  [HEADER.batch]: requestHeaders.shape.batch.describe(
    'The batch that it belongs to: a name for what is listed together. Absent: none.',
  ),
})

function upstreamText(says: string) {
  return z
    .string()
    .regex(/^[\x20-\x7e]{0,1024}$/)
    .optional()
    .describe(says)
}

export const auxRequestHeaderBlock = requestHeaderBlock.pick({
  [HEADER.version]: true,
  [HEADER.beta]: true,
  [HEADER.traceparent]: true,
  [HEADER.tracestate]: true,
})

export const statusHeaderBlock = z.object({
  [HEADER.only]: z
    .literal(ONLY_HOLDER)
    .optional()
    .describe(
      'Only which instance has the live request: nothing is reckoned and no job is looked for. Absent: all of it.',
    ),
})

/** Beside the answer to a status. */
export const statusAnswerHeaderBlock = z.object({
  [HEADER.instance]: z.string().regex(TOKEN).optional().describe('Which instance says so.'),
})

export const fetchHeaderBlock = z.object({
  [HEADER.waitMs]: z
    .string()
    .regex(/^[0-9]{1,12}$/)
    .optional()
    .describe('How long to wait for a result that is not there yet. Absent: 0.'),
})

// ---- headers of what is answered ----

const whole = (says: string) =>
  z
    .string()
    .regex(/^[0-9]{1,15}$/)
    .describe(says)

export const accountingHeaderBlock = z.object({
  [HEADER.id]: z.string().max(64).describe('The id of the request; `-` where there is none.'),
  [HEADER.outcome]: z.enum(OUTCOMES).describe('How it ended; it ends in exactly one.'),
  [HEADER.servedBy]: z.enum(SERVED_BY).describe('Who gave the answer.'),
  [HEADER.model]: z
    .string()
    .max(256)
    .optional()
    .describe('Absent: it was refused before a model was known.'),
  [HEADER.attempts]: whole('Attempts that were made.'),
  [HEADER.preemptions]: whole('Attempts that were ended for someone more urgent.'),
  [HEADER.ambiguous]: whole(
    'Attempts whose instance died under them, so that each may have run beside the one that is told: of a job, and of a request that its client or the HTTP door asked again. Absent: none.',
  ).optional(),
  [HEADER.queueMs]: whole('Milliseconds of waiting.'),
  [HEADER.upstreamMs]: whole('Milliseconds of attempts.'),
  [HEADER.totalMs]: whole('Milliseconds from arrival to answer.'),
  [HEADER.requestId]: z.string().max(256).optional().describe("The upstream's id, where known."),
  [HEADER.inputTokens]: whole('As the upstream counted them, where known.').optional(),
  [HEADER.outputTokens]: whole('As the upstream counted them, where known.').optional(),
})

export const streamEndHeaderBlock = accountingHeaderBlock.extend({
  [HEADER.events]: whole('Upstream events sent, pings not counted, so that a gap shows.'),
})

export const errorHeaderBlock = accountingHeaderBlock.extend({
  [HEADER.errorCode]: z
    .string()
    .regex(/^[1-5][0-9]{2}$/)
    .describe('An HTTP status.'),
  [HEADER.error]: z
    .string()
    .regex(/^[\x20-\x7e]{1,512}$/)
    .describe('One line: the code, and what was wrong.'),
  [HEADER.instance]: z
    .string()
    .regex(TOKEN)
    .optional()
    .describe('Of `unknown_id`: which instance does not know it.'),
})

export const auxHeaderBlock = z.object({
  [HEADER.requestId]: z.string().optional().describe("The upstream's id, where known."),
})

/** CloudEvents 1.0 in NATS binary mode, of events of these names. */
export const eventHeaderBlock = (names: readonly [EventName, ...EventName[]]) =>
  z.object({
    'ce-specversion': z.literal('1.0'),
    'ce-type': z.enum(names.map(ceType) as [string, ...string[]]),
    'ce-source': z
      .string()
      .regex(/^\/headgate\/[^/]+$/)
      .describe('`/headgate/<instance>`'),
    'ce-id': z.string().min(1).describe('Unique per source, over restarts too.'),
    'ce-time': z.string().meta({ format: 'date-time' }),
    'ce-subject': z
      .string()
      .min(1)
      .describe('`<tenant>/<id>`, the tenant alone, the route, or the name of a guardrail.'),
    'content-type': z.literal('application/json'),
    'ce-traceparent': z
      .string()
      .optional()
      .describe("The caller's trace context, where it gave one."),
    'ce-tracestate': z.string().optional(),
  })

// ---- bodies ----

const codes = Object.keys(refusals) as [RefusalCode, ...RefusalCode[]]
const codesWhere = (retryable: boolean) =>
  codes.filter((code) => refusals[code].retryable === retryable) as [RefusalCode, ...RefusalCode[]]

export const refusalCode = z.enum(codes).describe(
  codes
    .map((code) => {
      const { http, type, retryable, means } = refusals[code]
      const status = http === null ? "the upstream's status" : `${http} ${type}`
      return `- \`${code}\` (${status}${retryable ? ', retryable' : ''}): ${means}`
    })
    .join('\n'),
)

const attempts = z.int().min(0).describe('Attempts that were made.')

/** The API's error JSON with one more key, as `errorBody` writes it. */
export const errorAnswer = z.object({
  type: z.literal('error'),
  error: z
    .looseObject({ type: z.string(), message: z.string() })
    .describe("Ours, or the upstream's own, passed on whole."),
  request_id: z.string().describe("The upstream's, else the `Headgate-Id`."),
  headgate: z.union([
    z
      .object({
        code: z.enum(codesWhere(true)),
        retryable: z.literal(true),
        retry_after_ms: z.int().min(0),
        attempts,
      })
      .describe('The same again, later, may succeed.'),
    z
      .object({
        code: z.enum(codesWhere(false)),
        retryable: z.literal(false),
        retry_after_ms: z.null(),
        attempts,
      })
      .describe('The same again would fail again.'),
  ]),
})

/** `$SRV` answers (NATS ADR-32), as far as all three verbs agree. */
export const serviceAnswer = z.looseObject({
  type: z.enum([
    'io.nats.micro.v1.ping_response',
    'io.nats.micro.v1.info_response',
    'io.nats.micro.v1.stats_response',
  ]),
  name: z.string(),
  id: z.string().regex(TOKEN).describe('The instance.'),
  version: z.string(),
  metadata: z.record(z.string(), z.string()),
})

/** What became of a switch, beside being in force. */
const kept = {
  instance: z.string().describe('Which instance answers; each obeys.'),
  obeyed_by: z
    .array(z.string())
    .describe('Instances that have it in force: the one that answers first, then the others.'),
  durable: z
    .boolean()
    .describe(
      'It is stored. False: forgotten when the last instance stops, unless stored by then.',
    ),
  reason: z
    .string()
    .optional()
    .describe('Why it is not durable; it is tried again until it is. Absent: it is durable.'),
}

/** What the operator's subjects and `POST /api/admin/<op>` answer. */
export const adminAnswers = {
  snapshot,
  config: z.union([
    z
      .object({
        emergency: z.boolean(),
        file: z
          .looseObject({})
          .describe("In force, with defaults; of tenants' keys only how many."),
        upstreams: z
          .record(
            z.string(),
            z.object({
              base_url: z.string().describe('In use.'),
              base_url_from: z.enum(['configuration', 'ANTHROPIC_BASE_URL']),
              key: z
                .enum(['set', 'not set'])
                .describe('Whether the variable that api_key_env names holds one.'),
            }),
          )
          .describe('Where each upstream answers, and whose word that is.'),
      })
      .describe('What is in force.'),
    z
      .object({ applied: z.literal(true), warnings: z.array(z.string()) })
      .describe('What was sent is in force.'),
  ]),
  emergency: z.object({ emergency: z.boolean(), ...kept }),
  lane: z.object({ lane: z.string(), paused: z.boolean(), ...kept }),
  upstream: z.object({
    upstream: z.string(),
    testing: z.boolean().describe('False: it is not blocked.'),
  }),
  status: statusAnswer,
  cancel: cancelAnswer,
  jobs: jobsAnswer,
  usage: usageReport,
  budgets: budgetsAnswer,
  drain: z.object({ draining: z.literal(true), drain_ms: z.int().min(0) }),
} satisfies Record<AdminOp, z.ZodType>
