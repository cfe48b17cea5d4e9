/** Jobs that may not start yet, by when they may. */
import { IndexedHeap, type HeapItem } from '#core/estimators/indexed-heap'
import type { Clock, JobFlow, Millis } from '#ports'

/** A timer is asked for at most so far ahead: the wall clock may be set meanwhile. */
const LOOK_AGAIN: Millis = 60_000

/** Which job: its flow and its place. */
export interface DueJob extends JobFlow {
  readonly seq: number
}

interface Waiting extends HeapItem {
  readonly job: DueJob
  /** Ms since 1970. */
  readonly at: Millis
}

export class Delayed {
  readonly #of: { clock: Clock; due: (job: DueJob) => void }
  readonly #heap = new IndexedHeap<Waiting>((a, b) =>
    a.at === b.at ? a.job.seq < b.job.seq : a.at < b.at,
  )
  readonly #known = new Set<number>()
  #cancel = (): void => {}
  #stopped = false

  constructor(of: { clock: Clock; due: (job: DueJob) => void }) {
    this.#of = of
  }

  get size(): number {
    return this.#heap.size
  }

  /** `at`: when it may start, ms since 1970. */
  add({ seq, lane, tenant }: DueJob, at: Millis): void {
    if (this.#known.has(seq) || this.#stopped) return
    this.#known.add(seq)
    this.#heap.push({ job: { seq, lane, tenant }, at, heapAt: -1 })
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
      this.#known.delete(next.job.seq)
      this.#of.due(next.job)
      next = this.#heap.top()
    }
    this.#arm()
  }
}
