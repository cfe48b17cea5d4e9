/** What one instance of a fleet makes of another's word on the limit that all of them divide (control-laws §14). */
import type { Millis } from '#contracts/units'
import {
  EPISODE,
  FAST_WINDOW,
  peakOf,
  restart,
  type Aimd,
  type Change,
  type LimitSettings,
} from './aimd.ts'

/** What another instance of a fleet says of the limit that all of them divide. */
export interface Heard {
  limit: number
  /** It met a refusal, and has made one decrease for all. */
  cut: boolean
  at: Millis
  inflight: number
}

/** One congestion event is one decrease, whoever meets it. A limit that stood higher elsewhere was used there, so it
 *  is as proven as a raise of our own; a new window begins, so that all together raise no faster than one would. */
export function heard(a: Aimd, by: Heard, settings: LimitSettings): Change {
  const least = Math.min(settings.floor, a.limit)
  const limit = Math.max(least, Math.min(settings.ceiling, by.limit))
  const window = restart(by.at, by.inflight)
  if (!by.cut) {
    if (limit <= a.limit) return { next: a, reason: 'not_higher' }
    const best = Math.max(a.best, limit)
    const raised = { ...a, limit, best, raisedFrom: a.raisedFrom ?? a.limit, window }
    return { next: raised, reason: 'raised_by_the_fleet' }
  }
  const fresh = by.at - a.lastDecrease > EPISODE
  const next: Aimd = {
    ...a,
    limit: Math.min(a.limit, limit),
    epoch: a.epoch + 1,
    best: fresh ? Math.max(a.limit, Math.min(a.best, peakOf(a, settings))) : a.best,
    near: a.limit,
    raisedFrom: null,
    step: 1,
    fastWindow: fresh ? FAST_WINDOW.start : Math.min(FAST_WINDOW.max, 2 * a.fastWindow),
    lastDecrease: by.at,
    post: true,
    ring: [],
    throttled: [],
    window,
  }
  return { next, reason: 'cut_by_the_fleet' }
}
