/** The one writer: takes inputs, reads the clock once, asks the machines and the core, performs the
 *  effects in order. Nothing here decides; every request gets exactly one answer, here.
 *
 *  Never re-entrant: what arrives while a step is performed waits in line. One timer serves all due
 *  times. Time and chance come from ports, so any run can be replayed. */
import type { Config } from '#contracts/config'
import type { RequestsPage } from '#contracts/dashboard'
import { requestKey } from '#contracts/ids'
import type { CancelAnswer, Refusal, StatusAnswer } from '#contracts/messages'
import type { RequestState } from '#contracts/outcome'
import { giveBack } from '#core/laws/accounts'
import { refusedAlways } from '#core/laws/admission'
import type { Allowance } from '#core/model/account'
import type { Input } from '#core/model/inputs'
import { emptyState } from '#core/model/make'
import type { LimitWord, Share } from '#core/model/share'
import type { State } from '#core/model/state'
import { step } from '#core/step'
import { compile } from '#machines/compile'
import { lifecycleMachine, type LifecycleEvent } from '#machines/request-lifecycle'
import type { Incoming, Millis, Scheduler } from '#ports'
import { refusalOf } from './accounting.ts'
import { Answers } from './answers.ts'
import { arrived } from './arrival.ts'
import { Attempts } from './attempts.ts'
import { Drain } from './drain.ts'
import { Effects } from './effects.ts'
import { Entrance } from './entrance.ts'
import { inputOf, type FleetNews } from './fleet-news.ts'
import { KeptAnswers } from './kept-answers.ts'
import { Ladder } from './ladder.ts'
import {
  briefStatusOf,
  countsByState,
  requestsOf,
  statusOf,
  type LiveRequest,
  type RequestsAsked,
} from './live.ts'
import type { LoopOptions } from './loop-options.ts'
import { RequestEvents } from './request-events.ts'
import { RouteControllers } from './route-controllers.ts'
import { SettledIds } from './settled-ids.ts'
import { ShownRequests } from './shown-requests.ts'
import type { Spine } from './spine.ts'
import { Timer, type TimerHeap } from './timer-heap.ts'

export const TICK: Millis = 1_000
/** A gap between ticks that means the clock jumped or the process stood still. */
export const JUMP: Millis = 5_000

const lifecycle = compile(lifecycleMachine)

export class Loop implements Scheduler {
  readonly state: State
  readonly #options: LoopOptions
  readonly #entrance: Entrance
  readonly #heap: TimerHeap
  readonly #live = new Map<string, LiveRequest>()
  readonly #settled = new SettledIds()
  readonly #routes: RouteControllers
  readonly #events: RequestEvents
  readonly #answers: Answers
  readonly #kept: KeptAnswers
  readonly #ladder: Ladder
  readonly #attempts: Attempts
  readonly #effects: Effects
  readonly #drain: Drain
  readonly #shown: ShownRequests | null
  readonly #tickTimer = new Timer(() => this.#tick())
  /** When something last happened here. */
  #seenAt: Millis
  #lastTick: Millis
  #wallOffset: Millis
  #broken = false

  constructor(options: LoopOptions) {
    this.#options = options
    const now = options.clock.now()
    this.#entrance = new Entrance({
      ...{ clock: options.clock, run: options.run, onBug: options.onBug },
      after: () => this.#drain.look(this.#live.size),
    })
    this.#heap = this.#entrance.heap
    this.state = emptyState(options.config, now)
    this.#routes = new RouteControllers({
      heap: this.#heap,
      now: () => this.#now(),
      wall: () => this.#wall(),
      random: () => options.dice.next(),
      config: () => this.state.config,
      record: (event) => options.recorder?.record(event),
      step: (input) => this.#step(input),
      inspection: options.inspection ?? null,
      tell: (news) => options.tell?.(news),
    })
    const spine = this.#spine()
    this.#drain = new Drain(spine)
    const { recorder, provider, upstream } = options
    this.#events = new RequestEvents({
      ...{ recorder, wall: spine.wall },
      prices: () => this.state.config.prices,
    })
    this.#answers = new Answers({ events: this.#events, fault: spine.fault })
    this.#kept = new KeptAnswers(options.cache ?? null)
    const parts = { spine, answers: this.#answers, kept: this.#kept }
    const deferrals = options.deferrals ?? (() => null)
    this.#ladder = new Ladder({ ...parts, deferrals })
    this.#attempts = new Attempts({
      ...parts,
      ...{ provider, upstream },
      ...{ routes: this.#routes, events: this.#events },
    })
    const { allowances, meter, tell } = options
    this.#effects = new Effects({
      ...{ ...parts, live: this.#live, events: this.#events, routes: this.#routes },
      ...{ attempts: this.#attempts, ladder: this.#ladder },
      ...{ allowances, meter, tell },
    })
    this.#shown = options.inspection == null ? null : new ShownRequests(options.inspection)
    this.#lastTick = now
    this.#seenAt = now
    this.#wallOffset = options.clock.wall() - now
    this.#heap.set(this.#tickTimer, now + TICK)
    this.#entrance.arm()
  }

  #spine(): Spine {
    return {
      state: this.state,
      heap: this.#heap,
      now: () => this.#now(),
      wall: () => this.#wall(),
      enter: (act) => this.#entrance.enter(act),
      step: (input) => this.#step(input),
      move: (live, type, at) => this.#move(live, type, at),
      end: (live, now) => this.#end(live, now),
      fault: (error) => (this.#options.onFault ?? this.#options.onBug)(error),
    }
  }

  // ---- what doors ask ----

  request(incoming: Incoming): void {
    if (this.#broken) return this.#answers.turnAway(incoming)
    const key = requestKey(incoming.tenant, incoming.id)
    this.#entrance.enter(() => {
      if (this.#live.has(key)) return this.#answers.refuseDuplicate(incoming)
      const now = this.#now()
      const live = arrived(incoming, {
        ...{ key, now, state: this.state },
        arrivedWall: now + this.#wallOffset,
        cell: lifecycle.start({ at: now }),
        kept: this.#kept.begin(incoming),
        wake: (one) => this.#wake(one),
      })
      this.#live.set(key, live)
      this.#shown?.began(live, lifecycle, now)
      this.#step({ type: 'request', request: live })
    })
  }

  malformed(of: Parameters<Scheduler['malformed']>[0]): void {
    this.#entrance.enter(() => this.#answers.refuseEarly(of, of.refusal, null))
  }

  dropped(of: Parameters<Scheduler['dropped']>[0]): void {
    this.#events.dropped(of)
  }

  cancel(tenant: string, id: string): CancelAnswer | null {
    const key = requestKey(tenant, id)
    const live = this.#live.get(key)
    if (live === undefined)
      return this.#recall(key) === null ? null : { cancelled: false, reason: 'already_settled' }
    if (live.answered) return { cancelled: false, reason: 'already_settled' }
    const state = live.cell.state
    this.#entrance.enter(() => this.#withdraw(live))
    return { cancelled: true, state }
  }

  gone(tenant: string, id: string): void {
    const key = requestKey(tenant, id)
    const live = this.#live.get(key)
    if (live !== undefined) this.#entrance.enter(() => this.#withdraw(live))
  }

  status(tenant: string, id: string, brief = false): StatusAnswer | null {
    const key = requestKey(tenant, id)
    const live = this.#live.get(key)
    if (live === undefined) return this.#recall(key)
    return brief ? briefStatusOf(live) : statusOf(live, this.state, this.#now())
  }

  check(of: Parameters<Scheduler['check']>[0]): Refusal | null {
    const refused = refusedAlways(this.state, of)
    return refused === null ? null : refusalOf(refused)
  }

  // ---- what operators ask ----

  configure(config: Config): void {
    this.#entrance.enter(() => {
      this.#step({ type: 'config', config })
      this.#step({ type: 'tick', elapsedMs: 0, controls: this.#routes.configure(config) })
    })
  }

  /** What we may use of a fleet's limits, from now on. */
  share(share: Share): void {
    this.#entrance.enter(() => {
      this.#step({ type: 'share', share, controls: this.#routes.divide(share) })
    })
  }

  /** What the store says of a budget. */
  grant(of: Omit<Extract<Input, { type: 'allowance' }>, 'type'>): void {
    this.#entrance.enter(() => this.#step({ type: 'allowance', ...of }))
  }

  /** What is in hand of a budget goes back to the store; null: nothing is. */
  takeBack(allowance: Allowance): { window: string; left: number } | null {
    return giveBack(allowance)
  }

  /** What another instance met. */
  hear(news: FleetNews): void {
    this.#entrance.enter(() => {
      const input = inputOf(news, this.#now(), (route) => this.#routes.hear(route))
      if (input !== null) this.#step(input)
    })
  }

  /** What this instance knows of the routes' limits. */
  words(): Map<string, LimitWord> {
    return this.#routes.words()
  }

  pause(lane: string, paused: boolean): void {
    this.#entrance.enter(() => this.#step({ type: 'lane', lane, paused }))
  }

  /** A blocked upstream is tested by the next attempt. False: it is not blocked, or not known. */
  testUpstream(upstream: string): boolean {
    const blocked = this.state.upstreams.get(upstream)?.testing === true
    if (blocked) this.#entrance.enter(() => this.#step({ type: 'test-upstream', upstream }))
    return blocked
  }

  /** Stops taking and starting; resolves when every slot is back. Running requests have `drain_ms`. */
  drain(): Promise<void> {
    return this.#drain.begin()
  }

  /** Ends what still runs, now. */
  hurry(): void {
    this.#drain.hurry()
  }

  /** After a broken law nothing more is decided; whoever comes now is turned away. */
  halt(): void {
    this.#broken = true
    this.stop()
  }

  /** The last word to everybody who waits, after a broken law. */
  abandon(): void {
    this.halt()
    for (const live of this.#live.values()) this.#answers.abandon(live, this.#now())
  }

  /** No timer is left behind. */
  stop(): void {
    this.#entrance.close()
    this.#routes.stop()
  }

  // ---- what observers read ----

  get liveCount(): number {
    return this.#live.size
  }

  requestsByState(): Record<RequestState, number> {
    return countsByState(this.#live.values())
  }

  limitState(route: string): string {
    return this.#routes.limitState(route)
  }

  /** Where the machines of every open route stand, by route. */
  machines(): ReturnType<RouteControllers['views']> {
    return this.#routes.views()
  }

  /** How often each edge of the lifecycle was taken, by all loops of this process, in the chart's order. */
  lifecycleCounts(): readonly number[] {
    return [...lifecycle.taken.values()]
  }

  /** Live requests that fit, oldest first. */
  requests(of: RequestsAsked): RequestsPage {
    const at = { core: this.state, now: this.#now(), offset: this.#wallOffset }
    return requestsOf(this.#live.values(), of, at)
  }

  /** Zero at rest: what the conservation law watches. The tick and the machines' own timers are not
   *  held by requests and not counted. */
  held(): { requests: number; slots: number; probes: number; timers: number; replies: number } {
    let probes = 0
    for (const route of this.state.routes.values())
      if (route.gate.state === 'half_open') probes += route.ofGeneration
    let replies = 0
    for (const live of this.#live.values()) if (!live.answered) replies++
    let others = this.#routes.timers
    if (this.#tickTimer.pending) others++
    others += this.#drain.timers
    const timers = this.#heap.size - others
    const { requests, inflight } = this.state
    return { requests: requests.size, slots: inflight, probes, timers, replies }
  }

  // ---- the step ----

  #step(input: Input): void {
    const now = this.#now()
    if (now - this.#seenAt > JUMP) this.#attempts.jumpedAt = now
    this.#seenAt = now
    const effects = step(this.state, input, now, this.#options.dice)
    for (const effect of effects) this.#effects.perform(effect, now)
  }

  /** Nobody wants it any more. */
  #withdraw(live: LiveRequest): void {
    if (live.answered || this.#ladder.withdraw(live)) return
    this.#step({ type: 'cancel', key: live.key })
  }

  #wake(live: LiveRequest): void {
    if (!this.#ladder.wake(live)) this.#step({ type: 'wake', key: live.key })
  }

  /** The request holds nothing any more. */
  #end(live: LiveRequest, now: Millis): void {
    this.#move(live, 'request.settled', now)
    this.#heap.clear(live.timer)
    if (live.closing !== null) this.#heap.clear(live.closing)
    this.#live.delete(live.key)
    this.#settled.remember(live, now, this.state.config.file)
  }

  // ---- time ----

  #tick(): void {
    const { clock } = this.#options
    const now = this.#now()
    const elapsedMs = now - this.#lastTick
    this.#lastTick = now
    this.#wallOffset = clock.wall() - now
    const jumped = elapsedMs > JUMP
    const controls = this.#routes.tick({ at: now, jumped })
    this.#step({ type: 'tick', elapsedMs: jumped ? 0 : elapsedMs, controls })
    this.#heap.set(this.#tickTimer, now + TICK)
  }

  #now(): Millis {
    return this.#options.clock.now()
  }

  #wall(): Millis {
    return this.#now() + this.#wallOffset
  }

  // ---- small servants ----

  #recall(key: string): StatusAnswer | null {
    return this.#settled.recall(key, this.#now(), this.state.config.file)
  }

  /** Moves the lifecycle; a move that the chart forbids is a bug. */
  #move(live: LiveRequest, type: LifecycleEvent['type'], at: Millis): void {
    const from = live.cell.state
    if (!lifecycle.send(live.cell, { type, at }))
      throw new Error(`${live.key}: ${type} is no move from ${from}`)
  }
}
