/** The only place in this room where time passes by itself: how long a run took, and when everything that waits for
 *  a promise has gone on as far as it can. */
import type { Millis } from '#contracts/units'

export const wallMs = (): Millis => performance.now()

/** Promises are kept before the event loop turns, in an order of their own that each run repeats. */
export const promisesKept = (): Promise<void> =>
  new Promise((resolve) => void setImmediate(resolve))
