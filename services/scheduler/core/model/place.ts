/** Where a live request stands, as those ask who read it. */
import type { Millis } from '#contracts/units'
import type { Attempt, Place, Request } from './state.ts'

/** Those that say no more than where: one for all. */
export const QUEUE: Place = { in: 'queue' }
export const HAND: Place = { in: 'hand' }

/** In its queue, or aside. */
export const waits = ({ place }: Request): boolean => place.in === 'queue' || place.in === 'aside'

/** Of its time in the queue, what its tenant's own limits and its own prefix took: no sign of a slow provider. */
export const ownWaitOf = ({ limitedMs, asideMs }: Request): Millis => limitedMs + asideMs

/** Null: it holds no slot. */
export const attemptOf = ({ place }: Request): Attempt | null =>
  place.in === 'slot' ? place.attempt : null

/** When its back-off ends; null: it is in none. */
export const retryAtOf = ({ place }: Request): Millis | null =>
  place.in === 'back-off' ? place.until : null

/** It waits for a token of the retry budget, beside its back-off. */
export const owes = (place: Place | undefined): boolean => place?.in === 'back-off' && place.owes
