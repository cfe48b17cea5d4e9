/** Binary min-heap whose items know their place, so that any of them can be moved or removed.
 *  Every operation is O(log n), without allocation. An item is in at most one heap at a time. */
export interface HeapItem {
  /** Place in its heap; -1 when in none. Written by the heap only. */
  heapAt: number
}

export class IndexedHeap<T extends HeapItem> {
  readonly #items: T[] = []
  readonly #before: (a: T, b: T) => boolean

  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before
  }

  get size(): number {
    return this.#items.length
  }

  top(): T | undefined {
    return this.#items[0]
  }

  push(item: T): void {
    item.heapAt = this.#items.length
    this.#items.push(item)
    this.#up(item)
  }

  remove(item: T): void {
    const at = item.heapAt
    const last = this.#items.pop()
    item.heapAt = -1
    if (last === undefined || last === item) return
    this.#items[at] = last
    last.heapAt = at
    this.moved(last)
  }

  /** To be called when an item's order has changed. */
  moved(item: T): void {
    this.#up(item)
    this.#down(item)
  }

  /** In no particular order; for checks and rare sweeps. */
  values(): readonly T[] {
    return this.#items
  }

  #up(item: T): void {
    const items = this.#items
    let at = item.heapAt
    while (at > 0) {
      const above = (at - 1) >> 1
      const parent = items[above]!
      if (!this.#before(item, parent)) break
      items[at] = parent
      parent.heapAt = at
      at = above
    }
    items[at] = item
    item.heapAt = at
  }

  #down(item: T): void {
    const items = this.#items
    const size = items.length
    let at = item.heapAt
    for (;;) {
      let below = 2 * at + 1
      if (below >= size) break
      let child = items[below]!
      if (below + 1 < size && this.#before(items[below + 1]!, child)) child = items[++below]!
      if (!this.#before(child, item)) break
      items[at] = child
      child.heapAt = at
      at = below
    }
    items[at] = item
    item.heapAt = at
  }
}
