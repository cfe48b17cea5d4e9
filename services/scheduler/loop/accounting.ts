/** What an ended request is told of itself: its outcome, its refusal in the words of the wire, its account. */
import { statusOfType, typeOfStatus } from '#contracts/api-errors'
import { refusal, type Accounting, type Refusal } from '#contracts/messages'
import type { Outcome, ServedBy } from '#contracts/outcome'
import { reasons } from '#contracts/refusals'
import type { Refused } from '#core/model/effects'
import { spentBy, type LiveRequest } from './live.ts'
import type { Millis, Verdict } from '#ports'
import { attemptOf, waits } from '#core/model/place'

export function accountingOf(
  live: LiveRequest,
  outcome: Outcome,
  verdict: Verdict | null,
  now: Millis,
): Accounting {
  const { request } = live
  const spent = spentBy(live)
  const running = request === null ? null : attemptOf(request)
  // One that is answered while its attempt runs has no verdict of it yet.
  const seen = live.running?.seen?.() ?? verdict
  const waiting = request !== null && waits(request) ? now - request.queuedAt : 0
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
    upstreamRequestId: seen?.requestId ?? null,
    inputTokens: seen?.usage?.inputTokens ?? null,
    outputTokens: seen?.usage?.outputTokens ?? null,
  }
}

const servedBy = ({ model, incoming }: LiveRequest): ServedBy =>
  model === incoming.model ? 'upstream' : 'fallback'

export function refusalOf(refused: Refused): Refusal {
  const { verdict } = refused
  const said = verdict?.status ?? 0
  const silent = verdict?.kind === 'hang' && said < 400
  const type =
    verdict?.errorType ??
    (silent ? 'timeout_error' : said >= 400 ? typeOfStatus(said) : 'api_error')
  // An error inside a 200, a broken 200 and a redirect have no error status of their own.
  const status = said >= 400 ? said : statusOfType(type)
  const more: Parameters<typeof refusal>[2] = { status, type }
  if (refused.retryAfterMs !== null) more.retryAfterMs = refused.retryAfterMs
  if (refused.inVain === true) more.inVain = true
  return refusal(reasons[refused.reason], refused.message, more)
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
