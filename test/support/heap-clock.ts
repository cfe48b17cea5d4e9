/** A clock for machines in tests: due times in a heap, moved by hand. Chained delays run within one
 *  `advance`, each at its own time. */
import { TimerHeap } from '#scheduler/loop/timer-heap'

export class HeapClock {
  now = 0
  readonly heap = new TimerHeap()

  readonly after = (ms: number, call: () => void): (() => void) =>
    this.heap.after(this.now, ms, call)

  advance(ms: number): void {
    const until = this.now + ms
    while (this.heap.next() <= until) {
      this.now = Math.max(this.now, this.heap.next())
      this.heap.fireNext(this.now)
    }
    this.now = until
  }

  get pending(): number {
    return this.heap.size
  }
}
