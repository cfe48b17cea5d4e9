/** A job that this instance owns: from the claim to the end, or until it is given back. */
import type { JobClaim } from '#contracts/jobs'
import type { Millis, StoredJob } from '#ports'
import type { Flow } from './flow.ts'

export class LiveJob {
  readonly job: StoredJob
  readonly flow: Flow
  /** `waiting`: in the core, for a slot. `calling`: an attempt of it is noted, or under way. `settling`: its result
   *  is being stored. `lost`: it is not ours any more, and nothing of it counts. */
  state: 'waiting' | 'calling' | 'settling' | 'lost' = 'waiting'
  /** It counts among those that wait in its flow. */
  queued = false
  claim: JobClaim
  /** Of the claim as it is stored. */
  revision: number
  /** Bytes held for it. */
  bytes: number
  takenAt: Millis
  /** Claims are written one after the other. */
  #written: Promise<unknown> = Promise.resolve()

  constructor(of: {
    job: StoredJob
    flow: Flow
    claim: JobClaim
    revision: number
    takenAt: Millis
  }) {
    this.job = of.job
    this.flow = of.flow
    this.claim = of.claim
    this.revision = of.revision
    this.takenAt = of.takenAt
    this.bytes = of.job.body.length
  }

  /** After every earlier write of its claim. */
  inTurn<T>(write: () => Promise<T>): Promise<T> {
    const turn = this.#written.then(write)
    this.#written = turn.catch(() => {})
    return turn
  }
}
