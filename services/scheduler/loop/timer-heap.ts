/** Every due time; the loop sleeps until the first. Order is due time, then order of setting. */
import { IndexedHeap, type HeapItem } from '#core/estimators/indexed-heap'
import type { Millis } from '#contracts/units'

/** One thing that may be due; it can be set again and again, and is in the heap at most once. */
export class Timer implements HeapItem {
  heapAt = -1
  due: Millis = 0
  /** Breaks ties between equal due times. */
  order = 0
  readonly fire: () => void

  constructor(fire: () => void) {
    this.fire = fire
  }

  get pending(): boolean {
    return this.heapAt >= 0
  }
}

export class TimerHeap {
  readonly #heap = new IndexedHeap<Timer>((a, b) =>
    a.due === b.due ? a.order < b.order : a.due < b.due,
  )
  #order = 0

  get size(): number {
    return this.#heap.size
  }

  next(): Millis {
    return this.#heap.top()?.due ?? Infinity
  }

  set(timer: Timer, due: Millis): void {
    timer.due = due
    timer.order = this.#order++
    if (timer.pending) this.#heap.moved(timer)
    else this.#heap.push(timer)
  }

  clear(timer: Timer): void {
    if (timer.pending) this.#heap.remove(timer)
  }

  /** Calls once; the answer cancels it. */
  after(now: Millis, ms: Millis, call: () => void): () => void {
    const timer = new Timer(call)
    this.set(timer, now + ms)
    return () => this.clear(timer)
  }

  /** Fires the first timer that is due by `now`; false when none is. */
  fireNext(now: Millis): boolean {
    const timer = this.#heap.top()
    if (timer === undefined || timer.due > now) return false
    this.#heap.remove(timer)
    timer.fire()
    return true
  }
}
