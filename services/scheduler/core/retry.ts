/** Whether and when to try again (control-laws §11): full jitter, inside the deadline and the budget.
 *  The budget bounds charged retries per route and lane class by
 *  start + per_ok x successes + per_minute x minutes (invariant I14). */
import type { Config } from '#contracts/config'
import type { Reason } from '#contracts/refusals'
import type { Millis } from '#contracts/units'
import { verdicts, type Verdict } from '#contracts/verdict'
import type { Dice } from './dice.ts'
import type { Request, RetryBudget, State } from './state.ts'

/** Share of the estimated service that must still fit before the deadline for a retry to make sense. */
const SERVICE_SHARE = 0.7

export type RetryDecision =
  { again: true; waitMs: Millis } | { again: false; reason: Reason; message: string }

/** Decides for a request whose last attempt ended in `verdict`; charges the budget when it says yes. */
export function retry(
  state: State,
  request: Request,
  verdict: Verdict,
  now: Millis,
  dice: Dice,
): RetryDecision {
  const rule = verdicts[verdict.kind]
  if (rule.retry === 'never') return { again: false, ...finalReason(verdict) }
  const most = request.lane.config.maxAttempts
  if (request.attempts >= most || (rule.retry === 'once' && request.unexplained >= 2))
    return no('ATTEMPTS', `${request.attempts} of ${most} attempts made`)
  if (state.draining) return no('SHUTDOWN', 'this instance is stopping')
  const { buffer_ms } = state.config.file.llm_gateway.retry
  const pause = verdict.retryAfterMs === null ? 0 : verdict.retryAfterMs + buffer_ms
  const left = request.deadline - now
  if (pause > left)
    return no('RETRY_AFTER_TOO_LONG', `upstream asks for ${pause} ms, ${left} ms are left`)
  const waitMs = Math.round(pause + fullJitter(request, dice))
  const estimate = state.costs.estimate(request.asked, state.config)
  const service = estimate.evidence ? SERVICE_SHARE * estimate.duration * 1_000 : 0
  if (waitMs + service > left)
    return no('TOO_LATE', `${Math.round(waitMs + service)} ms needed, ${left} ms are left`)
  if (rule.budget === 'charge') {
    const budget = budgetOf(request, state.config, now)
    if (budget.tokens < 1) return no('RETRY_BUDGET', 'the retry budget of the route is used up')
    budget.tokens -= 1
  }
  return { again: true, waitMs }
}

const no = (reason: Reason, message: string): RetryDecision => ({ again: false, reason, message })

/** U(0, min(cap, base x 2^(n-1))), n = attempts made. Callers that fail together come back apart. */
export function fullJitter(request: Request, dice: Dice): Millis {
  const { retryBaseMs, retryCapMs } = request.lane.config
  const doubled = retryBaseMs * 2 ** Math.min(30, Math.max(0, request.attempts - 1))
  return dice.next() * Math.min(retryCapMs, doubled)
}

/** A success lets the route and lane class retry a little more. */
export function earnRetry(request: Request, config: Config, now: Millis): void {
  const budget = budgetOf(request, config, now)
  const { budget_max, budget_per_ok } = config.file.llm_gateway.retry
  budget.tokens = Math.min(budget_max, budget.tokens + budget_per_ok)
}

function budgetOf(request: Request, config: Config, now: Millis): RetryBudget {
  const budget = request.route.budgets[request.lane.config.preemptible ? 1 : 0]
  const { budget_max, budget_per_minute } = config.file.llm_gateway.retry
  const gained = ((now - budget.at) / 60_000) * budget_per_minute
  budget.tokens = Math.min(Math.max(budget_max, budget.tokens), budget.tokens + gained)
  budget.at = now
  return budget
}

/** What a verdict that is never retried means to the caller. */
function finalReason(verdict: Verdict): { reason: Reason; message: string } {
  const status = verdict.status === null ? '' : ` with ${verdict.status}`
  switch (verdict.kind) {
    case 'cut':
    case 'cut_overloaded':
      return { reason: 'STREAM_BROKEN', message: `the stream broke (${verdict.cause})` }
    case 'key_stop':
      return verdict.spendLimit === true
        ? { reason: 'SPEND_LIMIT', message: 'the upstream account has reached its spend limit' }
        : {
            reason: 'UPSTREAM_BLOCKED',
            message: `the upstream account is stopped (${verdict.cause})`,
          }
    default:
      return {
        reason: 'UPSTREAM_REJECTED',
        message: `upstream refused${status} (${verdict.cause})`,
      }
  }
}
