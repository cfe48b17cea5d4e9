/** Keeps a standing queue short (control-laws §12), for lanes that ask for it and requests that name no
 *  deadline of their own. Source: CoDel (Nichols, Jacobson 2012) and its adaptive LIFO.
 *  When even the luckiest request of an interval waited longer than the target, the queue is standing: until
 *  an interval passes in which none did, what waited too long is dropped and the newest goes first. */
import type { Millis, Seconds } from '#contracts/units'

/** Of the mean service. */
export const TARGET = 0.5
export const INTERVAL = 2
/** Times the target: what waited longer is dropped. */
export const STALE = 2

export class DelayControl {
  overloaded = false
  #since: Millis = -Infinity
  #least: Millis = Infinity
  #most: Millis = 0

  /** A request leaves the queue to start, having waited `queueMs`. True when it is to be dropped instead. */
  leaving(of: { queueMs: Millis; meanService: Seconds; now: Millis }): boolean {
    const { queueMs, now } = of
    if (of.meanService === 0) return false
    const target = TARGET * of.meanService * 1_000
    if (now - this.#since >= INTERVAL * of.meanService * 1_000) this.#judge(target, now)
    this.#least = Math.min(this.#least, queueMs)
    this.#most = Math.max(this.#most, queueMs)
    return this.overloaded && queueMs > STALE * target
  }

  #judge(target: Millis, now: Millis): void {
    if (this.#least !== Infinity && this.#least > target) this.overloaded = true
    else if (this.#most <= target) this.overloaded = false
    this.#since = now
    this.#least = Infinity
    this.#most = 0
  }
}
