/** What people run instead: a retry wrapper around every call, with no limit, behind a semaphore, or behind a
 *  priority queue. Source: the operators' first guide (origins R2, R3): five retries, full jitter over base
 *  1 s and cap 32 s; a retry-after is waited for, with a buffer of 500 ms. No deadlines, no tenants, no
 *  budget: what callers of today's libraries have. */
import { verdicts, type Verdict } from '#contracts/verdict'
import type { Millis } from '#contracts/units'
import { seeded } from './chance.ts'
import type { PolicyFacts, SchedulingPolicy, Wire } from './policy.ts'
import type { SimRequest } from './sim-request.ts'
import type { VirtualClock } from './virtual-clock.ts'

const RETRIES = 5
const BACKOFF = { base: 1_000, cap: 32_000, buffer: 500 }
/** No byte for so long is given up (origins R5). */
const SILENCE: Millis = 60_000

export interface BaselineOptions {
  clock: VirtualClock
  wire: Wire
  seed: number
  /** At once, over all; Infinity: no limit. */
  slots: number
  /** Smaller goes first; equal ones in order of arrival. Requests of one rank wait in one queue. */
  rank: (request: SimRequest) => number
}

export class Baseline implements SchedulingPolicy {
  readonly facts: PolicyFacts = { decreases: 0, trips: 0, lowered: [] }
  live = 0
  readonly #options: BaselineOptions
  readonly #jitter: () => number
  #inflight = 0
  #draining = false
  /** By rank, lowest first. */
  readonly #queues: Fifo[] = []
  readonly #waiting = new Map<string, number>()

  constructor(options: BaselineOptions) {
    this.#options = options
    this.#jitter = seeded(options.seed, 'baseline jitter')
  }

  submit(request: SimRequest): void {
    this.live++
    this.#enqueue(request, 0)
  }

  /** What waits is refused. */
  drain(): void {
    this.#draining = true
    for (const queue of this.#queues)
      while (queue !== undefined && queue.length > 0) {
        const { request } = queue.shift()
        this.#count(request, -1)
        this.#refuse(request)
      }
  }

  cancel(): void {}
  configure(): void {}

  get tenants(): number {
    return 0
  }

  #refuse(request: SimRequest): void {
    this.live--
    request.ended(request.starts > 0 ? 'failed' : 'refused', 'draining')
  }

  limit(): number {
    return this.#options.slots === Infinity ? 0 : this.#options.slots
  }

  queued(lane: string): number {
    return this.#waiting.get(lane) ?? 0
  }

  check(): string[] {
    return this.#inflight > this.#options.slots ? ['the semaphore was passed'] : []
  }

  atRest(): string[] {
    return this.#inflight === 0 ? [] : [`${this.#inflight} slots are held at rest`]
  }

  #enqueue(request: SimRequest, retries: number): void {
    if (this.#draining) return this.#refuse(request)
    const rank = this.#options.rank(request)
    const queue = (this.#queues[rank] ??= new Fifo())
    queue.push({ request, retries })
    this.#count(request, 1)
    this.#fill()
  }

  #count({ lane }: SimRequest, by: number): void {
    this.#waiting.set(lane, (this.#waiting.get(lane) ?? 0) + by)
  }

  #fill(): void {
    while (this.#inflight < this.#options.slots) {
      const next = this.#queues.find((queue) => queue !== undefined && queue.length > 0)?.shift()
      if (next === undefined) return
      this.#count(next.request, -1)
      this.#start(next.request, next.retries)
    }
  }

  #start(request: SimRequest, retries: number): void {
    this.#inflight++
    const { clock, wire } = this.#options
    let silence = (): void => {}
    const attempt = wire.send(request, {
      firstByte: () => silence(),
      ended: (verdict) => {
        silence()
        this.#inflight--
        this.#ended(request, verdict, retries)
        this.#fill()
      },
    })
    // Only what has not begun to answer hangs; a whole answer is as late as its length.
    if (attempt.plan.verdict.kind === 'hang')
      silence = clock.after(SILENCE, () => attempt.abort(attempt.plan.verdict))
  }

  #ended(request: SimRequest, verdict: Verdict, retries: number): void {
    if (verdict.kind === 'ok') {
      this.live--
      return request.ended('completed', null)
    }
    if (retries >= RETRIES || verdicts[verdict.kind].retry === 'never') {
      this.live--
      return request.ended('failed', 'retries_exhausted')
    }
    const own = this.#jitter() * Math.min(BACKOFF.cap, BACKOFF.base * 2 ** retries)
    const told = verdict.retryAfterMs
    const wait = told === null ? own : Math.max(told, own) + BACKOFF.buffer
    this.#options.clock.after(Math.round(wait), () => this.#enqueue(request, retries + 1))
  }
}

interface Waiting {
  request: SimRequest
  retries: number
}

/** First in, first out, without moving everybody up. */
class Fifo {
  #items: Waiting[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  push(item: Waiting): void {
    this.#items.push(item)
  }

  shift(): Waiting {
    const item = this.#items[this.#head++]!
    if (this.#head > 1_000 && this.#head > this.#items.length / 2) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }
}
