/** How a process stops: nothing starts any more, what waits is told, what runs may end. */
import type { Millis } from '#contracts/units'
import type { Effect } from '#core/model/effects'
import { attemptOf } from '#core/model/place'
import type { Request, State } from '#core/model/state'
import { conclude } from './ending.ts'
import { stopping } from './refusal.ts'

/** How many a drain refuses in one step: what is said to them is in memory at once. */
export const DRAIN_SLICE = 500

/** New requests are refused at once and queued ones by slices, one for each `drain`; running ones may end. */
export function drain(state: State, now: Millis, effects: Effect[]): void {
  state.draining = true
  const slice: Request[] = []
  for (const request of state.requests.values()) {
    if (attemptOf(request) === null) slice.push(request)
    if (slice.length === DRAIN_SLICE) break
  }
  for (const request of slice) conclude(state, request, stopping(), 'drain', now, effects)
}

export function drainOver(state: State, now: Millis, effects: Effect[]): void {
  for (const request of [...state.requests.values()])
    if (!request.answered) conclude(state, request, stopping(), 'drain', now, effects)
}
