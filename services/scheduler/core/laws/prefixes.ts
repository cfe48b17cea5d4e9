/** Calls that share a cached prefix wait for the first of them (control-laws §22).
 *
 *  What a call writes to the provider's cache can be read as soon as it has begun to answer. Siblings that start before
 *  write the same once more, at twelve times the price of reading it. So they stand out of their queue until then, and
 *  everybody else goes on.
 *  Bound: on one route a call stands aside for at most `scheduling.prefix_wait_ms` in all, and never longer than leaves
 *  it `SPARE` times its expected service before its deadline. */
import type { Millis } from '#contracts/units'
import type { Verdict } from '#contracts/verdict'
import type { Estimate } from '#core/estimators/cost'
import type { Effect } from '#core/model/effects'
import type { NewRequest } from '#core/model/inputs'
import { newPrefix, type Prefix } from '#core/model/prefix'
import type { Request, Route, State } from '#core/model/state'
import { comeBack, setAside } from './queueing.ts'
import { wakeNext } from './wakes.ts'

type Shared = Prefix<Request>

/** So long after a call began to answer its prefix is taken to be in the cache: the shortest life that is sold. */
export const WARM: Millis = 300_000
/** Prefixes that are known at most, those used lately. */
export const PREFIXES_MOST = 10_000
/** Who stands aside for one prefix at most, so that a step stays short; the next ones start. */
export const ASIDE_MOST = 500
/** Times its expected service: what its deadline must leave it after the wait. */
export const SPARE = 1.5

/** What an arrival shares with others; null: nothing, or nobody waits for that. */
export function prefixOf(state: State, asked: NewRequest, route: Route): Shared | null {
  const { prefix = null } = asked
  if (prefix === null || state.config.file.scheduling.prefix_wait_ms === 0) return null
  return state.prefixes.use(
    `${asked.tenant} ${route.id} ${prefix}`,
    PREFIXES_MOST,
    newPrefix<Request>,
  )
}

/** It is its turn, and another one writes what it could read soon: it stands aside. False: it may start. */
export function standsAside(
  state: State,
  request: Request,
  prefix: Shared,
  of: { estimate: Estimate; now: Millis; effects: Effect[] },
): boolean {
  const { estimate, now, effects } = of
  if (prefix.opening.size === 0 || now < prefix.warmUntil || prefix.inVain) return false
  if (prefix.aside.size >= ASIDE_MOST) return false
  const most = state.config.file.scheduling.prefix_wait_ms - request.asideMs
  const until = Math.min(now + most, latestStart(state, request, estimate, now))
  if (until <= now) return false
  setAside(state, request, { since: now, until })
  wakeNext(state, request, effects)
  return true
}

function latestStart(state: State, request: Request, estimate: Estimate, now: Millis): Millis {
  const service = Math.max(estimate.duration, state.costs.service(request.asked, estimate, now))
  return request.deadline - SPARE * 1_000 * service
}

/** A call has begun to answer: from now on others read what it wrote. */
export function becomesWarm(
  state: State,
  request: Request,
  prefix: Shared,
  of: { now: Millis; effects: Effect[] },
): void {
  prefix.opening.delete(request)
  prefix.warmUntil = of.now + WARM
  letBack(state, prefix, of)
}

/** A call has left its slot. Where it never began to answer, the first of those who waited for it goes next; while
 *  another one writes the prefix too, they stand aside for that at their turn. */
export function hasEnded(
  state: State,
  request: Request,
  prefix: Shared,
  of: { verdict: Verdict; now: Millis; effects: Effect[] },
): void {
  const { kind, usage } = of.verdict
  if (kind === 'ok' && usage !== null)
    prefix.inVain = usage.cacheCreationTokens + usage.cacheReadTokens === 0
  if (!prefix.opening.has(request)) return
  if (kind === 'ok') return becomesWarm(state, request, prefix, of)
  prefix.opening.delete(request)
  letBack(state, prefix, of)
}

/** A changed configuration: whoever still waits for it stands aside again at its turn. */
export function allComeBack(state: State, effects: Effect[]): void {
  if (state.aside === 0) return
  const prefixes = new Set<Shared>()
  for (const { place, prefix } of state.requests.values())
    if (place.in === 'aside' && prefix !== null) prefixes.add(prefix)
  for (const prefix of prefixes) letBack(state, prefix, { now: state.now, effects })
}

function letBack(state: State, prefix: Shared, of: { now: Millis; effects: Effect[] }): void {
  let last: Request | null = null
  for (const request of prefix.aside) {
    comeBack(state, request, of.now, last)
    wakeNext(state, request, of.effects)
    last = request
  }
}
