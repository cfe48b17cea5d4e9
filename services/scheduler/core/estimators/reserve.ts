/** What the callers of one route need, by Little's law: arrivals times usual service. */
import type { Seconds } from '#contracts/units'
import { RunningMean } from './cost.ts'

/** How fast arrivals are forgotten: slowly for what is usual, quickly for what has changed. */
export const MEMORY: { slow: Seconds; fast: Seconds } = { slow: 15, fast: 3 }
/** Over the usual demand, since arrivals come in bursts; and over the last few seconds', so that a route whose
 *  callers have gone soon keeps nothing. */
export const MARGIN = { slow: 1.25, fast: 1.7 }

/** What the callers of one route need. */
export class Reserve {
  slots = 0
  #arrived = 0
  #slow = 0
  #fast = 0
  readonly #service = new RunningMean()

  arrived(): void {
    this.#arrived++
  }

  served(seconds: Seconds): void {
    this.#service.add(seconds)
  }

  /** `usual`: the service to expect before any is known. */
  review(elapsed: Seconds, most: number, usual: Seconds): void {
    if (elapsed <= 0) return
    const rate = this.#arrived / elapsed
    this.#arrived = 0
    this.#slow += (1 - Math.exp(-elapsed / MEMORY.slow)) * (rate - this.#slow)
    this.#fast += (1 - Math.exp(-elapsed / MEMORY.fast)) * (rate - this.#fast)
    const service = this.#service.value === 0 ? usual : this.#service.value
    const demand = Math.min(MARGIN.slow * this.#slow, MARGIN.fast * this.#fast)
    this.slots = Math.min(most, Math.floor(demand * service))
  }
}
