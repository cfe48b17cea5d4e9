/** Durable jobs in virtual time: the service's own room and desk of jobs, over a store in memory that outlives each
 *  process of the scheduler, as a server does. The store answers within the instant at which it is asked, in promises
 *  that the world lets be kept before its time goes on; so a death falls between two acts of the store, never within
 *  one (test/scheduler/jobs has those). The provider's own batches are not simulated. */
import { NO_GROUP } from '#contracts/jobs'
import { HEADER, type Refusal } from '#contracts/messages'
import type { Millis, Seconds } from '#contracts/units'
import type { Clock, Dice, JobNews, JobResult, JobStore, Reply, Scheduler } from '#ports'
import { JobsDesk } from '#scheduler/jobs/desk'
import type { Notes } from '#scheduler/jobs/noted-provider'
import { JobsRoom } from '#scheduler/jobs/room'
import { roomLimits } from '#scheduler/jobs/room-limits'
import type { Loop } from '#scheduler/loop/loop'
import { memoryJobStore } from '#scheduler/memory/job-store'
import { memorySettings } from '#scheduler/memory/settings'
import type { JobFacts } from './policy.ts'
import type { SimRequest } from './sim-request.ts'
import { promisesKept } from './system.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** A caller without a receipt submits the same again. */
const AGAIN: Millis = 1_000
const NOTHING = new Uint8Array(0)
/** Names the refusal of an error, on its way to the store. */
const CODE = 'code'

/** The jobs of one process. */
interface Present {
  loop: Loop
  room: JobsRoom
  desk: JobsDesk
}

export class DurableJobs {
  readonly facts: JobFacts = {
    ...{ asked: 0, stored: 0, refused: 0, ended: 0, kept: 0, expired: 0, failed: 0 },
    ...{ takenOver: 0, returned: 0, beyondOne: 0, told: 0, lastEndAt: null },
  }
  readonly #clock: VirtualClock
  /** Hears of broken laws. */
  readonly #found: (findings: readonly string[]) => void
  readonly #store = memoryJobStore({})
  readonly #members = memorySettings()
  /** Whoever has no end yet, by id. */
  readonly #open = new Map<string, SimRequest>()
  /** No deadline of a stored job is over before, ms since 1970. */
  #firstEnd: Millis = Infinity
  #present: Present | null = null
  #closed = false
  /** Something was done since promises were last kept, of which one may follow. */
  #entered = false

  constructor(of: { clock: VirtualClock; found: (findings: readonly string[]) => void }) {
    this.#clock = of.clock
    this.#found = of.found
  }

  /** Without an end, in whatever state. */
  get open(): number {
    return this.#open.size
  }

  /** To be waited for: all of them, or, once nothing more is taken, what the scheduler has. */
  get live(): number {
    return this.#closed ? this.#held() : this.open
  }

  settled(): Promise<void> | null {
    if (!this.#entered) return null
    this.#entered = false
    return promisesKept()
  }

  /** Stored as soon as somebody is there who takes it. */
  submit(request: SimRequest): void {
    this.facts.asked++
    this.#open.set(request.id, request)
    void this.#submit(request)
  }

  /** A process takes its place: what it needs to note its calls. `clock` is its own, and stands when it dies. */
  begin(of: { loop: Loop; clock: Clock; dice: Dice; name: string }): Notes {
    const { loop, dice, name: instance } = of
    const entered = this.#marked
    const clock: Clock = {
      now: () => of.clock.now(),
      wall: () => of.clock.wall(),
      after: (ms, call) => of.clock.after(ms, () => entered(call)),
    }
    const room = new JobsRoom({
      ...{ store: this.#kept(), clock, dice, instance },
      scheduler: schedulerOf(loop, entered),
      members: this.#members,
      limits: () => roomLimits(loop.state.config.file),
      words: {
        answer: () => [],
        error: ({ refusal }) => ({ headers: [[CODE, refusal.code]], body: NOTHING }),
        message: () => NOTHING,
      },
      read: ({ id, deadlineMs }) => {
        const request = this.#open.get(id)
        return request === undefined ? null : { ...wordsOf(request), deadlineMs }
      },
      news: (news) => this.#hear(news),
      tell: () => {},
    })
    const desk = new JobsDesk({
      room,
      deferLane: () => null,
      timeoutOf: (lane) => loop.state.lanesByName.get(lane)?.config.timeoutMs ?? 0,
      hash: () => '',
      resultSubject: () => '',
    })
    this.#present = { loop, room, desk }
    entered(() => void room.open())
    return {
      begin: (tenant, id) => entered(() => room.begin(tenant, id)),
      ended: (tenant, id) => entered(() => room.ended(tenant, id)),
    }
  }

  /** The process died. */
  gone(): void {
    this.#present = null
  }

  /** Nothing more is taken from the store; what the scheduler has goes on. */
  close(): void {
    this.#closed = true
    this.#present?.room.drain()
  }

  /** A call of it ran to its end, or would have if the process had lived. */
  ran(request: SimRequest): void {
    if (request.ran++ > 0) this.facts.beyondOne++
  }

  /** What must be true when all is over. */
  atRest(): string[] {
    const { asked, stored, refused, ended } = this.facts
    const { jobs, claims } = this.#store
    this.facts.kept = jobs
    const found: string[] = []
    if (stored - ended !== jobs)
      found.push(`I9: of ${stored} stored jobs ${ended} have a result and ${jobs} wait`)
    if (asked - refused - ended !== this.open)
      found.push(`I9: ${this.open} of ${asked} jobs are open; ${ended} ended, ${refused} refused`)
    if (!this.#closed && this.open > 0) found.push(`I9: ${this.open} jobs have no result`)
    if (this.#held() > 0) found.push(`I9: at rest ${this.#held()} jobs are held`)
    if (jobs === 0 && claims > 0) found.push(`I9: at rest ${claims} claims are left`)
    const { waiting = 0, bytes = 0 } = this.#present?.room.backlog ?? {}
    if (waiting + bytes > 0) found.push(`I9: at rest ${waiting} jobs, ${bytes} bytes are counted`)
    return found
  }

  #held(): number {
    if (this.#present === null) return 0
    const { waiting, calling, settling } = this.#present.room.counts()
    return waiting + calling + settling
  }

  readonly #marked = <T>(act: () => T): T => {
    this.#entered = true
    return act()
  }

  async #submit(request: SimRequest): Promise<void> {
    if (this.#closed) return
    this.#entered = true
    const answer = await this.#present?.desk.submit({
      ...wordsOf(request),
      ...{ named: true, notBeforeMs: 0, group: NO_GROUP },
    })
    if (answer === undefined) this.#again(request)
    else if ('receipt' in answer) this.facts.stored++
    else if (answer.refused.retryable) this.#again(request)
    else this.#refuse(request, answer.refused)
  }

  #again(request: SimRequest): void {
    this.#clock.after(AGAIN, () => void this.#submit(request))
  }

  #refuse(request: SimRequest, { code }: Refusal): void {
    this.facts.refused++
    this.#open.delete(request.id)
    request.ended('refused', code)
  }

  /** Of a result the store keeps that there is one: the rest is told here. Whoever sweeps sees the jobs whose time is
   *  over, and the last as its place: a look at the others does nothing, where nobody can miss that a job is stored. */
  #kept(): JobStore {
    const store = this.#store
    return {
      ...store,
      add: (job, body) => {
        this.#firstEnd = Math.min(this.#firstEnd, job.acceptedAt + job.deadlineMs)
        return store.add(job, body)
      },
      heads: async (...asked) => {
        const now = this.#clock.wall()
        if (now < this.#firstEnd) return []
        const heads = await store.heads(...asked)
        const last = heads.at(-1)
        return heads.filter((one) => one === last || now - one.acceptedAt >= one.deadlineMs)
      },
      settle: async (result) => {
        const kept = await this.#store.settle({ ...result, headers: [], body: NOTHING })
        if (kept) this.#ended(result)
        return kept
      },
    }
  }

  #ended({ id, headers }: JobResult): void {
    const request = this.#open.get(id)
    if (request === undefined) return
    const said = (name: string): string | null => headers.find(([one]) => one === name)?.[1] ?? null
    const code = said(CODE)
    const { facts } = this
    this.#open.delete(id)
    facts.ended++
    facts.lastEndAt = secondsOf(this.#clock.instant)
    facts.told += Number(said(HEADER.ambiguous) ?? 0)
    if (code === 'deadline_exceeded') facts.expired++
    else if (code !== null) facts.failed++
    request.ended(code === null ? 'completed' : request.starts > 0 ? 'failed' : 'refused', code)
  }

  #hear(news: JobNews): void {
    if (news.kind === 'taken_over') this.facts.takenOver++
    if (news.kind === 'returned') this.facts.returned++
    if (news.kind === 'store_error') this.#found([`bug: the store of jobs: ${String(news.error)}`])
  }
}

const secondsOf = (ms: Millis): Seconds => ms / 1_000

/** A job as it is asked for, without its end. */
function wordsOf(request: SimRequest) {
  const { tenant, lane, id, model, stream, maxTokens, deadlineMs, prefix, body } = request
  const { degrade, headers } = request
  const words = { tenant, lane, id, model, stream, maxTokens, deadlineMs, prefix }
  return { ...words, body, degrade, headers }
}

/** A scheduler that tells when it answers a job. */
function schedulerOf(loop: Loop, entered: <T>(act: () => T) => T): Scheduler {
  const heard = (reply: Reply): Reply => ({
    event: (data) => reply.event(data),
    ping: () => reply.ping(),
    answer: (body, accounting) => entered(() => reply.answer(body, accounting)),
    end: (accounting) => entered(() => reply.end(accounting)),
    refuse: (said, accounting, body) => entered(() => reply.refuse(said, accounting, body)),
  })
  return {
    request: (incoming) => loop.request({ ...incoming, reply: heard(incoming.reply) }),
    malformed: (of) => loop.malformed(of),
    dropped: (of) => loop.dropped(of),
    cancel: (tenant, id) => loop.cancel(tenant, id),
    gone: (tenant, id) => loop.gone(tenant, id),
    status: (tenant, id) => loop.status(tenant, id),
    check: (of) => loop.check(of),
  }
}
