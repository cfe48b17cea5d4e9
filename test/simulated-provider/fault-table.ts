/** What each kind of fault must look like from outside. */
import Anthropic from '@anthropic-ai/sdk'
import type { FaultKind, FaultSpec } from '../../services/simulated-provider/listener.ts'

interface Refused {
  status: number
  sdk: abstract new (...args: never[]) => Error
  type: string
  code?: string
  retryAfter?: string
  executed?: boolean
  spec?: Partial<FaultSpec>
}

export const refused: Partial<Record<FaultKind, Refused>> = {
  storm_529: {
    status: 529,
    sdk: Anthropic.OverloadedError,
    type: 'overloaded_error',
    retryAfter: '0',
  },
  compaction_unavailable: {
    status: 529,
    sdk: Anthropic.OverloadedError,
    type: 'overloaded_error',
    code: 'compaction_unavailable',
  },
  unavailable_503: {
    status: 503,
    sdk: Anthropic.ServiceUnavailableError,
    type: 'overloaded_error',
  },
  cmek_unreachable: {
    status: 503,
    sdk: Anthropic.CMEKKeyUnreachableError,
    type: 'api_error',
    code: 'cmek_key_unreachable',
  },
  rate_limited_requests: {
    status: 429,
    sdk: Anthropic.RateLimitError,
    type: 'rate_limit_error',
    retryAfter: '5',
  },
  rate_limited_input: {
    status: 429,
    sdk: Anthropic.RateLimitError,
    type: 'rate_limit_error',
    retryAfter: '5',
  },
  rate_limited_output: {
    status: 429,
    sdk: Anthropic.RateLimitError,
    type: 'rate_limit_error',
    retryAfter: '5',
  },
  rate_limited_bare: { status: 429, sdk: Anthropic.RateLimitError, type: 'rate_limit_error' },
  concurrent_connections: { status: 429, sdk: Anthropic.RateLimitError, type: 'rate_limit_error' },
  ramp_limited: {
    status: 429,
    sdk: Anthropic.RampLimitExceededError,
    type: 'rate_limit_error',
    code: 'ramp_limit_exceeded',
    retryAfter: '5',
  },
  spend_enforced: {
    status: 429,
    sdk: Anthropic.EnforcedSpendLimitReachedError,
    type: 'rate_limit_error',
    code: 'enforced_spend_limit_reached',
  },
  spend_contract: {
    status: 429,
    sdk: Anthropic.ContractSpendLimitReachedError,
    type: 'rate_limit_error',
    code: 'contract_spend_limit_reached',
    retryAfter: '3600',
  },
  spend_specified: { status: 400, sdk: Anthropic.BadRequestError, type: 'invalid_request_error' },
  organization_on_hold: {
    status: 400,
    sdk: Anthropic.OrganizationOnHoldError,
    type: 'invalid_request_error',
    code: 'organization_on_hold',
  },
  unauthorized_401: {
    status: 401,
    sdk: Anthropic.AuthenticationError,
    type: 'authentication_error',
  },
  payment_402: { status: 402, sdk: Anthropic.PaymentRequiredError, type: 'billing_error' },
  forbidden_403: { status: 403, sdk: Anthropic.PermissionDeniedError, type: 'permission_error' },
  bad_request_400: { status: 400, sdk: Anthropic.BadRequestError, type: 'invalid_request_error' },
  not_found_404: { status: 404, sdk: Anthropic.NotFoundError, type: 'not_found_error' },
  timeout_408: {
    status: 408,
    sdk: Anthropic.RequestTimeoutError,
    type: 'timeout_error',
    executed: true,
  },
  client_closed_499: {
    status: 499,
    sdk: Anthropic.ClientClosedRequestError,
    type: 'api_error',
    executed: true,
  },
  internal_500: {
    status: 500,
    sdk: Anthropic.InternalServerError,
    type: 'api_error',
    executed: true,
  },
  overloaded_500: { status: 500, sdk: Anthropic.InternalServerError, type: 'api_error' },
  not_implemented_501: { status: 501, sdk: Anthropic.NotImplementedError, type: 'api_error' },
  gateway_timeout_504: {
    status: 504,
    sdk: Anthropic.GatewayTimeoutError,
    type: 'timeout_error',
    executed: true,
  },
  status: {
    status: 422,
    sdk: Anthropic.UnprocessableEntityError,
    type: 'invalid_request_error',
    spec: { status: 422 },
  },
}

export const pages: Partial<Record<FaultKind, number>> = {
  too_large_413: 413,
  bad_gateway_502: 502,
  unavailable_html_503: 503,
  origin_timeout_524: 524,
  redirect_302: 302,
  html_200: 200,
}

const START = ['message_start', 'ping', 'content_block_start']

export const broken: Partial<
  Record<
    FaultKind,
    { spec?: Partial<FaultSpec>; stream: boolean; events: string[]; ended: string; bytes?: number }
  >
> = {
  reset_before_headers: { stream: false, events: [], ended: 'no answer' },
  reset_mid_json: { stream: false, events: [], ended: 'broken' },
  reset_mid_stream: { stream: true, events: START, ended: 'broken' },
  no_message_stop: {
    stream: true,
    events: [
      ...START,
      'content_block_delta',
      'content_block_delta',
      'content_block_delta',
      'content_block_stop',
      'message_delta',
    ],
    ended: 'cleanly',
  },
  empty_200: { stream: true, events: [], ended: 'cleanly', bytes: 0 },
  error_event_first: { stream: true, events: ['error'], ended: 'cleanly' },
  error_event_late: {
    stream: true,
    events: [...START, 'content_block_delta', 'content_block_delta', 'error'],
    ended: 'cleanly',
  },
}

export const silent: Partial<Record<FaultKind, { stream: boolean; status: number | null }>> = {
  hang_before_headers: { stream: false, status: null },
  stalled_body: { stream: false, status: 200 },
  stalled_stream: { stream: true, status: 200 },
}
