/** The store of durable jobs, over JetStream: one stream of jobs, claims and flows, one of results, one of the dead.
 *  Each is a message of its own subject; "expect to be the first" and "expect this one before" make every write a
 *  compare-and-set, and reads are direct gets. What is stored as a result is published on its result subject by
 *  the server itself, once, when it is stored. */
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream'
import type { Msg, NatsConnection } from '@nats-io/transport-node'
import type { JobStreamsOf } from '#contracts/job-streams'
import { DEAD_REASONS, NO_GROUP, STORED, type DeadReason, type JobClaim } from '#contracts/jobs'
import { HEADER } from '#contracts/messages'
import { EVERYTHING } from '#contracts/subjects'
import {
  JobStoreError,
  type BusHeaders,
  type Clock,
  type DeadHead,
  type HeldClaim,
  type JobFlow,
  type JobHead,
  type JobResult,
  type JobsKeptNow,
  type JobStore,
  type JobStoreLook,
  type Millis,
  type NewJob,
  type StoredJob,
  type Walked,
  type WalkPage,
} from '#ports'
import { JobStreams, openStreams, WITHIN } from './job-streams.ts'
import { claimIn, claimSaid, header, headersOf, headOf, ownHeaders, seqOf } from './stored-job.ts'
import { StreamPages, type PageAsk, type Placed, type StreamPage } from './stream-pages.ts'
import { StreamRoom } from './stream-room.ts'

/** It walks over what it counts: a million of them take a second or two. */
const COUNTED_WITHIN: Millis = 30_000
/** What they mostly take. */
const HEAD_BYTES = 512

export interface JobStoreOptions extends JobStreamsOf {
  connection: NatsConnection
  clock: Pick<Clock, 'now' | 'after'>
}

/** Rejects where there is no JetStream, with the reason. */
export async function natsJobStore(of: JobStoreOptions): Promise<JobStore> {
  const jsm = await jetstreamManager(of.connection, { timeout: WITHIN })
  await openStreams(jsm, of)
  return new NatsJobStore(jsm, of)
}

class NatsJobStore implements JobStore {
  readonly #of: JobStoreOptions
  readonly #jsm: JetStreamManager
  readonly #nc: NatsConnection
  readonly #streams: JobStreams
  readonly #pages: StreamPages
  readonly #room: StreamRoom
  /** 1: the server counts what it gives among what is pending; 0: it does not; null: not asked yet. */
  #countsItself: Promise<number | null> | null = null

  constructor(jsm: JetStreamManager, of: JobStoreOptions) {
    this.#of = of
    this.#jsm = jsm
    this.#nc = of.connection
    this.#streams = new JobStreams(jsm, of.connection, of)
    this.#pages = new StreamPages({ jsm, ...of, within: WITHIN })
    this.#room = new StreamRoom({
      clock: of.clock,
      held: async () => {
        const { state, config } = await jsm.streams.info(of.names.jobs)
        return { bytes: state.bytes, bytesMax: config.max_bytes }
      },
    })
  }

  async add(job: NewJob, body: Uint8Array): Promise<{ seq: number } | { there: JobHead }> {
    const { stored } = this.#of.subjects
    const when = job.notBeforeMs > 0 ? 'later' : 'now'
    const subject = stored.job(when, job.lane, job.tenant, job.id)
    const any = stored.job('*', '*', job.tenant, job.id)
    const headers: BusHeaders = [
      ...headersOf(job),
      ['Nats-Expected-Last-Subject-Sequence', '0'],
      ['Nats-Expected-Last-Subject-Sequence-Subject', any],
    ]
    if (!(await this.#room.takes(body.length + HEAD_BYTES))) {
      const there = await this.find(job.tenant, job.id)
      if (there !== null) return { there }
      throw new JobStoreError('full', 'what is left of the room is for claims of the jobs there')
    }
    for (let tries = 0; tries < 2; tries++) {
      const seq = await this.#streams.publish(subject, body, headers)
      if (seq !== null) return { seq }
      const there = await this.find(job.tenant, job.id)
      if (there !== null) return { there }
    }
    throw new JobStoreError('away', 'the job that has this id is there and is not there')
  }

  async first({ lane, tenant }: JobFlow): Promise<StoredJob | null> {
    // From the beginning of the stream on, where the server knows the way: from any other place it would read on.
    const next_by_subj = this.#of.subjects.stored.job('now', lane, tenant, '*')
    return this.#job(await this.#streams.get(this.#of.names.jobs, { seq: 1, next_by_subj }))
  }

  async at(seq: number): Promise<StoredJob | null> {
    return this.#job(await this.#streams.get(this.#of.names.jobs, { seq }))
  }

  async find(tenant: string, id: string): Promise<StoredJob | null> {
    const subject = this.#of.subjects.stored.job('*', '*', tenant, id)
    return this.#job(await this.#streams.get(this.#of.names.jobs, { last_by_subj: subject }))
  }

  claim(
    { tenant, id }: { tenant: string; id: string },
    claim: JobClaim,
    over: number,
  ): Promise<number | null> {
    const subject = this.#of.subjects.stored.claim(tenant, id)
    const headers: BusHeaders = [['Nats-Expected-Last-Subject-Sequence', String(over)]]
    return this.#awaited(() =>
      this.#streams.publish(subject, Buffer.from(JSON.stringify(claim)), headers),
    )
  }

  async claimOf(tenant: string, id: string): Promise<{ claim: JobClaim; revision: number } | null> {
    const subject = this.#of.subjects.stored.claim(tenant, id)
    const message = await this.#streams.get(this.#of.names.jobs, { last_by_subj: subject })
    if (message === null) return null
    return { claim: claimSaid(message), revision: seqOf(message) }
  }

  async heldClaims(from: number, count: number): Promise<HeldClaim[]> {
    const filter = this.#of.subjects.stored.every.claim
    const { found } = await this.#page({
      ...{ stream: this.#of.names.jobs, filter, from, count, whole: true },
      read: ({ message, subject, seq }) => ({
        ...claimIn(subject),
        ...{ claim: claimSaid(message), revision: seq },
      }),
    })
    return found
  }

  async release(revision: number): Promise<void> {
    await this.#streams.delete(revision)
  }

  async settle(result: JobResult): Promise<boolean> {
    const { tenant, group, id } = result
    const subject = this.#of.subjects.stored.done(tenant, group, id)
    const headers: BusHeaders = [...result.headers, ['Nats-Expected-Last-Subject-Sequence', '0']]
    return (
      (await this.#awaited(() => this.#streams.publish(subject, result.body, headers))) !== null
    )
  }

  async result(tenant: string, id: string): Promise<JobResult | null> {
    const subject = this.#of.subjects.stored.done(tenant, '*', id)
    const message = await this.#streams.get(this.#of.names.results, { last_by_subj: subject })
    if (message === null) return null
    const group = header(message, 'Nats-Subject').split('.').at(-2) ?? NO_GROUP
    const hash = header(message, STORED.hash)
    return { tenant, id, group, hash, headers: ownHeaders(message), body: message.data }
  }

  async remove({ seq, revision }: { seq: number; revision: number | null }): Promise<void> {
    await Promise.all([
      this.#streams.delete(seq),
      ...(revision === null ? [] : [this.#streams.delete(revision)]),
    ])
  }

  async bury(job: StoredJob, reason: DeadReason): Promise<void> {
    const subject = this.#of.subjects.stored.dead(job.lane, job.tenant, job.id)
    await this.#streams.publish(subject, job.body, [...headersOf(job), [STORED.reason, reason]])
  }

  async flows(): Promise<JobFlow[]> {
    const { jobs } = this.#of.names
    const subjects_filter = this.#of.subjects.stored.every.flow
    const info = await this.#streams.act(() => this.#jsm.streams.info(jobs, { subjects_filter }))
    return Object.keys(info.state.subjects ?? {}).map((subject) => {
      const [lane = '', tenant = ''] = subject.split('.').slice(-2)
      return { lane, tenant }
    })
  }

  async noteFlow({ lane, tenant }: JobFlow): Promise<void> {
    await this.#streams.publish(this.#of.subjects.stored.flow(lane, tenant), NOTHING, [])
  }

  async forgetFlow(seq: number): Promise<void> {
    await this.#streams.delete(seq)
  }

  walk(from: number, count: number, { deadlines } = { deadlines: false }): Promise<WalkPage> {
    return this.#page({
      ...{ stream: this.#of.names.jobs, filter: EVERYTHING, from, count },
      read: (message) => this.#walked(message, deadlines),
    })
  }

  async heads(
    when: 'now' | 'later' | '*',
    from: number,
    count: number,
    { lane = '*', tenant = '*' }: Partial<JobFlow> = {},
  ): Promise<JobHead[]> {
    const { found } = await this.#page({
      ...{ stream: this.#of.names.jobs, from, count },
      filter: this.#of.subjects.stored.job(when, lane, tenant, '*'),
      read: (message) => this.#headIn(message),
    })
    return found
  }

  async graves(
    from: number,
    count: number,
    { lane = '*', tenant = '*' }: Partial<JobFlow> = {},
  ): Promise<DeadHead[]> {
    const { found } = await this.#page({
      ...{ stream: this.#of.names.dead, from, count },
      filter: this.#of.subjects.stored.dead(lane, tenant, '*'),
      read: (message) => this.#graveIn(message),
    })
    return found
  }

  async grave(tenant: string, id: string): Promise<(StoredJob & DeadHead) | null> {
    const subject = this.#of.subjects.stored.dead('*', tenant, id)
    const message = await this.#streams.get(this.#of.names.dead, { last_by_subj: subject })
    if (message === null) return null
    const head = this.#graveIn({
      message,
      subject: header(message, 'Nats-Subject'),
      seq: seqOf(message),
    })
    return head === null ? null : { ...head, body: message.data }
  }

  unbury(seq: number): Promise<boolean> {
    return this.#streams.delete(seq, this.#of.names.dead)
  }

  async unsettle(tenant: string, id: string): Promise<void> {
    const subject = this.#of.subjects.stored.done(tenant, '*', id)
    const message = await this.#streams.get(this.#of.names.results, { last_by_subj: subject })
    if (message !== null) await this.#streams.delete(seqOf(message), this.#of.names.results)
  }

  async look(lanes: readonly string[] | null): Promise<JobStoreLook> {
    const { stored } = this.#of.subjects
    const { jobs, dead } = this.#of.names
    // First what costs the server nothing: whether it is there.
    const [graves, room] = await Promise.all([
      this.#streams.act(() => this.#jsm.streams.info(dead)),
      this.#streams.act(() => this.#jsm.streams.info(jobs)),
    ])
    const [claims, flows] = await Promise.all([
      this.#count(stored.claim('*', '*')),
      this.#count(stored.flow('*', '*')),
    ])
    const { messages, last_ts } = graves.state
    return {
      counted: lanes === null ? null : await this.#counted(lanes),
      jobs: Math.max(0, room.state.messages - claims.jobs - flows.jobs),
      claims: claims.jobs,
      ...{ dead: messages, deadAt: messages === 0 ? null : Date.parse(last_ts) },
      bytes: room.state.bytes,
      bytesMax: room.config.max_bytes > 0 ? room.config.max_bytes : null,
    }
  }

  /** The server walks over all that it counts. */
  async #counted(lanes: readonly string[]): Promise<JobStoreLook['counted']> {
    const { stored } = this.#of.subjects
    const later = await this.#count(stored.job('later', '*', '*', '*'))
    const counts = new Map<string, JobsKeptNow>()
    // One after the other: meanwhile it writes nothing.
    for (const lane of lanes) counts.set(lane, await this.#count(stored.job('now', lane, '*', '*')))
    return { lanes: counts, later: later.jobs }
  }

  onResult(tenant: string, id: string, call: () => void): () => void {
    const subject = this.#of.subjects.result(tenant, id)
    const subscription = this.#nc.subscribe(subject, { max: 1, callback: () => call() })
    return () => subscription.unsubscribe()
  }

  async close(): Promise<void> {}

  // ---- what JetStream is asked ----

  /** A write that jobs already stored wait for: room that comes is for it first. */
  async #awaited<T>(write: () => Promise<T>): Promise<T> {
    try {
      const done = await write()
      this.#room.fits()
      return done
    } catch (error) {
      if (error instanceof JobStoreError && error.reason === 'full') this.#room.refused()
      throw error
    }
  }

  /** How many messages have a subject of this kind, and when the first of them was accepted. */
  async #count(subject: string): Promise<JobsKeptNow> {
    const query = { seq: 1, next_by_subj: subject, batch: 1 }
    const first = await this.#streams.get(this.#of.names.jobs, query, COUNTED_WITHIN)
    if (first === null) return NONE
    return {
      jobs: 1 + ((await this.#behind(first)) ?? 0),
      oldestAt: Number(header(first, STORED.acceptedAt)) || null,
    }
  }

  #page<T>(ask: PageAsk<T>): Promise<StreamPage<T>> {
    return this.#streams.act(() => this.#pages.page(ask))
  }

  /** Null: nothing that we know. */
  #walked({ message, subject, seq, at }: Placed, deadlines: boolean): Walked | null {
    const [kind, ...said] = subject.slice(this.#of.subjects.root.length + 1).split('.')
    if (kind === 'claim') return { kind, ...claimIn(subject), revision: seq }
    const [when, lane = '', tenant = '', id = ''] = said
    if (kind === 'flow') return { kind, flow: { lane: when ?? '', tenant: lane }, seq, notedAt: at }
    if (kind !== 'job' || said.length !== 4) return null
    const number = (name: string): number => Number(header(message, name)) || 0
    // To read headers costs more than all else, and most jobs are met only to know where they are.
    const acceptedAt = deadlines || when === 'later' ? number(STORED.acceptedAt) : 0
    return {
      ...{ kind, lane, tenant, id, seq },
      startsAt: when === 'later' ? acceptedAt + number(HEADER.notBefore) : null,
      endsAt: deadlines ? acceptedAt + number(HEADER.deadline) : null,
    }
  }

  #headIn({ message, subject, seq }: Omit<Placed, 'at'>): JobHead | null {
    return headOf(message, { subject, seq, root: this.#of.subjects.root })
  }

  /** Its subject says the same as a job's, without when it may start. */
  #graveIn({ message, subject, seq }: Omit<Placed, 'at'>): DeadHead | null {
    const [lane = '', tenant = '', id = ''] = subject.split('.').slice(-3)
    const asJob = this.#of.subjects.stored.job('now', lane, tenant, id)
    const head = this.#headIn({ message, subject: asJob, seq })
    const reason = DEAD_REASONS.find((one) => one === header(message, STORED.reason))
    return head === null ? null : { ...head, reason: reason ?? 'unreadable' }
  }

  #job(message: Msg | null): StoredJob | null {
    if (message === null) return null
    const { root } = this.#of.subjects
    const head = headOf(message, {
      subject: header(message, 'Nats-Subject'),
      seq: seqOf(message),
      root,
    })
    return head === null ? null : { ...head, body: message.data }
  }

  /** Messages of the subject that was asked for that stand behind this one; null: the server does not say. */
  async #behind(message: Msg): Promise<number | null> {
    const pending = header(message, 'Nats-Num-Pending')
    if (pending === '') return null
    const itself = await (this.#countsItself ??= this.#asksOfOne(message).catch(() => null))
    if (itself === null) this.#countsItself = null
    return itself === null ? null : Math.max(0, Number(pending) - itself)
  }

  /** Whether a server counts the message that it gives among those that are pending: some do, and of a subject that
   *  has one message it says so. Null: it is gone. */
  async #asksOfOne(message: Msg): Promise<number | null> {
    const query = { seq: 1, next_by_subj: header(message, 'Nats-Subject'), batch: 1 }
    const only = await this.#streams.get(this.#of.names.jobs, query)
    return only === null ? null : Number(header(only, 'Nats-Num-Pending'))
  }
}

const NOTHING = new Uint8Array(0)
const NONE: JobsKeptNow = { jobs: 0, oldestAt: null }
