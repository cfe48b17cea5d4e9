/** Time that passes only when nothing is left to do at the present instant. Chained delays run in order of
 *  due time, then of setting, so a run has one order of events and no other. */
import type { Millis } from '#contracts/units'
import type { Clock } from '#ports'
import { Timer, TimerHeap } from '#scheduler/loop/timer-heap'

/** Wall time of the first instant: 2026-01-01, so that events of equal runs are equal. */
const EPOCH: Millis = 1_767_225_600_000

export class VirtualClock implements Clock {
  readonly #heap = new TimerHeap()
  #now: Millis = 0
  /** What readers of the clock see on top; a jump or a step back of a real machine's clock. */
  skewMs: Millis = 0

  now(): Millis {
    return this.#now + this.skewMs
  }

  /** The instant itself, whatever the clock shows. */
  get instant(): Millis {
    return this.#now
  }

  wall(): Millis {
    return EPOCH + this.now()
  }

  after(ms: Millis, call: () => void): () => void {
    const timer = new Timer(call)
    // A wait that is lost in rounding takes the shortest time there is: else who looks at a clock with a skew, and
    // waits for what is left, would wait for ever.
    const least = ms > 0 ? this.#now * (1 + Number.EPSILON) : 0
    this.#heap.set(timer, Math.max(this.#now + ms, least))
    return () => this.#heap.clear(timer)
  }

  /** For those who keep a timer of their own. */
  set(timer: Timer, at: Millis): void {
    this.#heap.set(timer, at)
  }

  clear(timer: Timer): void {
    this.#heap.clear(timer)
  }

  /** Goes to the next due instant and does what is due first; false when nothing is due by `until`. */
  next(until: Millis): boolean {
    const due = this.#heap.next()
    if (due > until) {
      if (until > this.#now) this.#now = until
      return false
    }
    if (due > this.#now) this.#now = due
    return this.#heap.fireNext(this.#now)
  }
}
