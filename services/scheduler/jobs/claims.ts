/** Whose a job is: every claim is written over the one that was read, so that one owner has it. */
import { isHeldByBatch, NOBODY, type JobClaim } from '#contracts/jobs'
import { ownersOf, takenOver } from '#core/laws/jobs'
import type { Clock, JobHead, JobNews, JobStore, StoredJob } from '#ports'
import type { Flow } from './flow.ts'
import { LiveJob } from './live-job.ts'
import type { Members } from './members.ts'
import { ageOf, workOf } from './said.ts'

export interface ClaimsOptions {
  store: JobStore
  clock: Clock
  members: Members
  instance: string
  news: (news: JobNews) => void
  /** The job stands in its flow's line again. */
  again: (flow: Flow, job: JobHead) => void
}

export class Claims {
  readonly #of: ClaimsOptions

  constructor(options: ClaimsOptions) {
    this.#of = options
  }

  /** Makes a job ours. `over`: it has its result, and is taken away; `elsewhere`: another instance has it. */
  async own(
    flow: Flow,
    job: StoredJob,
    batch: 'from a batch too' | 'from no batch' = 'from no batch',
  ): Promise<LiveJob | 'over' | 'elsewhere'> {
    const { store, instance, clock } = this.#of
    const since = Math.round(clock.wall())
    const fresh: JobClaim = {
      ...{ by: instance, claims: 1, attempts: 0, calling: false, ambiguous: 0, since },
    }
    const [revision, result] = await Promise.all([
      store.claim(job, fresh, 0),
      store.result(job.tenant, job.id),
    ])
    if (result !== null) {
      const found = revision ?? (await store.claimOf(job.tenant, job.id))?.revision ?? null
      await store.remove({ seq: job.seq, revision: found })
      return 'over'
    }
    const takenAt = clock.now()
    const ageMs = ageOf(job, clock.wall())
    if (revision !== null) {
      this.#of.news({ kind: 'claimed', ...workOf({ job, claim: fresh }), ageMs, ambiguous: false })
      return new LiveJob({ job, flow, claim: fresh, revision, takenAt })
    }
    const there = await store.claimOf(job.tenant, job.id)
    if (there === null) {
      // It ended between the two questions, or its claim was released.
      this.#of.again(flow, job)
      return 'elsewhere'
    }
    const { by } = there.claim
    if (isHeldByBatch(by)) {
      if (batch === 'from no batch') return 'elsewhere'
    } else if (this.isOthers(by)) return 'elsewhere'
    const { claim: next, died, ambiguous } = takenOver(there.claim, instance)
    const past = died ? ownersOf(there.claim, 'died') : (there.claim.past ?? [])
    const claim = { ...next, since, past }
    const over = await store.claim(job, claim, there.revision)
    if (over === null) {
      // Its owner wrote it, or it is gone.
      this.#of.again(flow, job)
      return 'elsewhere'
    }
    const work = { ...workOf({ job, claim }), ageMs, ambiguous }
    this.#of.news(died ? { kind: 'taken_over', from: by, ...work } : { kind: 'claimed', ...work })
    if (ambiguous) this.#of.news({ kind: 'ambiguous', job })
    return new LiveJob({ job, flow, claim, revision: over, takenAt })
  }

  /** The claim as it shall be. False: it is another's. */
  write(live: LiveJob, claim: JobClaim): Promise<boolean> {
    live.claim = claim
    return live.inTurn(async () => {
      const revision = await this.#of.store.claim(live.job, claim, live.revision)
      if (revision === null) return false
      live.revision = revision
      return true
    })
  }

  /** What was done of it is left for whoever comes. */
  async release({ job, claim, revision }: LiveJob, calling: boolean): Promise<void> {
    if (claim.attempts === 0 && claim.claims === 1) await this.#of.store.release(revision)
    else {
      const past = ownersOf({ ...claim, calling }, 'returned')
      await this.#of.store.claim(job, { ...claim, by: NOBODY, calling, past }, revision)
    }
  }

  /** It is somebody else's who lives. */
  isOthers(by: string): boolean {
    const { instance, members } = this.#of
    return by !== instance && by !== NOBODY && !members.dead(by)
  }
}
