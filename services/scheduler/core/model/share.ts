/** Our part of what the instances of a fleet divide, as it is in force (control-laws §14). */
import type { Millis } from '#contracts/units'

/** Between two cuts of the whole: so many of `limit` slots are ours. The cuts of all members meet, so that no slot is
 *  lost to rounding, and all together have no more than the limit. */
export const portionOf = (limit: number, { from, to }: Portion): number =>
  Math.floor(limit * to + EPSILON) - Math.floor(limit * from + EPSILON)
const EPSILON = 1e-9

/** Where our part of the whole lies, from 0 to 1. */
export interface Portion {
  readonly from: number
  readonly to: number
}
export const WHOLE: Portion = { from: 0, to: 1 }

/** What we may use, put in force in the core. */
export interface Share {
  /** Of all attempts in flight: most of ours while the lease holds; Infinity: no fleet. */
  readonly slots: number
  /** When the lease lapses; then `safe` holds until `safeUntil`, and nothing after that. */
  readonly until: Millis
  readonly safe: number
  readonly safeUntil: Millis
  /** Of every limit that the fleet divides. */
  readonly portion: Portion
  /** Of the limits of these routes instead, by id: those that somebody wants more of. */
  readonly routes: ReadonlyMap<string, Portion>
}

export const ALONE: Share = {
  slots: Infinity,
  until: Infinity,
  safe: Infinity,
  safeUntil: Infinity,
  portion: WHOLE,
  routes: new Map(),
}

/** Of a member that has not been given any. */
export const NONE: Share = {
  ...ALONE,
  slots: 0,
  safe: 0,
  safeUntil: 0,
  portion: { from: 0, to: 0 },
}

/** Most attempts in flight that the share allows at an instant. */
export function slotsOf(share: Share, now: Millis): number {
  if (now < share.until) return share.slots
  return now < share.safeUntil ? share.safe : 0
}

/** Our part of what is continuous, as rates are; it shrinks with a lapsed lease as the slots do. */
export const partOf = (share: Share, now: Millis): number =>
  (share.portion.to - share.portion.from) * inForce(share, now)

/** How much of our part is left to us: all of it while the lease holds. */
export const inForce = (share: Share, now: Millis): number =>
  now < share.until || share.slots === 0 ? 1 : slotsOf(share, now) / share.slots

/** Our portion of a route's limit. */
export const portionOn = (share: Share, route: string): Portion =>
  share.routes.get(route) ?? share.portion

/** What one instance says of a route's limit. */
export interface LimitWord {
  readonly epoch: number
  readonly limit: number
}

/** The later word on a limit holds; of words of one epoch the larger, which has probed further. */
export const holdsOver = (word: LimitWord, known: LimitWord): boolean =>
  word.epoch > known.epoch || (word.epoch === known.epoch && word.limit > known.limit)
