/** The window of each flow: a few of its jobs in memory, so that its queue in the core does not run dry, and the
 *  next of them read from the store when those start or end. Of the rest only the places are in memory, a number for
 *  each, so that nobody asks the server to look for the next one: it would walk over the whole backlog.
 *  Bounds: `window` jobs of a flow and `total` of all, `places` of the rest. A line that is cut for want of room is
 *  read on by a walk when it runs low. */
import { restOf } from '#core/laws/jobs'
import type { Clock, Dice, JobFlow, JobHead, JobStore, Millis, StoredJob } from '#ports'
import { Flow, flowKey } from './flow.ts'

/** Flows that are read at once; more wait for their turn. */
const READERS = 32
/** Places of one flow that are asked for at once where those before were gone: another instance was faster. */
const READ_AHEAD = 32
/** A flow that has nothing for so long is forgotten. */
const FORGET: Millis = 600_000
/** Of all room, what only flows may have of which nothing waits yet. */
const FIRST_SHARE = 0.5

export interface BacklogLimits {
  /** Of a flow, waiting. */
  window: number
  /** Of all flows, waiting. */
  total: number
  bytes: number
  flows: number
  places: number
}

export class Backlog {
  readonly flows = new Map<string, Flow>()
  /** Jobs that are being taken, or wait in the core. */
  waiting = 0
  /** Bodies and results held. */
  bytes = 0
  /** Places in all lines. */
  places = 0
  /** Up to where a walk has met all that is stored; null: to the end. */
  #metTo: number | null = 0
  /** Where the walk that reads began, and how many pages were asked for. */
  #readsFrom = 0
  #pages = 0
  readonly #of: BacklogOptions
  /** Flows to read, the first come first. */
  readonly #line = new Set<Flow>()
  /** Flows whose turn comes when others have given back what they hold. */
  readonly #crowded = new Set<Flow>()
  /** Flows of which not all that is stored is in the line. */
  readonly #unread = new Set<Flow>()
  #readers = 0
  #stopped = false

  constructor(options: BacklogOptions) {
    this.#of = options
  }

  /** The flow, made where it is new; null: there are as many as there may be. */
  flow(of: JobFlow): Flow | null {
    const key = flowKey(of)
    const usedAt = this.#of.clock.now()
    const known = this.flows.get(key)
    if (known !== undefined) {
      known.usedAt = usedAt
      return known
    }
    if (this.flows.size >= this.#of.limits().flows) return null
    const made = new Flow(of, { unread: this.#metTo, usedAt })
    if (made.unread !== null) this.#unread.add(made)
    this.flows.set(key, made)
    return made
  }

  /** The flow as it is; null: nothing is known of it. */
  known(of: JobFlow): Flow | null {
    return this.flows.get(flowKey(of)) ?? null
  }

  has(of: JobFlow): boolean {
    return this.flows.has(flowKey(of))
  }

  /** A flow may have something to give. */
  kick(flow: Flow): void {
    if (this.#stopped || flow.reading || flow.resting || flow.idle) return
    if (flow.waiting >= this.#of.limits().window) return
    if (this.#full(flow)) return this.#waits(flow)
    this.#line.add(flow)
    this.#read()
  }

  /** A job was stored just now. */
  arrived(flow: Flow, seq: number): void {
    if (flow.unread === null) this.#put(flow, flow.line.add(seq))
    // A walk meets the rest of them.
    else if (flow.line.length < this.#of.limits().window) this.#put(flow, flow.line.aside(seq))
    else flow.toldIn = this.#pages
    this.kick(flow)
  }

  /** A job that was taken, or had to wait for its time, is to be had. */
  again(flow: Flow, { seq }: Pick<JobHead, 'seq'>): void {
    this.#put(flow, flow.line.aside(seq))
  }

  // ---- what a walk meets ----

  /** `stray`: it was taken from the line, and is not ours: somebody else has it, or it was lost sight of. */
  met(flow: Flow, seq: number, of: { reading: boolean }): 'known' | 'stray' {
    const { line } = flow
    if (flow.unread !== null && seq >= flow.unread) {
      if (!of.reading || flow.skipped || line.has(seq)) return 'known'
      if (this.#roomFor(flow)) {
        this.#put(flow, line.add(seq))
        flow.unread = seq + 1
        this.kick(flow)
      } else flow.skipped = true
      return 'known'
    }
    if (line.has(seq)) return 'known'
    if (seq <= line.passed) return 'stray'
    this.#put(flow, line.add(seq))
    this.kick(flow)
    return 'known'
  }

  /** A walk begins that reads the lines on, from a place. */
  reading(from: number): void {
    this.#readsFrom = from
    for (const flow of this.#unread) flow.skipped = (flow.unread ?? 0) < from
  }

  /** It asks for a page. What is stored from here on may not be in it. */
  asks(): void {
    this.#pages += 1
  }

  /** It met all up to a place; `all`: there was nothing behind it. */
  read(to: number, all: boolean): void {
    const before = this.#metTo
    if (before !== null && this.#readsFrom <= before)
      this.#metTo = all ? null : Math.max(before, to)
    for (const flow of this.#unread) {
      if (flow.skipped) continue
      const done = all && flow.toldIn < this.#pages
      flow.unread = done ? null : Math.max(flow.unread ?? 0, to)
      if (done) this.#unread.delete(flow)
    }
  }

  /** Where a walk is to begin so that no line runs dry; null: none is about to. */
  readFrom(): number | null {
    let from: number | null = null
    for (const flow of this.#unread)
      if (this.#low(flow)) from = Math.min(from ?? Infinity, flow.unread ?? 0)
    return from
  }

  /** Whether a walk that reads has somebody to read for. */
  get hungry(): boolean {
    const room = this.places < this.#of.limits().places
    for (const flow of this.#unread) if (!flow.skipped && (room || this.#low(flow))) return true
    return false
  }

  /** Flows of which nothing was heard for long. */
  forgetIdle(): void {
    const since = this.#of.clock.now() - FORGET
    for (const [key, flow] of this.flows)
      if (flow.usedAt < since && flow.forgettable) this.flows.delete(key)
  }

  // ---- room ----

  /** Something that was held is given back. */
  roomier(): void {
    for (const flow of this.#crowded) {
      if (this.#full(flow)) return
      this.#crowded.delete(flow)
      this.kick(flow)
    }
  }

  /** The flow was turned away: it rests a while, longer each time. */
  rest(flow: Flow): void {
    if (flow.resting || this.#stopped) return
    flow.resting = true
    this.#of.clock.after(restOf(flow.rests++, this.#of.dice), () => {
      flow.resting = false
      this.kick(flow)
    })
  }

  stop(): void {
    this.#stopped = true
    this.#line.clear()
    this.#crowded.clear()
  }

  /** Whoever has nothing waiting finds room longer than the others. */
  #full(flow: Flow): boolean {
    const { total, bytes } = this.#of.limits()
    if (this.bytes >= bytes) return true
    return this.waiting >= (flow.waiting === 0 ? total : Math.max(1, total * FIRST_SHARE))
  }

  /** One that has jobs waiting comes again by itself, when one of them has its turn. */
  #waits(flow: Flow): void {
    if (flow.waiting === 0) this.#crowded.add(flow)
  }

  #put(flow: Flow, added: boolean): void {
    if (!added) return
    this.places += 1
    flow.usedAt = this.#of.clock.now()
  }

  #low({ line }: Flow): boolean {
    return line.length <= this.#share() / 2
  }

  /** What each flow may have of the places, whatever the others have. */
  #share(): number {
    return Math.max(1, this.#of.limits().places / Math.max(1, this.flows.size))
  }

  /** Makes room for a place where the longest line has more than its share. */
  #roomFor(flow: Flow): boolean {
    if (this.places < this.#of.limits().places) return true
    let longest = flow
    for (const one of this.flows.values()) if (one.line.length > longest.line.length) longest = one
    if (longest === flow) return false
    this.#cut(longest)
    return this.places < this.#of.limits().places
  }

  #cut(flow: Flow): void {
    const { line } = flow
    const before = line.length
    const from = line.cut(Math.floor(before / 2))
    if (from === null) return
    this.places -= before - line.length
    flow.unread = Math.min(flow.unread ?? Infinity, from)
    flow.skipped = true
    this.#unread.add(flow)
  }

  // ---- reading ----

  #read(): void {
    for (const flow of this.#line) {
      if (this.#readers >= READERS) return
      this.#line.delete(flow)
      this.#readers += 1
      flow.reading = true
      void this.#fill(flow).then(() => {
        this.#readers -= 1
        flow.reading = false
        this.kick(flow)
        this.#read()
      })
    }
  }

  /** Takes what the window has room for; ends when there is nothing more, or when the store fails. */
  async #fill(flow: Flow): Promise<void> {
    for (let missed = 0; !this.#stopped && !flow.resting;) {
      if (flow.waiting >= this.#of.limits().window) return
      if (this.#full(flow)) return this.#waits(flow)
      try {
        const found = await this.#next(flow, Math.min(READ_AHEAD, Math.max(1, missed)))
        if (found === null) return
        missed = found.length > 0 ? 0 : 2 * missed + 1
        this.#offer(flow, found)
      } catch (error) {
        this.#of.onError(error)
        return this.rest(flow)
      }
    }
  }

  #offer(flow: Flow, found: readonly StoredJob[]): void {
    for (const job of found) {
      if (flow.waiting >= this.#of.limits().window || this.#full(flow)) this.again(flow, job)
      else {
        flow.oldestAt = job.acceptedAt
        void this.#of.take(flow, job)
      }
    }
  }

  /** Of the next places, those that are there still; null: there is no next one. */
  async #next(flow: Flow, count: number): Promise<StoredJob[] | null> {
    const { store } = this.#of
    if (flow.line.length === 0) {
      flow.oldestAt = null
      if (flow.idle) return null
      return this.#first(flow)
    }
    const places: number[] = []
    for (let seq = flow.line.shift(); seq !== undefined; seq = flow.line.shift()) {
      places.push(seq)
      if (places.length >= count) break
    }
    this.places -= places.length
    if (flow.unread !== null && this.#low(flow)) this.#of.low()
    try {
      const found = await Promise.all(places.map((seq) => store.at(seq)))
      return found.flatMap((job) => (job !== null && flowKey(job) === flowKey(flow) ? job : []))
    } catch (error) {
      for (const seq of places) this.again(flow, { seq })
      throw error
    }
  }

  /** No walk has come to its jobs yet: for one the store knows a short way. */
  async #first(flow: Flow): Promise<StoredJob[]> {
    flow.asked = true
    try {
      const job = await this.#of.store.first(flow)
      return job === null ? [] : [job]
    } catch (error) {
      flow.asked = false
      throw error
    }
  }
}

interface BacklogOptions {
  store: JobStore
  clock: Clock
  dice: Dice
  limits: () => BacklogLimits
  /** Takes a job, or leaves it; must count it in `flow.waiting` at once, where it takes it. */
  take: (flow: Flow, job: StoredJob) => Promise<void>
  /** A line runs low of which the store has more. */
  low: () => void
  onError: (error: unknown) => void
}
