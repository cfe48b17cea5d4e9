/** One run: arrivals, a policy and a provider on one virtual clock, and a tally of what happened. Nothing
 *  here reads the real time, throws dice of its own or waits; equal seeds give equal runs. */
import type { Millis, Seconds } from '#contracts/units'
import type { Verdict } from '#contracts/verdict'
import { Timer } from '#scheduler/loop/timer-heap'
import type { Attempt, SchedulingPolicy, Wire, WireEvents } from './policy.ts'
import { ProviderModel, type Plan, type ProviderSettings } from './provider-model.ts'
import { SimRequest, type How } from './sim-request.ts'
import { Tally } from './tally.ts'
import { TraceHash } from './trace-hash.ts'
import { VirtualClock } from './virtual-clock.ts'
import type { Arrival, Source } from './workload.ts'

/** A connection is closed so long after it was given up. */
const CLOSE: Millis = 20
/** What is not over by then never will be. */
const PATIENCE: Seconds = 2 * 86_400
/** Laws that look at every request are checked this often, less often the more requests there are. */
const CHECK = { every: 10, perRequest: 0.05 }

export interface WorldOptions {
  seed: number
  source: Source
  provider: ProviderSettings
  /** Arrivals and window figures end here; every request is followed to its own end. */
  until: Seconds
  /** Keep a row for each call. */
  calls?: boolean
  policy: (of: { clock: VirtualClock; wire: Wire; tally: Tally }) => SchedulingPolicy
  /** Hears of every end, beside the tally. */
  onEnd?: (request: SimRequest, how: How, code: string | null) => void
  /** Things that happen at an instant: a drain, a jump of the clock. */
  events?: readonly { at: Seconds; act: (world: World) => void }[]
}

export class World implements Wire {
  readonly clock = new VirtualClock()
  readonly tally: Tally
  readonly policy: SchedulingPolicy
  readonly provider: ProviderModel
  readonly findings: string[] = []
  violations = 0
  /** When the last attempt ended. */
  lastEndAt: Millis = 0
  readonly #options: WorldOptions
  readonly #hash = new TraceHash()
  readonly #bodies = new Map<number, Uint8Array>()
  readonly #arrivalTimer = new Timer(() => this.#arrive())
  readonly #secondTimer = new Timer(() => this.#second())
  #next = 0
  /** Callers without an answer; of jobs their policy knows. */
  #open = 0
  #checkAt: Seconds = CHECK.every
  #arrivals: ReturnType<Source['next']>

  constructor(options: WorldOptions) {
    this.#options = options
    this.provider = new ProviderModel(options.provider, options.seed)
    this.tally = new Tally(options.until, options.calls)
    this.policy = options.policy({ clock: this.clock, wire: this, tally: this.tally })
    this.#arrivals = options.source.next()
    if (this.#arrivals !== null) this.clock.set(this.#arrivalTimer, this.#arrivals.at)
    this.clock.set(this.#secondTimer, 1_000)
    for (const { at, act } of options.events ?? [])
      this.clock.set(new Timer(() => act(this)), at * 1_000)
  }

  /** Runs to the end of the last request. */
  run(): this {
    while (this.clock.next(this.#last)) if (this.#isOver()) break
    return this.rest()
  }

  /** The same for a policy in which promises are kept between two instants. */
  async runThrough(): Promise<this> {
    await this.policy.settled?.()
    while (this.clock.next(this.#last)) {
      await this.policy.settled?.()
      if (this.#isOver()) break
    }
    return this.rest()
  }

  get #last(): Millis {
    return (this.#options.until + PATIENCE) * 1_000
  }

  #isOver(): boolean {
    if (this.#arrivals !== null || this.policy.live > 0) return false
    return this.clock.instant >= this.#options.until * 1_000
  }

  /** Runs to an instant. */
  advance(until: Seconds): void {
    while (this.clock.next(until * 1_000));
  }

  /** It is over: everybody has an answer, and nothing is held. */
  rest(): this {
    if (this.policy.live > 0)
      this.found([`I9: ${this.policy.live} requests had no outcome ${PATIENCE} s after the last`])
    else if (this.#open > 0)
      this.found([`I9: ${this.#open} requests had no outcome, and their policy forgot them`])
    this.found(this.policy.atRest())
    if (this.provider.inflight !== 0)
      this.found([`I9: ${this.provider.inflight} attempts are still with the provider`])
    return this
  }

  get hash(): string {
    return this.#hash.text
  }

  get requests(): number {
    return this.#next
  }

  found(findings: readonly string[]): void {
    this.violations += findings.length
    for (const one of findings) if (this.findings.length < 20) this.findings.push(one)
  }

  /** Looks at every law now. */
  check(): void {
    this.found(this.policy.check())
  }

  /** Nothing starts any more; what runs may end. */
  drain(): void {
    this.policy.drain()
  }

  /** An attempt on its way to the provider. */
  send(request: SimRequest, on: WireEvents): Attempt {
    const now = this.clock.instant
    const plan = this.provider.start(request, now)
    this.#hash.add(1, now, request.index)
    this.tally.started(request, now)
    return new Flight(this, request, plan, on)
  }

  landed(request: SimRequest, plan: Plan, verdict: Verdict, startedAt: Millis): void {
    const now = this.clock.instant
    this.provider.end(plan, now)
    this.#hash.add(2, now, request.index)
    this.tally.ended(request, verdict, startedAt, now, plan.stretch)
    this.lastEndAt = now
  }

  #arrive(): void {
    const arrival = this.#arrivals!
    this.#arrivals = this.#options.source.next()
    if (this.#arrivals !== null) this.clock.set(this.#arrivalTimer, this.#arrivals.at)
    this.arrive(arrival)
  }

  /** Somebody asks now, beside those of the source. */
  arrive(arrival: Pick<Arrival, 'asked' | 'work' | 'durable'>): SimRequest {
    const request = new SimRequest({
      index: this.#next++,
      asked: arrival.asked,
      durable: arrival.durable ?? false,
      work: arrival.work,
      body: this.#bodyOf(arrival.work.inputTokens),
      arrivedAt: this.clock.instant,
      onEnd: this.#onEnd,
    })
    if (!request.durable) this.#open++
    this.tally.arrived(request)
    this.policy.submit(request)
    return request
  }

  readonly #onEnd = (request: SimRequest, how: How, code: string | null): void => {
    const now = this.clock.instant
    this.#hash.add(how === 'completed' ? 3 : how === 'failed' ? 4 : 5, now, request.index)
    if (request.answers === 1 && !request.durable) this.#open--
    if (request.answers > 1) this.found([`I9: ${request.id} has ${request.answers} outcomes`])
    this.tally.settled(request, how, code, now)
    this.#options.onEnd?.(request, how, code)
  }

  #second(): void {
    const { clock, policy, provider, tally } = this
    const at = clock.instant / 1_000
    if (at <= this.#options.until) {
      tally.sample({
        at,
        limit: policy.limit(),
        capacity: this.#options.provider.capacity(at),
        queued: (lane) => policy.queued(lane),
        provider,
      })
      clock.set(this.#secondTimer, clock.instant + 1_000)
    }
    if (at < this.#checkAt) return
    this.#checkAt = at + Math.max(CHECK.every, policy.live * CHECK.perRequest)
    this.found(policy.check())
  }

  /** Bodies are as long as their input tokens want, and hold nothing. */
  #bodyOf(inputTokens: number): Uint8Array {
    const bytes = Math.ceil((inputTokens * 3.5) / 256) * 256
    let body = this.#bodies.get(bytes)
    if (body === undefined) this.#bodies.set(bytes, (body = new Uint8Array(bytes)))
    return body
  }
}

/** One attempt between its sending and its end. */
class Flight implements Attempt {
  readonly plan: Plan
  readonly #world: World
  readonly #request: SimRequest
  readonly #on: WireEvents
  readonly #startedAt: Millis
  readonly #timer: Timer
  #verdict: Verdict
  #first: Millis | null
  #aborted = false

  constructor(world: World, request: SimRequest, plan: Plan, on: WireEvents) {
    this.plan = plan
    this.#world = world
    this.#request = request
    this.#on = on
    this.#startedAt = world.clock.instant
    this.#verdict = plan.verdict
    this.#first = plan.firstByteInMs
    this.#timer = new Timer(() => this.#due())
    world.clock.set(this.#timer, this.#startedAt + (this.#first ?? plan.endsInMs))
  }

  abort(verdict: Verdict): void {
    if (this.#aborted) return
    this.#aborted = true
    this.#verdict = verdict
    this.#first = null
    this.#world.clock.set(this.#timer, this.#world.clock.instant + CLOSE)
  }

  #due(): void {
    if (this.#first !== null) {
      this.#first = null
      this.#world.clock.set(this.#timer, this.#startedAt + this.plan.endsInMs)
      this.#on.firstByte?.()
      return
    }
    this.#world.landed(this.#request, this.plan, this.#verdict, this.#startedAt)
    this.#on.ended(this.#verdict)
  }
}
