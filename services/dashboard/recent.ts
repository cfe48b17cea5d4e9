/**
 * The last few of each kind, numbered over all kinds: a reader that missed some sees it by the gap. A kind that
 * comes often takes no place from one that comes seldom.
 */
export class Recent<T extends { seq: number }> {
  readonly #most: number
  readonly #kindOf: (item: T) => string
  readonly #kinds = new Map<string, T[]>()
  #seq = 0

  /** `kindOf` must give one of a few words: each keeps up to `most`. */
  constructor(most: number, kindOf: (item: T) => string = () => '') {
    this.#most = most
    this.#kindOf = kindOf
  }

  push(of: Omit<T, 'seq'>): void {
    const item = { seq: ++this.#seq, ...of } as T
    const kind = this.#kindOf(item)
    const items = [...(this.#kinds.get(kind) ?? []), item]
    this.#kinds.set(kind, items.slice(-this.#most))
  }

  /** Newest last. */
  all(): readonly T[] {
    return [...this.#kinds.values()].flat().toSorted((a, b) => a.seq - b.seq)
  }
}
