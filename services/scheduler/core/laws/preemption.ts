/** Which attempt should yield (control-laws §7).
 *
 *  A request of a non-preemptible lane that has waited `check_ms` may end one batch attempt, if that
 *  attempt's slot is exactly what is missing; where its own tenant's cap is what keeps it, one of that
 *  tenant's. Each abort also lowers what the batch lane may take on the
 *  route, so that the next burst needs none.
 *  Bound: aborted slot-seconds <= 5 % of useful ones + 50 + 1 s per abort (invariant I10). */
import type { Millis, Seconds } from '#contracts/units'
import { doomed } from './deadlines.ts'
import { eligible, upstreamOpen } from './lanes.ts'
import { capOf, freeOn, freeOverall, rescaleAllowance, reserved, usable } from './slots.ts'
import type { Attempt, LaneRoute, Request, State } from '#core/model/state'
import { readyAt } from './token-buckets.ts'
import { attemptOf, waits } from '#core/model/place'

/** A victim that is expected to be done so soon is left alone. */
export const NEARLY_DONE: Seconds = 2
/** Times its estimate: what has run for longer would lose too much. */
export const TOO_LATE = 2
/** It grows faster while so much of the route is free, beyond the headroom: a burst is over. */
export const ALLOWANCE = {
  cutEvery: 2_000,
  growEvery: 7_000,
  growEveryRoomy: 1_000,
  roomy: 0.2,
  factor: 0.5,
  /** A service of half so many seconds is long. */
  long: 10,
  /** Of what lies idle. */
  idle: 0.5,
} as const

export interface Victim {
  request: Request
  attempt: Attempt
}

/** The attempt that should yield to this waiting request, or null. Spends the waste credit. */
export function victimFor(state: State, request: Request, now: Millis): Victim | null {
  if (!waits(request) || request.flow.held || request.lane.config.preemptible) return null
  if (request.tenant.heldBack) return null
  const own = request.tenant.parked
  const victim = own ? ownVictim(state, request, now) : anyVictim(state, request, now)
  if (victim === null) return null
  const elapsed = (now - victim.attempt.startedAt) / 1_000
  if (state.wasteCredit < elapsed) return null
  state.wasteCredit -= elapsed
  // A tenant that stands in its own way says nothing of how much batch there may be.
  if (!own) cutAllowance(state, victim.request.laneRoute, now)
  return victim
}

function anyVictim(state: State, request: Request, now: Millis): Victim | null {
  if (!mayStart(state, request, now)) return null
  const { onRoute, overall } = freeFor(state, request)
  if (Math.min(onRoute, overall) !== 0) return null
  return leastLoss(state, victimsOf(state, request, onRoute), now, () => true)
}

/** Its tenant's cap keeps it, and batch of that tenant is under the cap. */
function ownVictim(state: State, request: Request, now: Millis): Victim | null {
  const { tenant, lane, laneRoute, route } = request
  const open =
    route.gate.state === 'closed' &&
    !lane.paused &&
    laneRoute.inflight < laneRoute.cap &&
    lane.inflight < lane.cap &&
    upstreamOpen(route, now) &&
    readyAt(route.quota, request.expected, now) <= now
  const { onRoute, overall } = freeFor(state, request)
  if (!open || Math.min(onRoute, overall) < 0 || doomed(state, request, now) !== null) return null
  const laneRoutes = victimsOf(state, request, onRoute)
  return leastLoss(state, laneRoutes, now, (one) => one.tenant === tenant)
}

/** Slots that are free for it now; below 0 one more would not help. */
function freeFor(
  state: State,
  { route, laneRoute }: Request,
): { onRoute: number; overall: number } {
  const held = reserved(state, laneRoute)
  return { onRoute: freeOn(route) - held.route, overall: freeOverall(state) - held.overall }
}

/** Where somebody may yield: on its own route, where that is full. */
const victimsOf = (state: State, { route }: Request, onRoute: number): readonly LaneRoute[] =>
  onRoute === 0 ? route.laneRoutes : allLaneRoutes(state)

/** Would the freed slot really be used? Not if the breaker, a pause, quota or the deadline is in the way. */
function mayStart(state: State, request: Request, now: Millis): boolean {
  if (request.route.gate.state !== 'closed' || !eligible(request.laneRoute, now)) return false
  const head = request.laneRoute.queue.first()
  if (head === null || readyAt(request.route.quota, head.expected, now) > now) return false
  return doomed(state, head, now) === null
}

const allLaneRoutes = (state: State): LaneRoute[] => state.lanes.flatMap((lane) => lane.laneRoutes)

/** The victim that loses least: no byte yet, then least elapsed, then the smaller id. */
function leastLoss(
  state: State,
  laneRoutes: readonly LaneRoute[],
  now: Millis,
  fits: (request: Request) => boolean,
): Victim | null {
  const most = state.config.file.preemption.max_per_request
  const { acting } = state.config.file.llm_gateway.retry
  let best: Victim | null = null
  for (const laneRoute of laneRoutes) {
    if (!laneRoute.lane.config.preemptible || !aboveMinimum(laneRoute)) continue
    for (const request of laneRoute.running) {
      const attempt = attemptOf(request)
      if (attempt === null || attempt.ending !== null || attempt.forwarded) continue
      if (request.preemptions >= most || !fits(request)) continue
      // What its tools have done at the provider would be done again.
      if (request.asked.mayAct === true && !acting) continue
      const elapsed = (now - attempt.startedAt) / 1_000
      const { duration } = attempt.estimate
      // Past its estimate nobody knows when it ends; answers that are long already tend to go on.
      if (elapsed > TOO_LATE * duration) continue
      if (duration <= NEARLY_DONE || (elapsed <= duration && duration - elapsed <= NEARLY_DONE))
        continue
      const one = { request, attempt }
      if (best === null || losesLess(one, best)) best = one
    }
  }
  return best
}

/** Attempts that are being ended already do not count towards the minimum share. */
function aboveMinimum(laneRoute: LaneRoute): boolean {
  let ending = 0
  for (const request of laneRoute.running) if (attemptOf(request)?.ending !== null) ending++
  let endingInLane = 0
  for (const other of laneRoute.lane.laneRoutes)
    for (const request of other.running) if (attemptOf(request)?.ending !== null) endingInLane++
  return (
    laneRoute.inflight - ending > laneRoute.minimumShare &&
    laneRoute.lane.inflight - endingInLane > laneRoute.lane.minimumShare
  )
}

function losesLess(a: Victim, b: Victim): boolean {
  if (a.attempt.firstByte !== b.attempt.firstByte) return b.attempt.firstByte
  if (a.attempt.startedAt !== b.attempt.startedAt) return a.attempt.startedAt > b.attempt.startedAt
  return a.request.key < b.request.key
}

function cutAllowance(state: State, laneRoute: LaneRoute, now: Millis): void {
  if (now - laneRoute.allowanceCutAt < ALLOWANCE.cutEvery) return
  laneRoute.allowanceCutAt = now
  laneRoute.allowanceQuietAt = now
  // A long service keeps its slots for long: the lane is halved. A short one gives them back anyway.
  const service = laneRoute.pace.meanService || ALLOWANCE.long
  const factor = Math.max(ALLOWANCE.factor, 1 - service / ALLOWANCE.long)
  const less = Math.floor(factor * Math.min(laneRoute.allowance, laneRoute.inflight + 1))
  laneRoute.allowance = Math.max(laneRoute.minimumShare, less)
  rescaleAllowance(state, laneRoute)
}

/** Has a request of a lane that goes first waited for as long as would end a batch attempt? */
function keptWaiting(state: State, { lane, queue }: LaneRoute, now: Millis): boolean {
  const head = lane.config.preemptible ? null : queue.first()
  return head !== null && now >= head.queuedAt + state.config.file.preemption.check_ms
}

/** Once a second: the allowance grows back while no other lane is kept waiting. */
export function growAllowances(state: State, now: Millis): void {
  for (const route of state.routes.values()) {
    const wanted = route.laneRoutes.some((one) => keptWaiting(state, one, now))
    const kept = Math.max(route.headroom, route.firm.free)
    const roomy = freeOn(route) > kept + ALLOWANCE.roomy * usable(route)
    for (const laneRoute of route.laneRoutes) {
      if (!laneRoute.lane.config.preemptible || laneRoute.allowance === Infinity) continue
      // What the lane starts comes back within its service: the shorter that is, the less a slot lent is missed.
      const service = 1_000 * (laneRoute.pace.meanService || Infinity)
      const growEvery = roomy
        ? ALLOWANCE.growEveryRoomy
        : Math.min(ALLOWANCE.growEvery, Math.max(ALLOWANCE.growEveryRoomy, service))
      if (wanted) laneRoute.allowanceQuietAt = now
      else if (now - laneRoute.allowanceQuietAt >= growEvery) {
        laneRoute.allowanceQuietAt = now
        // Half of what lies idle, where that comes back within a second; less, the longer it takes.
        const idle = freeOn(route) - kept
        laneRoute.allowance += Math.max(
          1,
          Math.floor((ALLOWANCE.idle * 1_000 * idle) / Math.max(1_000, service)),
        )
        const { base } = state.config.file.scheduling
        const full = (capOf(laneRoute.lane, base) * usable(route)) / base
        if (laneRoute.allowance >= full) laneRoute.allowance = Infinity
        rescaleAllowance(state, laneRoute)
      }
    }
  }
}
