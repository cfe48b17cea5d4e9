/** How much less the provider gives than it used to, as a level, and which arrivals to turn away then
 *  (control-laws §13).
 *
 *  Our difference: a level needs demand. Lanes that are not preemptible must by themselves use what the
 *  limits still allow; else batch is the only work there is, and keeping it out would keep the limits from
 *  ever being used, and so from growing (decisions/0011). */
import type { Millis, Seconds } from '#contracts/units'

export type Level = 0 | 1 | 2 | 3

export const BELOW: Record<1 | 2, number> = { 1: 0.6, 2: 0.4 }
/** A level is left after so long without its condition. */
export const LINGER: Millis = 30_000
/** Of the slots that the limits allow: the same use that lets a limit grow. */
export const DEMAND = 0.8
export const WINDOW: Seconds = 30
export const SLOW: Millis = 2_000
/** The 95th percentile is above `SLOW` when more than this share of the starts waited longer. */
export const SLOW_SHARE = 0.05
export const SCORES = 1_000
export const SHED_MOST = 0.9
/** What the levels and the shedding remember; bounded, and nothing here scans tenants or requests. */
export class LoadWatch {
  level: Level = 0
  /** Last instant at which the condition of level 1, 2, 3 held. */
  readonly #held: [Millis, Millis, Millis] = [-Infinity, -Infinity, -Infinity]
  readonly #arrivals = new Int32Array(WINDOW)
  readonly #starts = new Int32Array(WINDOW)
  readonly #firmStarts = new Int32Array(WINDOW)
  readonly #slowStarts = new Int32Array(WINDOW)
  #second = 0
  readonly #scores = new Ring(SCORES)
  readonly #usages = new Ring(SCORES)
  #sortedUsages: Float64Array = new Float64Array(0)
  #threshold = -Infinity
  /** The provider gives enough, or less is asked for. */
  #giving = true

  /** Every well-formed arrival, accepted or not. */
  arrived(now: Millis): void {
    this.#roll(now)
    this.#arrivals[this.#second % WINDOW]!++
  }

  /** A first start; `firm`: of a lane that is not preemptible. */
  started(of: { firm: boolean; waitMs: Millis; now: Millis }): void {
    this.#roll(of.now)
    const at = this.#second % WINDOW
    this.#starts[at]!++
    if (!of.firm) return
    this.#firmStarts[at]!++
    if (of.waitMs > SLOW) this.#slowStarts[at]!++
  }

  /** Once a second: the level now. */
  review(of: { capacity: number; usual: number; firmInflight: number; now: Millis }): Level {
    this.#roll(of.now)
    const q = of.usual > 0 ? of.capacity / of.usual : 1
    const demand = of.firmInflight >= DEMAND * of.capacity
    const slow = total(this.#slowStarts) > SLOW_SHARE * total(this.#firmStarts)
    const conditions = [
      demand && q < BELOW[1],
      demand && q < BELOW[2],
      demand && q < BELOW[2] && slow,
    ]
    this.#giving = !demand || q >= BELOW[2]
    this.level = 0
    for (const [index, condition] of conditions.entries()) {
      if (condition) this.#held[index] = of.now
      if (of.now - this.#held[index]! < LINGER) this.level = (index + 1) as Level
    }
    this.#reviewThreshold()
    return this.level
  }

  /** Scores an arrival and says whether it is turned away. Scores are gathered from level 2 on. */
  sheds(of: { laneRank: number; usage: number }): boolean {
    if (this.level < 2) return false
    this.#usages.push(of.usage)
    const score = of.laneRank + 1 - this.#usageQuantile(of.usage)
    this.#scores.push(score)
    // The level outlasts its cause by a while; nobody is turned away once the provider gives again.
    return this.level === 3 && !this.#giving && score < this.#threshold
  }

  /** The share of lately seen arrivals whose tenants used less; ties count half. */
  #usageQuantile(usage: number): number {
    const sorted = this.#sortedUsages
    if (sorted.length === 0) return 0.5
    return (rank(sorted, usage, false) + rank(sorted, usage, true)) / (2 * sorted.length)
  }

  #reviewThreshold(): void {
    if (this.level < 2) {
      this.#scores.clear()
      this.#usages.clear()
      this.#sortedUsages = new Float64Array(0)
      this.#threshold = -Infinity
      return
    }
    this.#sortedUsages = this.#usages.sorted()
    const arrivals = total(this.#arrivals)
    const excess = arrivals === 0 ? 0 : (arrivals - total(this.#starts)) / arrivals
    const p = Math.min(SHED_MOST, Math.max(0, excess))
    const scores = this.#scores.sorted()
    this.#threshold = p === 0 ? -Infinity : (scores[Math.floor(p * scores.length)] ?? -Infinity)
  }

  #roll(now: Millis): void {
    const second = Math.floor(now / 1_000)
    if (second <= this.#second) return
    for (let i = Math.max(this.#second + 1, second - WINDOW + 1); i <= second; i++) {
      const at = i % WINDOW
      this.#arrivals[at] = 0
      this.#starts[at] = 0
      this.#firmStarts[at] = 0
      this.#slowStarts[at] = 0
    }
    this.#second = second
  }
}

/** The last values, at most `size`. */
class Ring {
  readonly #values: Float64Array
  #next = 0
  #held = 0

  constructor(size: number) {
    this.#values = new Float64Array(size)
  }

  push(value: number): void {
    this.#values[this.#next] = value
    this.#next = (this.#next + 1) % this.#values.length
    this.#held = Math.min(this.#held + 1, this.#values.length)
  }

  sorted(): Float64Array {
    return this.#values.slice(0, this.#held).sort()
  }

  clear(): void {
    this.#next = 0
    this.#held = 0
  }
}

const total = (counts: Int32Array): number => {
  let sum = 0
  for (const n of counts) sum += n
  return sum
}

/** How many are smaller than `value`, or smaller or equal. */
function rank(sorted: Float64Array, value: number, orEqual: boolean): number {
  let [from, to] = [0, sorted.length]
  while (from < to) {
    const middle = (from + to) >> 1
    const smaller = orEqual ? sorted[middle]! <= value : sorted[middle]! < value
    if (smaller) from = middle + 1
    else to = middle
  }
  return from
}
