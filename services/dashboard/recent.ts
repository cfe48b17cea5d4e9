/** The last few of something, numbered: a reader that missed some sees it by the gap. */
export class Recent<T extends { seq: number }> {
  readonly #most: number
  #items: T[] = []
  #seq = 0

  constructor(most: number) {
    this.#most = most
  }

  push(item: Omit<T, 'seq'>): void {
    this.#items.push({ seq: ++this.#seq, ...item } as T)
    // Cut now and then, not at each: a shift moves all.
    if (this.#items.length >= 2 * this.#most) this.#items = this.#items.slice(-this.#most)
  }

  /** Newest last. */
  all(): readonly T[] {
    return this.#items.slice(-this.#most)
  }
}
