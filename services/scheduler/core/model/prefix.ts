/** The beginning of a prompt that calls of one tenant on one route have in common (control-laws §22). */
import type { Millis } from '#contracts/units'

export interface Prefix<Call> {
  /** In slots, and have not begun to answer: what they write to the provider's cache cannot be read yet. */
  readonly opening: Set<Call>
  /** Who stands aside until it can, the first one first. */
  readonly aside: Set<Call>
  /** So long it is taken to be in the provider's cache; -Infinity: it never was. */
  warmUntil: Millis
  /** The last answer neither wrote to the cache nor read from it: too short a prefix, or none that is marked. */
  inVain: boolean
}

export const newPrefix = <Call>(): Prefix<Call> => ({
  opening: new Set(),
  aside: new Set(),
  warmUntil: -Infinity,
  inVain: false,
})
