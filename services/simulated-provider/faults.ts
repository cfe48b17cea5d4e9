/** Every way in which the simulated provider fails, as data. A row says what happens and which knobs of
 *  a spec it takes; `behaviour` makes an answer of it. */
import type { Millis, Tokens } from '#contracts/units'
import type { ErrorType } from './api-error.ts'
import type { Limiter } from './quota.ts'

/** What somebody asks for. A fault lasts until it is cleared, unless `forMs` or `times` ends it. */
export interface FaultSpec {
  kind: FaultKind
  /** How long it lasts, in real time. */
  forMs?: Millis
  /** How many requests it hits. */
  times?: number
  /** How likely it hits a request that fits; 1 if absent. */
  probability?: number
  /** Only this model, or this class of models. */
  model?: string
  /** Only this endpoint; `messages` if absent. */
  path?: FaultPath
  /** Whole events sent before the fault; for `error_event_late`, deltas. */
  after?: number
  status?: number
  /** Seconds; null sends none. */
  retryAfter?: number | null
  /** How long before the status line, the cut or the close; divided by `speed`. */
  waitMs?: Millis
  errorType?: ErrorType
  message?: string
  /** `error.details.error_code`. */
  code?: string
  /** Whether the ledger says that the model ran. */
  executed?: boolean
  capacity?: number
  rpm?: number
  itpm?: Tokens
  otpm?: Tokens
}

/** `batches` is where one is made; `batch_look`: its state, the list, a cancellation. */
export const FAULT_PATHS = [
  'messages',
  'count_tokens',
  'models',
  'batches',
  'batch_look',
  'batch_results',
  'any',
] as const
export type FaultPath = (typeof FAULT_PATHS)[number]

/** What a fault does to an answer. */
export type Shape =
  /** An error in the API's own words. */
  | {
      does: 'error'
      status: number
      message: string
      type?: ErrorType
      code?: string
      retryAfter?: number
      shouldRetry?: true
      limiter?: Limiter
      /** True where rate-limit headers are missing. */
      bare?: true
    }
  /** A page of the edge. */
  | { does: 'page'; status: number; title: string; redirect?: string }
  /** A 200 that is none. */
  | { does: 'nonsense'; body: 'empty' | 'html' | 'broken-json' }
  /** No status line, ever. */
  | { does: 'silence'; ending: 'reset' | 'stall' }
  /** The right answer, cut. `partial` also sends half of what would come next. */
  | { does: 'cut'; ending: 'early' | 'reset' | 'stall'; after: number; partial: boolean }
  /** The right stream, then an `error` event; counted in events or in deltas. */
  | {
      does: 'error-event'
      after: number
      counts: 'events' | 'deltas'
      type: ErrorType
      message: string
    }
  /** The right answer, differently; combines with other faults. */
  | { does: 'modify'; what: 'late' | 'ragged' | 'close'; waitMs: Millis }
  /** Other conditions for everybody. */
  | { does: 'condition'; what: 'capacity' | 'limits' }

export interface FaultRow {
  means: string
  shape: Shape
  /** Requests that it can hit; streamed, whole or both. */
  hits: 'stream' | 'whole' | 'both'
  takes: readonly FaultKnob[]
  /** The model ran; null where the row has nothing to say. */
  executed: boolean | null
}

export type FaultKnob = Exclude<keyof FaultSpec, (typeof COMMON_KNOBS)[number]>
export const COMMON_KNOBS = ['kind', 'forMs', 'times', 'probability', 'model', 'path'] as const

type ErrorShape = Extract<Shape, { does: 'error' }>

const REFUSAL = ['retryAfter', 'message', 'code', 'waitMs', 'executed'] as const

/** A no in JSON; `executed` where the model may have run before it. */
const error = (means: string, shape: Omit<ErrorShape, 'does'>, executed = false): FaultRow => ({
  means,
  shape: { does: 'error', ...shape },
  hits: 'both',
  takes: REFUSAL,
  executed,
})

const page = (status: number, title: string, redirect?: string): FaultRow => ({
  means: `${status} as an HTML page from the edge`,
  shape: { does: 'page', status, title, ...(redirect === undefined ? {} : { redirect }) },
  hits: 'both',
  takes: ['waitMs', 'executed'],
  executed: status === 524,
})

const cut = (
  means: string,
  hits: FaultRow['hits'],
  shape: { ending: 'early' | 'reset' | 'stall'; after: number; partial: boolean },
): FaultRow => ({
  means,
  shape: { does: 'cut', ...shape },
  hits,
  takes: hits === 'stream' ? ['after'] : [],
  executed: true,
})

const limited = (limiter: Limiter, unit: string): FaultRow =>
  error(`429: the bucket of ${unit} is empty, with headers`, {
    status: 429,
    message: `This request would exceed your organization's rate limit of ${unit} per minute`,
    retryAfter: 5,
    limiter,
  })

const modify = (means: string, what: 'late' | 'ragged' | 'close', waitMs: Millis): FaultRow => ({
  means,
  shape: { does: 'modify', what, waitMs },
  hits: 'both',
  takes: what === 'ragged' ? [] : ['waitMs'],
  executed: null,
})

const SPEND =
  'You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.'

export const faultKinds = {
  // ---- overload ----
  storm_529: error('529, retry-after 0, x-should-retry true', {
    status: 529,
    message: 'Overloaded',
    retryAfter: 0,
    shouldRetry: true,
  }),
  overloaded: {
    means: 'a hidden capacity of `capacity` (8): 529 the likelier, the more are in flight',
    shape: { does: 'condition', what: 'capacity' },
    hits: 'both',
    takes: ['capacity'],
    executed: null,
  },
  compaction_unavailable: error('529 of the compaction service', {
    status: 529,
    message: 'Compaction is temporarily unavailable',
    code: 'compaction_unavailable',
  }),
  unavailable_503: error('503 in JSON', {
    status: 503,
    message: 'Service temporarily unavailable',
  }),
  cmek_unreachable: error('503: the customer key cannot be reached', {
    status: 503,
    message: 'The customer-managed encryption key could not be reached',
    type: 'api_error',
    code: 'cmek_key_unreachable',
  }),

  // ---- rate limits ----
  rate_limited_requests: limited('requests', 'requests'),
  rate_limited_input: limited('input-tokens', 'input tokens'),
  rate_limited_output: limited('output-tokens', 'output tokens'),
  rate_limited_bare: error('429 without a word why', {
    status: 429,
    message: 'Error',
    bare: true,
  }),
  concurrent_connections: error('429 that speaks of connections, without headers', {
    status: 429,
    message:
      'Number of concurrent connections has exceeded your rate limit. Please try again later.',
    bare: true,
  }),
  ramp_limited: error('429: usage grew too fast', {
    status: 429,
    message: 'This request would exceed the acceleration limit of your organization',
    code: 'ramp_limit_exceeded',
    retryAfter: 5,
  }),
  quota_drop: {
    means: 'other limits (`rpm`, `itpm`, `otpm`) for a while',
    shape: { does: 'condition', what: 'limits' },
    hits: 'both',
    takes: ['rpm', 'itpm', 'otpm'],
    executed: null,
  },

  // ---- the account ----
  spend_enforced: error('429: the monthly spend limit, without retry-after', {
    status: 429,
    message: 'Your organization has reached its enforced monthly spend limit',
    code: 'enforced_spend_limit_reached',
  }),
  spend_contract: error('429: the contract is used up', {
    status: 429,
    message: 'Your organization has reached the spend limit of its contract',
    code: 'contract_spend_limit_reached',
    retryAfter: 3_600,
  }),
  spend_specified: error('400: a limit that the customer set', { status: 400, message: SPEND }),
  organization_on_hold: error('400: the organisation is on hold', {
    status: 400,
    message: 'This organization is on hold. Please contact support.',
    code: 'organization_on_hold',
  }),
  unauthorized_401: error('401: the key is not known', {
    status: 401,
    message: 'invalid x-api-key',
  }),
  payment_402: error('402: no credit', {
    status: 402,
    message: 'Your credit balance is too low to access the Anthropic API.',
  }),
  forbidden_403: error('403: the key may not', {
    status: 403,
    message: 'Your API key does not have permission to use the specified resource.',
  }),

  // ---- other statuses ----
  bad_request_400: error('400: the request is wrong', {
    status: 400,
    message: 'messages: invalid',
  }),
  not_found_404: error('404: no such model', { status: 404, message: 'model: not found' }),
  too_large_413: page(413, 'Request Entity Too Large'),
  timeout_408: error('408: may have run', { status: 408, message: 'Request timed out' }, true),
  client_closed_499: error('499', { status: 499, message: 'Client closed request' }, true),
  internal_500: error('500: may have run', { status: 500, message: 'Internal server error' }, true),
  overloaded_500: error('500 whose text says overload', { status: 500, message: 'Overloaded' }),
  not_implemented_501: error('501', { status: 501, message: 'Not implemented' }),
  bad_gateway_502: page(502, 'Bad Gateway'),
  unavailable_html_503: page(503, 'Service Temporarily Unavailable'),
  gateway_timeout_504: error(
    '504: may have run',
    { status: 504, message: 'Gateway timeout' },
    true,
  ),
  origin_timeout_524: page(524, 'A timeout occurred'),
  redirect_302: page(302, 'Found', 'https://example.invalid/login'),
  status: {
    ...error('any `status` (needed) in JSON', { status: 418, message: 'Simulated status' }),
    takes: ['status', 'errorType', ...REFUSAL],
  },

  // ---- time ----
  slow_headers: modify('the right answer, `waitMs` (5,000) later', 'late', 5_000),
  hang_before_headers: {
    means: 'a connection that stays silent',
    shape: { does: 'silence', ending: 'stall' },
    hits: 'both',
    takes: ['executed'],
    executed: true,
  },
  stalled_body: cut('headers and the first bytes, then nothing', 'both', {
    ending: 'stall',
    after: 0,
    partial: true,
  }),
  stalled_stream: cut('`after` (3) events, then nothing', 'stream', {
    ending: 'stall',
    after: 3,
    partial: false,
  }),

  // ---- broken connections ----
  reset_before_headers: {
    means: 'connection reset in place of a status line, after `waitMs` (0)',
    shape: { does: 'silence', ending: 'reset' },
    hits: 'both',
    takes: ['waitMs', 'executed'],
    executed: true,
  },
  reset_mid_json: cut('connection reset in the middle of the body', 'whole', {
    ending: 'reset',
    after: 0,
    partial: true,
  }),
  reset_mid_stream: cut('`after` (3) events and a half, then connection reset', 'stream', {
    ending: 'reset',
    after: 3,
    partial: true,
  }),
  no_message_stop: cut(
    'a stream that ends cleanly without message_stop; after all else, or `after`',
    'stream',
    {
      ending: 'early',
      after: Infinity,
      partial: false,
    },
  ),
  idle_close: modify('connection closed `waitMs` (0) after the answer', 'close', 0),

  // ---- answers that make no sense ----
  empty_200: nonsense('200 without a body', 'empty'),
  html_200: nonsense('200 with an HTML page', 'html'),
  broken_json_200: nonsense('200 with broken JSON', 'broken-json'),

  // ---- streams ----
  error_event_first: errorEvent('an `error` event as the first of a 200', 0, 'events'),
  error_event_late: errorEvent('an `error` event after `after` (2) deltas', 2, 'deltas'),
  ragged: modify('bytes cut inside frames, CRLF and characters', 'ragged', 0),
} as const satisfies Record<string, FaultRow>

export type FaultKind = keyof typeof faultKinds
export const FAULT_KINDS = Object.keys(faultKinds) as FaultKind[]
export const faultRow = (kind: FaultKind): FaultRow => faultKinds[kind]

function nonsense(means: string, body: 'empty' | 'html' | 'broken-json'): FaultRow {
  const hits = body === 'broken-json' ? 'whole' : 'both'
  return { means, shape: { does: 'nonsense', body }, hits, takes: [], executed: true }
}

function errorEvent(means: string, after: number, counts: 'events' | 'deltas'): FaultRow {
  return {
    means,
    shape: { does: 'error-event', after, counts, type: 'overloaded_error', message: 'Overloaded' },
    hits: 'stream',
    takes: [...(counts === 'deltas' ? (['after'] as const) : []), 'errorType', 'message', 'code'],
    executed: after > 0,
  }
}
