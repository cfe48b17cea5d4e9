/** How often something happens, from what was lately seen: older times weigh less. */
import type { Millis } from '#contracts/units'

export const MEMORY: Millis = 60_000
/** Fewer tell nothing. */
export const LEAST = 3

export class Rate {
  #weight = 0
  #seen = 0
  #at: Millis = 0
  #since: Millis = 0

  add(now: Millis): void {
    if (this.#seen === 0) this.#since = this.#at = now
    this.#weight = this.#weight * faded(now - this.#at) + 1
    this.#at = now
    this.#seen += 1
  }

  /** Times per second; null: too little was seen. */
  perSecond(now: Millis): number | null {
    // The first one only says when the watch began.
    const watched = 1 - faded(now - this.#since)
    if (this.#seen < LEAST || watched === 0) return null
    const lately = this.#weight * faded(now - this.#at) - faded(now - this.#since)
    const rate = lately / (watched * (MEMORY / 1_000))
    return rate > 0 ? rate : null
  }
}

const faded = (ms: Millis): number => Math.exp(-Math.max(0, ms) / MEMORY)
