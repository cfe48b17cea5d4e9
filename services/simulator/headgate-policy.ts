/** Headgate itself in virtual time: the same loop, core and machines as the service.
 *  The laws are checked from outside at every start, and from inside now and then. */
import type { Config } from '#contracts/config'
import { requestKey } from '#contracts/ids'
import type { AbortWhy, Verdict } from '#contracts/verdict'
import { seededDice } from '#core/estimators/dice'
import { violations } from '#core/invariants'
import { Loop } from '#scheduler/loop/loop'
import { film, type Film } from './film.ts'
import type { AttemptCall, AttemptSink, Provider, RunningAttempt } from '#ports'
import type { Attempt, PolicyFacts, SchedulingPolicy, Wire, WireEvents } from './policy.ts'
import { verdictOf } from './provider-model.ts'
import type { SimRequest } from './sim-request.ts'
import type { Tally } from './tally.ts'
import type { VirtualClock } from './virtual-clock.ts'

const EVENT = new TextEncoder().encode('{"type":"message_start"}')
/** Later than any prediction. */
const NEVER = 3_600_000
const UPSTREAM = { name: 'virtual', baseUrl: 'http://virtual', apiKey: null, version: '2023-06-01' }

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
}

export class HeadgatePolicy implements SchedulingPolicy, Provider {
  readonly facts: PolicyFacts = { decreases: 0, trips: 0, lowered: [] }
  readonly loop: Loop
  readonly #film: Film | null
  readonly #options: HeadgateOptions
  readonly #live = new Map<string, SimRequest>()
  readonly #limits = new Map<string, number>()
  readonly #gates = new Map<string, string>()

  constructor(options: HeadgateOptions) {
    this.#options = options
    const { clock, config, film: write } = options
    this.loop = new Loop({
      config: options.config,
      clock: options.clock,
      dice: seededDice(options.seed),
      provider: this,
      recorder: write === null ? null : { record: (event) => this.#film?.record(event) },
      upstream: () => UPSTREAM,
      onBug: (bug) => options.found([`bug: ${bug instanceof Error ? bug.stack : String(bug)}`]),
    })
    this.#film = write === null ? null : film({ loop: this.loop, config, clock, write })
  }

  get live(): number {
    return this.loop.liveCount
  }

  submit(request: SimRequest): void {
    this.#live.set(request.id, request)
    if (this.#options.unpredicted === true) this.#letIn(request)
    else this.loop.request(request)
    if (request.answers > 0) this.#live.delete(request.id)
  }

  #letIn(request: SimRequest): void {
    const { tenant, lane, id, model, stream, maxTokens, body, degrade, headers, reply } = request
    const asked = { tenant, lane, id, model, stream, maxTokens, body, degrade, headers, reply }
    this.loop.request({ ...asked, deadlineMs: NEVER })
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
    this.loop.configure(config)
  }

  get tenants(): number {
    return this.loop.state.tenants.size
  }

  limit(): number {
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
    return this.loop.state.lanesByName.get(lane)?.queued ?? 0
  }

  check(): string[] {
    return violations(this.loop.state, [])
  }

  atRest(): string[] {
    this.#film?.close()
    const left = Object.entries(this.loop.held()).filter(([, n]) => n !== 0)
    const held = left.map(([what, n]) => `I9: at rest ${n} ${what} are held`)
    return [...held, ...this.check()]
  }

  // ---- the provider's port ----

  send(call: AttemptCall, sink: AttemptSink): RunningAttempt {
    const request = this.#live.get(call.id)
    if (request === undefined) throw new Error(`${call.id}: an attempt for a request not live`)
    this.#checkStart(call)
    const sent = new Sent(request, sink, this.#live)
    sent.attempt = this.#options.wire.send(request, sent)
    const { firstByteInMs, endsInMs } = sent.attempt.plan
    // Else it comes in time anyway, and nobody needs to watch.
    if ((firstByteInMs ?? endsInMs) > call.firstByteMs)
      sent.silence = this.#options.clock.after(call.firstByteMs, () => sent.hung())
    return sent
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

/** An attempt between the loop, which may end it, and the provider, which tells of it. */
class Sent implements WireEvents, RunningAttempt {
  attempt: Attempt | null = null
  /** Takes the watch over its first byte back. */
  silence: () => void = () => {}
  readonly #request: SimRequest
  readonly #sink: AttemptSink
  readonly #live: Map<string, SimRequest>

  constructor(request: SimRequest, sink: AttemptSink, live: Map<string, SimRequest>) {
    this.#request = request
    this.#sink = sink
    this.#live = live
  }

  firstByte(): void {
    this.#sink.firstByte()
    if (this.#request.stream) this.#sink.event(EVENT)
  }

  ended(verdict: Verdict): void {
    this.silence()
    this.#sink.ended(verdict)
    if (this.#request.answers > 0) this.#live.delete(this.#request.id)
  }

  abort(why: AbortWhy): void {
    this.attempt?.abort(endedBy(why))
  }

  /** No byte came within the time that the scheduler gives it. */
  hung(): void {
    this.attempt?.abort(HUNG)
  }
}

const HUNG: Verdict = { ...verdictOf('hang', null), cause: 'first_byte', mayHaveRun: true }

/** One verdict per way of ending it: nobody changes them. */
const ended = new Map<AbortWhy, ReturnType<typeof verdictOf>>()
function endedBy(why: AbortWhy): ReturnType<typeof verdictOf> {
  let verdict = ended.get(why)
  if (verdict === undefined) {
    verdict = { ...verdictOf('ended', null), cause: why, mayHaveRun: true }
    ended.set(why, verdict)
  }
  return verdict
}
