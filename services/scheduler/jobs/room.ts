/** Durable jobs: a job is a request whose caller is a stream. The room takes it from the store when its turn is
 *  near, hands it to the scheduler like any request, and stores its one result before it takes the job away.
 *  What decides about it is in core/laws/jobs; queues, lanes, deadlines and retries are the core's as for all. */
import { requestKey } from '#contracts/ids'
import { HEADER, refusal, unattempted, type Accounting, type Refusal } from '#contracts/messages'
import { isHeldByBatch, NOBODY, STORED, type DeadReason, type JobClaim } from '#contracts/jobs'
import type { Outcome } from '#contracts/outcome'
import { deadBy, DOUBT_AFTER, endsJob, isPoison, ownersOf, takenOver } from '#core/laws/jobs'
import {
  JobStoreError,
  type Clock,
  type Dice,
  type Incoming,
  type JobHead,
  type JobNews,
  type JobResult,
  type JobStore,
  type JobWork,
  type Millis,
  type Scheduler,
  type Settings,
  type StoredJob,
} from '#ports'
import { Backlog } from './backlog.ts'
import type { Lender } from './batch-jobs.ts'
import { Delayed, type DueJob } from './delayed.ts'
import type { Flow } from './flow.ts'
import { JobReply, type Answered, type JobReplyOptions } from './job-reply.ts'
import { LiveJob } from './live-job.ts'
import { Members } from './members.ts'
import type { Notes } from './noted-provider.ts'
import { Lookout } from './lookout.ts'
import type { RoomLimits } from './room-limits.ts'

export interface RoomOptions {
  store: JobStore
  scheduler: Scheduler
  /** Where instances say that they live. */
  members: Settings
  clock: Clock
  dice: Dice
  instance: string
  limits: () => RoomLimits
  words: JobReplyOptions['words']
  /** The stored body and headers as a request; null: they are none any more. */
  read(job: StoredJob): Omit<Incoming, 'reply' | 'past'> | null
  news: (news: JobNews) => void
  /** Tells the other instances that a job is to be had. */
  tell: (of: { lane: string; tenant: string; seq: number }) => void
}

/** Between two tries to store a result. */
const SETTLE_AGAIN: Millis = 250
const SETTLE_AGAIN_MOST: Millis = 5_000
/** A job that is given back is released at once; the store has this long at a stop. */
const STOP_WITHIN: Millis = 3_000

export class JobsRoom implements Notes, Lender {
  readonly backlog: Backlog
  readonly delayed: Delayed
  readonly members: Members
  readonly of: RoomOptions
  /** Whether the job of that place is in a batch of the provider's, as far as is known. */
  inBatch: (seq: number) => boolean = () => false
  readonly #lookout: Lookout
  /** By tenant and id; null: it is being taken. */
  readonly #owned = new Map<string, LiveJob | null>()
  #draining = false
  #idle: (() => void) | null = null

  constructor(options: RoomOptions) {
    this.of = options
    const { store, clock, dice, limits } = options
    this.backlog = new Backlog({
      ...{ store, clock, dice },
      limits: () => ({
        window: limits().window,
        total: limits().windowTotal,
        bytes: limits().windowBytes,
        flows: limits().flowsMax,
        places: limits().placesMax,
      }),
      take: (flow, job) => this.#take(flow, job),
      low: () => this.#lookout.walk.low(),
      onError: (error) => this.#trouble(null, error),
    })
    this.delayed = new Delayed({ clock, due: (job) => this.#due(job) })
    this.members = new Members({
      settings: options.members,
      ...{ clock, instance: options.instance },
      onDead: () => this.#lookout.died(),
    })
    this.#lookout = new Lookout({
      ...{ store, clock, limits, backlog: this.backlog, delayed: this.delayed },
      owned: ({ tenant, id }) => this.#owned.has(requestKey(tenant, id)),
      held: (by) => isHeldByBatch(by) || this.#isOthers(by),
      dead: (by) => this.members.dead(by),
      inBatch: (seq) => this.inBatch(seq),
      expired: (job) => this.endStored(job, EXPIRED),
      onError: (error) => this.#trouble(null, error),
    })
  }

  async open(): Promise<void> {
    await this.members.open()
    this.#lookout.start()
  }

  // ---- what the provider asks ----

  begin(tenant: string, id: string): Promise<boolean> | null {
    const live = this.#owned.get(requestKey(tenant, id))
    if (live === undefined || live === null || live.state === 'lost') return null
    live.state = 'calling'
    live.flow.rests = 0
    this.#leftQueue(live)
    const { claim } = live
    return this.#write(live, { ...claim, attempts: claim.attempts + 1, calling: true }).then(
      (mine) => {
        if (!mine) this.#lose(live)
        return mine
      },
      (error: unknown) => {
        this.#trouble(live, error)
        this.#giveBack(live)
        return false
      },
    )
  }

  ended(tenant: string, id: string): void {
    const live = this.#owned.get(requestKey(tenant, id))
    if (live === undefined || live === null || live.state !== 'calling') return
    live.state = 'waiting'
    // In this turn the scheduler hears of it. Settled, it stands here no more when this turn is over; else its call is known to be over.
    queueMicrotask(() => {
      if (live.state !== 'waiting') return
      this.#inQueue(live)
      void this.#write(live, { ...live.claim, calling: false }).catch(() => {})
    })
  }

  // ---- what the desk asks ----

  owned(tenant: string, id: string): LiveJob | null | undefined {
    return this.#owned.get(requestKey(tenant, id))
  }

  get draining(): boolean {
    return this.#draining
  }

  /** Jobs of this instance, by where they stand. */
  counts(): { waiting: number; calling: number; settling: number } {
    const counts = { waiting: 0, calling: 0, settling: 0 }
    for (const live of this.#owned.values()) {
      if (live === null || live.state === 'waiting') counts.waiting += 1
      else if (live.state !== 'lost') counts[live.state] += 1
    }
    return counts
  }

  /** Ends a job that is in the store only. False: another instance has it, or it is over. */
  async endStored(job: StoredJob, said: Refusal): Promise<'ended' | 'over' | 'elsewhere'> {
    const flow = this.backlog.flow(job)
    const key = requestKey(job.tenant, job.id)
    if (flow === null || this.#owned.has(key)) return 'elsewhere'
    this.#owned.set(key, null)
    const live = await this.#own(flow, job, 'from a batch too').catch((error: unknown) => {
      this.#owned.delete(key)
      throw error
    })
    if (typeof live === 'string') {
      this.#owned.delete(key)
      return live
    }
    this.#owned.set(key, live)
    flow.taken += 1
    this.backlog.bytes += live.bytes
    this.#end(live, said, {
      ...unattempted(job.id),
      ...this.#spent(live),
      outcome: outcomeOf(said, live.claim.attempts),
    })
    return 'ended'
  }

  // ---- what a gathering asks ----

  async lend(
    tenant: string,
    id: string,
  ): Promise<{ claim: JobClaim; revision: number } | 'busy' | null> {
    const live = this.#owned.get(requestKey(tenant, id))
    if (live === undefined) return null
    if (live === null || live.state !== 'waiting' || live.claim.attempts > 0) return 'busy'
    this.#leftQueue(live)
    live.state = 'lost'
    this.of.scheduler.cancel(tenant, id)
    await live.inTurn(async () => {})
    this.#forgetLive(live)
    return { claim: live.claim, revision: live.revision }
  }

  again(job: JobHead): void {
    const flow = this.backlog.flow(job)
    if (flow === null) return
    this.backlog.again(flow, job)
    this.backlog.kick(flow)
  }

  // ---- the end ----

  /** Nothing more is taken; what waits in the scheduler is given back as it is refused there. */
  drain(): void {
    this.#draining = true
    this.backlog.stop()
    this.#lookout.stop()
    this.delayed.stop()
  }

  /** Results that wait are stored, as far as the store takes them in time; then nothing is ours. */
  async close(): Promise<void> {
    this.drain()
    if (this.#owned.size > 0)
      await new Promise<void>((resolve) => {
        const stop = this.of.clock.after(STOP_WITHIN, resolve)
        this.#idle = () => {
          stop()
          resolve()
        }
      })
    await this.members.leave()
    await this.of.store.close()
  }

  // ---- one job's way ----

  async #take(flow: Flow, job: StoredJob): Promise<void> {
    const key = requestKey(job.tenant, job.id)
    if (this.#owned.has(key)) return
    this.#owned.set(key, null)
    flow.waiting += 1
    flow.taken += 1
    this.backlog.waiting += 1
    const { length } = job.body
    this.backlog.bytes += length
    let live: LiveJob | 'over' | 'elsewhere' | null = null
    try {
      live = await this.#own(flow, job)
    } catch (error) {
      this.#trouble(job, error)
    }
    if (live !== null && typeof live !== 'string') {
      this.#owned.set(key, live)
      live.queued = true
      return this.#enter(live)
    }
    this.#forget(key, flow, length)
    flow.waiting -= 1
    this.backlog.waiting -= 1
    if (live === null) {
      this.backlog.again(flow, job)
      this.backlog.rest(flow)
    } else this.backlog.kick(flow)
  }

  /** Makes a job ours. `over`: it has its result, and is taken away; `elsewhere`: another instance has it. */
  async #own(
    flow: Flow,
    job: StoredJob,
    batch: 'from a batch too' | 'from no batch' = 'from no batch',
  ): Promise<LiveJob | 'over' | 'elsewhere'> {
    const { store, instance, clock } = this.of
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
    const ageMs = this.#age(job)
    if (revision !== null) {
      this.of.news({ kind: 'claimed', ...workOf({ job, claim: fresh }), ageMs, ambiguous: false })
      return new LiveJob({ job, flow, claim: fresh, revision, takenAt })
    }
    const there = await store.claimOf(job.tenant, job.id)
    if (there === null) {
      // It ended between the two questions, or its claim was released.
      this.backlog.again(flow, job)
      return 'elsewhere'
    }
    const { by } = there.claim
    if (isHeldByBatch(by)) {
      if (batch === 'from no batch') return 'elsewhere'
    } else if (this.#isOthers(by)) return 'elsewhere'
    const { claim: next, died, ambiguous } = takenOver(there.claim, instance)
    const past = died ? ownersOf(there.claim, 'died') : (there.claim.past ?? [])
    const claim = { ...next, since, past }
    const over = await store.claim(job, claim, there.revision)
    if (over === null) {
      // Its owner wrote it, or it is gone.
      this.backlog.again(flow, job)
      return 'elsewhere'
    }
    const work = { ...workOf({ job, claim }), ageMs, ambiguous }
    this.of.news(died ? { kind: 'taken_over', from: by, ...work } : { kind: 'claimed', ...work })
    if (ambiguous) this.of.news({ kind: 'ambiguous', job })
    return new LiveJob({ job, flow, claim, revision: over, takenAt })
  }

  #enter(live: LiveJob): void {
    const { job, claim } = live
    const ageMs = this.#age(job)
    const no = (said: Refusal, reason: DeadReason | null): void => {
      if (reason !== null) this.#bury(live, reason)
      this.#end(live, said, {
        ...unattempted(job.id),
        ...this.#spent(live),
        outcome: outcomeOf(said, live.claim.attempts),
      })
    }
    if (this.#draining) return this.#giveBack(live)
    if (ageMs >= job.deadlineMs) return no(EXPIRED, null)
    if (isPoison(claim, this.of.limits().claimsMax)) return no(POISON, 'claims_exhausted')
    const read = this.of.read(job)
    if (read === null) return no(UNREADABLE, 'unreadable')
    const past = { ageMs, attempts: claim.attempts }
    this.of.scheduler.request({ ...read, past, reply: this.#replyOf(live) })
  }

  #replyOf(live: LiveJob): JobReply {
    return new JobReply({
      words: this.of.words,
      done: (answered) => this.#settle(live, answered, 'completed'),
      refused: (said, accounting, upstreamBody) => {
        if (live.state === 'lost') return
        const attempts = accounting.attempts + accounting.preemptions
        if (!endsJob(said.code, attempts)) return this.#giveBack(live)
        const reason = deadBy(said.code)
        if (reason !== null) this.#bury(live, reason)
        this.#end(live, said, accounting, upstreamBody)
      },
      unreadable: (accounting) =>
        this.#end(live, BROKEN_STREAM, { ...accounting, outcome: 'failed', servedBy: 'none' }),
    })
  }

  #end(
    live: LiveJob,
    said: Refusal,
    accounting: Accounting,
    upstreamBody: Uint8Array | null = null,
  ): void {
    const answered = this.of.words.error({ refusal: said, accounting, upstreamBody })
    this.#settle(live, answered, accounting.outcome)
  }

  /** Its result, stored before the job goes; whoever comes second finds it and stops. */
  #settle(live: LiveJob, answered: Answered, outcome: Outcome): void {
    if (live.state === 'settling') return
    const lost = live.state === 'lost'
    this.#leftQueue(live)
    live.flow.ends.add(this.of.clock.now())
    if (!lost) live.state = 'settling'
    const { job } = live
    const more = answered.body.length
    this.backlog.bytes += more
    live.bytes += more
    void this.#store(live, answered, outcome).then((stored) => {
      const ageMs = this.#age(job)
      this.of.news(
        stored === null
          ? { kind: 'late_result', job }
          : { kind: 'settled', outcome: stored, ageMs, ...workOf(live) },
      )
      if (!lost) this.#gone(live)
    })
  }

  /** Until the store has one: this, another's, or why this one cannot be kept. Null: another's. */
  async #store(live: LiveJob, answered: Answered, outcome: Outcome): Promise<Outcome | null> {
    const { job } = live
    let said = answered
    let how = outcome
    let kept: boolean | null = null
    for (let wait = SETTLE_AGAIN; ; wait = Math.min(2 * wait, SETTLE_AGAIN_MOST)) {
      try {
        kept ??= await this.of.store.settle(this.#resultOf(live, said, await this.#doubtful(live)))
        await live.inTurn(async () => {})
        if (live.state !== 'lost')
          await this.of.store.remove({ seq: job.seq, revision: live.revision })
        return kept ? how : null
      } catch (error) {
        this.#trouble(live, error)
        if (error instanceof JobStoreError && error.reason === 'too_large') {
          this.#bury(live, 'result_too_large')
          const accounting = {
            ...unattempted(job.id),
            ...this.#spent(live),
            outcome: 'failed' as const,
          }
          said = this.of.words.error({ refusal: TOO_LARGE, accounting, upstreamBody: null })
          how = 'failed'
        }
        await new Promise<void>((resolve) => void this.of.clock.after(wait, resolve))
      }
    }
  }

  /** Calls of the job that may have run beside those that we know. */
  async #doubtful({ job, claim, takenAt }: LiveJob): Promise<number> {
    if (!this.members.doubted(takenAt)) return claim.ambiguous
    // Taken for dead, we may have been followed; and also since the store was asked, if we slept meanwhile.
    const { store, clock } = this.of
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

  // ---- giving back ----

  /** Not ours for now, and still to be done: whoever has room takes it, ourselves too. */
  #giveBack(live: LiveJob): void {
    const { job, flow, state } = live
    if (state === 'lost' || state === 'settling') return
    const calling = state === 'calling'
    this.#leftQueue(live)
    live.state = 'lost'
    this.of.news({ kind: 'returned', ...workOf(live) })
    this.of.scheduler.cancel(job.tenant, job.id)
    void live
      .inTurn(() => this.#release(live, calling))
      .catch((error: unknown) => this.#trouble(live, error))
      .then(() => {
        this.#forgetLive(live)
        this.backlog.again(flow, job)
        this.of.tell(job)
        this.backlog.rest(flow)
      })
  }

  /** What was done of it is left for whoever comes. */
  async #release({ job, claim, revision }: LiveJob, calling: boolean): Promise<void> {
    if (claim.attempts === 0 && claim.claims === 1) await this.of.store.release(revision)
    else {
      const past = ownersOf({ ...claim, calling }, 'returned')
      await this.of.store.claim(job, { ...claim, by: NOBODY, calling, past }, revision)
    }
  }

  /** Another instance has it: no call is made for it here. */
  #lose(live: LiveJob): void {
    const { job, state } = live
    if (state === 'lost') return
    this.#leftQueue(live)
    live.state = 'lost'
    this.of.scheduler.cancel(job.tenant, job.id)
    this.#forgetLive(live)
    this.backlog.again(live.flow, job)
    this.backlog.kick(live.flow)
  }

  #gone(live: LiveJob): void {
    this.#forgetLive(live)
    this.backlog.roomier()
    this.backlog.kick(live.flow)
  }

  #forgetLive(live: LiveJob): void {
    this.#forget(requestKey(live.job.tenant, live.job.id), live.flow, live.bytes)
  }

  #forget(key: string, flow: Flow, bytes: number): void {
    this.#owned.delete(key)
    flow.taken -= 1
    this.backlog.bytes -= bytes
    if (this.#owned.size === 0) this.#idle?.()
  }

  #leftQueue(live: LiveJob): void {
    if (!live.queued) return
    live.queued = false
    live.flow.waiting -= 1
    this.backlog.waiting -= 1
    this.backlog.roomier()
    this.backlog.kick(live.flow)
  }

  #inQueue(live: LiveJob): void {
    if (live.queued) return
    live.queued = true
    live.flow.waiting += 1
    this.backlog.waiting += 1
  }

  // ---- time ----

  #due(job: DueJob): void {
    const flow = this.backlog.flow(job)
    if (flow === null) return void this.of.clock.after(SETTLE_AGAIN_MOST, () => this.#due(job))
    this.backlog.again(flow, job)
    this.backlog.kick(flow)
  }

  /** A job is in the store, of which we may not have heard. */
  noticed({ acceptedAt, notBeforeMs, ...job }: JobHead): void {
    const startsAt = notBeforeMs > 0 ? acceptedAt + notBeforeMs : null
    this.#lookout.noticed({ ...job, startsAt })
  }

  /** Somebody else told of a job; null: from a version that does not say which. */
  told(flow: Flow, seq: number | null): void {
    if (seq === null) this.#lookout.walk.all()
    else this.backlog.arrived(flow, seq)
  }

  /** It is somebody else's who lives. */
  #isOthers(by: string): boolean {
    return by !== this.of.instance && by !== NOBODY && !this.members.dead(by)
  }

  #age(job: JobHead): Millis {
    // A clock that was set back makes nobody younger than new.
    return Math.max(0, this.of.clock.wall() - job.acceptedAt)
  }

  // ---- small servants ----

  #write(live: LiveJob, claim: JobClaim): Promise<boolean> {
    live.claim = claim
    return live.inTurn(async () => {
      const revision = await this.of.store.claim(live.job, claim, live.revision)
      if (revision === null) return false
      live.revision = revision
      return true
    })
  }

  #spent(live: LiveJob): Pick<Accounting, 'attempts' | 'totalMs'> {
    return { attempts: live.claim.attempts, totalMs: Math.round(this.#age(live.job)) }
  }

  #bury(live: LiveJob, reason: DeadReason): void {
    const { job } = live
    this.of.news({ kind: 'dead', reason, ...workOf(live) })
    void this.of.store.bury(job, reason).catch((error: unknown) => this.#trouble(null, error))
  }

  #trouble(of: LiveJob | StoredJob | null, error: unknown): void {
    const job = of === null ? null : 'job' in of ? of.job : of
    this.of.news({ kind: 'store_error', job, error })
  }
}

const workOf = ({ job, claim }: Pick<LiveJob, 'job' | 'claim'>): JobWork => ({
  job,
  claims: claim.claims,
  attempts: claim.attempts,
})

/** Of an error, by the wire contract. */
const outcomeOf = ({ code }: Refusal, attempts: number): Accounting['outcome'] => {
  if (code === 'deadline_exceeded') return 'expired'
  if (code === 'cancelled') return 'cancelled'
  return attempts > 0 ? 'failed' : 'refused'
}

const EXPIRED = refusal('deadline_exceeded', 'the deadline passed before the job could start')
const POISON = refusal(
  'upstream_error',
  'instance after instance died while it made this call (jobs.claims_max); an operator may look into it',
  { status: 500, type: 'api_error' },
)
const UNREADABLE = refusal('invalid_request', 'the stored job is no request any more')
const TOO_LARGE = refusal(
  'upstream_error',
  "the answer is larger than the NATS server's max_payload",
  { status: 502, type: 'api_error' },
)
const BROKEN_STREAM = refusal('stream_broken', "the answer's events do not make a message")
