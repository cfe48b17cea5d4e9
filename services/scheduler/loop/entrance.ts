/** The one way in: one act after the other, and one timer of the clock for all due times. What arrives while an act is
 *  performed waits in line, so that no step is entered twice. */
import type { Clock, Millis } from '#ports'
import { TimerHeap } from './timer-heap.ts'

export interface EntranceOptions {
  clock: Clock
  /** Runs each act; absent: as it is. */
  run?: ((act: () => void) => void) | undefined
  /** What an act throws. */
  onBug: (error: unknown) => void
  /** After each act, and all that came meanwhile. */
  after: () => void
}

export class Entrance {
  readonly heap = new TimerHeap()
  readonly #of: EntranceOptions
  readonly #waiting: (() => void)[] = []
  #busy = false
  #closed = false
  #armed: { at: Millis; cancel: () => void } | null = null

  constructor(options: EntranceOptions) {
    this.#of = options
  }

  /** Runs now, or after what is being performed; after `close` never. */
  enter(act: () => void): void {
    if (this.#closed) return
    if (this.#busy) {
      this.#waiting.push(act)
      return
    }
    this.#busy = true
    try {
      const { run } = this.#of
      if (run === undefined) act()
      else run(act)
      if (this.#waiting.length > 0) this.#catchUp()
    } catch (bug) {
      this.#of.onBug(bug)
    } finally {
      this.#busy = false
      this.arm()
    }
    this.#of.after()
  }

  /** No timer is left behind, and nothing is let in any more. */
  close(): void {
    this.#closed = true
    this.#armed?.cancel()
    this.#armed = null
  }

  /** What came meanwhile, in order, and what comes while that is done. */
  #catchUp(): void {
    const waiting = this.#waiting
    let done = 0
    try {
      while (done < waiting.length) waiting[done++]?.()
    } finally {
      waiting.splice(0, done)
    }
  }

  /** Wakes up for what is due next. */
  arm(): void {
    const at = this.heap.next()
    if (this.#closed || (this.#armed !== null && this.#armed.at <= at)) return
    this.#armed?.cancel()
    const { clock } = this.#of
    const wait = Math.max(0, at - clock.now())
    this.#armed = { at, cancel: clock.after(wait, () => this.#due()) }
  }

  #due(): void {
    this.#armed = null
    this.enter(() => {
      while (this.heap.fireNext(this.#of.clock.now()));
    })
  }
}
