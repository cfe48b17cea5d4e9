/** The only place in this room where time passes by itself. */
import type { Millis } from '#contracts/units'

/** Time, injected: a run with a clock of its own and a seed can be replayed. */
export interface Clock {
  /** Milliseconds since 1970; never goes back. */
  now(): Millis
  /** Calls once, `ms` from now; the answer cancels it. */
  after(ms: Millis, call: () => void): () => void
}

/** setTimeout fires at once past 2^31 - 1. */
const LONGEST_TIMER: Millis = 2_147_483_647

export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, Math.min(ms, LONGEST_TIMER))
    return () => clearTimeout(timer)
  },
}
