/** A pause that binds only those who share its cause (`witness.ts`): their tenants stand out of the queues of the quota
 *  until it is over, and everybody else goes on. */
import type { Millis } from '#contracts/units'
import type { Effect } from '#core/model/effects'
import type { Quota, Request, State } from '#core/model/state'
import { traitsOf } from '#core/estimators/witness'
import { wakeRoute } from './wakes.ts'

export function hold(state: State, quota: Quota, trait: string, until: Millis): void {
  const held = quota.held.get(trait)
  if (held === undefined) quota.held.set(trait, { until, flows: new Map() })
  else held.until = Math.max(held.until, until)
  state.holding.add(quota)
}

/** Until when a pause of their own holds those who share one of these; 0: none does. */
export function heldUntil(quota: Quota, traits: readonly string[], now: Millis): Millis {
  if (quota.held.size === 0) return 0
  let until = 0
  for (const trait of traits) until = Math.max(until, quota.held.get(trait)?.until ?? 0)
  return until > now ? until : 0
}

/** It is a request's turn that a pause holds: its tenant stands out of this queue. False: nothing holds it. */
export function standsBack(
  state: State,
  request: Request,
  now: Millis,
  effects: Effect[],
): boolean {
  const { quota } = request.route
  for (const trait of traitsOf(request.asked)) {
    const held = quota.held.get(trait)
    if (held === undefined || held.until <= now) continue
    held.flows.set(request.flow, request.route)
    request.flow.held = true
    request.laneRoute.queue.rearm(request.flow)
    wakeRoute(request.route, held.until, now, effects)
    return true
  }
  return false
}

/** Pauses that are over let go whom they held. */
export function letGo(state: State, now: Millis, effects: Effect[]): void {
  for (const quota of state.holding) {
    for (const [trait, held] of quota.held) {
      if (held.until > now) {
        for (const route of held.flows.values()) wakeRoute(route, held.until, now, effects)
        continue
      }
      quota.held.delete(trait)
      for (const flow of held.flows.keys()) {
        flow.held = false
        flow.queue.rearm(flow)
      }
    }
    if (quota.held.size === 0) state.holding.delete(quota)
  }
}
