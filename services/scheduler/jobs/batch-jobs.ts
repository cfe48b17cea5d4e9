/** Jobs as a gathering sees them: taken out of the line by the stored claim, which then names the gathering and no
 *  instance, and later settled or given back. Whoever cancels such a job, or finds its deadline passed, takes it
 *  over by the same claim; what the batch has to say of it is then of no use. */
import { heldByBatch, NOBODY, STORED, type DeadReason, type JobClaim } from '#contracts/jobs'
import { HEADER, refusal, unattempted, type Accounting, type Refusal } from '#contracts/messages'
import type { Outcome } from '#contracts/outcome'
import { ownersOf } from '#core/laws/jobs'
import type { Usage } from '#contracts/verdict'
import type {
  Clock,
  Incoming,
  JobHead,
  JobNews,
  JobResult,
  JobStore,
  Meter,
  Millis,
  StoredJob,
  Used,
} from '#ports'
import { JobStoreError } from '#ports'
import type { Answered, JobReplyOptions } from './job-reply.ts'

/** A job that a gathering holds. */
export interface HeldJob {
  readonly job: StoredJob
  readonly claim: JobClaim
  readonly revision: number
}

/** What the room lends and takes back. */
export interface Lender {
  /** Takes a job that waits in our own scheduler out of it. `busy`: it is ours and does not wait; null: it is none
   *  of ours. */
  lend(tenant: string, id: string): Promise<{ claim: JobClaim; revision: number } | 'busy' | null>
  /** It is to be had again. */
  again(job: JobHead): void
}

export interface BatchJobsOptions {
  store: JobStore
  clock: Clock
  instance: string
  room: Lender
  words: JobReplyOptions['words']
  read(job: StoredJob): Pick<Incoming, 'model' | 'stream'> | null
  news: (news: JobNews) => void
  meter: Meter
}

export class BatchJobs {
  readonly #of: BatchJobsOptions

  constructor(options: BatchJobsOptions) {
    this.#of = options
  }

  /** Jobs that may start, in their order, from a place on. */
  heads(from: number, count: number): Promise<JobHead[]> {
    return this.#of.store.heads('now', from, count)
  }

  /** What a job is, if it waits and was never attempted; null: it is not to be had. */
  async waits(
    head: JobHead,
  ): Promise<{ model: string; bytes: number; headers: StoredJob['headers'] } | null> {
    const { store, read } = this.#of
    const claim = await store.claimOf(head.tenant, head.id)
    if (claim !== null && !isFree(claim.claim, this.#of.instance)) return null
    const job = await store.at(head.seq)
    const request = job === null ? null : read(job)
    if (job === null || request === null) return null
    return { model: request.model, bytes: job.body.length, headers: job.headers }
  }

  /** Null: it is not to be had, now. */
  async take(seq: number, gathering: string): Promise<StoredJob | null> {
    const { store, room } = this.#of
    const job = await store.at(seq)
    if (job === null) return null
    const { tenant, id } = job
    const lent = await room.lend(tenant, id)
    if (lent === 'busy') return null
    const there = lent ?? (await store.claimOf(tenant, id))
    const before = there?.claim ?? FRESH
    const by = heldByBatch(gathering)
    let revision: number | null = null
    try {
      if (lent === null && before.by !== by && !isFree(before, NOBODY)) return null
      revision = await store.claim(job, { ...before, by }, there?.revision ?? 0)
    } finally {
      // It left the line for nothing.
      if (lent !== null && revision === null) room.again(job)
    }
    if (revision === null) return null
    // It may have ended between the two questions.
    if ((await store.result(tenant, id)) === null) return job
    await store.remove({ seq, revision })
    return null
  }

  /** Null: it is the gathering's no more. */
  async held(seq: number, gathering: string): Promise<HeldJob | null> {
    const { store } = this.#of
    const job = await store.at(seq)
    if (job === null) return null
    const there = await store.claimOf(job.tenant, job.id)
    return there?.claim.by === heldByBatch(gathering) ? { job, ...there } : null
  }

  /** The provider's answer is its result. `upstreamMs`: how long the batch had it. */
  answer(
    held: HeldJob,
    of: { message: Uint8Array; usage: Usage | null; model: string; upstreamMs: Millis },
  ): Promise<void> {
    const spent = this.#spent(held, 1)
    const accounting: Accounting = {
      ...{ ...unattempted(held.job.id, of.model), ...spent },
      ...{ outcome: 'completed', servedBy: 'batch' },
      queueMs: Math.max(0, spent.totalMs - Math.round(of.upstreamMs)),
      upstreamMs: Math.round(of.upstreamMs),
      inputTokens: of.usage?.inputTokens ?? null,
      outputTokens: of.usage?.outputTokens ?? null,
    }
    const headers = this.#of.words.answer(accounting)
    const { tenant, lane } = held.job
    const { model, usage } = of
    const used: Used = { tenant, lane, model, usage, kind: 'batch', batch: true }
    const how = { outcome: 'completed', calls: 1, used } as const
    return this.#settle(held, { headers, body: of.message }, how)
  }

  /** A no is its result. */
  async refuse(
    held: HeldJob,
    of: { refusal: Refusal; upstreamBody: Uint8Array | null; attempts: number; dead?: DeadReason },
  ): Promise<void> {
    const { words, store, news } = this.#of
    const { job } = held
    if (of.dead !== undefined) {
      await store.bury(job, of.dead)
      const { claims, attempts } = held.claim
      news({ kind: 'dead', job, reason: of.dead, claims, attempts: attempts + of.attempts })
    }
    const spent = this.#spent(held, of.attempts)
    const outcome = spent.attempts > 0 ? 'failed' : 'refused'
    const accounting = { ...unattempted(job.id), ...spent, outcome } as Accounting
    const { refusal: said, upstreamBody } = of
    const answered = words.error({ refusal: said, accounting, upstreamBody })
    await this.#settle(held, answered, { outcome, calls: of.attempts })
  }

  /** Back in line. `attempts`: calls that were made for it; `ambiguous`: the last of them may have run. */
  async giveBack(
    { job, claim, revision }: HeldJob,
    of: { attempts: number; ambiguous?: boolean },
  ): Promise<void> {
    const { store, room, news } = this.#of
    const attempts = claim.attempts + of.attempts
    const ambiguous = claim.ambiguous + (of.ambiguous === true ? 1 : 0)
    const back = { ...claim, by: NOBODY, attempts, calling: false, ambiguous }
    if (attempts === 0 && claim.claims === 1) await store.release(revision)
    else await store.claim(job, back, revision)
    if (of.ambiguous === true) news({ kind: 'ambiguous', job })
    room.again(job)
  }

  async #settle(
    held: HeldJob,
    answered: Answered,
    { outcome, calls, used }: { outcome: Outcome; calls: number; used?: Used },
  ): Promise<void> {
    const { store, news } = this.#of
    const { job, revision } = held
    let kept: boolean
    try {
      kept = await store.settle(resultOf(held, answered))
    } catch (error) {
      if (!(error instanceof JobStoreError && error.reason === 'too_large')) throw error
      this.#count(used)
      const of = { refusal: TOO_LARGE, upstreamBody: null, attempts: 1 }
      return this.refuse(held, { ...of, dead: 'result_too_large' })
    }
    // Not of a result that was there: it may be this one, read once more after a crash.
    if (kept) this.#count(used)
    await store.remove({ seq: job.seq, revision })
    if (!kept) return news({ kind: 'late_result', job })
    const { totalMs: ageMs, attempts } = this.#spent(held, calls)
    news({ kind: 'settled', job, outcome, ageMs, claims: held.claim.claims, attempts })
  }

  #count(used: Used | undefined): void {
    if (used !== undefined) this.#of.meter.count(used)
  }

  #spent({ job, claim }: HeldJob, attempts: number): Pick<Accounting, 'attempts' | 'totalMs'> {
    const age = Math.max(0, this.#of.clock.wall() - job.acceptedAt)
    return { attempts: claim.attempts + attempts, totalMs: Math.round(age) }
  }
}

const FRESH: JobClaim = { by: NOBODY, claims: 1, attempts: 0, calling: false, ambiguous: 0 }

/** Nobody but that instance has it, and no call was made for it. */
const isFree = ({ by, attempts, calling }: JobClaim, instance: string): boolean =>
  (by === NOBODY || by === instance) && attempts === 0 && !calling

function resultOf({ job, claim }: HeldJob, { headers, body }: Answered): JobResult {
  const own: [string, string][] = [
    [STORED.hash, job.hash],
    [STORED.acceptedAt, String(job.acceptedAt)],
    [STORED.lane, job.lane],
    [STORED.owners, JSON.stringify(ownersOf({ ...claim, calling: false }, 'ended'))],
  ]
  if (claim.ambiguous > 0) own.push([HEADER.ambiguous, String(claim.ambiguous)])
  const { tenant, id, group, hash } = job
  return { tenant, id, group, hash, body, headers: [...headers, ...own] }
}

const TOO_LARGE = refusal(
  'upstream_error',
  "the answer is larger than the NATS server's max_payload",
  { status: 502, type: 'api_error' },
)
