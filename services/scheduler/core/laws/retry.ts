/** Whether and when to try again (control-laws §11): full jitter, inside the deadline and the budget.
 *  The budget bounds charged retries per route and lane class by
 *  start + per_ok x successes + per_minute x minutes (invariant I14). */
import type { Config } from '#contracts/config'
import type { Reason } from '#contracts/refusals'
import type { Millis } from '#contracts/units'
import { verdicts, type Verdict } from '#contracts/verdict'
import type { Dice } from '#core/estimators/dice'
import type { Request, RetryBudget, State } from '#core/model/state'

/** Share of the estimated service that must still fit before the deadline for a retry to make sense. */
export const SERVICE_SHARE = 0.7
/** The last try comes late in the time that is left, within the lane's `last_backoff_ms`: most outages are shorter
 *  than its default. */
export const LAST = { share: 1 / 2, spread: 0.3 }
/** Without a token of the retry budget the request waits for one, about as long as one takes to come. */
export const TOKEN_WAIT = { most: 6_000, spread: 0.5 }

export type RetryDecision =
  /** `owes`: its back-off ends when the budget has a token for it. */
  { again: true; waitMs: Millis; owes: boolean } | { again: false; reason: Reason; message: string }

/** Decides for a request whose last attempt ended in `verdict`; charges the budget when it says yes. */
export function retry(
  state: State,
  request: Request,
  verdict: Verdict,
  now: Millis,
  dice: Dice,
): RetryDecision {
  const decision = decide(state, request, verdict, now, dice)
  if (decision.again || verdict.status !== null || !(decision.reason in NAMES_CAUSE))
    return decision
  const cause = UNANSWERED[verdict.cause]
  if (cause === undefined) return decision
  return { ...decision, message: `${decision.message}; the last: ${cause}` }
}

/** Of a giving up whose own words say nothing of why the attempts failed. */
const NAMES_CAUSE: Partial<Record<Reason, true>> = {
  ATTEMPTS: true,
  TOO_LATE: true,
  RETRY_BUDGET: true,
}

/** Of an upstream that has not said anything: what a person can look for. By the cause of the verdict. */
const UNANSWERED: Readonly<Record<string, string>> = {
  refused: 'the upstream refuses the connection',
  dns: "the upstream's host name is not found",
  tls: 'there is no TLS with the upstream',
  connect_timeout: 'the upstream does not take the connection',
  connect_failed: 'there is no connection to the upstream',
  reset: 'the connection to the upstream broke',
  first_byte: 'the upstream did not answer in time',
}

function decide(
  state: State,
  request: Request,
  verdict: Verdict,
  now: Millis,
  dice: Dice,
): RetryDecision {
  const rule = verdicts[verdict.kind]
  if (rule.retry === 'never') return { again: false, ...finalReason(verdict) }
  if (verdict.notAgain === true)
    return no('ATTEMPTS', 'the upstream says that asking again is in vain')
  if (mayHaveActed(state, request, verdict))
    return no(
      'MAY_HAVE_ACTED',
      'it may have run tools at the provider before it failed, and a second try could run them again (llm_gateway.retry.acting)',
    )
  const most = attemptsAllowed(request)
  if (request.attempts >= most || (rule.retry === 'once' && request.unexplained >= 2))
    return no('ATTEMPTS', `${request.attempts} of ${most} attempts made`)
  if (state.draining) return no('SHUTDOWN', 'this instance is stopping')
  const { buffer_ms } = state.config.file.llm_gateway.retry
  const pause = verdict.retryAfterMs === null ? 0 : verdict.retryAfterMs + buffer_ms
  const left = request.deadline - now
  if (pause > left)
    return no('RETRY_AFTER_TOO_LONG', `upstream asks for ${pause} ms, ${left} ms are left`)
  const estimate = state.costs.estimate(request.asked, state.config)
  const service = estimate.evidence ? SERVICE_SHARE * estimate.duration * 1_000 : 0
  const jitter = fullJitter(request, dice)
  const isLast = request.attempts >= most - 1 || rule.retry === 'once'
  const patience = isLast ? lastTry(request, left - pause - service, dice) : 0
  const waitMs = Math.round(pause + Math.max(jitter, patience))
  if (waitMs + service > left)
    return no('TOO_LATE', `${Math.round(waitMs + service)} ms needed, ${left} ms are left`)
  if (rule.budget !== 'charge' || payRetry(state, request, now))
    return { again: true, waitMs, owes: false }
  return waitForToken(state, request, { now, service, waitMs }, dice)
}

/** Its tools may have done something already: a second try is its caller's to decide. */
const mayHaveActed = (state: State, { asked }: Request, { mayHaveRun }: Verdict): boolean =>
  asked.mayAct === true && mayHaveRun && !state.config.file.llm_gateway.retry.acting

/** Takes one token of the retry budget; false: there is none, or none for this tenant. */
export function payRetry(state: State, request: Request, now: Millis): boolean {
  const budget = budgetOf(request, state.config, now)
  const own = partOf(budget, request, state.config, now)
  const { budget_start } = state.config.file.llm_gateway.retry
  const scarce = budget.byTenant.size > 1 && budget.tokens <= TENANT_SHARE * budget_start
  if (budget.tokens < 1 || (scarce && own.tokens < 1)) return false
  budget.tokens -= 1
  own.tokens = Math.max(0, own.tokens - 1)
  owesNoMore(request)
  return true
}

/** What of the budget is a tenant's once half of what it began with is gone: while it has neighbours, one whose every
 *  call fails cannot use up what theirs may need. */
export const TENANT_SHARE = 1 / 2

function partOf(
  { byTenant }: RetryBudget,
  request: Request,
  config: Config,
  now: Millis,
): { tokens: number; at: Millis } {
  const { budget_max, budget_per_minute, budget_start } = config.file.llm_gateway.retry
  const most = config.file.scheduling.idle_tenants_max
  const part = byTenant.use(request.tenant.name, most, () => ({
    tokens: TENANT_SHARE * budget_start,
    at: now,
  }))
  const gained = (TENANT_SHARE * budget_per_minute * (now - part.at)) / 60_000
  part.tokens = Math.min(Math.max(1, TENANT_SHARE * budget_max, part.tokens), part.tokens + gained)
  part.at = now
  return part
}

/** The budget has nothing for it yet: while there is time, it waits instead of giving up. */
export function waitForToken(
  state: State,
  request: Request,
  of: { now: Millis; service: Millis; waitMs: Millis },
  dice: Dice,
): RetryDecision {
  const { budget_max, budget_per_ok, budget_per_minute } = state.config.file.llm_gateway.retry
  const comes = budget_max >= 1 && budget_per_ok + budget_per_minute > 0
  if (!comes) return no('RETRY_BUDGET', 'the retry budget is configured to be none')
  const waitMs = Math.max(of.waitMs, Math.round(upTo(TOKEN_WAIT.most, TOKEN_WAIT.spread, dice)))
  if (of.now + waitMs + of.service > request.deadline)
    return no('RETRY_BUDGET', 'the retry budget of the route is used up')
  return mayOwe(request)
    ? { again: true, waitMs, owes: true }
    : no('RETRY_BUDGET', 'the retry budget of the route is used up, and as many wait for it as may')
}

/** As many may wait for a token as may wait in the lane's queue. Notes that it does. */
function mayOwe(request: Request): boolean {
  const { owing } = budgetAt(request)
  if (!owing.has(request) && owing.size >= Math.max(1, request.lane.config.queueMax)) return false
  owing.add(request)
  return true
}

/** It has its token, or leaves. Its lane may be of the other class since it began to wait. */
export function owesNoMore(request: Request): void {
  for (const { owing } of request.route.budgets) owing.delete(request)
}

/** How long the last try waits at least: the ones before it come soon, since most faults are over in a moment;
 *  what is not over by then takes longer. */
const lastTry = ({ lane }: Request, left: Millis, dice: Dice): Millis =>
  upTo(Math.max(0, Math.min(lane.config.retryLastMs, LAST.share * left)), LAST.spread, dice)

/** Within the last `spread` of `most`, by chance: who failed together does not come back together. */
const upTo = (most: Millis, spread: number, dice: Dice): Millis => most * (1 - spread * dice.next())

const no = (reason: Reason, message: string): RetryDecision => ({ again: false, reason, message })

/** What the caller allows, which may be more than its lane's own number; else the lane's. */
export const attemptsAllowed = ({ asked, lane }: Request): number =>
  asked.maxAttempts ?? lane.config.maxAttempts

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
  const own = partOf(budget, request, config, now)
  own.tokens = Math.min(Math.max(own.tokens, TENANT_SHARE * budget_max), own.tokens + budget_per_ok)
}

const budgetAt = ({ route, lane }: Request): RetryBudget =>
  route.budgets[lane.config.preemptible ? 1 : 0]

function budgetOf(request: Request, config: Config, now: Millis): RetryBudget {
  const budget = budgetAt(request)
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
