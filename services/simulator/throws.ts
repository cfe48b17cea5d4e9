/** Shorthands over dice, for what is drawn at random. */
import type { Throw } from './chance.ts'

export class Throws {
  readonly #dice: Throw

  constructor(dice: Throw) {
    this.#dice = dice
  }

  /** True with this probability. */
  chance(p: number): boolean {
    return this.#dice() < p
  }

  /** A whole number, both ends included. */
  int(from: number, to: number): number {
    return from + Math.floor(this.#dice() * (to - from + 1))
  }

  real(from: number, to: number): number {
    return from + this.#dice() * (to - from)
  }

  /** As likely between 1 and 10 as between 10 and 100. */
  log(from: number, to: number): number {
    return Math.min(to, from * (to / from) ** this.#dice())
  }

  logInt(from: number, to: number): number {
    return Math.max(from, Math.min(to, Math.floor(this.log(from, to + 1))))
  }

  pick<T>(from: readonly T[]): T {
    const one = from[Math.floor(this.#dice() * from.length)]
    if (one === undefined) throw new Error('picked from nothing')
    return one
  }

  /** `value` with this probability, else nothing: a key that a file does not have. */
  maybe<T>(p: number, value: () => T): T | undefined {
    // Always thrown, so that one more key moves no other.
    const drawn = value()
    return this.chance(p) ? drawn : undefined
  }
}
