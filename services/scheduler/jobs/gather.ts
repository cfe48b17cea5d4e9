/** Looks through the backlog for jobs that can wait and gathers them by model, for the provider's own batches at half
 *  the price; sends a gathering when it is full or old, and goes on with those of instances that died. Which may
 *  be gathered is core/laws/batches'; what happens to one that is sent, gathering-run's. */
import type { Gathering } from '#contracts/jobs'
import {
  closes,
  fits,
  giveUpAt,
  notGathered,
  restAfterRefusal,
  type BatchKnobs,
} from '#core/laws/batches'
import type { Clock, Dice, GatheringStore, JobHead, Millis, NotedGathering } from '#ports'
import type { BatchJobs } from './batch-jobs.ts'
import { GatheringRun, type GatheringRunOptions } from './gathering-run.ts'

export interface GathererLimits extends BatchKnobs {
  openMax: number
  lookPerSecond: number
}

export interface GathererOptions extends Omit<GatheringRunOptions, 'knobs' | 'refused' | 'news'> {
  jobs: BatchJobs
  store: GatheringStore
  clock: Clock
  dice: Dice
  instance: string
  limits: () => GathererLimits
  /** The upstream whose batches take jobs of the model; null: none does. */
  upstreamOf: (model: string) => string | null
  /** Some model has one. */
  enabled: () => boolean
  mayGather: (tenant: string) => boolean
  /** An instance that holds a gathering will not go on with it. */
  dead: (instance: string) => boolean
  makeId: () => string
  news: GatheringRunOptions['news']
}

/** Between two pages of the backlog, and two looks whether a gathering is to go. */
const EVERY: Millis = 1_000
/** Between the end of the backlog and its beginning; less where jobs wait less before they are gathered. */
const ROUND: Millis = 10_000
/** Between two looks whether somebody's gathering was left behind. */
const LEFT_BEHIND: Millis = 5_000
/** Models, with their versions and betas, that are gathered for at once. */
const KINDS_MAX = 1_000
/** At a stop, a step that is under way has so long. */
const STOP_WITHIN: Millis = 3_000

/** Jobs of one kind that would go into one batch, by their places. None is claimed yet. */
interface Begun {
  model: string
  upstream: string
  headers: Gathering['headers']
  since: Millis
  entries: number
  bytes: number
  giveUpAt: Millis
  seqs: number[]
}

export class Gatherer {
  readonly #of: GathererOptions
  readonly #begun = new Map<string, Begun>()
  /** By id. */
  readonly #runs = new Map<string, { run: GatheringRun; over: Promise<void> }>()
  /** Places of jobs that are gathered here: all, and those that are claimed or about to be. */
  readonly #known = new Set<number>()
  readonly #sent = new Set<number>()
  #elsewhere: ReadonlySet<number> = new Set()
  #from = 0
  #lookAt: Millis = 0
  #checkAt: Millis = 0
  /** By upstream: refused in a row, and when it may be tried again. */
  readonly #refused = new Map<string, { inRow: number; until: Millis }>()
  #cancel = (): void => {}
  #stopped = false

  constructor(options: GathererOptions) {
    this.#of = options
  }

  open(): void {
    if (!this.#stopped) this.#cancel = this.#of.clock.after(EVERY, () => void this.#tick())
  }

  /** Nothing more is gathered; what is sent stays noted, for others. */
  stop(): void {
    this.#stopped = true
    this.#cancel()
    this.#begun.clear()
    for (const { run } of this.#runs.values()) run.stop()
  }

  async close(): Promise<void> {
    this.stop()
    if (this.#runs.size === 0) return
    const over = Promise.all([...this.#runs.values()].map((one) => one.over))
    await new Promise<void>((resolve) => {
      const cancel = this.#of.clock.after(STOP_WITHIN, resolve)
      void over.then(() => {
        cancel()
        resolve()
      })
    })
  }

  /** The job of that place is in a gathering, here or elsewhere, as far as is known. */
  holds(seq: number): boolean {
    return this.#sent.has(seq) || this.#elsewhere.has(seq)
  }

  /** Gatherings that are not over, and jobs in them. */
  counts(): { batches: number; jobs: number } {
    let jobs = 0
    for (const { run } of this.#runs.values()) jobs += run.gathering.jobs.length
    return { batches: this.#runs.size, jobs }
  }

  async #tick(): Promise<void> {
    const now = this.#of.clock.now()
    try {
      if (now >= this.#checkAt) await this.#check(now)
      if (now >= this.#lookAt && this.#hasRoom()) await this.#look(now)
    } catch (error) {
      this.#of.onError(error)
    }
    this.#closeSome()
    this.open()
  }

  #hasRoom(): boolean {
    return this.#of.enabled() && this.#runs.size < this.#of.limits().openMax
  }

  // ---- what was left behind ----

  async #check(now: Millis): Promise<void> {
    const { store, instance, dead } = this.#of
    this.#checkAt = now + LEFT_BEHIND
    const all = await store.all()
    this.#elsewhere = new Set(all.flatMap(({ gathering }) => gathering.jobs))
    for (const noted of all) {
      const { id, by } = noted.gathering
      if (this.#runs.has(id) || this.#stopped) continue
      // Ours and not under way: the answer to a write was lost.
      if (by === instance || dead(by)) await this.#adopt(noted)
    }
  }

  async #adopt({ gathering, revision }: NotedGathering): Promise<void> {
    const { store, instance, news } = this.#of
    const ours = { ...gathering, by: instance }
    const mine = await store.put(ours, revision)
    if (mine === null) return
    news('adopted', gathering.jobs.length)
    this.#start(ours, mine)
  }

  // ---- gathering ----

  async #look(now: Millis): Promise<void> {
    const { jobs, limits } = this.#of
    const count = limits().lookPerSecond
    const heads = await jobs.heads(this.#from, count)
    const last = heads.at(-1)
    const more = last !== undefined && heads.length >= count
    this.#from = more ? last.seq + 1 : 0
    this.#lookAt = now + (more ? 0 : Math.min(ROUND, limits().waitMs))
    for (const head of heads) if (this.#mayGather(head)) await this.#gather(head)
  }

  #mayGather(head: JobHead): boolean {
    const { clock, limits, mayGather } = this.#of
    if (this.#known.has(head.seq) || this.#elsewhere.has(head.seq) || this.#stopped) return false
    return notGathered(head, limits(), clock.wall()) === null && mayGather(head.tenant)
  }

  async #gather(head: JobHead): Promise<void> {
    const { jobs, upstreamOf, clock, limits } = this.#of
    const waiting = await jobs.waits(head)
    if (waiting === null || this.#stopped) return
    const { model, bytes } = waiting
    const upstream = upstreamOf(model)
    if (upstream === null || this.#rests(upstream)) return
    const { version, beta } = waiting.headers
    const key = JSON.stringify([upstream, model, version, beta])
    let begun = this.#begun.get(key)
    if (begun !== undefined && !fits(begun, bytes, limits())) {
      this.#send(key, begun)
      begun = undefined
    }
    if (begun === undefined) {
      if (this.#begun.size >= KINDS_MAX) return
      const headers = {
        ...(version === undefined ? {} : { version }),
        ...(beta === undefined ? {} : { beta }),
      }
      const none = { entries: 0, bytes: 0, giveUpAt: Infinity, seqs: [] }
      begun = { ...none, model, upstream, headers, since: clock.now() }
      this.#begun.set(key, begun)
    }
    begun.entries += 1
    begun.bytes += bytes
    begun.giveUpAt = Math.min(begun.giveUpAt, giveUpAt([head], limits()))
    begun.seqs.push(head.seq)
    this.#known.add(head.seq)
  }

  #closeSome(): void {
    const { limits, clock } = this.#of
    for (const [key, begun] of this.#begun)
      if (closes(begun, limits(), clock.now()) !== null) this.#send(key, begun)
  }

  #rests(upstream: string): boolean {
    return (this.#refused.get(upstream)?.until ?? -Infinity) > this.#of.clock.now()
  }

  /** Or forgets it, where it cannot go now: its jobs are found again, if they still wait. */
  #send(key: string, begun: Begun): void {
    const { clock, instance, makeId } = this.#of
    const { upstream, model, headers, seqs } = begun
    this.#begun.delete(key)
    if (this.#rests(upstream) || !this.#hasRoom() || this.#stopped) {
      for (const seq of seqs) this.#known.delete(seq)
      return
    }
    const gathering: Gathering = {
      ...{ version: 1, id: makeId(), by: instance, model, upstream, headers, round: 1, jobs: seqs },
      ...{ at: clock.wall(), giveUpAt: begun.giveUpAt, state: 'claiming' },
      ...{ batch: null, found: false, others: [] },
    }
    this.#start(gathering, 0)
  }

  #start(gathering: Gathering, revision: number): void {
    const { limits, clock, dice } = this.#of
    const { id, upstream, jobs } = gathering
    for (const seq of jobs) {
      this.#known.add(seq)
      this.#sent.add(seq)
    }
    const run = new GatheringRun(gathering, revision, {
      ...this.#of,
      knobs: limits,
      refused: (of) => {
        if (of === null) return void this.#refused.delete(upstream)
        const inRow = this.#refused.get(upstream)?.inRow ?? 0
        const until = clock.now() + restAfterRefusal(inRow, of.askedMs, dice)
        this.#refused.set(upstream, { inRow: inRow + 1, until })
      },
    })
    const over = run.run().finally(() => {
      this.#runs.delete(id)
      for (const seq of jobs) {
        this.#known.delete(seq)
        this.#sent.delete(seq)
      }
    })
    this.#runs.set(id, { run, over })
  }
}
