/** Every no that Headgate says: code, meaning, whether the same again may succeed later, HTTP status,
 *  the API's error type, and who must act. Source: wire contract, section An error. */

interface Row {
  means: string
  retryable: boolean
  /** HTTP status; null where it is the upstream's last one. */
  http: number | null
  /** The API's error type; null where it is the upstream's. */
  type: string | null
  act: 'caller' | 'operator' | 'nobody'
}

const row = (
  http: number | null,
  type: string | null,
  retryable: boolean,
  act: Row['act'],
  means: string,
): Row => ({ means, retryable, http, type, act })

export const refusals = {
  invalid_request: row(
    400,
    'invalid_request_error',
    false,
    'caller',
    'the body or a header does not fit the contract',
  ),
  // A 404 would be taken for a missing model.
  unknown_lane: row(
    400,
    'invalid_request_error',
    false,
    'caller',
    'no such lane in the configuration',
  ),
  unknown_model: row(404, 'not_found_error', false, 'caller', 'no route serves the model'),
  unauthenticated: row(
    401,
    'authentication_error',
    false,
    'caller',
    'no key, or one that no tenant holds',
  ),
  forbidden: row(
    403,
    'permission_error',
    false,
    'caller',
    'the tenant is rejected, or the lane is not allowed to it',
  ),
  payload_too_large: row(
    413,
    'request_too_large',
    false,
    'caller',
    'the body is over limits.request_bytes',
  ),
  duplicate_id: row(409, 'conflict_error', false, 'caller', 'the id is live already'),
  queue_full: row(
    429,
    'rate_limit_error',
    true,
    'caller',
    'the lane or tenant queue holds all it may',
  ),
  tenant_limit: row(
    429,
    'rate_limit_error',
    true,
    'caller',
    "the tenant's own limit of the minute is used up",
  ),
  budget_exhausted: row(
    402,
    'billing_error',
    false,
    'caller',
    "the tenant's budget of the day or month is used up",
  ),
  deadline_unreachable: row(
    429,
    'rate_limit_error',
    true,
    'caller',
    'predicted wait and service exceed the deadline',
  ),
  deadline_exceeded: row(
    504,
    'timeout_error',
    false,
    'caller',
    'the deadline passed, queued or running',
  ),
  breaker_open: row(
    529,
    'overloaded_error',
    true,
    'nobody',
    'the breaker is open for longer than the caller can wait',
  ),
  retries_exhausted: row(null, null, true, 'nobody', 'attempts or retry budget used up'),
  upstream_error: row(null, null, false, 'caller', 'the upstream said no, and would again'),
  stream_broken: row(
    502,
    'api_error',
    false,
    'caller',
    'the upstream broke after the first event was forwarded',
  ),
  cancelled: row(499, 'api_error', false, 'nobody', 'cancelled, or the caller is gone'),
  draining: row(503, 'api_error', true, 'nobody', 'this instance is stopping'),
  unknown_id: row(
    404,
    'not_found_error',
    false,
    'caller',
    'no live instance and no store knows the id',
  ),
  pending: row(202, 'timeout_error', true, 'nobody', 'not settled yet'),
} as const satisfies Record<string, Row>

export type RefusalCode = keyof typeof refusals

/** Why, in the words of the control laws (section 13); one step finer than the code on the wire. */
export const reasons = {
  INVALID: 'invalid_request',
  QUEUE_FULL: 'queue_full',
  SHED: 'queue_full',
  STALE: 'queue_full',
  TENANT_LIMIT: 'tenant_limit',
  TENANT_LIMIT_FIRM: 'tenant_limit',
  BUDGET: 'budget_exhausted',
  BUDGET_FIRM: 'budget_exhausted',
  DOOMED: 'deadline_unreachable',
  BREAKER_OPEN: 'breaker_open',
  ATTEMPTS: 'retries_exhausted',
  RETRY_BUDGET: 'retries_exhausted',
  RETRY_AFTER_TOO_LONG: 'retries_exhausted',
  TOO_LATE: 'retries_exhausted',
  MAY_HAVE_ACTED: 'retries_exhausted',
  SPEND_LIMIT: 'upstream_error',
  UPSTREAM_BLOCKED: 'upstream_error',
  UPSTREAM_REJECTED: 'upstream_error',
  STREAM_BROKEN: 'stream_broken',
  DEADLINE: 'deadline_exceeded',
  CANCELLED: 'cancelled',
  SHUTDOWN: 'draining',
  UNKNOWN_LANE: 'unknown_lane',
  UNKNOWN_MODEL: 'unknown_model',
  FORBIDDEN: 'forbidden',
  DUPLICATE_ID: 'duplicate_id',
  TOO_LARGE: 'payload_too_large',
} as const satisfies Record<string, RefusalCode>

export type Reason = keyof typeof reasons

/** Reasons for which a lesser service may stand in, if the caller opted in (control laws, section 13). */
const LADDER: ReadonlySet<Reason> = new Set<Reason>([
  'QUEUE_FULL',
  'SHED',
  'STALE',
  'TENANT_LIMIT',
  'BUDGET',
  'DOOMED',
  'BREAKER_OPEN',
  'ATTEMPTS',
  'RETRY_BUDGET',
  'RETRY_AFTER_TOO_LONG',
  'TOO_LATE',
  'SPEND_LIMIT',
  'UPSTREAM_BLOCKED',
])
export const onLadder = (reason: Reason): boolean => LADDER.has(reason)
