/** A list whose items carry their own links: joining and leaving cost no lookup and no memory. An item is in at most
 *  one list at a time. */
export interface Linked<Item> {
  before: Item | null
  after: Item | null
}

export class LinkedList<Item extends Linked<Item>> {
  #first: Item | null = null
  #last: Item | null = null
  size = 0

  get first(): Item | null {
    return this.#first
  }

  get last(): Item | null {
    return this.#last
  }

  /** At the end. */
  add(item: Item): void {
    item.before = this.#last
    item.after = null
    if (this.#last === null) this.#first = item
    else this.#last.after = item
    this.#last = item
    this.size++
  }

  delete(item: Item): void {
    const { before, after } = item
    if (before === null) this.#first = after
    else before.after = after
    if (after === null) this.#last = before
    else after.before = before
    item.before = null
    item.after = null
    this.size--
  }

  *[Symbol.iterator](): Generator<Item> {
    for (let one = this.#first; one !== null; one = one.after) yield one
  }
}
