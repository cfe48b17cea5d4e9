/** Who had how much of something lately: sums by name whose weight halves every minute.
 *  Bound: `NAMES_MAX` names; past it the smaller half is forgotten. */

export const HALF_LIFE_MS = 60_000
export const NAMES_MAX = 1_000
/** Less than this is nothing. */
const LEAST = 0.01

/** One sum that fades. */
export class Fading {
  #value = 0
  #at = 0
  readonly #halfLifeMs: number

  constructor(halfLifeMs = HALF_LIFE_MS) {
    this.#halfLifeMs = halfLifeMs
  }

  add(by: number, at: number): void {
    this.#value = this.read(at) + by
    this.#at = at
  }

  read(at: number): number {
    if (this.#value === 0 || at <= this.#at) return this.#value
    return this.#value * 2 ** ((this.#at - at) / this.#halfLifeMs)
  }
}

export class DecayingCounts {
  readonly #all = new Fading()
  #byName = new Map<string, Fading>()

  add(name: string, at: number): void {
    this.#all.add(1, at)
    let one = this.#byName.get(name)
    if (one === undefined) {
      if (this.#byName.size >= NAMES_MAX) this.#forgetSmall(at)
      one = new Fading()
      this.#byName.set(name, one)
    }
    one.add(1, at)
  }

  total(at: number): number {
    const total = this.#all.read(at)
    return total < LEAST ? 0 : total
  }

  /** Each one's part of all, largest first. */
  largest(most: number, at: number): { name: string; part: number }[] {
    const total = this.total(at)
    if (total === 0) {
      this.#byName.clear()
      return []
    }
    return this.#sorted(at)
      .slice(0, most)
      .map(([name, one]) => ({ name, part: round(one.read(at) / total) }))
  }

  /** This one's part of all, 0 to 1. */
  partOf(name: string, at: number): number {
    const total = this.total(at)
    const one = this.#byName.get(name)
    return total === 0 || one === undefined ? 0 : round(one.read(at) / total)
  }

  #forgetSmall(at: number): void {
    this.#byName = new Map(this.#sorted(at).slice(0, NAMES_MAX / 2))
  }

  #sorted(at: number): [string, Fading][] {
    return [...this.#byName].sort(([, a], [, b]) => b.read(at) - a.read(at))
  }
}

const round = (part: number): number => Math.round(Math.min(1, part) * 1_000) / 1_000
