/** What lanes that go first, and the neighbours of busy tenants, need: learned once a second (control-laws §5). */
import { reviewLarge } from './slots.ts'
import type { LaneRoute, State } from '#core/model/state'

export function sampleNeeds(state: State): void {
  let all = 0
  for (const route of state.routes.values()) {
    let waiting = 0
    const open = route.gate.state === 'closed' && state.now >= route.quota.pausedUntil
    for (const laneRoute of open ? route.laneRoutes : [])
      if (!laneRoute.lane.config.preemptible) waiting += ready(laneRoute)
    route.firm.sample(waiting)
    all += waiting
  }
  state.firm.sample(all)
  for (const large of state.large) large.others?.sample(0, state.firm.inflight - large.firm)
  reviewLarge(state)
}

/** Requests that only a free slot keeps waiting. */
function ready({ queue, lane, route, cap, inflight }: LaneRoute): number {
  if (lane.paused || queue.next() === undefined) return 0
  if (cap >= route.limit) return queue.queued
  // A lane with a part of the limit needs no more than that part.
  return Math.min(queue.queued, Math.max(0, Math.min(cap - inflight, lane.cap - lane.inflight)))
}
