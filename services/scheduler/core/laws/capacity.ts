/** What a route's attempts show of the provider's capacity, for the machine that finds the limit. */
import type { Millis } from '#contracts/units'
import type { LaneRoute, Route } from '#core/model/state'
import { attemptOf } from '#core/model/place'

/** Times the usual time that a refusal takes: who is older has been taken. */
export const OLDER = 3
export const LEAST: Millis = 50

/** Attempts in flight that the provider has taken: they are older than its refusals are. O(attempts). */
export function acceptedOf(route: Route, now: Millis): number {
  const age = Math.max(LEAST, OLDER * route.refusedAfter.value)
  let taken = 0
  for (const request of route.running) {
    const attempt = attemptOf(request)
    if (attempt === null || now - attempt.startedAt < age) break
    taken++
  }
  return taken
}

/** Does a request wait that this route's limit keeps from starting, by itself or by a bound that scales with it: its
 *  lane's cap, others' reserved slots, the headroom? No breaker, pause or block is in the way. */
export function wanted(route: Route): boolean {
  return (
    route.gate.state === 'closed' &&
    route.laneRoutes.some(
      (laneRoute) =>
        !laneRoute.lane.paused &&
        laneRoute.queue.next() !== undefined &&
        (atScaledCap(laneRoute) || route.limit - route.inflight <= kept(route, laneRoute)),
    )
  )
}

/** At its lane's part of the limit, and not at what preemption has left to it. */
const atScaledCap = ({ inflight, cap, allowance }: LaneRoute): boolean =>
  inflight >= cap && allowance > cap

/** Slots that this lane leaves to others. */
function kept(route: Route, laneRoute: LaneRoute): number {
  let reserved = 0
  for (const other of route.laneRoutes)
    if (other !== laneRoute && !other.lane.paused)
      reserved += Math.max(0, other.reservedSlots - other.inflight)
  return laneRoute.lane.config.preemptible ? Math.max(reserved, route.headroom) : reserved
}
