/** What an ended request is told of itself: its outcome, its refusal in the words of the wire, its account. */
import { refusal, type Accounting, type Refusal } from '#contracts/messages'
import type { Outcome, ServedBy } from '#contracts/outcome'
import { reasons } from '#contracts/refusals'
import type { Refused } from '#core/effects'
import { spentBy, type Live } from './live.ts'
import type { Millis, Verdict } from './ports.ts'

export function accountingOf(
  live: Live,
  outcome: Outcome,
  verdict: Verdict | null,
  now: Millis,
): Accounting {
  const { request } = live
  const spent = spentBy(live)
  const running = request?.attempt ?? null
  const waiting = request?.waiting === true ? now - request.queuedAt : 0
  return {
    id: live.incoming.id,
    outcome,
    servedBy: outcome === 'completed' ? servedBy(live) : 'none',
    model: live.model,
    attempts: spent?.attempts ?? 0,
    preemptions: spent?.preemptions ?? 0,
    queueMs: Math.round((spent?.queueMs ?? 0) + waiting),
    upstreamMs: Math.round(
      (spent?.upstreamMs ?? 0) + (running === null ? 0 : now - running.startedAt),
    ),
    totalMs: Math.round(spent === null ? 0 : now - spent.acceptedAt),
    upstreamRequestId: verdict?.requestId ?? null,
    inputTokens: verdict?.usage?.inputTokens ?? null,
    outputTokens: verdict?.usage?.outputTokens ?? null,
  }
}

const servedBy = ({ model, incoming }: Live): ServedBy =>
  model === incoming.model ? 'upstream' : 'fallback'

export function refusalOf(refused: Refused): Refusal {
  const { verdict } = refused
  const silent = verdict?.kind === 'hang'
  const type = verdict?.errorType ?? (silent ? 'timeout_error' : 'api_error')
  const said = verdict?.status ?? 0
  // An error inside a 200, a broken 200 and a redirect have no error status of their own.
  const status = said >= 400 ? said : (STATUS_OF_TYPE[type] ?? 502)
  const more: Parameters<typeof refusal>[2] = { status, type }
  if (refused.retryAfterMs !== null) more.retryAfterMs = refused.retryAfterMs
  return refusal(reasons[refused.reason], refused.message, more)
}

/** The API's own status for each of its error types. */
const STATUS_OF_TYPE: Readonly<Record<string, number>> = {
  invalid_request_error: 400,
  authentication_error: 401,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  api_error: 502,
  timeout_error: 504,
  overloaded_error: 529,
}

export function outcomeOf(said: Refusal, attempted: boolean): Outcome {
  if (said.code === 'deadline_exceeded') return 'expired'
  if (said.code === 'cancelled') return 'cancelled'
  return attempted ? 'failed' : 'refused'
}

/** The part of a settled event that says how it ended. */
export const settledData = (
  accounting: Accounting,
  said: Refusal | null,
  reason: Refused['reason'] | null,
  status: number,
) => ({
  outcome: accounting.outcome,
  served_by: accounting.servedBy,
  code: said?.code ?? null,
  reason,
  status,
  error_type: said?.type ?? null,
  attempts: accounting.attempts,
  preemptions: accounting.preemptions,
  queue_ms: accounting.queueMs,
  upstream_ms: accounting.upstreamMs,
  total_ms: accounting.totalMs,
  input_tokens: accounting.inputTokens,
  output_tokens: accounting.outputTokens,
})
