/** One quota of the simulated provider. */
import type { Seconds } from '#contracts/units'
import { TOKENS_PER_SECOND } from './workload.ts'

export interface PerMinute {
  /** Infinity: not limited then. */
  limit: (at: Seconds) => number
  burst: number
}

/** A continuous bucket that may be drained at a rate, and go into debt by it. */
export class Bucket {
  readonly #of: PerMinute
  #level: number
  #at: Seconds = 0
  /** Answers being written. */
  #writing = 0

  constructor(of: PerMinute) {
    this.#of = of
    this.#level = of.burst
  }

  limit(at: Seconds): number {
    return this.#of.limit(at)
  }

  levelAt(at: Seconds): number {
    if (this.#of.limit(at) === Infinity) return this.#of.burst
    const gain = this.#of.limit(at) / 60 - this.#writing * TOKENS_PER_SECOND
    return Math.min(this.#of.burst, this.#level + gain * (at - this.#at))
  }

  waitFor(need: number, at: Seconds): Seconds {
    const missing = Math.min(need, this.#of.burst) - this.#roll(at)
    if (this.#of.limit(at) === Infinity) return 0
    return missing <= 1e-9 ? 0 : missing / (this.#of.limit(at) / 60)
  }

  take(need: number): void {
    this.#level -= need
  }

  drain(answers: 1 | -1, at: Seconds): void {
    this.#roll(at)
    this.#writing += answers
  }

  #roll(at: Seconds): number {
    this.#level = this.levelAt(at)
    this.#at = at
    return this.#level
  }
}
