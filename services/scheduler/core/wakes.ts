/** When the loop must come back: one timer for each request and each route. */
import type { Millis } from '#contracts/units'
import type { Effect } from './effects.ts'
import type { Request, Route, State } from './state.ts'

/** When a waiting request may ask a batch attempt to yield. */
export const checkAt = (state: State, request: Request): Millis =>
  request.queuedAt + state.config.file.preemption.check_ms

/** One timer serves a request: the first of its deadline, its retry and its preemption check. */
export function wakeNext(state: State, request: Request, effects: Effect[]): void {
  let at = request.deadline
  if (request.retryAt !== null) at = Math.min(at, request.retryAt)
  if (request.waiting && !request.checked && !request.lane.config.preemptible)
    at = Math.min(at, checkAt(state, request))
  effects.push({ type: 'wake-at', request, at })
}

export function wakeRoute(route: Route, at: Millis, now: Millis, effects: Effect[]): void {
  if (route.wakeAt > now && route.wakeAt <= at) return
  route.wakeAt = at
  effects.push({ type: 'route-wake-at', route, at })
}

export function wakeQuota(state: State, of: Route, now: Millis, effects: Effect[]): void {
  for (const route of state.routes.values())
    if (route.quota === of.quota) wakeRoute(route, of.quota.pausedUntil, now, effects)
}
