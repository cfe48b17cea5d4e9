/** Permits under a breaker that somebody runs without a Headgate: counts what is out, tells the breaker how it
 *  ended. In Headgate the core's slots do this. Bound: at any time at most `capOf` permits of the breaker's
 *  present generation are out; those of older ones do not count, so long survivors of an outage cannot
 *  block the probes. */
import type { Millis } from '#contracts/units'
import { capOf, type BreakerEvent, type BreakerSnapshot } from './breaker.ts'

/** The right to one attempt. */
export interface Permit {
  /** Once, when the attempt is over; later words are ignored. `neutral` says nothing of the upstream's
   *  health: cancelled, or refused for the caller's own mistake. */
  ended(how: 'ok' | 'failed' | 'neutral'): void
}

export interface Permits {
  /** Null: not while the breaker is open, or has as many attempts out as it lets through.
   *  Failures of a single tenant do not trip a breaker that serves several. */
  take(tenant?: string): Permit | null
}

/** An actor of `breakerMachine`, on its own or anybody's child. */
export interface BreakerRef {
  getSnapshot(): Pick<BreakerSnapshot, 'value' | 'context'>
  send(event: BreakerEvent): void
}

export function permits(
  breaker: BreakerRef,
  of: {
    /** How many attempts are usual at once; half-open and ramp let a share of it through. */
    limit: () => number
    /** Milliseconds on a monotonic clock, the one that the breaker's delays run on. */
    now: () => Millis
  },
): Permits {
  let generation = -1
  let out = 0
  return {
    take(tenant = '') {
      const snapshot = breaker.getSnapshot()
      const own = snapshot.context.generation
      if (own !== generation) [generation, out] = [own, 0]
      if (out >= capOf(snapshot, of.limit())) return null
      out++
      if (snapshot.value === 'halfOpen') breaker.send({ type: 'probe.started' })
      let over = false
      return {
        ended(how) {
          if (over) return
          over = true
          if (own === generation) out--
          if (how === 'neutral') return
          const type = how === 'ok' ? 'attempt.ok' : 'attempt.failed'
          breaker.send({ type, generation: own, tenant, at: of.now() })
        },
      }
    },
  }
}
