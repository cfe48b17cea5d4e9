/** Jobs in whose calls instances died: one of them may be what kills. Few of them are in the core at once, and those
 *  that were there too often alone, so that a job that kills its instance takes none of its neighbours along.
 *  The law is in core/laws/jobs. Bound: those that wait here were in calls when instances died. */
import type { JobClaim } from '#contracts/jobs'
import { SUSPECTS_AT_ONCE, suspicion } from '#core/laws/jobs'
import type { Clock, Millis } from '#ports'
import type { LiveJob } from './live-job.ts'

export interface SuspectsOptions {
  clock: Pick<Clock, 'after'>
  /** Owners that may die in a call of a job. */
  most: () => number
  /** It waits here, and no more in its flow's window. */
  parked: (live: LiveJob) => void
  /** Its turn has come, or its time is over. */
  enter: (live: LiveJob) => void
}

interface Parked {
  live: LiveJob
  stopWaiting: () => void
}

export class Suspects {
  readonly #of: SuspectsOptions
  /** In the order in which they came: who must be alone is not passed. */
  #parked: Parked[] = []
  readonly #inside = new Map<LiveJob, number>()

  constructor(options: SuspectsOptions) {
    this.#of = options
  }

  /** Whether the job must wait; it enters by itself then. */
  holds(live: LiveJob, leftMs: Millis): boolean {
    if (this.#inside.has(live)) return false
    const takes = this.#takes(live.claim)
    if (takes === 0) return false
    if (this.#parked.length === 0 && this.#fits(takes)) {
      this.#inside.set(live, takes)
      return false
    }
    const stopWaiting = this.#of.clock.after(leftMs, () => {
      if (this.remove(live)) this.#of.enter(live)
    })
    this.#parked.push({ live, stopWaiting })
    this.#of.parked(live)
    return true
  }

  /** It is not ours any more, or has its result. */
  gone(live: LiveJob): void {
    if (!this.#inside.delete(live)) this.remove(live)
    this.#next()
  }

  /** Takes it out of the line. False: it did not stand there. */
  remove(live: LiveJob): boolean {
    const at = this.#parked.findIndex((one) => one.live === live)
    if (at < 0) return false
    this.#parked.splice(at, 1)[0]?.stopWaiting()
    return true
  }

  /** All that wait. */
  drain(): LiveJob[] {
    const all = this.#parked
    this.#parked = []
    for (const { stopWaiting } of all) stopWaiting()
    return all.map(({ live }) => live)
  }

  #next(): void {
    for (let [first] = this.#parked; first !== undefined; [first] = this.#parked) {
      const { live } = first
      const takes = this.#takes(live.claim)
      if (!this.#fits(takes)) return
      this.remove(live)
      this.#inside.set(live, takes)
      this.#of.enter(live)
    }
  }

  #takes(claim: JobClaim): number {
    return suspicion(claim, this.#of.most())
  }

  #fits(takes: number): boolean {
    let taken = takes
    for (const one of this.#inside.values()) taken += one
    return taken <= SUSPECTS_AT_ONCE
  }
}
