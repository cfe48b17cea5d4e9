/** Dice with a memory: equal seed and purpose, equal throws. Source: mulberry32 (T. Ettinger, public domain). */

export type Throw = () => number

/** 0 to below 1. A purpose of its own keeps one use from disturbing another. */
export function seeded(seed: number, purpose: string): Throw {
  let state = seed >>> 0
  for (const character of purpose) state = Math.imul(state ^ character.charCodeAt(0), 0x9e3779b1)
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Time to the next arrival of a Poisson stream. */
export const exponential = (mean: number, dice: Throw): number => -mean * Math.log(1 - dice())

/** A lognormal number with this mean; `sigma` is the spread of its logarithm. */
export function lognormal(of: { mean: number; sigma: number; dice: Throw }): number {
  const normal = Math.sqrt(-2 * Math.log(1 - of.dice())) * Math.cos(2 * Math.PI * of.dice())
  return Math.exp(Math.log(of.mean) - of.sigma ** 2 / 2 + of.sigma * normal)
}

/** Draws 0 to `count` - 1, the k-th with weight (k + 1)^-exponent. */
export function zipf(of: { count: number; exponent: number; dice: Throw }): () => number {
  const sums: number[] = []
  let total = 0
  for (let k = 1; k <= of.count; k++) sums.push((total += k ** -of.exponent))
  return () => {
    const drawn = of.dice() * total
    let [low, high] = [0, of.count - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((sums[middle] ?? 0) > drawn) high = middle
      else low = middle + 1
    }
    return low
  }
}
