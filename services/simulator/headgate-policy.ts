/** Headgate itself in virtual time, and its durable jobs where there are any; its process may die, and another takes
 *  its place. The laws are checked from outside at every start, and from inside now and then. */
import type { Config } from '#contracts/config'
import { requestKey } from '#contracts/ids'
import { refusal } from '#contracts/messages'
import type { Seconds } from '#contracts/units'
import { violations } from '#core/invariants'
import type { Loop } from '#scheduler/loop/loop'
import { DurableJobs } from './durable-jobs.ts'
import { film, type Film } from './film.ts'
import { Instance } from './instance.ts'
import type { Restart } from './job.ts'
import type { FleetNews } from '#scheduler/loop/fleet-news'
import type { AttemptCall, AttemptSink, Incoming, Provider, RunningAttempt } from '#ports'
import { noFacts, type Death, type SchedulingPolicy, type Wire } from './policy.ts'
import { Sent } from './sent.ts'
import type { SimRequest } from './sim-request.ts'
import type { Tally } from './tally.ts'
import type { VirtualClock } from './virtual-clock.ts'
import { VirtualMoney } from './virtual-money.ts'

/** Later than any prediction. */
export const NEVER = 3_600_000
/** What a caller makes of a connection that is gone, or that nobody takes. */
export const GONE = refusal('draining', 'nobody is there')

export interface HeadgateOptions {
  config: Config
  seed: number
  clock: VirtualClock
  wire: Wire
  tally: Tally
  /** Hears of broken laws. */
  found: (findings: readonly string[]) => void
  /** Compares predicted waits with real ones. */
  predictions: boolean
  /** Tell Headgate a deadline so late that no prediction refuses anything; callers leave at their own. */
  unpredicted?: boolean
  /** Gets the run as the dashboard would show it; null: nobody looks, and no event is made. */
  film: ((line: object) => void) | null
  /** Durable jobs; null or absent: there are none. `until`: nothing more is taken from the store from then on; null:
   *  every one is followed to its end. */
  jobs?: { until: Seconds | null } | null
  /** When the process dies, and for how long nobody is there. */
  restarts?: readonly Restart[]
  /** Hears what the rest of a fleet must hear; absent: there is none. */
  tell?: (news: FleetNews) => void
  /** Shared with others of a fleet; absent: its own. */
  money?: VirtualMoney
}

export class HeadgatePolicy implements SchedulingPolicy, Provider {
  readonly facts = noFacts()
  readonly #film: Film | null
  readonly #options: HeadgateOptions
  readonly #jobs: DurableJobs | null
  readonly #live = new Map<string, SimRequest>()
  readonly #running = new Set<Sent>()
  readonly #limits = new Map<string, number>()
  readonly #gates = new Map<string, string>()
  readonly #money: VirtualMoney
  #config: Config
  #instance: Instance
  /** The death after which nobody is there; null: somebody is. */
  #down: Death | null = null

  constructor(options: HeadgateOptions) {
    this.#options = options
    this.#config = options.config
    const { clock, config, film: write, jobs = null } = options
    this.#jobs = jobs === null ? null : new DurableJobs(options)
    this.facts.jobs = this.#jobs?.facts ?? null
    this.#money = options.money ?? new VirtualMoney({ clock, config: () => this.#config })
    this.facts.spent = this.#money.spent
    this.#instance = this.#begun()
    this.#film = write === null ? null : film({ loop: () => this.loop, config, clock, write })
    for (const { atS, forS } of options.restarts ?? [])
      clock.after(Math.round(atS * 1_000), () => this.#die(forS))
    const until = jobs?.until ?? null
    if (until !== null) clock.after(until * 1_000, () => this.#jobs?.close())
  }

  get loop(): Loop {
    return this.#instance.loop
  }

  get live(): number {
    const live = this.#down === null ? this.loop.liveCount : 0
    // What a process left running is closed a little later.
    return Math.max(live, this.#running.size, this.#jobs?.live ?? 0)
  }

  settled(): Promise<void> | null {
    return this.#jobs?.settled() ?? null
  }

  submit(request: SimRequest): void {
    if (request.durable) return this.#store(request)
    if (this.#down !== null) return this.#turnAway(request, this.#down)
    if (this.#options.unpredicted === true) this.#letIn(request)
    else this.ask(request, request)
  }

  /** The same in other words: with less time, or answered elsewhere. */
  ask(request: SimRequest, words: Incoming): void {
    this.#live.set(request.id, request)
    this.loop.request(words)
    if (request.answers > 0) this.#live.delete(request.id)
  }

  #store(request: SimRequest): void {
    if (this.#jobs === null) throw new Error(`${request.id}: a durable job where there are none`)
    this.#live.set(request.id, request)
    this.#jobs.submit(request)
  }

  #letIn(request: SimRequest): void {
    const { tenant, lane, id, model, stream, maxTokens, prefix, body } = request
    const { degrade, headers, reply } = request
    const asked = { tenant, lane, id, model, stream, maxTokens, prefix, body, degrade, headers }
    this.ask(request, { ...asked, reply, deadlineMs: NEVER })
    if (request.deadlineMs === null) return
    this.#options.clock.after(request.deadlineMs, () => {
      if (request.answers === 0) this.withdraw(request)
    })
  }

  drain(): void {
    void this.loop.drain()
  }

  cancel(everyNth: number): void {
    let n = 0
    for (const { tenant, id, answers } of [...this.#live.values()])
      if (answers === 0 && ++n % everyNth === 0) this.loop.cancel(tenant, id)
  }

  /** Its caller is gone. */
  withdraw({ tenant, id }: SimRequest): void {
    this.loop.cancel(tenant, id)
  }

  configure(config: Config): void {
    this.#config = config
    this.loop.configure(config)
  }

  // ---- a process dies, and another comes ----

  #begun(): Instance {
    const { seed, clock, film: write, found, tell } = this.#options
    return new Instance({
      ...{ config: this.#config, seed, clock, provider: this, jobs: this.#jobs },
      money: this.#money,
      number: this.facts.deaths.length,
      recorder: write === null ? null : { record: (event) => this.#film?.record(event) },
      onBug: (bug) => found([`bug: ${bug instanceof Error ? bug.stack : String(bug)}`]),
      tell: tell ?? (() => {}),
    })
  }

  /** Connections break on both sides: whoever waits has lost its answer, and the provider stops. */
  #die(forS: Seconds): void {
    if (this.#down !== null) return
    const death = this.kill(forS)
    for (const request of this.#live.values()) {
      if (request.durable) continue
      this.#live.delete(request.id)
      if (request.answers === 0 && request.asksAgain?.(GONE) !== true) {
        death.lost++
        request.ended('failed', 'connection_lost')
      }
    }
    this.#options.clock.after(Math.round(forS * 1_000), () => this.#return())
  }

  /** As by SIGKILL: nothing runs here any more, and the provider stops. What becomes of callers is not told here. */
  kill(forS: Seconds): Death {
    const { clock } = this.#options
    const death: Death = {
      ...{ at: clock.instant / 1_000, forS },
      ...{ lost: 0, turnedAway: 0, cut: 0, thrownAway: 0 },
    }
    this.facts.deaths.push(death)
    this.#down = death
    this.#instance.die()
    this.#jobs?.gone()
    for (const sent of this.#running) {
      if (!sent.cut()) continue
      death.thrownAway += (clock.instant - sent.startedAt) / 1_000
      if (sent.request.durable) death.cut++
    }
    return death
  }

  #return(): void {
    this.#down = null
    this.#limits.clear()
    this.#gates.clear()
    this.#instance = this.#begun()
  }

  #turnAway(request: SimRequest, death: Death): void {
    if (request.asksAgain?.(GONE) === true) return
    death.turnedAway++
    request.ended('failed', 'nobody_there')
  }

  get tenants(): number {
    return this.loop.state.tenants.size
  }

  limit(): number {
    if (this.#down !== null) return 0
    const { routes, config } = this.loop.state
    if (routes.size === 0) return Math.min(config.routeDefaults.initial, config.maxInflight)
    let limit = 0
    for (const route of routes.values()) {
      limit += route.limit
      this.#watch(route.id, route.limit, route.gate.state)
    }
    return Math.min(limit, config.maxInflight)
  }

  queued(lane: string): number {
    const found = this.loop.state.lanesByName.get(lane)
    if (found !== undefined) return this.#down === null ? found.queued : 0
    const of = this.#options.tally.lanes.get(lane)
    return this.#jobs === null || of === undefined ? 0 : this.#jobs.open - of.inflight
  }

  check(): string[] {
    return this.#down === null ? violations(this.loop.state, []) : []
  }

  atRest(): string[] {
    this.#film?.close()
    const left = this.#down === null ? Object.entries(this.loop.held()) : []
    const held = left.flatMap(([what, n]) => (n === 0 ? [] : [`I9: at rest ${n} ${what} are held`]))
    return [...held, ...this.check(), ...(this.#jobs?.atRest() ?? [])]
  }

  // ---- the provider's port ----

  send(call: AttemptCall, sink: AttemptSink): RunningAttempt {
    const request = this.#live.get(call.id)
    if (request === undefined) throw new Error(`${call.id}: an attempt for a request not live`)
    this.#checkStart(call)
    const sent = new Sent({
      ...{ request, sink, startedAt: this.#options.clock.instant },
      over: (ran) => this.#over(sent, ran),
    })
    this.#running.add(sent)
    sent.attempt = this.#options.wire.send(request, sent)
    const { firstByteInMs, endsInMs } = sent.attempt.plan
    // Else it comes in time anyway, and nobody needs to watch.
    if ((firstByteInMs ?? endsInMs) > call.firstByteMs)
      sent.silence = this.#options.clock.after(call.firstByteMs, () => sent.hung())
    return sent
  }

  /** `ran`: to its end, or it would have. */
  #over(sent: Sent, ran: boolean): void {
    const { request } = sent
    this.#running.delete(sent)
    if (ran && request.durable) this.#jobs?.ran(request)
    if (request.answers > 0) this.#live.delete(request.id)
  }

  aux(): ReturnType<Provider['aux']> {
    throw new Error('no side calls are simulated')
  }

  async close(): Promise<void> {}

  // ---- laws seen from outside ----

  /** I1, I2, I8 and I13 at the instant of a start; the request itself is counted already. */
  #checkStart(call: AttemptCall): void {
    const { state } = this.loop
    const { found, clock, tally, predictions } = this.#options
    // A route that a reload has retired still serves what it holds: it is the request's own that counts.
    const request = state.requests.get(requestKey(call.tenant, call.id))
    if (request === undefined) return found([`${call.id}: started without a request`])
    const { route } = request
    if (route.inflight > route.limit) found([`I1: ${call.id} started above the limit`])
    if (route.ofGeneration > route.gate.cap) found([`I1: ${call.id} started above the breaker`])
    if (state.inflight > state.config.maxInflight) found([`I2: ${call.id} started above G`])
    if (state.now < route.quota.pausedUntil) found([`I13: ${call.id} started in a pause`])
    this.#watch(route.id, route.limit, route.gate.state)
    if (!predictions) return
    if (request.attempts > 1) return
    tally.predictions.push([
      request.predictedMs / 1_000,
      (clock.now() - request.acceptedAt) / 1_000,
    ])
  }

  #watch(route: string, limit: number, gate: string): void {
    const before = this.#limits.get(route) ?? limit
    if (limit !== before || !this.#limits.has(route)) {
      if (limit < before) {
        this.facts.decreases++
        this.facts.lowered.push([this.#options.clock.now() / 1_000, limit])
      }
      this.#limits.set(route, limit)
    }
    if (this.#gates.get(route) === gate) return
    if (gate === 'open') this.facts.trips++
    this.#gates.set(route, gate)
  }
}
