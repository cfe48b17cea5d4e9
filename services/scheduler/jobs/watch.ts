/** What operators see of durable jobs: what the store holds, asked again and again, and what this instance did.
 *  Bound: one entry for each configured lane; tenants are as many as are asked for. */
import type { JobsNow } from '#contracts/snapshot'
import {
  JobStoreError,
  type Clock,
  type JobNews,
  type JobsCounted,
  type JobsKeptNow,
  type JobStore,
  type JobStoreLook,
  type Millis,
} from '#ports'
import type { Flow } from './flow.ts'

/** How soon the store is asked again, after its answer. */
export const LOOK_EVERY: Millis = 2_000
/** For each job it is not asked for so long to count them: it walks over all of them, at some 0.2 µs each, and writes
 *  nothing meanwhile. A million are counted every 50 s. */
const COUNT_REST: Millis = 0.05
/** With less of its room left, a store is as good as full. */
const ROOM_LEFT = 0.05

export interface WatchOptions {
  store: JobStore
  clock: Clock
  /** Each lane, and how old its oldest job may get. */
  lanes: () => readonly { lane: string; expectedMs: Millis }[]
  /** Of this instance. */
  counts: () => { waiting: number; calling: number; settling: number }
  delayed: () => number
  flows: () => Iterable<Flow>
  tenantsMax: () => number
}

type Counts = JobsNow['counts']

/** Which count each piece of news belongs to. */
const COUNTED: Partial<Record<JobNews['kind'], keyof Counts>> = {
  accepted: 'accepted',
  settled: 'ended',
  taken_over: 'taken_over',
  returned: 'returned',
  ambiguous: 'ambiguous',
  late_result: 'late_results',
  dead: 'dead',
  store_error: 'store_errors',
}

export class JobsWatch {
  readonly #of: WatchOptions
  readonly #counts: Counts = {
    ...{ accepted: 0, ended: 0, taken_over: 0, returned: 0 },
    ...{ ambiguous: 0, late_results: 0, dead: 0, store_errors: 0 },
  }
  #seen: JobStoreLook = NOTHING
  #counted: JobsCounted = NOTHING_COUNTED
  #countAt: Millis = -Infinity
  /** Claims that were not ours when the store was asked. */
  #elsewhere = 0
  #lookedAt: Millis | null = null
  #reachable = true
  /** The bytes that were there when it said that it is full; null: it did not, or it has room again. */
  #fullAt: number | null = null
  #lastError: JobsNow['store']['last_error'] = null
  #looking = false
  #cancel = (): void => {}
  #stopped = false

  constructor(options: WatchOptions) {
    this.#of = options
  }

  start(): void {
    void this.#look()
  }

  stop(): void {
    this.#stopped = true
    this.#cancel()
  }

  note(news: JobNews): void {
    const counted = COUNTED[news.kind]
    if (counted !== undefined) this.#counts[counted] += 1
    if (news.kind === 'accepted') this.#fullAt = null
    if (news.kind === 'store_error') this.#failed(news.error)
  }

  read(): JobsNow {
    const { clock, counts, delayed } = this.#of
    const { jobs: stored, bytes, bytesMax } = this.#seen
    const { later, lanes } = this.#counted
    const wall = clock.wall()
    const age = (at: Millis | null): number | null =>
      at === null ? null : Math.max(0, Math.round(wall - at))
    const own = counts()
    const elsewhere = this.#elsewhere
    const oldest = [...lanes.values()].flatMap(({ oldestAt }) => oldestAt ?? [])
    const waits = Math.min(delayed(), later)
    const taken = this.#own() + elsewhere
    return {
      stored,
      oldest_ms: age(oldest.length === 0 ? null : Math.min(...oldest)),
      states: { delayed: waits, stored: Math.max(0, stored - waits - taken), ...own, elsewhere },
      lanes: this.#of.lanes().map(({ lane, expectedMs }) => {
        const { jobs, oldestAt } = lanes.get(lane) ?? NO_JOBS
        return { lane, stored: jobs, oldest_ms: age(oldestAt), expected_ms: Math.round(expectedMs) }
      }),
      tenants: this.#tenants(age),
      counts: { ...this.#counts },
      dead: { kept: this.#seen.dead, last_at: this.#seen.deadAt },
      store: {
        reachable: this.#reachable,
        full: this.#fullAt !== null || (bytesMax !== null && bytes > bytesMax * (1 - ROOM_LEFT)),
        ...{ bytes, bytes_max: bytesMax, looked_at: this.#lookedAt, last_error: this.#lastError },
      },
    }
  }

  #tenants(age: (at: Millis | null) => number | null): JobsNow['tenants'] {
    const busy = [...this.#of.flows()].filter(({ stored, taken }) => stored + taken > 0)
    busy.sort((a, b) => b.stored + b.taken - a.stored - a.taken)
    return busy
      .slice(0, this.#of.tenantsMax())
      .map(({ tenant, lane, stored, taken, oldestAt }) => ({
        ...{ tenant, lane, stored, taken },
        oldest_ms: stored === 0 ? null : age(oldestAt),
      }))
  }

  #failed(error: unknown): void {
    const reason = error instanceof JobStoreError ? error.reason : 'away'
    this.#lastError = { reason, at: Math.round(this.#of.clock.wall()) }
    if (reason === 'full') this.#fullAt = this.#seen.bytes
    if (reason === 'away') this.#reachable = false
  }

  #own(): number {
    const { waiting, calling, settling } = this.#of.counts()
    return waiting + calling + settling
  }

  async #look(): Promise<void> {
    if (this.#looking || this.#stopped) return
    this.#looking = true
    const { store, clock, lanes } = this.#of
    const askedAt = clock.now()
    const counts = askedAt >= this.#countAt
    const before = this.#own()
    try {
      this.#seen = await store.look(counts ? lanes().map(({ lane }) => lane) : null)
      if (counts) this.#countAt = clock.now() + COUNT_REST * this.#seen.jobs
      this.#counted = this.#seen.counted ?? this.#counted
      this.#elsewhere = Math.max(0, this.#seen.claims - Math.max(before, this.#own()))
      this.#lookedAt = Math.round(clock.wall())
      this.#reachable = true
      // Something went since: there is room again.
      if (this.#fullAt !== null && this.#seen.bytes < this.#fullAt) this.#fullAt = null
    } catch (error) {
      this.#failed(error)
    } finally {
      this.#looking = false
      if (!this.#stopped) this.#cancel = clock.after(LOOK_EVERY, () => void this.#look())
    }
  }
}

const NO_JOBS: JobsKeptNow = { jobs: 0, oldestAt: null }

const NOTHING_COUNTED: JobsCounted = { lanes: new Map(), later: 0 }

const NOTHING: JobStoreLook = {
  counted: null,
  ...{ jobs: 0, claims: 0, dead: 0, deadAt: null, bytes: 0, bytesMax: null },
}
