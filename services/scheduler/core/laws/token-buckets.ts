/** When quota lets a request start (control-laws §9): three token buckets, of requests, input tokens and
 *  output tokens, and the pause that a 429 imposes. Routes of one quota share them, because the provider
 *  counts their models together.
 *
 *  Needs are reserved at the start and settled with the answer, both ways. The provider's headers speak of
 *  the instant when it admitted the attempt: what was reserved since is taken off. */
import { routeId } from '#contracts/ids'
import type { Millis, Tokens } from '#contracts/units'
import { verdicts, type RateHeaders, type Usage, type Verdict } from '#contracts/verdict'
import type { Estimate } from '#core/estimators/cost'
import type { Dice } from '#core/estimators/dice'
import { hold } from './held.ts'
import { quotaPart } from './quota-part.ts'
import { fullJitter } from './retry.ts'
import { newPriority } from '#core/model/make'
import type { Limits, Priority } from '#core/model/limits'
import type { Attempt, Quota, Request, Reservation, State } from '#core/model/state'
import { traitsOf } from '#core/estimators/witness'
import type { TokenBucket } from '#core/estimators/token-bucket'

/** `remaining` of tokens is rounded to thousands. */
export const ROUNDING: Tokens = 500
/** A bucket below this share of its burst explains a 429 that says nothing itself. */
export const LOW = 0.3

/** The earliest instant at which quota allows this to start; now means yes. */
export function readyAt(quota: Quota, need: Estimate, now: Millis): Millis {
  const { priority } = quota
  const usual = tokensAt(quota, need, now)
  const tokens =
    priority === null || need.priority !== true
      ? usual
      : Math.min(usual, tokensAt(priority, need, now))
  return Math.max(
    now,
    quota.pausedUntil,
    quota.starts.readyAt(now),
    quota.requests.readyAt(1, now),
    tokens,
  )
}

const tokensAt = (of: Priority, need: Estimate, now: Millis): Millis =>
  Math.max(
    of.inputTokens.readyAt(need.inputTokens, now),
    of.outputTokens.readyAt(need.outputTokens, now),
  )

/** Committed capacity goes first, while there is some: the provider serves a call from it where it can, and else as
 *  any other. */
function drawnFrom({ priority }: Quota, need: Estimate, now: Millis): Priority | null {
  if (priority === null || need.priority !== true) return null
  return tokensAt(priority, need, now) <= now ? priority : null
}

/** This request waits: the buckets that keep it waiting may be slower than they need be. */
export function noteDelay(quota: Quota, need: Estimate, now: Millis): void {
  if (quota.starts.readyAt(now) > now) quota.starts.delayed()
  quota.requests.delayed ||= quota.requests.readyAt(1, now) > now
  quota.inputTokens.delayed ||= quota.inputTokens.readyAt(need.inputTokens, now) > now
  quota.outputTokens.delayed ||= quota.outputTokens.readyAt(need.outputTokens, now) > now
}

export function reserve(quota: Quota, need: Estimate, now: Millis): Reservation {
  const priority = drawnFrom(quota, need, now)
  const { inputTokens, outputTokens } = priority ?? quota
  const { requests } = quota
  quota.starts.started(now)
  return {
    quota,
    priority,
    inputTokens: need.inputTokens,
    outputTokens: need.outputTokens,
    requestsAccepted: requests.reserve(1, now),
    inputAccepted: inputTokens.reserve(need.inputTokens, now),
    outputAccepted: outputTokens.reserve(need.outputTokens, now),
  }
}

/** A verdict settles what its attempt reserved and teaches the buckets. True when it made the pause longer. */
export function learnQuota(
  state: State,
  quota: Quota,
  of: {
    verdict: Verdict
    request: Request
    attempt: Attempt
    now: Millis
    dice: Dice
    /** What the route's buckets should learn from its headers. */
    limits: Limits
  },
): boolean {
  const { verdict, attempt, now, request } = of
  const by = settle(quota, verdict, attempt, now)
  if (verdict.rate !== null)
    learnHeaders(state, request.route.quota, verdict.rate, {
      ...{ limits: of.limits, attempt, by, now },
    })
  if (verdict.kind === 'ok') quota.witness.answered(traitsOf(request.asked), now)
  const act = verdicts[verdict.kind].quota
  if (act !== 'slow-requests' && act !== 'pause' && act !== 'pause-and-cut') return false
  const told = verdict.retryAfterMs
  const until = act === 'slow-requests' ? now : now + (told ?? fullJitter(request, of.dice))
  const cause = usedUp(quota, verdict.rate, now)
    ? null
    : quota.witness.refused(traitsOf(request.asked), now, until)
  if (cause !== null) {
    if (until > now) hold(state, quota, cause, until)
    return false
  }
  quota.throttledAt = now
  if (act === 'slow-requests') {
    if (verdict.namesConcurrency !== true) quota.requests.slow(now)
    return false
  }
  if (act === 'pause-and-cut') scarcest(quota, verdict.rate).cut(now)
  for (const bucket of buckets(quota)) bucket.pause(until, now)
  if (act === 'pause-and-cut' && verdict.rate === null && quota.requests.limit === null)
    quota.starts.refused(attempt.startedAt, until, now)
  if (until <= quota.pausedUntil) return false
  quota.pausedUntil = until
  return true
}

/** By what an attempt was put right. */
interface Settled {
  requests: number
  input: Tokens
  output: Tokens
}

/** An attempt that the provider refused used no tokens, and was not accepted; one without an answer used
 *  what nobody knows, and its request counted. */
function settle(quota: Quota, verdict: Verdict, attempt: Attempt, now: Millis): Settled {
  const { reserved, startedAt } = attempt
  const { usage } = verdict
  if (usage === null && verdict.mayHaveRun && verdict.status !== null) return AS_RESERVED
  const from = reserved.priority ?? quota
  const to = usage === null ? from : servedFrom(quota, usage, from)
  const used = usage === null ? 0 : countedOf(usage, to !== quota)
  const input = used - reserved.inputTokens
  const output = (usage?.outputTokens ?? 0) - reserved.outputTokens
  if (to === from) {
    from.inputTokens.settle(input, startedAt, now)
    from.outputTokens.settle(output, startedAt, now)
  } else {
    from.inputTokens.settle(-reserved.inputTokens, startedAt, now)
    from.outputTokens.settle(-reserved.outputTokens, startedAt, now)
    to.inputTokens.settle(used, startedAt, now)
    to.outputTokens.settle(usage?.outputTokens ?? 0, startedAt, now)
  }
  if (verdict.status !== 429) return { requests: 0, input, output }
  // The request itself stays spent; only the count of what was accepted is put right.
  quota.requests.refused(startedAt, now)
  return { requests: -1, input, output }
}
/** Which tokens it took in the end, as the answer tells; where it does not, those that were reserved. */
function servedFrom(quota: Quota, { tier }: Usage, from: Priority): Priority {
  if (tier === undefined || quota.priority === null) return from
  return tier === PRIORITY_TIER ? quota.priority : quota
}

/** Input as it counts: of committed capacity cache reads and writes have weights. */
function countedOf(usage: Usage, committed: boolean): Tokens {
  const { inputTokens, cacheCreationTokens: written, cacheReadTokens } = usage
  if (!committed) return inputTokens + written
  const hour = usage.cacheCreation1hTokens ?? 0
  return (
    inputTokens +
    BURN_DOWN.read * cacheReadTokens +
    BURN_DOWN.write5m * (written - hour) +
    BURN_DOWN.write1h * hour
  )
}

const PRIORITY_TIER = 'priority'
/** What a token of the cache takes of committed capacity. */
export const BURN_DOWN = { read: 0.1, write5m: 1.25, write1h: 2 } as const

const AS_RESERVED: Settled = { requests: 0, input: 0, output: 0 }

function learnHeaders(
  state: State,
  quota: Quota,
  rate: RateHeaders,
  of: { limits: Limits; attempt: Attempt; by: Settled; now: Millis },
): void {
  const { attempt, by, now } = of
  const [requestsLimit, inputLimit, outputLimit] = of.limits
  const { reserved, startedAt } = attempt
  const told = (
    bucket: TokenBucket,
    limit: number | null,
    own: { remaining: number | null; accepted: number; own: number; margin: number },
  ): void => {
    if (limit !== null) bucket.learn(limit, now)
    // What is left is said of the buckets that it was taken from.
    if (own.remaining === null || quota !== reserved.quota) return
    bucket.told({ ...own, remaining: own.remaining - own.margin, startedAt }, now)
  }
  const { requestsAccepted, inputAccepted, outputAccepted } = reserved
  const usual = reserved.priority === null
  told(quota.requests, requestsLimit, {
    ...{ remaining: rate.requests.remaining, accepted: requestsAccepted, own: by.requests },
    margin: 0,
  })
  told(quota.inputTokens, inputLimit, {
    ...{ accepted: inputAccepted, own: by.input },
    remaining: usual ? rate.inputTokens.remaining : null,
    margin: ROUNDING,
  })
  told(quota.outputTokens, outputLimit, {
    ...{ accepted: outputAccepted, own: by.output },
    remaining: usual ? rate.outputTokens.remaining : null,
    margin: ROUNDING,
  })
  const priority = priorityOf(state, quota, rate, now)
  if (priority === null || rate.priority === undefined) return
  for (const what of ['inputTokens', 'outputTokens'] as const) {
    const { limit, remaining } = rate.priority[what]
    const input = what === 'inputTokens'
    told(priority[what], limit, {
      remaining: priority === reserved.priority ? remaining : null,
      accepted: input ? inputAccepted : outputAccepted,
      own: input ? by.input : by.output,
      margin: ROUNDING,
    })
  }
}

/** What comes before the usual tokens, from the first answer on that speaks of it. */
function priorityOf(state: State, quota: Quota, rate: RateHeaders, now: Millis): Priority | null {
  const { priority } = rate
  if (priority === undefined || !(priority.inputTokens.limit ?? 0)) return quota.priority
  if (quota.priority === null) {
    quota.priority = newPriority(now)
    for (const bucket of allBuckets(quota)) bucket.divide(quotaPart(state, quota, now), now)
  }
  return quota.priority
}

/** What an answer names. */
export const limitsOf = (rate: RateHeaders | null): Limits =>
  rate === null
    ? NONE_NAMED
    : [rate.requests.limit, rate.inputTokens.limit, rate.outputTokens.limit]

const NONE_NAMED: Limits = [null, null, null]

/** The provider says that something is used up, or a bucket of ours stands low: then a 429 is everybody's. */
function usedUp(quota: Quota, rate: RateHeaders | null, now: Millis): boolean {
  const families = rate === null ? [] : [rate.requests, rate.inputTokens, rate.outputTokens]
  if (families.some(({ remaining }) => remaining === 0)) return true
  return buckets(quota).some((bucket) => bucket.below(LOW, now))
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
    quota.starts.grow(now, now < quota.pausedUntil)
    for (const bucket of allBuckets(quota))
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
  const part = quotaPart(state, quota, now)
  for (const bucket of allBuckets(quota)) bucket.divide(part, now)
  const orNull = (limit: number): number | null => (limit === Infinity ? null : limit)
  quota.requests.configure(orNull(rpm), now)
  quota.inputTokens.configure(orNull(itpm), now)
  quota.outputTokens.configure(orNull(otpm), now)
}

/** Those of committed capacity among them. */
export const allBuckets = (quota: Quota): readonly TokenBucket[] => {
  const { priority } = quota
  return priority === null
    ? buckets(quota)
    : [...buckets(quota), priority.inputTokens, priority.outputTokens]
}

const buckets = (quota: Quota): readonly TokenBucket[] => [
  quota.requests,
  quota.inputTokens,
  quota.outputTokens,
]
