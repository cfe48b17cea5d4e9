/** Looks through the store, slowly and again and again: for jobs whose deadline has passed while they waited, for
 *  jobs that nobody told us of, and for claims that outlived their job. */
import type { Clock, FoundClaim, JobHead, JobStore, Millis } from '#ports'

const EVERY: Millis = 1_000
/** All jobs are looked at no more often than so. */
const ROUND: Millis = 10_000
/** Claims looked at each time: there are no more than live jobs, and few are left over. */
const CLAIMS = 10

interface SweepOptions {
  store: JobStore
  clock: Clock
  perSecond: () => number
  /** One that is stored, whoever has it. */
  stored: (head: JobHead) => Promise<void>
  claimed: (claim: FoundClaim) => Promise<void>
  onError: (error: unknown) => void
}

export class Sweep {
  readonly #of: SweepOptions
  #job = 0
  #when: 'now' | 'later' = 'now'
  #roundAt: Millis = -Infinity
  #claim = 0
  #cancel = (): void => {}
  #stopped = false

  constructor(options: SweepOptions) {
    this.#of = options
  }

  start(): void {
    if (!this.#stopped) this.#cancel = this.#of.clock.after(EVERY, () => void this.#look())
  }

  stop(): void {
    this.#stopped = true
    this.#cancel()
  }

  async #look(): Promise<void> {
    try {
      await this.#jobs()
      await this.#claims()
    } catch (error) {
      this.#of.onError(error)
    } finally {
      this.start()
    }
  }

  async #jobs(): Promise<void> {
    const { store, clock, perSecond, stored } = this.#of
    if (this.#when === 'now' && this.#job === 0) {
      if (clock.now() - this.#roundAt < ROUND) return
      this.#roundAt = clock.now()
    }
    const heads = await store.heads(this.#when, this.#job, perSecond())
    const last = heads.at(-1)
    this.#job = last === undefined ? 0 : last.seq + 1
    if (last === undefined) this.#when = this.#when === 'now' ? 'later' : 'now'
    for (const head of heads) await stored(head)
  }

  async #claims(): Promise<void> {
    for (let n = 0; n < CLAIMS && !this.#stopped; n++) {
      const found = await this.#of.store.nextClaim(this.#claim)
      this.#claim = found === null ? 0 : found.revision + 1
      if (found === null) return
      await this.#of.claimed(found)
    }
  }
}
