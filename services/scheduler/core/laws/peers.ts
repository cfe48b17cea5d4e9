/** What one instance of a fleet met binds all of them, where it is the provider's word to all (control-laws §14). */
import type { Millis } from '#contracts/units'
import type { Effect } from '#core/model/effects'
import type { Quota, State } from '#core/model/state'
import { wakeQuota } from './wakes.ts'

/** A 429 has paused a quota: its routes wake when that is over, and the fleet hears of it. */
export function pausedHere(state: State, quota: Quota, now: Millis, effects: Effect[]): void {
  wakeQuota(state, quota, now, effects)
  effects.push({ type: 'quota-paused', quota, until: quota.pausedUntil })
}

/** The longest that another's word may pause a quota. */
export const PAUSE_MOST: Millis = 60_000

/** Nothing of the quota starts before that instant. What it has in hand stays: the refusal was another's. */
export function pausedByPeer(
  state: State,
  of: { quota: string; until: Millis },
  now: Millis,
  effects: Effect[],
): void {
  const quota = state.quotas.get(of.quota)
  const until = Math.min(of.until, now + PAUSE_MOST)
  if (quota === undefined || until <= quota.pausedUntil) return
  quota.pausedUntil = until
  quota.throttledAt = now
  wakeQuota(state, quota, now, effects)
}
