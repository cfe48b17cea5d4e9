/** What is known of many by name, at most `most` of them: those who were used lately. Two generations: when the young
 *  one holds half of what may be, it becomes the old one, and what nobody used since is forgotten. No operation
 *  searches, and none costs more than two lookups. */
export class Lately<T> {
  #young = new Map<string, T>()
  #old = new Map<string, T>()

  /** How many are known. */
  get size(): number {
    return this.#young.size + this.#old.size
  }

  /** As it is, without counting as a use. */
  get(name: string): T | undefined {
    return this.#young.get(name) ?? this.#old.get(name)
  }

  /** A use: what is known, or what `make` gives. */
  use(name: string, most: number, make: () => T): T {
    const known = this.#young.get(name)
    if (known !== undefined) return known
    const value = this.#old.get(name) ?? make()
    this.#old.delete(name)
    if (this.#young.size >= Math.max(1, most / 2)) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(name, value)
    return value
  }
}
