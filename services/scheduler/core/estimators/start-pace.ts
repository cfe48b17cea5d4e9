/** How fast to start where the provider says that it is too fast, and not how fast it may be: no limit is
 *  configured, and its 429s carry no rate-limit headers. Each refusal costs the whole route a pause, so the rate
 *  that met one is remembered: up to a little below it starts come back quickly, there they stay for a while, and
 *  then what works is tried in doubling steps. It begins with a refusal soon after a pause: then waiting the pause
 *  out is not enough. */
import type { Millis } from '#contracts/units'

/** Of what was accepted lately: the first refusals say only that it was far too much, later ones a little. */
export const CUT = { first: 0.5, later: 0.85, again: 5_000 }
/** Share of the rate that met a refusal, where growth stops for `HOLD`. */
export const NEAR = 0.95
export const HOLD: Millis = 8_000
export const GROW = { below: 1.15, step: 0.03, most: 0.5 }
/** Starts that may leave together, as seconds of the rate. */
export const BURST = 0.1
/** So many times what is used, it paces nobody any more. */
export const IDLE = 2
export const WINDOW = 5

export class StartPace {
  /** Starts per second; null: not paced. */
  rate: number | null = null
  #level = 0
  #at: Millis = 0
  /** The rate that met the last refusal. */
  #failed = Infinity
  #cutAt: Millis = -Infinity
  #pausedUntil: Millis = -Infinity
  #step = GROW.step
  #delayed = false
  /** Starts by second, the present one last. */
  readonly #starts: number[] = [0]

  /** The earliest instant of the next start. */
  readyAt(now: Millis): Millis {
    if (this.rate === null) return now
    const missing = 1 - this.#levelAt(now)
    return missing <= 1e-9 && now >= this.#at
      ? now
      : Math.max(now, this.#at) + Math.max(0, Math.ceil((missing / this.rate) * 1_000))
  }

  started(now: Millis): void {
    this.#starts[this.#starts.length - 1]! += 1
    if (this.rate === null) return
    this.#level = this.#levelAt(now) - 1
    this.#at = Math.max(this.#at, now)
  }

  /** Somebody waits for it. */
  delayed(): void {
    this.#delayed = true
  }

  /** A refusal of an attempt that started at `startedAt`; nothing starts before `until`. */
  refused(startedAt: Millis, until: Millis, now: Millis): void {
    const soon = now - this.#pausedUntil < CUT.again
    const fresh = startedAt >= this.#cutAt && startedAt >= this.#pausedUntil
    this.#pausedUntil = Math.max(this.#pausedUntil, until)
    if (this.rate === null && !soon) return
    if (fresh) {
      const seconds = Math.min(WINDOW, this.#starts.length)
      let used = 0
      for (const n of this.#starts.slice(-WINDOW)) used += n
      const lately = Math.max(1, used / seconds)
      const was = this.rate === null ? lately : Math.min(this.rate, Math.max(lately, this.rate / 2))
      const steep = this.rate === null || now - this.#cutAt < CUT.again
      this.#failed = was
      this.rate = Math.max(0.1, was * (steep ? CUT.first : CUT.later))
      this.#cutAt = now
      this.#step = GROW.step
    }
    this.#level = Math.min(this.#levelAt(now), 0)
    this.#at = Math.max(this.#at, until)
  }

  /** Once a second; `paused`: nothing may start now. */
  grow(now: Millis, paused: boolean): void {
    const used = Math.max(...this.#starts.slice(-WINDOW))
    this.#starts.push(0)
    if (this.#starts.length > WINDOW + 1) this.#starts.shift()
    if (this.rate === null || paused) return
    this.#level = this.#levelAt(now)
    this.#at = Math.max(this.#at, now)
    const quiet = now - this.#cutAt >= HOLD
    if (quiet && !this.#delayed && this.rate > IDLE * Math.max(1, used)) {
      this.rate = null
      this.#failed = Infinity
      return
    }
    if (!this.#delayed) return
    this.#delayed = false
    const near = NEAR * this.#failed
    if (this.rate < near) this.rate = Math.min(near, this.rate * GROW.below)
    else if (quiet) {
      this.rate *= 1 + this.#step
      this.#step = Math.min(GROW.most, 2 * this.#step)
    }
  }

  #levelAt(now: Millis): number {
    if (this.rate === null || now <= this.#at) return this.#level
    const burst = Math.max(1, BURST * this.rate)
    return Math.min(burst, this.#level + (this.rate * (now - this.#at)) / 1_000)
  }
}
