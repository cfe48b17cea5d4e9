/** Into a queue and out of it, in every count that is kept of it. */
import type { Millis } from '#contracts/units'
import type { Request, State } from '#core/model/state'
import { endBackfill } from './backfill.ts'
import { reviewActive } from './slots.ts'
import { HAND, QUEUE } from '#core/model/place'

/** Into the queue, at the tail (arrival) or at the head (requests that were admitted before). */
export function enqueue(state: State, request: Request, at: 'tail' | 'head', now: Millis): void {
  request.queuedAt = now
  request.limitedBefore = request.tenant.account?.heldFor(now) ?? 0
  request.checked = false
  request.place = QUEUE
  if (at === 'tail') request.laneRoute.queue.append(request)
  else {
    if (state.backfills.size > 0) endBackfill(state, request)
    request.laneRoute.queue.prepend(request)
  }
  request.tenant.queued++
  request.lane.queued++
  state.queued++
  reviewActive(state, request.tenant)
}

/** Out of the order of its queue; it waits on, in every count. */
export function setAside(
  state: State,
  request: Request,
  of: { since: Millis; until: Millis },
): void {
  if (state.backfills.size > 0) endBackfill(state, request)
  request.laneRoute.queue.setAside(request)
  request.place = { in: 'aside', ...of }
  request.prefix?.aside.add(request)
  state.aside++
}

/** To the head of its queue, where it begins a new visit. `near`: who came back just before it. */
export function comeBack(
  state: State,
  request: Request,
  now: Millis,
  near: Request | null = null,
): void {
  const { place, prefix, flow, laneRoute } = request
  if (place.in !== 'aside') throw new Error(`${request.key}: who stands aside comes back`)
  if (state.backfills.size > 0) endBackfill(state, request)
  request.asideMs += now - place.since
  request.queueMs += now - request.queuedAt
  request.queuedAt = now
  request.checked = false
  request.place = QUEUE
  prefix?.aside.delete(request)
  state.aside--
  laneRoute.queue.comeBack(request, near?.flow === flow ? near : null)
}

export function dequeue(state: State, request: Request, now: Millis): void {
  if (request.place.in === 'aside') comeBack(state, request, now)
  if (state.backfills.size > 0) endBackfill(state, request)
  request.laneRoute.queue.remove(request)
  request.place = HAND
  request.queueMs += now - request.queuedAt
  // A changed configuration may have given its tenant another account meanwhile.
  const limited = (request.tenant.account?.heldFor(now) ?? 0) - request.limitedBefore
  request.limitedMs += Math.max(0, Math.min(limited, now - request.queuedAt))
  request.tenant.queued--
  request.lane.queued--
  state.queued--
}
