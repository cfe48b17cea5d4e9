/** The way out: nothing new starts, what waits is refused slice by slice, what runs has its time. */
import { attemptOf } from '#core/model/place'
import type { Millis } from '#ports'
import type { Spine } from './spine.ts'
import { Timer } from './timer-heap.ts'

/** Between two slices of a drain what was said has time to leave. */
export const DRAIN_SLICE_MS: Millis = 5

export class Drain {
  readonly #spine: Spine
  readonly #over = new Timer(() => this.#spine.step({ type: 'drain-over' }))
  readonly #next = new Timer(() => this.#slice())
  #idle: (() => void) | null = null

  constructor(spine: Spine) {
    this.#spine = spine
  }

  /** Resolves when every slot is back. */
  begin(): Promise<void> {
    const { enter, heap, now, state } = this.#spine
    return new Promise((resolve) => {
      this.#idle = resolve
      enter(() => {
        this.#slice()
        heap.set(this.#over, now() + state.config.file.drain_ms)
      })
    })
  }

  /** Ends what still runs, now. */
  hurry(): void {
    this.#spine.enter(() => this.#spine.step({ type: 'drain-over' }))
  }

  /** So many requests are live now. */
  look(live: number): void {
    if (this.#idle === null || live > 0) return
    const idle = this.#idle
    this.#idle = null
    idle()
  }

  /** Timers that are set. */
  get timers(): number {
    return Number(this.#over.pending) + Number(this.#next.pending)
  }

  /** A slice at a time, so that thousands of last words do not have to be in memory at once. */
  #slice(): void {
    const { heap, now, state, step } = this.#spine
    step({ type: 'drain' })
    const more = [...state.requests.values()].some((one) => attemptOf(one) === null)
    if (more) heap.set(this.#next, now() + DRAIN_SLICE_MS)
  }
}
