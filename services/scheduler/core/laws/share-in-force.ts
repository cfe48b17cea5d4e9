/** Our share of a fleet's limits put in force, and taken back when its lease lapses (control-laws §14). */
import type { Millis } from '#contracts/units'
import type { Effect } from '#core/model/effects'
import { attemptOf } from '#core/model/place'
import type { Share } from '#core/model/share'
import type { Request, Route, State } from '#core/model/state'
import { conclude } from './ending.ts'
import { quotaPart } from './quota-part.ts'
import { refuse } from './refusal.ts'
import { OUTLIVES } from './shares.ts'
import { allBuckets } from './token-buckets.ts'
import { mostInflight, rescale, reviewParking } from './slots.ts'

export function takeShare(state: State, share: Share): void {
  state.share = share
  divide(state)
}

/** Once a second: a lapsed lease leaves the safe part, of the whole and of each route. What is above it gives way:
 *  attempts of preemptible lanes at once, the others when others may count on it. */
export function reviewShare(state: State, now: Millis, effects: Effect[]): void {
  const { until } = state.share
  if (now < until) return
  divide(state)
  const running = [...state.requests.values()].filter((one) => isRunning(one))
  let excess = running.length - mostInflight(state)
  const onRoute = new Map<Route, number>()
  for (const { route } of running) onRoute.set(route, (onRoute.get(route) ?? -route.limit) + 1)
  const late = now >= until + OUTLIVES
  for (const request of running.toReversed()) {
    const { route } = request
    // What started since then did so within the safe part; a limit that was cut is no reason to end it.
    const ofRoute = attemptOf(request)!.startedAt < until ? onRoute.get(route)! : 0
    if (excess <= 0 && ofRoute <= 0) continue
    if (!giveUp(state, request, late, now, effects)) continue
    excess--
    onRoute.set(route, onRoute.get(route)! - 1)
  }
}

const isRunning = (request: Request): boolean => attemptOf(request)?.ending === null

function giveUp(
  state: State,
  request: Request,
  late: boolean,
  now: Millis,
  effects: Effect[],
): boolean {
  const attempt = attemptOf(request)
  if (attempt === null) return false
  if (!late && !request.lane.config.preemptible) return false
  if (!attempt.forwarded) {
    // It waits for its turn again, here or, when its caller asks again, elsewhere.
    attempt.ending = 'preempt'
    effects.push({ type: 'abort-attempt', request, attempt, why: 'preempt', ending: null })
    return true
  }
  if (!late) return false
  const refused = refuse('STREAM_BROKEN', 'this instance has lost its share of the limits')
  conclude(state, request, refused, 'drain', now, effects)
  return true
}

function divide(state: State): void {
  for (const quota of state.quotas.values()) {
    const part = quotaPart(state, quota, state.now)
    for (const bucket of allBuckets(quota)) bucket.divide(part, state.now)
  }
  for (const tenant of state.active) reviewParking(state, tenant)
  rescale(state)
}
