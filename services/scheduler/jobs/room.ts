/** Durable jobs: a job is a request whose caller is a stream. The room takes it from the store when its turn is
 *  near, hands it to the scheduler like any request, and stores its one result before it takes the job away.
 *  What decides about it is in core/laws/jobs; queues, lanes, deadlines and retries are the core's as for all. */
import { requestKey } from '#contracts/ids'
import { isHeldByBatch, type DeadReason, type JobClaim } from '#contracts/jobs'
import type { Accounting, Refusal } from '#contracts/messages'
import type { Outcome } from '#contracts/outcome'
import { deadBy, endsJob, waitBy } from '#core/laws/jobs'
import type { JobHead, Millis, StoredJob } from '#ports'
import { Backlog } from './backlog.ts'
import type { Lender } from './batch-jobs.ts'
import { Claims } from './claims.ts'
import { Delayed, type DueJob } from './delayed.ts'
import { entryOf } from './entry.ts'
import type { Flow } from './flow.ts'
import { JobReply, type Answered } from './job-reply.ts'
import type { LiveJob } from './live-job.ts'
import { Members } from './members.ts'
import type { Notes } from './noted-provider.ts'
import { Lookout } from './lookout.ts'
import { Owned } from './owned.ts'
import { Results } from './results.ts'
import type { RoomOptions } from './room-options.ts'
import { ageOf, BROKEN_STREAM, EXPIRED, outcomeOf, workOf } from './said.ts'
import { Suspects } from './suspects.ts'

/** A flow for which there is no place is tried again after. */
const FLOW_AGAIN: Millis = 5_000
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
  readonly #claims: Claims
  readonly #results: Results
  readonly #owned: Owned
  readonly #suspects: Suspects
  #draining = false

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
    this.#owned = new Owned(this.backlog, (live) => this.#suspects.gone(live))
    this.#suspects = new Suspects({
      clock,
      most: () => limits().claimsMax,
      parked: (live) => this.#owned.leftQueue(live),
      enter: (live) => this.#enter(live),
    })
    this.delayed = new Delayed({ clock, due: (job) => this.#due(job) })
    this.members = new Members({
      settings: options.members,
      ...{ clock, instance: options.instance },
      onDead: () => this.#lookout.died(),
    })
    const { members } = this
    const { instance, news, words } = options
    this.#claims = new Claims({
      ...{ store, clock, members, instance, news },
      again: (flow, job) => this.backlog.again(flow, job),
    })
    this.#results = new Results({
      ...{ store, clock, members, words, news },
      trouble: (of, error) => this.#trouble(of, error),
    })
    this.#lookout = new Lookout({
      ...{ store, clock, limits, backlog: this.backlog, delayed: this.delayed },
      owned: ({ tenant, id }) => this.#owned.has(requestKey(tenant, id)),
      held: (by) => isHeldByBatch(by) || this.#claims.isOthers(by),
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
    live.flow.waitsFor = null
    this.#owned.leftQueue(live)
    const { claim } = live
    return this.#claims.write(live, { ...claim, attempts: claim.attempts + 1, calling: true }).then(
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
      this.#owned.inQueue(live)
      void this.#claims.write(live, { ...live.claim, calling: false }).catch(() => {})
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
    return this.#owned.counts()
  }

  /** Ends a job that is in the store only. False: another instance has it, or it is over. */
  async endStored(job: StoredJob, said: Refusal): Promise<'ended' | 'over' | 'elsewhere'> {
    const flow = this.backlog.flow(job)
    const key = requestKey(job.tenant, job.id)
    if (flow === null || this.#owned.has(key)) return 'elsewhere'
    this.#owned.set(key, null)
    const live = await this.#claims.own(flow, job, 'from a batch too').catch((error: unknown) => {
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
    this.#endUnasked(live, said)
    return 'ended'
  }

  /** Ends a job that waits for its turn among the suspects. False: it does not. */
  endParked(live: LiveJob, said: Refusal): boolean {
    if (!this.#suspects.remove(live)) return false
    this.#endUnasked(live, said)
    return true
  }

  // ---- what a gathering asks ----

  async lend(
    tenant: string,
    id: string,
  ): Promise<{ claim: JobClaim; revision: number } | 'busy' | null> {
    const live = this.#owned.get(requestKey(tenant, id))
    if (live === undefined) return null
    if (live === null || live.state !== 'waiting' || live.claim.attempts > 0) return 'busy'
    this.#owned.leftQueue(live)
    live.state = 'lost'
    this.of.scheduler.cancel(tenant, id)
    await live.inTurn(async () => {})
    this.#owned.forgetLive(live)
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
    for (const live of this.#suspects.drain()) this.#giveBack(live)
  }

  /** Results that wait are stored, as far as the store takes them in time; then nothing is ours. */
  async close(): Promise<void> {
    this.drain()
    if (this.#owned.size > 0)
      await new Promise<void>((resolve) => {
        const stop = this.of.clock.after(STOP_WITHIN, resolve)
        this.#owned.whenEmpty(() => {
          stop()
          resolve()
        })
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
      live = await this.#claims.own(flow, job)
    } catch (error) {
      this.#trouble(job, error)
    }
    if (live !== null && typeof live !== 'string') {
      this.#owned.set(key, live)
      live.queued = true
      return this.#enter(live)
    }
    this.#owned.forget(key, flow, length)
    flow.waiting -= 1
    this.backlog.waiting -= 1
    if (live === null) {
      this.backlog.again(flow, job)
      this.backlog.rest(flow)
    } else this.backlog.kick(flow)
  }

  #enter(live: LiveJob): void {
    const { job, claim } = live
    const ageMs = this.#age(job)
    if (this.#draining) return this.#giveBack(live)
    this.#owned.inQueue(live)
    const entry = entryOf(live, { ageMs, read: this.of.read, limits: this.of.limits() })
    if ('said' in entry) return this.#endUnasked(live, entry.said, entry.reason)
    if (this.#suspects.holds(live, job.deadlineMs - ageMs)) return
    const past = { ageMs, attempts: claim.attempts }
    this.of.scheduler.request({ ...entry.read, past, reply: this.#replyOf(live) })
  }

  #replyOf(live: LiveJob): JobReply {
    return new JobReply({
      words: this.of.words,
      done: (answered) => this.#settle(live, answered, 'completed'),
      refused: (said, accounting, upstreamBody) => {
        if (live.state === 'lost') return
        const attempts = accounting.attempts + accounting.preemptions
        if (!endsJob(said.code, attempts)) {
          live.flow.waitsFor = waitBy(said.code)
          return this.#giveBack(live)
        }
        const reason = deadBy(said.code)
        if (reason !== null) this.#results.bury(live, reason)
        this.#end(live, said, accounting, upstreamBody)
      },
      unreadable: (accounting) =>
        this.#end(live, BROKEN_STREAM, { ...accounting, outcome: 'failed', servedBy: 'none' }),
    })
  }

  /** Without asking the scheduler. */
  #endUnasked(live: LiveJob, said: Refusal, dead: DeadReason | null = null): void {
    if (dead !== null) this.#results.bury(live, dead)
    const outcome = outcomeOf(said, live.claim.attempts)
    this.#end(live, said, { ...this.#results.spent(live), outcome })
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
    this.#owned.leftQueue(live)
    live.flow.ends.add(this.of.clock.now())
    if (!lost) live.state = 'settling'
    const { job } = live
    const more = answered.body.length
    this.backlog.bytes += more
    live.bytes += more
    void this.#results.store(live, answered, outcome).then((stored) => {
      const ageMs = this.#age(job)
      this.of.news(
        stored === null
          ? { kind: 'late_result', job }
          : { kind: 'settled', outcome: stored, ageMs, ...workOf(live) },
      )
      if (lost) return
      this.#owned.forgetLive(live)
      this.backlog.roomier()
      this.backlog.kick(live.flow)
    })
  }

  // ---- giving back ----

  /** Not ours for now, and still to be done: whoever has room takes it, ourselves too. */
  #giveBack(live: LiveJob): void {
    const { job, flow, state } = live
    if (state === 'lost' || state === 'settling') return
    const calling = state === 'calling'
    this.#owned.leftQueue(live)
    live.state = 'lost'
    this.of.news({ kind: 'returned', ...workOf(live) })
    this.of.scheduler.cancel(job.tenant, job.id)
    void live
      .inTurn(() => this.#claims.release(live, calling))
      .catch((error: unknown) => this.#trouble(live, error))
      .then(() => {
        this.#owned.forgetLive(live)
        this.backlog.again(flow, job)
        this.of.tell(job)
        this.backlog.rest(flow)
      })
  }

  /** Another instance has it: no call is made for it here. */
  #lose(live: LiveJob): void {
    const { job, state } = live
    if (state === 'lost') return
    this.#owned.leftQueue(live)
    live.state = 'lost'
    this.of.scheduler.cancel(job.tenant, job.id)
    this.#owned.forgetLive(live)
    this.backlog.again(live.flow, job)
    this.backlog.kick(live.flow)
  }

  // ---- time ----

  #due(job: DueJob): void {
    const flow = this.backlog.flow(job)
    if (flow === null) return void this.of.clock.after(FLOW_AGAIN, () => this.#due(job))
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

  #age(job: JobHead): Millis {
    return ageOf(job, this.of.clock.wall())
  }

  // ---- small servants ----

  #trouble(of: LiveJob | StoredJob | null, error: unknown): void {
    const job = of === null ? null : 'job' in of ? of.job : of
    this.of.news({ kind: 'store_error', job, error })
  }
}
