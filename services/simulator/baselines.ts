/** What people run instead: a retry wrapper around every call, with no limit, behind a semaphore, or behind a
 *  priority queue. Source: docs/requirements.md, R2 and R3: five retries, full jitter over base
 *  1 s and cap 32 s; a retry-after is waited for, with a buffer of 500 ms. No deadlines, no tenants, no
 *  budget: what callers of today's libraries have. Or an SDK with its own retries, given up at the deadline. */
import { verdicts, type Verdict } from '#contracts/verdict'
import type { Millis } from '#contracts/units'
import { seeded, type Throw } from './chance.ts'
import { noFacts, type SchedulingPolicy, type Wire } from './policy.ts'
import { verdictOf } from './provider-model.ts'
import { SDK } from './sdk-caller.ts'
import type { How, SimRequest } from './sim-request.ts'
import type { VirtualClock } from './virtual-clock.ts'

const BACKOFF = { base: 1_000, cap: 32_000, buffer: 500 }

/** How a caller tries again. */
export interface Caller {
  retries: number
  /** Whole milliseconds. */
  wait(of: { retries: number; toldMs: Millis | null; dice: Throw }): Millis
  /** Gives a call up when its time is over. */
  deadlines: boolean
  /** Keeps its slot while it waits to try again, as a call does that tries again by itself. */
  keepsSlot: boolean
}

const GUIDE: Caller = {
  retries: 5,
  wait({ retries, toldMs, dice }) {
    const own = dice() * Math.min(BACKOFF.cap, BACKOFF.base * 2 ** retries)
    return toldMs === null ? own : Math.max(toldMs, own) + BACKOFF.buffer
  },
  deadlines: false,
  keepsSlot: false,
}
export const SDK_ALONE: Caller = { ...SDK, deadlines: true, keepsSlot: true }
const GIVEN_UP: Verdict = { ...verdictOf('ended', null), cause: 'cancel' }
/** No byte for so long is given up (docs/requirements.md R5). */
const SILENCE: Millis = 60_000

export interface BaselineOptions {
  clock: VirtualClock
  wire: Wire
  seed: number
  /** At once, over all; Infinity: no limit. */
  slots: number
  /** Smaller goes first; equal ones in order of arrival. Requests of one rank wait in one queue. */
  rank: (request: SimRequest) => number
  /** Absent: those of R2. */
  caller?: Caller
}

export class Baseline implements SchedulingPolicy {
  readonly facts = noFacts()
  /** Calls without an outcome, and attempts that were given up and are being closed. */
  live = 0
  readonly #options: BaselineOptions
  readonly #caller: Caller
  readonly #jitter: Throw
  #inflight = 0
  #draining = false
  /** By rank, lowest first. */
  readonly #queues: Fifo[] = []
  readonly #waiting = new Map<string, number>()

  constructor(options: BaselineOptions) {
    this.#options = options
    this.#caller = options.caller ?? GUIDE
    this.#jitter = seeded(options.seed, 'baseline jitter')
  }

  submit(request: SimRequest): void {
    this.live++
    const call: Call = { request, retries: 0, stop: null, sent: false, keeping: false }
    this.#enqueue(call)
    if (!this.#caller.deadlines || request.deadlineMs === null) return
    this.#options.clock.after(request.deadlineMs, () => this.#giveUp(call))
  }

  #giveUp(call: Call): void {
    if (call.request.answers > 0) return
    const { stop, keeping, sent } = call
    if (sent) this.live++
    this.#over(call, call.request.starts > 0 ? 'failed' : 'refused', 'given_up')
    stop?.()
    if (keeping) this.#release(call)
  }

  #release(call: Call): void {
    call.keeping = false
    this.#inflight--
    this.#fill()
  }

  #over(call: Call, how: How, code: string | null): void {
    this.live--
    call.stop = null
    call.request.ended(how, code)
  }

  /** What waits is refused. */
  drain(): void {
    this.#draining = true
    for (const queue of this.#queues)
      while (queue !== undefined && queue.length > 0) {
        const call = queue.shift()
        this.#count(call.request, -1)
        if (call.request.answers === 0) this.#refuse(call)
      }
  }

  cancel(): void {}
  configure(): void {}

  get tenants(): number {
    return 0
  }

  #refuse(call: Call): void {
    this.#over(call, call.request.starts > 0 ? 'failed' : 'refused', 'draining')
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

  #enqueue(call: Call): void {
    if (this.#draining) return this.#refuse(call)
    const rank = this.#options.rank(call.request)
    const queue = (this.#queues[rank] ??= new Fifo())
    queue.push(call)
    this.#count(call.request, 1)
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
      // Who gave up while it waited takes no slot.
      if (next.request.answers > 0) continue
      this.#inflight++
      this.#start(next)
    }
  }

  #start(call: Call): void {
    const { clock, wire } = this.#options
    let silence = (): void => {}
    call.sent = true
    const attempt = wire.send(call.request, {
      firstByte: () => silence(),
      ended: (verdict) => {
        silence()
        call.sent = false
        if (call.request.answers === 0) this.#ended(call, verdict)
        else this.live--
        if (!call.keeping) this.#release(call)
      },
    })
    call.stop = () => attempt.abort(GIVEN_UP)
    // Only what has not begun to answer hangs; a whole answer is as late as its length.
    if (attempt.plan.verdict.kind === 'hang')
      silence = clock.after(SILENCE, () => attempt.abort(attempt.plan.verdict))
  }

  #ended(call: Call, verdict: Verdict): void {
    if (verdict.kind === 'ok') return this.#over(call, 'completed', null)
    const { retries } = call
    if (retries >= this.#caller.retries || verdicts[verdict.kind].retry === 'never')
      return this.#over(call, 'failed', 'retries_exhausted')
    const wait = this.#caller.wait({ retries, toldMs: verdict.retryAfterMs, dice: this.#jitter })
    call.retries++
    call.keeping = this.#caller.keepsSlot
    call.stop = this.#options.clock.after(Math.round(wait), () => {
      call.stop = null
      if (!call.keeping || this.#draining) return this.#again(call)
      call.keeping = false
      this.#start(call)
    })
  }

  #again(call: Call): void {
    if (call.keeping) this.#release(call)
    this.#enqueue(call)
  }
}

interface Call {
  request: SimRequest
  retries: number
  /** Ends what it is doing, an attempt or a wait; null: it waits in line. */
  stop: (() => void) | null
  /** An attempt is with the provider. */
  sent: boolean
  /** It holds its slot and waits. */
  keeping: boolean
}

/** First in, first out, without moving everybody up. */
class Fifo {
  #items: Call[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  push(item: Call): void {
    this.#items.push(item)
  }

  shift(): Call {
    const item = this.#items[this.#head++]!
    if (this.#head > 1_000 && this.#head > this.#items.length / 2) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }
}
