import type { Millis } from '#contracts/units'

/** Time, injected. `now` never goes back; `wall` is for people and the wire only. */
export interface Clock {
  /** Milliseconds since some fixed instant of this process, monotonic. */
  now(): Millis
  /** Milliseconds since 1970. */
  wall(): Millis
  /** Calls once, `ms` from now (any length); the answer cancels it. */
  after(ms: Millis, call: () => void): () => void
  /** Calls once, as soon as what has arrived from outside is worked through; absent: at once. */
  soon?: (call: () => void) => void
}
