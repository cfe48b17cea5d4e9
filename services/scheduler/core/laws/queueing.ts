/** Into a queue and out of it, in every count that is kept of it. */
import type { Millis } from '#contracts/units'
import type { Request, State } from '#core/model/state'
import { endBackfill } from './backfill.ts'
import { reviewActive } from './slots.ts'
import { HAND, QUEUE } from '#core/model/place'

/** Into the queue, at the tail (arrival) or at the head (requests that were admitted before). */
export function enqueue(state: State, request: Request, at: 'tail' | 'head', now: Millis): void {
  request.queuedAt = now
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

export function dequeue(state: State, request: Request, now: Millis): void {
  if (state.backfills.size > 0) endBackfill(state, request)
  request.laneRoute.queue.remove(request)
  request.place = HAND
  request.queueMs += now - request.queuedAt
  request.tenant.queued--
  request.lane.queued--
  state.queued--
}
