/** Jobs that may not start yet, by when they may. */
import { IndexedHeap, type HeapItem } from '#core/estimators/indexed-heap'
import type { Clock, JobHead, Millis } from '#ports'

/** A timer is asked for at most so far ahead: the wall clock may be set meanwhile. */
const LOOK_AGAIN: Millis = 60_000

interface Waiting extends HeapItem {
  readonly head: JobHead
  /** Ms since 1970. */
  readonly at: Millis
}

export class Delayed {
  readonly #of: { clock: Clock; due: (head: JobHead) => void }
  readonly #heap = new IndexedHeap<Waiting>((a, b) =>
    a.at === b.at ? a.head.seq < b.head.seq : a.at < b.at,
  )
  readonly #known = new Set<number>()
  #cancel = (): void => {}
  #stopped = false

  constructor(of: { clock: Clock; due: (head: JobHead) => void }) {
    this.#of = of
  }

  get size(): number {
    return this.#heap.size
  }

  add(head: JobHead): void {
    if (this.#known.has(head.seq) || this.#stopped) return
    this.#known.add(head.seq)
    this.#heap.push({ head, at: head.acceptedAt + head.notBeforeMs, heapAt: -1 })
    this.#arm()
  }

  stop(): void {
    this.#stopped = true
    this.#cancel()
  }

  #arm(): void {
    this.#cancel()
    const next = this.#heap.top()
    if (next === undefined || this.#stopped) return
    const wait = Math.min(LOOK_AGAIN, Math.max(0, next.at - this.#of.clock.wall()))
    this.#cancel = this.#of.clock.after(wait, () => this.#fire())
  }

  #fire(): void {
    const now = this.#of.clock.wall()
    for (let next = this.#heap.top(); next !== undefined && next.at <= now;) {
      this.#heap.remove(next)
      this.#known.delete(next.head.seq)
      this.#of.due(next.head)
      next = this.#heap.top()
    }
    this.#arm()
  }
}
