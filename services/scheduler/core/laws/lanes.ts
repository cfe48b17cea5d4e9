/** Whose urgency goes first, who may borrow (control-laws §5).
 *
 *  Three nested groups share by one rule, start-time fair queueing: lanes (two classes, preemptible and
 *  not), routes inside a lane, tenants inside a lane and route (fair-queue). Guarantees come first, then
 *  the minimum shares of preemptible lanes, then non-preemptible lanes by weight, then preemptible ones on what
 *  nobody else wants. `pick` is O(lanes x routes + log tenants). */
import type { Millis, Seconds } from '#contracts/units'
import type { LaneRoute, Lane, LaneGroup, Request, Route, State } from '#core/model/state'
import { fits, freeOverall } from './slots.ts'
import { kept } from './backfill.ts'
import { readyAt } from './token-buckets.ts'

/** Tags are rebased when a virtual time has come this far, while doubles still resolve microseconds. */
export const REBASE_AT = 1e9

/** The request that starts next, or null. `skip` holds routes that wait for quota. */
export function select(state: State, now: Millis, skip: ReadonlySet<Route> | null): Request | null {
  if (state.queued === 0 || freeOverall(state) <= 0) return null
  const laneRoute =
    guaranteed(state, now, skip) ??
    belowMinimum(state, now, skip) ??
    arbitrated(state, now, skip) ??
    spare(state, now, skip)
  return laneRoute?.queue.first() ?? null
}

/** 1a. Lanes below their guarantee in both scopes, heaviest first. */
function guaranteed(state: State, now: Millis, skip: Skip): LaneRoute | null {
  for (const lane of state.lanes) {
    if (lane.queued === 0 || lane.inflight >= lane.guarantee) continue
    const laneRoute = leastTagged(state, lane, 'guarantee', now, skip)
    if (laneRoute !== null) return laneRoute
  }
  return null
}

/** 1b. Preemptible lanes below their minimum share. */
function belowMinimum(state: State, now: Millis, skip: Skip): LaneRoute | null {
  for (const lane of state.lanes) {
    if (lane.queued === 0 || lane.inflight >= lane.minimumShare) continue
    const laneRoute = leastTagged(state, lane, 'minimum', now, skip)
    if (laneRoute !== null) return laneRoute
  }
  return null
}

/** 2. Non-preemptible lanes, by start tag or, in strict arbitration, by weight alone. */
function arbitrated(state: State, now: Millis, skip: Skip): LaneRoute | null {
  const strict = state.config.file.scheduling.arbitration === 'strict'
  let best: LaneRoute | null = null
  for (const lane of state.lanes) {
    if (lane.queued === 0 || lane.config.preemptible) continue
    const laneRoute = leastTagged(state, lane, 'weight', now, skip)
    if (laneRoute === null) continue
    if (strict) return laneRoute
    if (best === null || laneStart(laneRoute) < laneStart(best)) best = laneRoute
  }
  return best
}

/** 3. Preemptible lanes, on routes that no non-preemptible request wants, leaving the headroom. */
function spare(state: State, now: Millis, skip: Skip): LaneRoute | null {
  let best: LaneRoute | null = null
  for (const lane of state.lanes) {
    if (lane.queued === 0 || !lane.config.preemptible) continue
    const laneRoute = leastTagged(state, lane, 'spare', now, skip)
    if (laneRoute !== null && (best === null || laneStart(laneRoute) < laneStart(best)))
      best = laneRoute
  }
  return best
}

/** The lane's route with the least start tag among those on which it may start in this phase. */
function leastTagged(
  state: State,
  lane: Lane,
  phase: Phase,
  now: Millis,
  skip: Skip,
): LaneRoute | null {
  let best: LaneRoute | null = null
  for (const laneRoute of lane.laneRoutes) {
    if (laneRoute.queue.queued === 0 || (skip !== null && skip.has(laneRoute.route))) continue
    if (!eligible(laneRoute, now) || !mayTake(state, laneRoute, phase, now)) continue
    if (best === null || routeStart(laneRoute) < routeStart(best)) best = laneRoute
  }
  return best
}

type Phase = 'guarantee' | 'minimum' | 'weight' | 'spare'
type Skip = ReadonlySet<Route> | null

function mayTake(state: State, laneRoute: LaneRoute, phase: Phase, now: Millis): boolean {
  switch (phase) {
    case 'guarantee':
      return laneRoute.inflight < laneRoute.guarantee && fits(state, laneRoute, false)
    case 'minimum':
      return (
        laneRoute.inflight < laneRoute.minimumShare &&
        fits(state, laneRoute, false) &&
        quotaAllows(laneRoute, now)
      )
    case 'weight':
      return fits(state, laneRoute, false)
    case 'spare':
      return fits(state, laneRoute, true) && !wantedByOthers(laneRoute.route, now)
  }
}

/** A minimum share is not waited for by skipping its route: others may go meanwhile. Nor does it take the
 *  tokens that another lane's request waits for. */
function quotaAllows(laneRoute: LaneRoute, now: Millis): boolean {
  const first = laneRoute.queue.first()
  const { quota } = laneRoute.route
  return first !== null && !kept(quota) && readyAt(quota, first.expected, now) <= now
}

/** Does a non-preemptible lane have an eligible head on this route? */
export function wantedByOthers(route: Route, now: Millis): boolean {
  for (const laneRoute of route.laneRoutes)
    if (!laneRoute.lane.config.preemptible && eligible(laneRoute, now)) return true
  return false
}

/** Does the lane have a head here that only free slots and bucket levels could keep waiting? */
export function eligible(laneRoute: LaneRoute, now: Millis): boolean {
  const { lane, route, queue } = laneRoute
  return (
    queue.next() !== undefined &&
    !lane.paused &&
    laneRoute.inflight < laneRoute.cap &&
    lane.inflight < lane.cap &&
    route.ofGeneration < route.gate.cap &&
    now >= route.quota.pausedUntil &&
    upstreamOpen(route, now)
  )
}

/** A blocked upstream lets one attempt through to test it, each time its time is over. */
export const upstreamOpen = (route: Route, now: Millis): boolean =>
  now >= route.upstream.blockedUntil

const head = (laneRoute: LaneRoute): Request => laneRoute.queue.next()!.head!
/** Start tags: the arrival stamp of the head, or what the group has already been served. */
const routeStart = (laneRoute: LaneRoute): number =>
  Math.max(head(laneRoute).routeStamp, laneRoute.finish)
const laneStart = (laneRoute: LaneRoute): number =>
  Math.max(head(laneRoute).laneStamp, laneRoute.lane.finish)

/** Charges lane, route and tenant for a start, before its request leaves the queue. Virtual time moves to
 *  the smallest start tag among the flows that could have started, not to that of the one that did:
 *  so guaranteed starts do not distort the weights of the others. */
export function charge(
  state: State,
  request: Request,
  now: Millis,
  est: { duration: Seconds; cost: number },
): void {
  const { lane, laneRoute } = request
  let laneV = Infinity
  let routeV = Infinity
  for (const other of state.lanes) {
    if (other.queued === 0 || other.group !== lane.group) continue
    for (const one of other.laneRoutes) {
      if (one !== laneRoute && !(one.queue.queued > 0 && competes(state, one, now))) continue
      laneV = Math.min(laneV, laneStart(one))
      if (other === lane) routeV = Math.min(routeV, routeStart(one))
    }
  }
  const laneS = laneStart(laneRoute)
  const routeS = routeStart(laneRoute)
  lane.group.v = Math.max(lane.group.v, laneV)
  lane.v = Math.max(lane.v, routeV)
  lane.finish = laneS + est.duration / lane.config.weight
  laneRoute.finish = routeS + est.duration
  laneRoute.queue.charge(request.flow, est.cost)
  if (lane.group.v > REBASE_AT) rebaseGroup(state, lane.group)
  if (lane.v > REBASE_AT) rebaseRoutes(state, lane)
  if (laneRoute.queue.v > REBASE_AT) laneRoute.queue.rebase(state.requests.values())
}

const competes = (state: State, laneRoute: LaneRoute, now: Millis): boolean =>
  eligible(laneRoute, now) && fits(state, laneRoute, laneRoute.lane.config.preemptible)

/** The truth is known; both groups are corrected both ways. */
export function settleSlots(request: Request, correction: Seconds): void {
  request.lane.finish += correction / request.lane.config.weight
  request.laneRoute.finish += correction
}

function rebaseGroup(state: State, group: LaneGroup): void {
  const by = group.v
  group.v = 0
  for (const lane of state.lanes) if (lane.group === group) lane.finish -= by
  for (const r of state.requests.values()) if (r.lane.group === group) r.laneStamp -= by
}

function rebaseRoutes(state: State, lane: Lane): void {
  const by = lane.v
  lane.v = 0
  for (const laneRoute of lane.laneRoutes) laneRoute.finish -= by
  for (const r of state.requests.values()) if (r.lane === lane) r.routeStamp -= by
}
