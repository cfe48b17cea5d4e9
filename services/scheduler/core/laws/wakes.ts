/** When the loop must come back: one timer for each request and each route. */
import type { Millis } from '#contracts/units'
import type { Effect } from '#core/model/effects'
import type { Quota, Request, Route, State } from '#core/model/state'

/** When a waiting request may ask a batch attempt to yield. */
export const checkAt = (state: State, request: Request): Millis =>
  request.queuedAt + state.config.file.preemption.check_ms

/** One timer serves a request: the first of its deadline, its retry, the end of its time aside and its preemption check. */
export function wakeNext(state: State, request: Request, effects: Effect[]): void {
  let at = request.deadline
  const { place } = request
  if (place.in === 'back-off' || place.in === 'aside') at = Math.min(at, place.until)
  if (place.in === 'queue' && !request.checked && !request.lane.config.preemptible)
    at = Math.min(at, checkAt(state, request))
  effects.push({ type: 'wake-at', request, at })
}

export function wakeRoute(route: Route, at: Millis, now: Millis, effects: Effect[]): void {
  if (route.wakeAt > now && route.wakeAt <= at) return
  route.wakeAt = at
  effects.push({ type: 'route-wake-at', route, at })
}

export function wakeQuota(state: State, quota: Quota, now: Millis, effects: Effect[]): void {
  for (const route of state.routes.values())
    if (route.quota === quota) wakeRoute(route, quota.pausedUntil, now, effects)
}
