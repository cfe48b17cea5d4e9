/** Chance that can be replayed: each request has dice of its own, made of the seed and its number, so
 *  that what one request draws never shifts what another draws. */

/** The next number in [0, 1). */
export type Dice = () => number

/** mulberry32 over a mixed seed. Bound: period 2^32, far more than one request draws. */
export function diceOf(seed: number, ordinal: number): Dice {
  let state = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(ordinal + 1, 0x85ebca6b)) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** A lognormal draw by its median; `sigma` is the spread of the logarithm. */
export const lognormal = (p: { median: number; sigma: number; dice: Dice }): number =>
  p.median * Math.exp(p.sigma * gaussian(p.dice))

/** A lognormal draw by its mean, with coefficient of variation 1. */
export function lognormalOfMean(mean: number, dice: Dice): number {
  const variance = Math.LN2
  return mean * Math.exp(Math.sqrt(variance) * gaussian(dice) - variance / 2)
}

/** Identifiers shaped like the API's: chance first, then the number, so that none repeats. */
export const makeId = (prefix: string, ordinal: number, dice: Dice): string =>
  prefix +
  Math.floor(dice() * 2 ** 52)
    .toString(36)
    .padStart(11, '0') +
  ordinal.toString(36).padStart(9, '0')

/** Box-Muller; 1 - u keeps the logarithm finite. */
const gaussian = (dice: Dice): number =>
  Math.sqrt(-2 * Math.log(1 - dice())) * Math.cos(2 * Math.PI * dice())
