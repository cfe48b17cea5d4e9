/** What came back over the bus, as the API would have said it over HTTP. Pure. */
import { errorBody, jobReceipt, refusal, type JobReceipt, type Refusal } from '#contracts/messages'
import type { Millis } from '#contracts/units'
import { refusals } from '#contracts/refusals'
import { clientRefusals, type AnswerAccounting, type ClientCode, type HeadgateError } from '#client'

export type HttpHeaders = Record<string, string>

export interface HttpAnswer {
  status: number
  headers: HttpHeaders
  body: Uint8Array | string
}

/** What may stand in a header: one line of printable ASCII. A scheduler says no other, but whoever may publish
 *  to our inbox could. */
const word = (text: string): string => text.replace(/[^\x20-\x7e]+/g, '?').slice(0, WORD_CHARS_MAX)
const WORD_CHARS_MAX = 256

/** The accounting of a call, as response headers or trailers; names in lower case. */
export function accountingHeaders(of: AnswerAccounting): HttpHeaders {
  const headers: HttpHeaders = {
    'headgate-id': word(of.id),
    'headgate-served-by': of.servedBy,
    'headgate-attempts': String(of.attempts),
    'headgate-preemptions': String(of.preemptions),
    'headgate-queue-ms': String(of.queueMs),
    'headgate-upstream-ms': String(of.upstreamMs),
    'headgate-total-ms': String(of.totalMs),
  }
  if (of.ambiguous > 0) headers['headgate-ambiguous'] = String(of.ambiguous)
  if (of.outcome !== null) headers['headgate-outcome'] = of.outcome
  if (of.model !== null) headers['headgate-model'] = word(of.model)
  if (of.inputTokens !== null) headers['headgate-input-tokens'] = String(of.inputTokens)
  if (of.outputTokens !== null) headers['headgate-output-tokens'] = String(of.outputTokens)
  if (of.events !== null) headers['headgate-events'] = String(of.events)
  return headers
}

/** `id` names a call that has none of its own. */
export function wholeAnswer(
  bytes: Uint8Array,
  accounting: AnswerAccounting,
  id: string,
): HttpAnswer {
  const headers = accountingHeaders(accounting)
  headers['headgate-id'] = word(namedId(accounting.id) ?? id)
  headers['content-type'] = 'application/json'
  headers['request-id'] = word(accounting.requestId ?? namedId(accounting.id) ?? id)
  return { status: 200, headers, body: bytes }
}

/** Where a job's answer is asked for. */
export const jobPath = (id: string): string => `/v1/headgate/jobs/${id}`

/** A call that became a job: its receipt, and where its answer will be. */
export function deferredAnswer(
  bytes: Uint8Array,
  accounting: AnswerAccounting,
  id: string,
): HttpAnswer {
  const { headers } = wholeAnswer(bytes, accounting, id)
  const location = jobPath(receiptIn(bytes)?.id ?? headers['headgate-id'] ?? id)
  return { status: 202, headers: { ...headers, location }, body: bytes }
}

/** Null: it is none, but an event of a stream perhaps. */
export function receiptIn(bytes: Uint8Array): JobReceipt | null {
  if (bytes.length > RECEIPT_BYTES_MAX) return null
  try {
    const read = jobReceipt.safeParse(JSON.parse(new TextDecoder().decode(bytes)))
    return read.success ? read.data : null
  } catch {
    return null
  }
}
const RECEIPT_BYTES_MAX = 4_096

/** The accounting of a streamed answer, and the upstream's own id of it: both are known at its end. */
export function trailersOf(of: AnswerAccounting): HttpHeaders {
  const trailers = accountingHeaders(of)
  if (of.requestId !== null) trailers['request-id'] = word(of.requestId)
  return trailers
}

/** The head of a streamed answer. */
export const streamHead = (id: string): HttpHeaders => ({
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
  'request-id': id,
  'headgate-id': id,
  trailer: 'headgate-outcome',
})

/** `id` names the call where its error does not; `deadlineMs` is what its caller itself gave it, in all. */
export function errorAnswer(
  error: HeadgateError,
  id: string,
  deadlineMs: Millis | null = null,
): HttpAnswer {
  const { accounting } = error
  const requestId = accounting?.requestId ?? namedId(accounting?.id) ?? id
  const told =
    error.bytes === null ? ourOwn(error, requestId) : { status: error.status, body: error.bytes }
  const status = told.status ?? 502
  const headers = {
    ...(accounting === null ? {} : accountingHeaders(accounting)),
    'headgate-id': word(namedId(accounting?.id) ?? id),
    ...errorHeaders(error, requestId, mayGoOn(error, deadlineMs)),
  }
  const known = Number.isInteger(status) && status >= 400 && status <= 599
  return { status: known ? status : 502, headers, body: told.body }
}

/** To who asks a door that stops. */
export const doorStops = (): Refusal =>
  refusal('draining', 'this door is stopping; others may serve')

/** A refusal of the door's own. */
export function refusalAnswer(refused: Refusal, id: string): HttpAnswer & { body: string } {
  const body = errorBody({ refusal: refused, requestId: id, attempts: 0 })
  const headers = { 'headgate-id': id, ...errorHeaders(refused, id) }
  return { status: refused.status, headers, body }
}

/** Whether to ask again helps whoever waits so long; absent a deadline, whether its kind of error does. */
function mayGoOn(error: HeadgateError, deadlineMs: Millis | null): boolean {
  const { code, accounting } = error
  const waitMs = error.retryAfterMs ?? 0
  // Headgate has retried already: an SDK that did it again would multiply the layers, unless its caller has
  // time that Headgate has not used.
  if (code === 'retries_exhausted')
    return deadlineMs !== null && (accounting?.totalMs ?? Infinity) + waitMs < deadlineMs
  return code !== 'deadline_unreachable' || deadlineMs === null || waitMs < deadlineMs
}

function errorHeaders(
  of: { retryable: boolean; retryAfterMs: number | null },
  requestId: string,
  mayGoOn = true,
): HttpHeaders {
  const headers: HttpHeaders = { 'content-type': 'application/json', 'request-id': word(requestId) }
  const seconds = of.retryAfterMs === null ? NaN : Math.ceil(of.retryAfterMs / 1_000)
  if (Number.isSafeInteger(seconds) && seconds >= 0) headers['retry-after'] = String(seconds)
  if (!of.retryable || !mayGoOn) headers['x-should-retry'] = 'false'
  return headers
}

/** A call outside lanes has no id of its own. */
const namedId = (id: string | undefined): string | null =>
  id === undefined || id === '' || id === '-' ? null : id

/** What no upstream and no scheduler has written, as an error of the API. */
function ourOwn(error: HeadgateError, id: string): { status: number; body: string } {
  const { code, retryable } = error
  const { status, type, message } = inWords(error)
  const said = { code, retryable, retry_after_ms: error.retryAfterMs, attempts: 0 }
  return {
    status,
    body: JSON.stringify({
      type: 'error',
      error: { type, message },
      request_id: id,
      headgate: said,
    }),
  }
}

/** Where the client's own words would tell of our side: its client is closed when the door is, and at no other time. */
const DOOR_WORDS: Partial<Record<ClientCode, string>> = {
  closed: 'the door has stopped, and waits for the call no more; it may have run',
}

/** What a caller is told of it. What the client found out by itself has details of our side of the door. */
export function inWords(error: HeadgateError): { status: number; type: string; message: string } {
  const { code } = error
  const own = isClientCode(code)
  const status = own ? STATUS[code] : (error.status ?? 502)
  const type = error.type ?? (status === 504 ? 'timeout_error' : 'api_error')
  if (own) return { status, type, message: DOOR_WORDS[code] ?? clientRefusals[code].means }
  const plain = code === 'forbidden' || code === 'unauthenticated'
  return { status, type, message: plain ? refusals[code].means : error.message }
}

const STATUS: Record<ClientCode, number> = {
  unreachable: 503,
  no_answer: 504,
  gap: 502,
  bad_answer: 502,
  reader_too_slow: 503,
  client_full: 503,
  closed: 503,
}

const isClientCode = (code: string): code is ClientCode => Object.hasOwn(clientRefusals, code)

export const invalid = (message: string): Refusal => refusal('invalid_request', message)
