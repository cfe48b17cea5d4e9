/** What a failed attempt was: the one place where the upstream's behaviour becomes a verdict.
 *  Source: the error table of the Anthropic fact sheet and control laws, section 2. Rows are tried from the
 *  top, so the particular stands above the general; a row's name is the verdict's `cause`.
 *  One rule stands outside the table: once an event was forwarded, every failure of the upstream is a cut,
 *  whatever its row says.
 *  Texts are matched from their beginning: an upstream's message may quote the tenant's own words, and
 *  nobody may write "usage limits" into a prompt and stop a key for all. */
import type { AbortWhy, Verdict, VerdictKind } from '#contracts/verdict'
import type { UpstreamError } from './upstream-error.ts'

/** How the attempt stopped. */
export type Stop =
  /** Our own abort. */
  | 'aborted'
  /** A status outside 2xx. */
  | 'status'
  /** An `error` event, or an error object under 200. */
  | 'error_event'
  /** The transport failed: connection, reset, protocol. */
  | 'transport'
  /** No response byte in time. */
  | 'silent'
  /** No further byte in time. */
  | 'idle'
  /** A clean end without `message_stop`. */
  | 'end'
  /** 2xx, and neither JSON nor a stream. */
  | 'content_type'
  /** 2xx in the other form than asked for, and it cannot be put into that. */
  | 'wrong_form'
  /** 2xx and JSON, but neither a message nor an error, where a stream was asked for. */
  | 'no_message'
  /** Its content coding does not unpack. */
  | 'garbled'
  /** 2xx, and the body or an event's data is not the JSON it should be. */
  | 'not_json'
  /** A body or an event beyond the limit. */
  | 'too_large'

/** Everything that is known when an attempt has failed. */
export interface Signs {
  stop: Stop
  why: AbortWhy | null
  /** True when the request, or a part of it, may have left this process. */
  sent: boolean
  /** True when an event was passed on. */
  forwarded: boolean
  status: number | null
  error: UpstreamError
  /** The transport's own code. */
  rawCode: string | null
  /** A 429 that says how long, or which limit: a usable retry-after or any rate-limit header. */
  explained: boolean
  /** The answer's `x-should-retry`; null: it says nothing. */
  shouldRetry: boolean | null
}

export type Finding = Pick<Verdict, 'kind' | 'cause' | 'mayHaveRun'> &
  Pick<Verdict, 'spendLimit' | 'namesConcurrency' | 'alarm'>

interface Row {
  cause: string
  stop?: Stop
  /** A status, or the first and last of a range. */
  status?: number | readonly [first: number, last: number]
  type?: string
  code?: string
  text?: RegExp
  rawCode?: RegExp
  sent?: boolean
  explained?: boolean
  shouldRetry?: boolean
  /** Whether any byte of a 2xx answer's head came. */
  answered?: boolean
  kind: VerdictKind
  /** Whether the upstream may have executed it; `if_sent`: unless nothing left this process. */
  ran: boolean | 'if_sent'
  flag?: 'spendLimit' | 'namesConcurrency' | 'alarm'
}

const SPEND_TEXT = /^[a-z ,]{0,80}specified (workspace )?api usage limits/i
const HOLD_TEXT = /^[a-z ,]{0,80}organi[sz]ation[a-z ,]{0,40} on hold/i
const CREDIT_TEXT = /^your credit balance is too low/i
const CONCURRENCY_TEXT = /number of concurrent connections/i
const OVERLOADED_TEXT = /\boverloaded\b/i
const UNSENDABLE = /^(UND_ERR_INVALID_ARG|UND_ERR_NOT_SUPPORTED|ERR_INVALID_)/
const DNS = /^(ENOTFOUND|EAI_)/
const TLS = /^(CERT_|ERR_TLS_|ERR_SSL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_)/

// prettier-ignore
const rows: readonly Row[] = [
  { cause: 'aborted', stop: 'aborted', kind: 'ended', ran: 'if_sent' },

  { cause: 'user_spend_limit', stop: 'status', status: 400, text: SPEND_TEXT, kind: 'key_stop', ran: false, flag: 'spendLimit' },
  { cause: 'organization_on_hold', stop: 'status', status: 400, code: 'organization_on_hold', kind: 'key_stop', ran: false },
  { cause: 'organization_on_hold', stop: 'status', status: 400, text: HOLD_TEXT, kind: 'key_stop', ran: false },
  { cause: 'credit_exhausted', stop: 'status', status: 400, text: CREDIT_TEXT, kind: 'key_stop', ran: false },
  { cause: 'request_body_timeout', stop: 'status', status: 400, code: 'request_body_timeout', kind: 'rejected', ran: false },
  { cause: 'unauthenticated', stop: 'status', status: 401, kind: 'rejected', ran: false },
  { cause: 'linked_spend_limit', stop: 'status', status: 402, code: 'linked_organization_spend_limit_reached', kind: 'key_stop', ran: false, flag: 'spendLimit' },
  { cause: 'payment_required', stop: 'status', status: 402, kind: 'key_stop', ran: false },
  { cause: 'request_timeout', stop: 'status', status: 408, kind: 'hang', ran: true },
  { cause: 'conflict', stop: 'status', status: 409, kind: 'conflict', ran: false },
  { cause: 'content_too_large', stop: 'status', status: 413, kind: 'rejected', ran: false },
  { cause: 'too_early', stop: 'status', status: 425, kind: 'conflict', ran: false },
  { cause: 'ramp_limit', stop: 'status', status: 429, code: 'ramp_limit_exceeded', kind: 'ramp_limited', ran: false },
  { cause: 'enforced_spend_limit', stop: 'status', status: 429, code: 'enforced_spend_limit_reached', kind: 'key_stop', ran: false, flag: 'spendLimit' },
  { cause: 'contract_spend_limit', stop: 'status', status: 429, code: 'contract_spend_limit_reached', kind: 'key_stop', ran: false, flag: 'spendLimit' },
  { cause: 'concurrent_connections', stop: 'status', status: 429, text: CONCURRENCY_TEXT, kind: 'unexplained', ran: false, flag: 'namesConcurrency' },
  { cause: 'rate_limit', stop: 'status', status: 429, explained: true, kind: 'throttled', ran: false },
  { cause: 'rate_limit_unexplained', stop: 'status', status: 429, kind: 'unexplained', ran: false },
  { cause: 'not_implemented', stop: 'status', status: 501, kind: 'rejected', ran: false },
  { cause: 'unavailable', stop: 'status', status: 503, kind: 'overloaded', ran: false },
  { cause: 'overloaded', stop: 'status', status: 529, kind: 'overloaded', ran: false },
  { cause: 'overloaded_by_type', stop: 'status', status: [499, 599], type: 'overloaded_error', kind: 'overloaded', ran: true },
  { cause: 'overloaded_by_text', stop: 'status', status: [499, 599], text: OVERLOADED_TEXT, kind: 'overloaded', ran: true },
  { cause: 'gateway_timeout', stop: 'status', status: 504, kind: 'fault', ran: true },
  { cause: 'server_error', stop: 'status', status: [499, 599], kind: 'fault', ran: true },
  { cause: 'asked_to_retry', stop: 'status', status: [400, 498], shouldRetry: true, kind: 'conflict', ran: false },
  { cause: 'client_error', stop: 'status', status: [400, 498], kind: 'rejected', ran: false },
  { cause: 'redirect', stop: 'status', status: [300, 399], kind: 'rejected', ran: false, flag: 'alarm' },
  { cause: 'strange_status', stop: 'status', kind: 'fault', ran: true },

  { cause: 'overloaded_event', stop: 'error_event', type: 'overloaded_error', kind: 'overloaded', ran: true },
  { cause: 'rate_limit_event', stop: 'error_event', type: 'rate_limit_error', kind: 'throttled', ran: true },
  { cause: 'api_error_event', stop: 'error_event', type: 'api_error', kind: 'broken', ran: true },
  { cause: 'timeout_event', stop: 'error_event', type: 'timeout_error', kind: 'broken', ran: true },
  { cause: 'error_event', stop: 'error_event', kind: 'rejected', ran: true },

  { cause: 'closed', stop: 'transport', rawCode: /^UND_ERR_(DESTROYED|CLOSED)$/, kind: 'ended', ran: 'if_sent' },
  { cause: 'unsendable', stop: 'transport', sent: false, rawCode: UNSENDABLE, kind: 'rejected', ran: false },
  { cause: 'connect_timeout', stop: 'transport', sent: false, rawCode: /^(UND_ERR_CONNECT_TIMEOUT|ETIMEDOUT)$/, kind: 'fault', ran: false },
  { cause: 'refused', stop: 'transport', sent: false, rawCode: /^ECONNREFUSED$/, kind: 'fault', ran: false },
  { cause: 'dns', stop: 'transport', sent: false, rawCode: DNS, kind: 'fault', ran: false },
  { cause: 'tls', stop: 'transport', sent: false, rawCode: TLS, kind: 'fault', ran: false },
  { cause: 'connect_failed', stop: 'transport', sent: false, kind: 'fault', ran: false },
  { cause: 'reset', stop: 'transport', answered: false, kind: 'fault', ran: true },
  { cause: 'reset', stop: 'transport', kind: 'broken', ran: true },

  { cause: 'first_byte', stop: 'silent', kind: 'hang', ran: 'if_sent' },
  { cause: 'idle', stop: 'idle', kind: 'broken', ran: true },
  { cause: 'ended_early', stop: 'end', kind: 'broken', ran: true },
  { cause: 'content_type', stop: 'content_type', kind: 'broken', ran: true },
  { cause: 'wrong_form', stop: 'wrong_form', kind: 'rejected', ran: true, flag: 'alarm' },
  { cause: 'no_message', stop: 'no_message', kind: 'broken', ran: true },
  { cause: 'garbled', stop: 'garbled', kind: 'broken', ran: true },
  { cause: 'not_json', stop: 'not_json', kind: 'broken', ran: true },
  { cause: 'too_large', stop: 'too_large', kind: 'broken', ran: true },
]

/** Names what happened. */
export function classify(signs: Signs): Finding {
  const row = rows.find((candidate) => fits(candidate, signs))
  if (row === undefined) throw new Error(`no row for ${signs.stop}`)
  const finding: Finding = {
    kind: signs.forwarded ? asCut(row.kind) : row.kind,
    cause: row.stop === 'aborted' ? (signs.why ?? row.cause) : row.cause,
    mayHaveRun: row.ran === 'if_sent' ? signs.sent : row.ran,
  }
  if (row.flag !== undefined) finding[row.flag] = true
  return finding
}

function asCut(kind: VerdictKind): VerdictKind {
  if (kind === 'ended') return kind
  return kind === 'overloaded' ? 'cut_overloaded' : 'cut'
}

function fits(row: Row, signs: Signs): boolean {
  return (
    (row.stop === undefined || row.stop === signs.stop) &&
    (row.status === undefined || within(row.status, signs.status)) &&
    (row.type === undefined || row.type === signs.error.type) &&
    (row.code === undefined || row.code === signs.error.code) &&
    (row.text === undefined || row.text.test(signs.error.text)) &&
    (row.rawCode === undefined || row.rawCode.test(signs.rawCode ?? '')) &&
    (row.sent === undefined || row.sent === signs.sent) &&
    (row.explained === undefined || row.explained === signs.explained) &&
    (row.shouldRetry === undefined || row.shouldRetry === signs.shouldRetry) &&
    (row.answered === undefined || row.answered === (signs.status !== null))
  )
}

function within(wanted: number | readonly [number, number], status: number | null): boolean {
  if (status === null) return false
  if (typeof wanted === 'number') return status === wanted
  return status >= wanted[0] && status <= wanted[1]
}
