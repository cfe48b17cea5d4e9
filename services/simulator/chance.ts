/** Throws for arrivals, services and faults. Each use has dice of its own, so that one more throw for one
 *  use moves no other: two policies meet the same arrivals and the same services. */
import { seededDice } from '#core/estimators/dice'
import type { Seconds } from '#contracts/units'

/** 0 to below 1. */
export type Throw = () => number

export function seeded(seed: number, purpose: string): Throw {
  let mixed = seed >>> 0
  for (let i = 0; i < purpose.length; i++)
    mixed = Math.imul(mixed ^ purpose.charCodeAt(i), 0x9e3779b1)
  const dice = seededDice(mixed)
  return () => dice.next()
}

/** Time to the next arrival of a Poisson stream. */
export const exponential = (mean: Seconds, dice: Throw): Seconds => -mean * Math.log(1 - dice())

/** Lognormal by mean and coefficient of variation. */
export function lognormal(of: { mean: number; cv: number }): (dice: Throw) => number {
  const variance = Math.log(1 + of.cv ** 2)
  const [mu, sigma] = [Math.log(of.mean) - variance / 2, Math.sqrt(variance)]
  return (dice) =>
    Math.exp(mu + sigma * Math.sqrt(-2 * Math.log(1 - dice())) * Math.cos(2 * Math.PI * dice()))
}

/** 0 to `count` - 1, the k-th with weight (k + 1)^-exponent. */
export function zipf(of: { count: number; exponent: number; dice: Throw }): () => number {
  const sums: number[] = []
  let total = 0
  for (let k = 1; k <= of.count; k++) sums.push((total += k ** -of.exponent))
  return () => {
    const drawn = of.dice() * total
    let [low, high] = [0, of.count - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if (sums[middle]! > drawn) high = middle
      else low = middle + 1
    }
    return low
  }
}
