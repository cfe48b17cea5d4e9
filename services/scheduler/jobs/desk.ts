/** What callers ask about jobs: submit, fetch, cancel, status, and a request that becomes a job. */
import {
  HEADER,
  refusal,
  unattempted,
  type CancelAnswer,
  type JobReceipt,
  type Refusal,
  type StatusAnswer,
} from '#contracts/messages'
import type { JobLife } from '#contracts/dashboard'
import { NO_GROUP, STORED } from '#contracts/jobs'
import { waitWords } from '#contracts/waiting'
import {
  JobStoreError,
  type Deferrals,
  type Deferred,
  type Incoming,
  type JobHead,
  type JobResult,
  type Jobs,
  type Millis,
  type NewJob,
  type SubmittedJob,
} from '#ports'
import type { Flow } from './flow.ts'
import { jobLife } from './job-life.ts'
import type { JobsRoom } from './room.ts'

export interface DeskOptions {
  room: JobsRoom
  /** Where a tenant's deferred requests go; null: no lane is open to them. */
  deferLane: (tenant: string) => string | null
  /** How long a lane's requests have, unless they say. */
  timeoutOf: (lane: string) => Millis
  hash: (body: Uint8Array) => string
  resultSubject: (tenant: string, id: string) => string
}

/** Between two looks at a job that is being taken. */
const TAKING: Millis = 10

/** How often the store is told that a flow has jobs. */
const NOTE_EVERY: Millis = 300_000

export class JobsDesk implements Jobs, Deferrals {
  readonly #of: DeskOptions
  #submitting = 0
  #fetching = 0

  constructor(options: DeskOptions) {
    this.#of = options
  }

  async submit(job: SubmittedJob): Promise<Deferred> {
    const { room } = this.#of
    if (room.draining)
      return { refused: refusal('draining', 'this instance is stopping; others may serve') }
    const refused = room.of.scheduler.check(job)
    if (refused !== null) return { refused }
    const deadlineMs = job.deadlineMs ?? this.#of.timeoutOf(job.lane)
    if (job.notBeforeMs >= deadlineMs)
      return {
        refused: refusal(
          'invalid_request',
          `${HEADER.notBefore}: expected less than the deadline, which is ${deadlineMs} ms`,
        ),
      }
    if (this.#submitting >= room.of.limits().submitsMax)
      return full(`${this.#submitting} jobs are being stored (jobs.submits_max)`)
    if (job.notBeforeMs > 0 && room.delayed.size >= room.of.limits().delayedMax)
      return full(`${room.delayed.size} jobs may not start yet (jobs.delayed_max)`)
    this.#submitting += 1
    try {
      return await this.#store({ ...job, deadlineMs })
    } catch (error) {
      room.of.news({ kind: 'store_error', job, error })
      return { refused: notStored(error) }
    } finally {
      this.#submitting -= 1
    }
  }

  /** Under the request's own id, with the time of the lane that it goes to. */
  async defer({ reply: _, past: __, ...request }: Incoming): Promise<Deferred> {
    const lane = this.#of.deferLane(request.tenant)
    if (lane === null) return { refused: NO_LANE }
    const steps = request.degrade.filter((step) => step !== 'defer')
    return this.submit({
      ...request,
      ...{ lane, deadlineMs: null, degrade: steps, notBeforeMs: 0, group: NO_GROUP },
      ...{ named: true, deferred: true },
    })
  }

  takeBack({ tenant, id }: { tenant: string; id: string }): void {
    const { news } = this.#of.room.of
    void this.cancel(tenant, id).catch((error: unknown) =>
      news({ kind: 'store_error', job: null, error }),
    )
  }

  /** The result; `pending`: it is not there yet; null: nobody knows the id. */
  async fetch(tenant: string, id: string, waitMs: Millis): Promise<JobResult | 'pending' | null> {
    const { store, clock, limits } = this.#of.room.of
    const waits = waitMs > 0 && this.#fetching < limits().fetchesMax
    if (!waits) return this.#look(tenant, id)
    this.#fetching += 1
    const heard = Promise.withResolvers<void>()
    // Before the store is asked: a result that comes between is heard.
    const stopHearing = store.onResult(tenant, id, heard.resolve)
    const stopWaiting = clock.after(waitMs, heard.resolve)
    try {
      const found = await this.#look(tenant, id)
      if (found !== 'pending') return found
      await heard.promise
      return await this.#look(tenant, id)
    } finally {
      stopHearing()
      stopWaiting()
      this.#fetching -= 1
    }
  }

  /** Of a job that no scheduler has live. Null: nobody knows the id; `elsewhere`: another instance answers. */
  async cancel(tenant: string, id: string): Promise<CancelAnswer | null | 'elsewhere'> {
    const { room } = this.#of
    const { store } = room.of
    const settled: CancelAnswer = { cancelled: false, reason: 'already_settled' }
    if (room.owned(tenant, id)?.state === 'settling') return settled
    if ((await store.result(tenant, id)) !== null) return settled
    const job = await store.find(tenant, id)
    if (job === null) return null
    const ended = await room.endStored(job, CANCELLED)
    if (ended === 'ended') return { cancelled: true, state: 'queued' }
    if (ended === 'over') return settled
    return this.#cancelTaken(tenant, id)
  }

  life(tenant: string, id: string): Promise<JobLife | null> {
    const { store, clock } = this.#of.room.of
    return jobLife(store, { tenant, id, wall: clock.wall() })
  }

  /** Being taken by ourselves just now, it is in the scheduler in a moment. */
  async #cancelTaken(tenant: string, id: string): Promise<CancelAnswer | 'elsewhere'> {
    const { room } = this.#of
    for (let owned = room.owned(tenant, id); ; owned = room.owned(tenant, id)) {
      if (owned === undefined) return 'elsewhere'
      // Before it is there, the scheduler may know the id of a request that became this job.
      if (owned !== null && room.endParked(owned, CANCELLED))
        return { cancelled: true, state: 'queued' }
      if (owned !== null)
        return (
          room.of.scheduler.cancel(tenant, id) ?? { cancelled: false, reason: 'already_settled' }
        )
      await new Promise<void>((resolve) => void room.of.clock.after(TAKING, resolve))
    }
  }

  /** Of a job that no scheduler has live; null: nobody knows the id. */
  async status(tenant: string, id: string): Promise<StatusAnswer | null> {
    const { room } = this.#of
    const { store } = room.of
    const result = await store.result(tenant, id)
    if (result !== null) return settledStatus(result)
    const job = await store.find(tenant, id)
    if (job === null) return null
    const claim = await store.claimOf(tenant, id)
    return {
      ...{
        id,
        tenant,
        lane: job.lane,
        state: claim?.claim.calling === true ? 'running' : 'queued',
      },
      model: modelOf(job.body),
      attempts: claim?.claim.attempts ?? 0,
      ...{ position: null, estimated_wait_ms: null },
      waits_for: claim?.claim.calling === true ? null : waitsFor(job, this.#of.room),
      enqueued_at: new Date(job.acceptedAt).toISOString(),
    }
  }

  /** A dead job is accepted anew: under its id, with the time that it had, from now on. False: there is none. */
  async requeue(tenant: string, id: string): Promise<boolean> {
    const { room } = this.#of
    const { store, clock } = room.of
    const grave = await store.grave(tenant, id)
    if (grave === null) return false
    const flow = room.backlog.flow(grave)
    if (flow === null) throw new JobStoreError('full', 'as many tenants have jobs as may')
    const { seq, reason: _, body, ...of } = grave
    const made: NewJob = { ...of, acceptedAt: clock.wall(), notBeforeMs: 0 }
    await store.noteFlow(flow)
    // The grave goes last: whatever ends between, the job is there, and may be asked for again.
    await store.unsettle(tenant, id)
    const added = await store.add(made, body)
    await store.unbury(seq)
    if ('seq' in added) this.#begin(flow, { ...made, seq: added.seq })
    return true
  }

  /** Stores the result of a job that is refused before it is one. */
  async refuse(
    job: Pick<NewJob, 'tenant' | 'lane' | 'id' | 'group'>,
    said: Refusal,
  ): Promise<void> {
    const { store, words, clock } = this.#of.room.of
    const { tenant, lane, id, group } = job
    const outcome = said.code === 'deadline_exceeded' ? 'expired' : 'refused'
    const accounting = { ...unattempted(id), outcome } as const
    const { headers, body } = words.error({ refusal: said, accounting, upstreamBody: null })
    const own = [
      [STORED.acceptedAt, String(clock.wall())],
      [STORED.lane, lane],
    ] as const
    await store.settle({ tenant, id, group, hash: '', headers: [...headers, ...own], body })
  }

  async #look(tenant: string, id: string): Promise<JobResult | 'pending' | null> {
    const { store } = this.#of.room.of
    const result = await store.result(tenant, id)
    if (result !== null) return result
    if (this.#of.room.owned(tenant, id) !== undefined) return 'pending'
    if ((await store.find(tenant, id)) !== null) return 'pending'
    // It ended between the two questions, or nobody knows it.
    return store.result(tenant, id)
  }

  async #store(job: SubmittedJob & { deadlineMs: Millis }): Promise<Deferred> {
    const { room, hash: hashOf } = this.#of
    const { store, clock, scheduler } = room.of
    const { tenant, lane, id } = job
    const flow = room.backlog.flow(job)
    if (flow === null) return full('as many tenants have jobs as may (jobs.flows_max)')
    const hash = hashOf(job.body)
    if (job.named) {
      const owned = room.owned(tenant, id) !== undefined
      const live = owned || job.deferred === true ? null : scheduler.status(tenant, id)
      if (live !== null && live.state !== 'settled') return DUPLICATE
    }
    if (clock.now() - flow.notedAt > NOTE_EVERY) {
      await store.noteFlow(flow)
      flow.notedAt = clock.now()
    }
    const made: NewJob = {
      ...{ tenant, lane, id, hash, group: job.group },
      acceptedAt: clock.wall(),
      deadlineMs: job.deadlineMs,
      notBeforeMs: job.notBeforeMs,
      degrade: job.degrade.filter((step) => step !== 'defer'),
      maxAttempts: job.maxAttempts ?? null,
      ...(job.prefix == null ? {} : { prefix: job.prefix }),
      headers: job.headers,
    }
    const added = await store.add(made, job.body)
    if ('there' in added) {
      // Whoever stored it may have died before it told anybody.
      room.noticed(added.there)
      return this.#again(job, hash, added.there.hash)
    }
    // Looked for when it is stored: one that ends meanwhile would not be seen before. Whoever takes it looks too.
    const before = job.named ? await store.result(tenant, id) : null
    if (before !== null) {
      await store.remove({ seq: added.seq, revision: null })
      return this.#again(job, hash, before.hash)
    }
    const { deadlineMs, notBeforeMs } = job
    room.of.news({ kind: 'accepted', job, bytes: job.body.length, deadlineMs, notBeforeMs })
    const position = job.notBeforeMs > 0 ? null : flow.stored + flow.waiting
    const waitMs = position === null ? null : waitOf(flow, position, clock.now())
    if (job.notBeforeMs > 0)
      room.delayed.add({ ...made, seq: added.seq }, made.acceptedAt + job.notBeforeMs)
    else this.#begin(flow, { ...made, seq: added.seq })
    return { receipt: this.#receipt(job, { duplicate: false, position, waitMs }) }
  }

  /** A flow has a job more that may start. */
  #begin(flow: Flow, { lane, tenant, seq, acceptedAt }: JobHead): void {
    const { room } = this.#of
    flow.oldestAt ??= acceptedAt
    room.backlog.arrived(flow, seq)
    room.of.tell({ lane, tenant, seq })
  }

  #again(job: SubmittedJob, hash: string, before: string): Deferred {
    if (hash !== before) return DUPLICATE
    this.#of.room.of.news({ kind: 'duplicate', job })
    return { receipt: this.#receipt(job, { duplicate: true, position: null, waitMs: null }) }
  }

  #receipt(
    { tenant, id }: SubmittedJob,
    of: { duplicate: boolean; position: number | null; waitMs: Millis | null },
  ): JobReceipt {
    return {
      ...{ id, accepted: true, duplicate: of.duplicate, position: of.position },
      result_subject: this.#of.resultSubject(tenant, id),
      estimated_wait_ms: of.waitMs,
    }
  }
}

/** As fast as its flow lately was; null: it is new. */
function waitOf(flow: Flow, ahead: number, now: Millis): Millis | null {
  const perSecond = flow.ends.perSecond(now)
  return perSecond === null ? null : Math.round((ahead / perSecond) * 1_000)
}

const full = (why: string): Deferred => ({
  refused: refusal('queue_full', why, { retryAfterMs: 1_000 }),
})

const CANCELLED = refusal('cancelled', 'cancelled by its owner')

const NO_LANE = refusal('forbidden', 'no preemptible lane is open to the tenant')

const DUPLICATE: Deferred = {
  refused: refusal('duplicate_id', 'another job or request of this tenant has this id already'),
}

function notStored(error: unknown): Refusal {
  const reason = error instanceof JobStoreError ? error.reason : 'away'
  if (reason === 'too_large')
    return refusal('payload_too_large', "the job is larger than the NATS server's max_payload")
  const why =
    reason === 'full'
      ? 'the store of jobs is full'
      : 'the store of jobs does not answer; the same id may be submitted again'
  return refusal('queue_full', why, { retryAfterMs: 5_000 })
}

function settledStatus({ tenant, id, headers }: JobResult): StatusAnswer {
  const of = new Map(headers.map(([name, value]) => [name.toLowerCase(), value]))
  const said = (name: string): string => of.get(name.toLowerCase()) ?? ''
  return {
    ...{ id, tenant, lane: said(STORED.lane), model: said(HEADER.model), state: 'settled' },
    attempts: Number(said(HEADER.attempts)) || 0,
    ...{ position: null, estimated_wait_ms: null, waits_for: null },
    enqueued_at: new Date(Number(said(STORED.acceptedAt)) || 0).toISOString(),
  }
}

/** Of a body that was checked when it was stored. */
function modelOf(body: Uint8Array): string {
  try {
    const { model } = JSON.parse(new TextDecoder().decode(body)) as { model?: unknown }
    return typeof model === 'string' ? model : ''
  } catch {
    return ''
  }
}

/** Of a job that waits in the store: that it may not start yet, or what its flow was last turned away for. */
function waitsFor(job: JobHead, { backlog, of }: JobsRoom): StatusAnswer['waits_for'] {
  const untilMs = Math.ceil(job.acceptedAt + job.notBeforeMs - of.clock.wall())
  const early = job.notBeforeMs > 0 && untilMs > 0
  const reason = early ? 'not_before' : (backlog.known(job)?.waitsFor ?? 'turn')
  return { reason, text: waitWords({ reason, bound: null, untilMs: early ? untilMs : null }) }
}
