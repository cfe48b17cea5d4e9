/** When quota lets a request start (control-laws §9): three token buckets, of requests, input tokens and
 *  output tokens, and the pause that a 429 imposes. Routes of one quota share them, because the provider
 *  counts their models together.
 *
 *  Needs are reserved at the start and settled with the answer, both ways. The provider's headers speak of
 *  the instant when it admitted the attempt: what was reserved since is taken off. */
import { routeId } from '#contracts/ids'
import type { Millis, Tokens } from '#contracts/units'
import { verdicts, type RateHeaders, type Verdict } from '#contracts/verdict'
import type { Estimate } from './cost.ts'
import type { Dice } from './dice.ts'
import { fullJitter } from './retry.ts'
import type { Attempt, Quota, Request, State } from './state.ts'
import { TokenBucket } from './token-bucket.ts'

/** `remaining` of tokens is rounded to thousands. */
const ROUNDING: Tokens = 500
/** A bucket below this share of its burst explains a 429 that says nothing itself. */
const LOW = 0.3

/** What an attempt took from the three buckets, and how much each had given out by then. */
export interface Reservation {
  readonly inputTokens: Tokens
  readonly outputTokens: Tokens
  readonly requestsTotal: number
  readonly inputTotal: number
  readonly outputTotal: number
}

export const newQuota = (name: string, now: Millis): Quota => ({
  name,
  pausedUntil: 0,
  throttledAt: -Infinity,
  aside: null,
  requests: new TokenBucket({ burstSeconds: 5, burstLeast: 1, now }),
  inputTokens: new TokenBucket({ burstSeconds: 30, burstLeast: 1, now }),
  outputTokens: new TokenBucket({ burstSeconds: 30, burstLeast: 1, now }),
})

/** The earliest instant at which quota allows this to start; now means yes. */
export const readyAt = (quota: Quota, need: Estimate, now: Millis): Millis =>
  Math.max(
    now,
    quota.pausedUntil,
    quota.requests.readyAt(1, now),
    quota.inputTokens.readyAt(need.inputTokens, now),
    quota.outputTokens.readyAt(need.outputTokens, now),
  )

/** This request waits: the buckets that keep it waiting may be slower than they need be. */
export function noteDelay(quota: Quota, need: Estimate, now: Millis): void {
  quota.requests.delayed ||= quota.requests.readyAt(1, now) > now
  quota.inputTokens.delayed ||= quota.inputTokens.readyAt(need.inputTokens, now) > now
  quota.outputTokens.delayed ||= quota.outputTokens.readyAt(need.outputTokens, now) > now
}

export function reserve(quota: Quota, need: Estimate, now: Millis): Reservation {
  const { requests, inputTokens, outputTokens } = quota
  requests.reserve(1, now)
  inputTokens.reserve(need.inputTokens, now)
  outputTokens.reserve(need.outputTokens, now)
  return {
    inputTokens: need.inputTokens,
    outputTokens: need.outputTokens,
    requestsTotal: requests.reserved,
    inputTotal: inputTokens.reserved,
    outputTotal: outputTokens.reserved,
  }
}

/** A verdict settles what its attempt reserved and teaches the buckets. True when it made the pause longer. */
export function learnQuota(
  quota: Quota,
  of: { verdict: Verdict; request: Request; attempt: Attempt; now: Millis; dice: Dice },
): boolean {
  const { verdict, attempt, now } = of
  settle(quota, verdict, attempt, now)
  if (verdict.rate !== null) learnHeaders(quota, verdict.rate, attempt, now)
  const act = verdicts[verdict.kind].quota
  if (act === 'slow-requests') {
    quota.throttledAt = now
    if (verdict.namesConcurrency !== true) quota.requests.slow(now)
    return false
  }
  if (act !== 'pause' && act !== 'pause-and-cut') return false
  quota.throttledAt = now
  if (act === 'pause-and-cut') scarcest(quota, verdict.rate).cut(now)
  const until = now + (verdict.retryAfterMs ?? fullJitter(of.request, of.dice))
  for (const bucket of buckets(quota)) bucket.pause(until, now)
  if (until <= quota.pausedUntil) return false
  quota.pausedUntil = until
  return true
}

/** An attempt that the provider refused used no tokens, and was not accepted; one without an answer used
 *  what nobody knows, and its request counted. */
function settle(quota: Quota, verdict: Verdict, attempt: Attempt, now: Millis): void {
  const { reserved, startedAt } = attempt
  const { usage } = verdict
  if (usage === null && verdict.mayHaveRun && verdict.status !== null) return
  const input = usage === null ? 0 : usage.inputTokens + usage.cacheCreationTokens
  const output = usage?.outputTokens ?? 0
  quota.inputTokens.settle(input - reserved.inputTokens, startedAt, now)
  quota.outputTokens.settle(output - reserved.outputTokens, startedAt, now)
  // The request itself stays spent; only the count of what was accepted is put right.
  if (verdict.status === 429) quota.requests.refused(startedAt, now)
}

function learnHeaders(quota: Quota, rate: RateHeaders, attempt: Attempt, now: Millis): void {
  const { reserved, startedAt } = attempt
  const told = (
    bucket: TokenBucket,
    family: RateHeaders['requests'],
    before: number,
    margin: number,
  ): void => {
    if (family.limit !== null) bucket.learn(family.limit, now)
    if (family.remaining === null) return
    bucket.cap(family.remaining - margin - (bucket.reserved - before), startedAt, now)
  }
  told(quota.requests, rate.requests, reserved.requestsTotal, 0)
  told(quota.inputTokens, rate.inputTokens, reserved.inputTotal, ROUNDING)
  told(quota.outputTokens, rate.outputTokens, reserved.outputTotal, ROUNDING)
}

/** The dimension of which the provider says that least is left; without its word, requests. */
function scarcest(quota: Quota, rate: RateHeaders | null): TokenBucket {
  if (rate === null) return quota.requests
  const left = (family: RateHeaders['requests']): number =>
    family.limit === null || family.remaining === null ? 1 : family.remaining / family.limit
  const [r, i, o] = [left(rate.requests), left(rate.inputTokens), left(rate.outputTokens)]
  if (i < r && i <= o) return quota.inputTokens
  return o < r && o < i ? quota.outputTokens : quota.requests
}

/** Once a second: cut rates grow back. `held` and `slowly` while the provider asked for a slower ramp. */
export function growRates(state: State, now: Millis): void {
  for (const quota of state.quotas.values()) {
    let held = false
    let slowly = false
    for (const route of state.routes.values()) {
      if (route.quota !== quota) continue
      held ||= now < route.heldUntil
      slowly ||= now < route.slowUntil
    }
    for (const bucket of buckets(quota))
      bucket.grow({ lastThrottle: quota.throttledAt, held, slowly, now })
  }
}

/** A 429 that says nothing is explained when a bucket of ours stands low: it was quota after all. The one
 *  about concurrent connections is not, whatever the buckets say (control-laws §2). */
export function explained(quota: Quota, verdict: Verdict, now: Millis): Verdict {
  if (verdict.kind !== 'unexplained' || verdict.namesConcurrency === true) return verdict
  return buckets(quota).some((bucket) => bucket.below(LOW, now))
    ? { ...verdict, kind: 'throttled' }
    : verdict
}

/** The configured limits of a quota: the least that any of its routes names, asked for or not. */
export function configureQuota(state: State, quota: Quota, now: Millis): void {
  let [rpm, itpm, otpm] = [Infinity, Infinity, Infinity]
  for (const route of state.config.routes ?? []) {
    if ((route.quota ?? routeId(route)) !== quota.name) continue
    rpm = Math.min(rpm, route.rpm ?? Infinity)
    itpm = Math.min(itpm, route.itpm ?? Infinity)
    otpm = Math.min(otpm, route.otpm ?? Infinity)
  }
  const orNull = (limit: number): number | null => (limit === Infinity ? null : limit)
  quota.requests.configure(orNull(rpm), now)
  quota.inputTokens.configure(orNull(itpm), now)
  quota.outputTokens.configure(orNull(otpm), now)
}

const buckets = (quota: Quota): readonly TokenBucket[] => [
  quota.requests,
  quota.inputTokens,
  quota.outputTokens,
]
