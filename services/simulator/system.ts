/** The only place in this room where time passes by itself: how long a run took. */
import type { Millis } from '#contracts/units'

export const wallMs = (): Millis => performance.now()
