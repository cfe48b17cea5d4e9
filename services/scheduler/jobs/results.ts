/** The one result of a job, stored before the job goes; whoever comes second finds it and stops. */
import { STORED, type DeadReason } from '#contracts/jobs'
import { HEADER, unattempted, type Accounting } from '#contracts/messages'
import type { Outcome } from '#contracts/outcome'
import { DOUBT_AFTER, ownersOf } from '#core/laws/jobs'
import {
  JobStoreError,
  type Clock,
  type JobNews,
  type JobResult,
  type JobStore,
  type Millis,
} from '#ports'
import type { Answered, JobReplyOptions } from './job-reply.ts'
import type { LiveJob } from './live-job.ts'
import type { Members } from './members.ts'
import { ageOf, TOO_LARGE, workOf } from './said.ts'

/** Between two tries to store a result. */
const SETTLE_AGAIN: Millis = 250
const SETTLE_AGAIN_MOST: Millis = 5_000

export interface ResultsOptions {
  store: JobStore
  clock: Clock
  members: Members
  words: JobReplyOptions['words']
  news: (news: JobNews) => void
  trouble: (of: LiveJob | null, error: unknown) => void
}

export class Results {
  readonly #of: ResultsOptions

  constructor(options: ResultsOptions) {
    this.#of = options
  }

  /** Until the store has one: this, another's, or why this one cannot be kept. Null: another's. */
  async store(live: LiveJob, answered: Answered, outcome: Outcome): Promise<Outcome | null> {
    const { job } = live
    let said = answered
    let how = outcome
    let kept: boolean | null = null
    for (let wait = SETTLE_AGAIN; ; wait = Math.min(2 * wait, SETTLE_AGAIN_MOST)) {
      try {
        kept ??= await this.#of.store.settle(this.#resultOf(live, said, await this.#doubtful(live)))
        await live.inTurn(async () => {})
        if (live.state !== 'lost')
          await this.#of.store.remove({ seq: job.seq, revision: live.revision })
        return kept ? how : null
      } catch (error) {
        this.#of.trouble(live, error)
        if (error instanceof JobStoreError && error.reason === 'too_large') {
          this.bury(live, 'result_too_large')
          const accounting = {
            ...this.spent(live),
            outcome: 'failed' as const,
          }
          said = this.#of.words.error({ refusal: TOO_LARGE, accounting, upstreamBody: null })
          how = 'failed'
        }
        await new Promise<void>((resolve) => void this.#of.clock.after(wait, resolve))
      }
    }
  }

  /** Calls of the job that may have run beside those that we know. */
  async #doubtful({ job, claim, takenAt }: LiveJob): Promise<number> {
    if (!this.#of.members.doubted(takenAt)) return claim.ambiguous
    // Taken for dead, we may have been followed; and also since the store was asked, if we slept meanwhile.
    const { store, clock } = this.#of
    for (;;) {
      const askedAt = clock.now()
      const there = await store.claimOf(job.tenant, job.id)
      if (clock.now() - askedAt <= DOUBT_AFTER)
        return Math.max(claim.ambiguous, there?.claim.ambiguous ?? 0)
    }
  }

  #resultOf({ job, claim }: LiveJob, { headers, body }: Answered, ambiguous: number): JobResult {
    const owners = ownersOf({ ...claim, calling: false }, 'ended')
    const { tenant, id, group, hash } = job
    const own: [string, string][] = [
      [STORED.hash, hash],
      [STORED.acceptedAt, String(job.acceptedAt)],
      [STORED.lane, job.lane],
      [STORED.owners, JSON.stringify(owners)],
    ]
    if (ambiguous > 0) own.push([HEADER.ambiguous, String(ambiguous)])
    return { tenant, id, group, hash, headers: [...headers, ...own], body }
  }

  /** The account of a job that no scheduler has. */
  spent({ job, claim }: LiveJob): Accounting {
    const totalMs = Math.round(ageOf(job, this.#of.clock.wall()))
    return { ...unattempted(job.id), attempts: claim.attempts, totalMs }
  }

  /** It is kept for an operator, who may have it done again. */
  bury(live: LiveJob, reason: DeadReason): void {
    const { job } = live
    this.#of.news({ kind: 'dead', reason, ...workOf(live) })
    void this.#of.store.bury(job, reason).catch((error: unknown) => this.#of.trouble(null, error))
  }
}
