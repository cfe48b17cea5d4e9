/** The one writer: takes inputs, reads the clock once, asks the machines and the core, performs the
 *  effects in order. Nothing here decides; every request gets exactly one answer, here.
 *
 *  Never re-entrant: what arrives while a step is performed waits in line. One timer serves all due
 *  times. Time and chance come from ports, so any run can be replayed. */
import type { Config } from '#contracts/config'
import type { RequestsPage } from '#contracts/dashboard'
import { traceContext } from '#contracts/events'
import { requestKey } from '#contracts/ids'
import type { CancelAnswer, Refusal, StatusAnswer } from '#contracts/messages'
import type { RequestState } from '#contracts/outcome'
import { giveBack } from '#core/laws/accounts'
import { refusedAlways } from '#core/laws/admission'
import type { Allowance } from '#core/model/account'
import { TOP } from '#core/laws/degradation'
import type { Effect, Ending, Refused } from '#core/model/effects'
import type { Carried, Input } from '#core/model/inputs'
import { emptyState } from '#core/model/make'
import type { Request, State } from '#core/model/state'
import { step } from '#core/step'
import { compile } from '#machines/compile'
import type { Inspection } from '#machines/inspection'
import { lifecycleMachine, type LifecycleEvent } from '#machines/request-lifecycle'
import type {
  BudgetKeeper,
  AttemptCall,
  Cache,
  Clock,
  Deferrals,
  Dice,
  Incoming,
  Meter,
  Millis,
  Provider,
  Recorder,
  Scheduler,
} from '#ports'
import type { LimitWord, Share } from '#core/model/share'
import { refusalOf } from './accounting.ts'
import { Answers } from './answers.ts'
import { Attempts } from './attempts.ts'
import { inputOf, newsOf, type FleetNews } from './fleet-news.ts'
import { KeptAnswers } from './kept-answers.ts'
import { Ladder } from './ladder.ts'
import {
  briefStatusOf,
  requestsOf,
  statusOf,
  weightOf,
  type LiveRequest,
  type RequestsAsked,
} from './live.ts'
import { RequestEvents } from './request-events.ts'
import { RouteControllers } from './route-controllers.ts'
import { SettledIds } from './settled-ids.ts'
import { ShownRequests } from './shown-requests.ts'
import type { Spine } from './spine.ts'
import { Timer, TimerHeap } from './timer-heap.ts'
import { usedOf } from './used.ts'
import { attemptOf } from '#core/model/place'

export const TICK: Millis = 1_000
/** A gap between ticks that means the clock jumped or the process stood still. */
export const JUMP: Millis = 5_000
/** Between two slices of a drain what was said has time to leave. */
export const DRAIN_SLICE_MS: Millis = 5
export interface LoopOptions {
  config: Config
  clock: Clock
  dice: Dice
  provider: Provider
  /** Null: nobody listens, and no event is built. */
  recorder: Recorder | null
  /** Where an upstream answers and with which key. */
  upstream: (name: string) => AttemptCall['upstream']
  /** Earlier answers; absent: none are kept. */
  cache?: Cache | null
  /** What becomes of a request as a job; absent, or null: there are no jobs. */
  deferrals?: () => Deferrals | null
  /** Who watches the machines; absent: nobody. */
  inspection?: Inspection | null
  /** A broken law of the core (an invariant, a forbidden move): the process should say so and end. */
  onBug: (error: unknown) => void
  /** What a port threw: one request's trouble, and nobody else's. Absent: `onBug` hears it. */
  onFault?: (error: unknown) => void
  /** Where more of a tenant's budget comes from; absent: from nowhere, and tenants with budgets wait. */
  allowances?: BudgetKeeper
  /** Hears what each attempt used, as it ends; absent: nobody counts it. */
  meter?: Meter
  /** What the rest of a fleet must hear; absent: there is none. */
  tell?: (news: FleetNews) => void
  /** Runs each step; absent: as it is. */
  run?: (step: () => void) => void
}

const ENTRY_LANE_MS: Millis = 300_000

/** A job that comes after a restart, or after a long time in the store, keeps its age and its attempts. */
function pastOf({ past, lane, deadlineMs }: Incoming, now: Millis, state: State): Carried | null {
  if (past === undefined) return null
  const acceptedAt = now - past.ageMs
  const lasts = deadlineMs ?? state.lanesByName.get(lane)?.config.timeoutMs ?? ENTRY_LANE_MS
  const spent = { preemptions: 0, unexplained: 0, queueMs: 0, upstreamMs: 0, lastVerdict: null }
  return {
    acceptedAt,
    deadline: acceptedAt + lasts,
    laneStamp: null,
    attempts: past.attempts,
    ...spent,
  }
}

const lifecycle = compile(lifecycleMachine)

export class Loop implements Scheduler {
  readonly state: State
  readonly #options: LoopOptions
  readonly #heap = new TimerHeap()
  readonly #live = new Map<string, LiveRequest>()
  readonly #settled = new SettledIds()
  readonly #routes: RouteControllers
  readonly #events: RequestEvents
  readonly #answers: Answers
  readonly #kept: KeptAnswers
  readonly #ladder: Ladder
  readonly #attempts: Attempts
  readonly #shown: ShownRequests | null
  readonly #waiting: (() => void)[] = []
  readonly #tickTimer = new Timer(() => this.#tick())
  readonly #drainTimer = new Timer(() => this.#step({ type: 'drain-over' }))
  readonly #sliceTimer = new Timer(() => this.#drainSlice())
  #stepping = false
  /** When something last happened here. */
  #seenAt: Millis
  #armed: { at: Millis; cancel: () => void } | null = null
  #lastTick: Millis
  #wallOffset: Millis
  #idle: (() => void) | null = null
  #stopped = false
  #broken = false

  constructor(options: LoopOptions) {
    this.#options = options
    const now = options.clock.now()
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
    this.#shown = options.inspection == null ? null : new ShownRequests(options.inspection)
    this.#lastTick = now
    this.#seenAt = now
    this.#wallOffset = options.clock.wall() - now
    this.#heap.set(this.#tickTimer, now + TICK)
    this.#arm()
  }

  #spine(): Spine {
    return {
      state: this.state,
      heap: this.#heap,
      now: () => this.#now(),
      wall: () => this.#wall(),
      enter: (act) => this.#enter(act),
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
    this.#enter(() => {
      if (this.#live.has(key)) return this.#answers.refuseDuplicate(incoming)
      const now = this.#now()
      const live: LiveRequest = {
        incoming,
        key,
        id: incoming.id,
        tenant: incoming.tenant,
        lane: incoming.lane,
        model: incoming.model,
        stream: incoming.stream,
        maxTokens: incoming.maxTokens,
        ...weightOf(incoming),
        deadlineMs: incoming.deadlineMs,
        maxAttempts: incoming.maxAttempts ?? null,
        cell: lifecycle.start({ at: now }),
        timer: new Timer(() => this.#wake(live)),
        arrivedWall: now + this.#wallOffset,
        trace: traceContext(incoming.headers),
        request: null,
        running: null,
        closing: null,
        answered: false,
        ttftMs: 0,
        carried: pastOf(incoming, now, this.state),
        rung: TOP,
        refused: null,
        seeks: null,
        kept: this.#kept.begin(incoming),
        route: null,
        paid: 0,
      }
      this.#live.set(key, live)
      this.#shown?.began(live, lifecycle, now)
      this.#step({ type: 'request', request: live })
    })
  }

  malformed(of: Parameters<Scheduler['malformed']>[0]): void {
    this.#enter(() => this.#answers.refuseEarly(of, of.refusal, null))
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
    this.#enter(() => this.#withdraw(live))
    return { cancelled: true, state }
  }

  gone(tenant: string, id: string): void {
    const key = requestKey(tenant, id)
    const live = this.#live.get(key)
    if (live !== undefined) this.#enter(() => this.#withdraw(live))
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
    this.#enter(() => {
      this.#step({ type: 'config', config })
      this.#step({ type: 'tick', elapsedMs: 0, controls: this.#routes.configure(config) })
    })
  }

  /** What we may use of a fleet's limits, from now on. */
  share(share: Share): void {
    this.#enter(() => {
      this.#step({ type: 'share', share, controls: this.#routes.divide(share.portion) })
    })
  }

  /** What the store says of a budget. */
  grant(of: Omit<Extract<Input, { type: 'allowance' }>, 'type'>): void {
    this.#enter(() => this.#step({ type: 'allowance', ...of }))
  }

  /** What is in hand of a budget goes back to the store; null: nothing is. */
  takeBack(allowance: Allowance): { window: string; left: number } | null {
    return giveBack(allowance)
  }

  /** What another instance met. */
  hear(news: FleetNews): void {
    this.#enter(() => {
      const input = inputOf(news, this.#now(), (route) => this.#routes.hear(route))
      if (input !== null) this.#step(input)
    })
  }

  /** What this instance knows of the routes' limits. */
  words(): Map<string, LimitWord> {
    return this.#routes.words()
  }

  pause(lane: string, paused: boolean): void {
    this.#enter(() => this.#step({ type: 'lane', lane, paused }))
  }

  /** A blocked upstream is tested by the next attempt. False: it is not blocked, or not known. */
  testUpstream(upstream: string): boolean {
    const blocked = this.state.upstreams.get(upstream)?.testing === true
    if (blocked) this.#enter(() => this.#step({ type: 'test-upstream', upstream }))
    return blocked
  }

  /** Stops taking and starting; resolves when every slot is back. Running requests have `drain_ms`. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.#idle = resolve
      this.#enter(() => {
        this.#drainSlice()
        this.#heap.set(this.#drainTimer, this.#now() + this.state.config.file.drain_ms)
      })
    })
  }

  /** A slice at a time, so that thousands of last words do not have to be in memory at once. */
  #drainSlice(): void {
    this.#step({ type: 'drain' })
    const more = [...this.state.requests.values()].some((one) => attemptOf(one) === null)
    if (more) this.#heap.set(this.#sliceTimer, this.#now() + DRAIN_SLICE_MS)
  }

  /** Ends what still runs, now. */
  hurry(): void {
    this.#enter(() => this.#step({ type: 'drain-over' }))
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
    this.#stopped = true
    this.#armed?.cancel()
    this.#armed = null
    this.#routes.stop()
  }

  // ---- what observers read ----

  get liveCount(): number {
    return this.#live.size
  }

  requestsByState(): Record<RequestState, number> {
    const counts = { queued: 0, running: 0, forwarding: 0, backoff: 0, aborting: 0, settled: 0 }
    for (const live of this.#live.values()) counts[live.cell.state]++
    return counts
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

  /** LiveRequest requests that fit, oldest first. */
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
    for (const timer of [this.#tickTimer, this.#drainTimer, this.#sliceTimer])
      if (timer.pending) others++
    const timers = this.#heap.size - others
    const { requests, inflight } = this.state
    return { requests: requests.size, slots: inflight, probes, timers, replies }
  }

  // ---- the step ----

  /** Runs now, or after the step that is being performed. */
  #enter(act: () => void): void {
    if (this.#stopped) return
    if (this.#stepping) {
      this.#waiting.push(act)
      return
    }
    this.#stepping = true
    try {
      const { run } = this.#options
      if (run === undefined) act()
      else run(act)
      if (this.#waiting.length > 0) this.#catchUp()
    } catch (bug) {
      this.#options.onBug(bug)
    } finally {
      this.#stepping = false
      this.#arm()
    }
    if (this.#idle !== null && this.#live.size === 0) {
      const idle = this.#idle
      this.#idle = null
      idle()
    }
  }

  /** What came meanwhile, in order, and what comes while that is done. */
  #catchUp(): void {
    const waiting = this.#waiting
    let done = 0
    try {
      while (done < waiting.length) waiting[done++]?.()
    } finally {
      waiting.splice(0, done)
    }
  }

  #step(input: Input): void {
    const now = this.#now()
    if (now - this.#seenAt > JUMP) this.#attempts.jumpedAt = now
    this.#seenAt = now
    const effects = step(this.state, input, now, this.#options.dice)
    for (const effect of effects) this.#perform(effect, now)
  }

  #perform(effect: Effect, now: Millis): void {
    switch (effect.type) {
      case 'queued':
        return this.#queued(effect.request)
      case 'start-attempt':
        return this.#attempts.start(
          this.#liveOf(effect.request),
          effect.request,
          effect.attempt,
          now,
        )
      case 'forwarding':
        return this.#attempts.forwarding(this.#liveOf(effect.request), effect.request, now)
      case 'attempt-silent':
        return this.#attempts.silent(effect.request, effect.attempt)
      case 'attempt-ended':
        return this.#attemptEnded(effect, now)
      case 'abort-attempt':
        return this.#attempts.abort(this.#liveOf(effect.request), effect, now)
      case 'backoff':
        return this.#backoff(effect, now)
      case 'requeued':
        return this.#requeued(effect.request, effect.why, now)
      case 'settled':
        return this.#settle(this.#liveOf(effect.request), effect.ending, now)
      case 'refused':
        return this.#refused(effect.key, effect.refused, now)
      case 'released':
        return this.#end(this.#liveOf(effect.request), now)
      case 'wake-at':
        return this.#heap.set(this.#liveOf(effect.request).timer, effect.at)
      case 'route-wake-at':
        return this.#routes.wakeAt(effect.route.id, effect.at)
      case 'route-opened':
        return this.#routes.open(effect.route)
      case 'allowance-wanted':
        return this.#options.allowances?.wanted(effect.account, effect.allowance, effect.short)
      case 'route-closed':
        return this.#routes.close(effect.route.id)
      case 'quota-paused':
      case 'upstream-blocked':
        return this.#options.tell?.(newsOf(effect, now))
      case 'alarm':
        return this.#events.alarm({
          name: effect.name,
          route: effect.route,
          detail: effect.detail,
        })
    }
  }

  // ---- effects, in the order of a request's life ----

  #queued(request: Request): void {
    const live = request.asked as LiveRequest
    if (live.request !== null) throw new Error(`${request.key}: accepted twice`)
    live.request = request
    const before = live.route
    live.route = request.route.id
    if (before === null) this.#events.queued(live, request)
    else this.#events.rerouted(live, request)
  }

  #attemptEnded(effect: Extract<Effect, { type: 'attempt-ended' }>, now: Millis): void {
    const live = this.#liveOf(effect.request)
    const used = usedOf(live, effect)
    this.#events.paid(live, used)
    this.#events.attemptEnded(live, effect, now)
    this.#options.meter?.count(used)
  }

  #backoff(effect: Extract<Effect, { type: 'backoff' }>, now: Millis): void {
    const live = this.#liveOf(effect.request)
    this.#move(live, 'attempt.retrying', now)
    this.#events.retrying(live, effect)
  }

  #requeued(request: Request, why: 'backoff' | 'preempted', now: Millis): void {
    const live = this.#liveOf(request)
    this.#move(live, why === 'backoff' ? 'backoff.over' : 'attempt.requeued', now)
    if (why === 'preempted') this.#events.preempted(live, request)
  }

  #settle(live: LiveRequest, ending: Ending, now: Millis): void {
    if (ending.kind === 'refused') return this.#ladder.refused(live, ending, now)
    const { servedBy } = this.#answers.complete(live, ending.verdict, now)
    if (servedBy === 'upstream') this.#kept.store(live, ending.verdict)
    this.#end(live, now)
  }

  #refused(key: string, refused: Refused, now: Millis): void {
    const live = this.#live.get(key)
    if (live === undefined) throw new Error(`${key}: refused but not live`)
    this.#ladder.refused(live, refused, now)
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

  #arm(): void {
    const at = this.#heap.next()
    if (this.#stopped || (this.#armed !== null && this.#armed.at <= at)) return
    this.#armed?.cancel()
    const wait = Math.max(0, at - this.#options.clock.now())
    this.#armed = { at, cancel: this.#options.clock.after(wait, () => this.#due()) }
  }

  #due(): void {
    this.#armed = null
    this.#enter(() => {
      while (this.#heap.fireNext(this.#options.clock.now()));
    })
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

  /** What the loop handed over as asked comes back with every effect. */
  #liveOf(request: Request): LiveRequest {
    const live = request.asked as LiveRequest
    if (live.request !== request)
      throw new Error(`${request.key}: an effect for a request not live`)
    return live
  }
}
