/** Looks through the backlog, slowly and again and again, for jobs whose deadline has passed while they waited. */
import type { Clock, JobHead, JobStore, Millis } from '#ports'

const EVERY: Millis = 1_000

interface SweepOptions {
  store: JobStore
  clock: Clock
  perSecond: () => number
  /** All that there is is taken, and has its own deadline. */
  idle: () => boolean
  expired: (head: JobHead) => Promise<void>
  onError: (error: unknown) => void
}

export class Sweep {
  readonly #of: SweepOptions
  #from = 0
  #cancel = (): void => {}
  #stopped = false

  constructor(options: SweepOptions) {
    this.#of = options
  }

  start(): void {
    if (!this.#stopped) this.#cancel = this.#of.clock.after(EVERY, () => void this.#page())
  }

  stop(): void {
    this.#stopped = true
    this.#cancel()
  }

  async #page(): Promise<void> {
    try {
      if (this.#of.idle()) return
      const heads = await this.#of.store.heads('now', this.#from, this.#of.perSecond())
      this.#from = (heads.at(-1)?.seq ?? -1) + 1
      const now = this.#of.clock.wall()
      for (const head of heads)
        if (now - head.acceptedAt >= head.deadlineMs) await this.#of.expired(head)
    } catch (error) {
      this.#of.onError(error)
    } finally {
      this.start()
    }
  }
}
