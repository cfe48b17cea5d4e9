/** `expect` for loops of many thousand cases, where the real one would take most of the time. It looks by
 *  itself, and is silent only where the real one would be; all else goes to the real one, which decides and
 *  finds the words. */
import { isDeepStrictEqual } from 'node:util'
import { expect as real, type Assertion } from 'vitest'

export const expect = (got: unknown, words?: string): Quick => new Quick(got, words)

class Quick {
  readonly #got: unknown
  readonly #words: string | undefined

  constructor(got: unknown, words: string | undefined) {
    this.#got = got
    this.#words = words
  }

  /** Whatever this one does not know. */
  get slowly(): Assertion {
    return real(this.#got, this.#words)
  }

  toBe(wanted: unknown): void {
    if (!Object.is(this.#got, wanted)) this.slowly.toBe(wanted)
  }
  /** What is equal to the strict is equal to `toEqual`; an asymmetric matcher is not, and goes on. */
  toEqual(wanted: unknown): void {
    if (!isDeepStrictEqual(this.#got, wanted)) this.slowly.toEqual(wanted)
  }
  toBeDefined(): void {
    if (this.#got === undefined) this.slowly.toBeDefined()
  }
  toHaveLength(wanted: number): void {
    const got = this.#got
    if (!(Array.isArray(got) || typeof got === 'string') || got.length !== wanted)
      this.slowly.toHaveLength(wanted)
  }
  toBeLessThan(wanted: number): void {
    if (!(typeof this.#got === 'number' && this.#got < wanted)) this.slowly.toBeLessThan(wanted)
  }
  toBeLessThanOrEqual(wanted: number): void {
    if (!(typeof this.#got === 'number' && this.#got <= wanted))
      this.slowly.toBeLessThanOrEqual(wanted)
  }
  toBeGreaterThan(wanted: number): void {
    if (!(typeof this.#got === 'number' && this.#got > wanted)) this.slowly.toBeGreaterThan(wanted)
  }
  toBeGreaterThanOrEqual(wanted: number): void {
    if (!(typeof this.#got === 'number' && this.#got >= wanted))
      this.slowly.toBeGreaterThanOrEqual(wanted)
  }
  toMatch(wanted: RegExp): void {
    if (!(typeof this.#got === 'string' && this.#got.search(wanted) >= 0))
      this.slowly.toMatch(wanted)
  }
  toContain(wanted: unknown): void {
    const got = this.#got
    const there =
      typeof got === 'string'
        ? typeof wanted === 'string' && got.includes(wanted)
        : Array.isArray(got) && got.includes(wanted)
    if (!there) this.slowly.toContain(wanted)
  }

  readonly not = {
    toBe: (wanted: unknown): void => {
      if (Object.is(this.#got, wanted)) this.slowly.not.toBe(wanted)
    },
    toContain: (wanted: unknown): void => {
      const absent =
        typeof this.#got === 'string' && typeof wanted === 'string' && !this.#got.includes(wanted)
      if (!absent) this.slowly.not.toContain(wanted)
    },
  }
}
