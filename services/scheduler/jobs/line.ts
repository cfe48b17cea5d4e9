/** Places of a flow's jobs that are stored and not taken, the first one first. Nearly all of them come in order, and
 *  take 8 bytes each; those that come back, or whose time has come, stand aside. */
import { IndexedHeap, type HeapItem } from '#core/estimators/indexed-heap'

/** What was taken from the front is given back to the memory when it is so much, and more than what is left. */
const FRONT_MAX = 1_024

interface Aside extends HeapItem {
  readonly seq: number
}

export class Line {
  /** Ascending; those before `#front` are taken. */
  #places: number[] = []
  #front = 0
  readonly #aside = new IndexedHeap<Aside>((a, b) => a.seq < b.seq)
  readonly #asideBySeq = new Map<number, Aside>()
  /** The last place that was taken of those that came in order; 0: none. */
  passed = 0

  get length(): number {
    return this.#places.length - this.#front + this.#asideBySeq.size
  }

  get first(): number | undefined {
    const inOrder = this.#inOrder()
    const aside = this.#aside.top()?.seq
    if (inOrder === undefined || aside === undefined) return inOrder ?? aside
    return Math.min(inOrder, aside)
  }

  has(seq: number): boolean {
    if (this.#asideBySeq.has(seq)) return true
    const at = this.#indexOf(seq)
    return this.#places[at] === seq
  }

  /** Behind all others; aside where it is not the last. False: it stands there already. */
  add(seq: number): boolean {
    const last = this.#places.length > this.#front ? this.#places.at(-1)! : this.passed
    if (seq <= last || this.#asideBySeq.has(seq)) return this.aside(seq)
    this.#places.push(seq)
    return true
  }

  /** In its place, without a word about those before it. False: it stands there already. */
  aside(seq: number): boolean {
    if (this.has(seq)) return false
    const item: Aside = { seq, heapAt: -1 }
    this.#aside.push(item)
    this.#asideBySeq.set(seq, item)
    return true
  }

  /** Takes the first. */
  shift(): number | undefined {
    const inOrder = this.#inOrder()
    const aside = this.#aside.top()
    if (aside !== undefined && (inOrder === undefined || aside.seq < inOrder)) {
      this.#aside.remove(aside)
      this.#asideBySeq.delete(aside.seq)
      return aside.seq
    }
    if (inOrder === undefined) return undefined
    this.passed = inOrder
    this.#front += 1
    if (this.#front >= FRONT_MAX && this.#front * 2 > this.#places.length) {
      this.#places = this.#places.slice(this.#front)
      this.#front = 0
    }
    return inOrder
  }

  /** Keeps so many of those that came in order; the first place that it forgets, null: none. */
  cut(keep: number): number | null {
    const from = this.#front + keep
    const forgotten = this.#places[from]
    if (forgotten === undefined) return null
    this.#places = this.#places.slice(this.#front, from)
    this.#front = 0
    return forgotten
  }

  #inOrder(): number | undefined {
    return this.#places[this.#front]
  }

  /** Of the first that is not before `seq`. */
  #indexOf(seq: number): number {
    let low = this.#front
    let high = this.#places.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#places[middle]! < seq) low = middle + 1
      else high = middle
    }
    return low
  }
}
