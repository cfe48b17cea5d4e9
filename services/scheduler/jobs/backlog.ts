/** The window of each flow: a few of its jobs in memory, so that its queue in the core does not run dry, and the
 *  next of them read from the store when those start or end. Memory grows with flows and not with jobs, and a
 *  tenant with a million of them hides nobody. */
import { restOf } from '#core/laws/jobs'
import type { Clock, Dice, JobFlow, JobStore, StoredJob } from '#ports'
import { Flow, flowKey } from './flow.ts'

/** Flows that are read at once; more wait for their turn. */
const READERS = 32

export interface BacklogLimits {
  /** Of a flow, waiting. */
  window: number
  /** Of all flows, waiting. */
  total: number
  bytes: number
  flows: number
}

export class Backlog {
  readonly flows = new Map<string, Flow>()
  /** Jobs that are being taken, or wait in the core. */
  waiting = 0
  /** Bodies and results held. */
  bytes = 0
  readonly #of: BacklogOptions
  /** Flows to read, the first come first. */
  readonly #line = new Set<Flow>()
  /** Flows whose turn comes when others have given back what they hold. */
  readonly #crowded = new Set<Flow>()
  #readers = 0
  #stopped = false

  constructor(options: BacklogOptions) {
    this.#of = options
  }

  /** The flow, made where it is new; null: there are as many as there may be. */
  flow(of: JobFlow): Flow | null {
    const key = flowKey(of)
    const known = this.flows.get(key)
    if (known !== undefined) return known
    if (this.flows.size >= this.#of.limits().flows) return null
    const made = new Flow(of)
    this.flows.set(key, made)
    return made
  }

  /** A flow may have something to give. */
  kick(flow: Flow): void {
    if (this.#stopped || flow.reading || flow.resting || flow.idle) return
    if (flow.waiting >= this.#of.limits().window) return
    if (this.#full()) return void this.#crowded.add(flow)
    this.#line.add(flow)
    this.#read()
  }

  /** A flow has a job in the store that was not there when it was last read. */
  more(flow: Flow): void {
    flow.drained = false
    this.kick(flow)
  }

  /** Everything is looked at again: somebody died, or the store was away. */
  rescan(): void {
    for (const flow of this.flows.values()) {
      flow.back(0)
      this.kick(flow)
    }
  }

  /** Something that was held is given back. */
  roomier(): void {
    for (const flow of this.#crowded) {
      if (this.#full()) return
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

  #full(): boolean {
    const { total, bytes } = this.#of.limits()
    return this.waiting >= total || this.bytes >= bytes
  }

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
    while (!this.#stopped && !flow.resting && flow.waiting < this.#of.limits().window) {
      if (this.#full()) return void this.#crowded.add(flow)
      try {
        const job = await this.#next(flow)
        if (job === null) return
        void this.#of.take(flow, job)
      } catch (error) {
        this.#of.onError(error)
        return this.rest(flow)
      }
    }
  }

  async #next(flow: Flow): Promise<StoredJob | null> {
    const due = flow.due.shift()
    if (due !== undefined) {
      try {
        const job = await this.#of.store.at(due)
        if (job !== null) return job
      } catch (error) {
        flow.due.unshift(due)
        throw error
      }
    }
    if (flow.drained) return null
    const from = flow.cursor
    // Before the store is asked: what is stored meanwhile makes it false again.
    flow.drained = true
    let job: StoredJob | null = null
    try {
      job = await this.#of.store.next(flow, from)
    } catch (error) {
      flow.drained = false
      throw error
    }
    if (job === null) {
      if (flow.drained) flow.oldestAt = null
      return null
    }
    flow.drained = false
    // Moved back meanwhile, it stays there.
    if (flow.cursor === from) flow.cursor = job.seq + 1
    flow.oldestAt = job.acceptedAt
    // A server before 2.11 does not say how many stand behind.
    flow.stored = job.behind ?? Math.max(0, flow.stored - 1)
    return job
  }
}

interface BacklogOptions {
  store: JobStore
  clock: Clock
  dice: Dice
  limits: () => BacklogLimits
  /** Takes a job, or leaves it; must count it in `flow.waiting` at once, where it takes it. */
  take: (flow: Flow, job: StoredJob) => Promise<void>
  onError: (error: unknown) => void
}
