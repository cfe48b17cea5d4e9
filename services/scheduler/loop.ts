/** The one writer: takes inputs, reads the clock once, asks the machines and the core, performs the
 *  effects in order. Nothing here decides; every request gets exactly one answer, here.
 *
 *  Never re-entrant: what arrives while a step is performed waits in line. One timer serves all due
 *  times. Time and chance come from ports, so any run can be replayed. */
import type { Config } from '#contracts/config'
import type { RequestsPage } from '#contracts/dashboard'
import { traceContext, type TraceContext } from '#contracts/events'
import { requestKey } from '#contracts/ids'
import {
  refusal,
  unattempted,
  type Accounting,
  type CancelAnswer,
  type Refusal,
  type StatusAnswer,
} from '#contracts/messages'
import type { RequestState } from '#contracts/outcome'
import { carriedFrom, chainOf, refuse } from '#core/admission'
import { nextStep, TOP, type Lesser } from '#core/degradation'
import type { Effect, Refused } from '#core/effects'
import type { Input } from '#core/inputs'
import { withSilence } from '#core/slots'
import { emptyState, type Attempt, type Request, type State } from '#core/state'
import { step } from '#core/step'
import { explained } from '#core/token-buckets'
import { compile } from '#machines/compile'
import type { Inspection } from '#machines/inspection'
import { lifecycleMachine, type LifecycleEvent } from '#machines/request-lifecycle'
import { accountingOf, outcomeOf, refusalOf, settledData } from './accounting.ts'
import { about, requestsOf, spentBy, statusOf, type Live, type RequestsAsked } from './live.ts'
import type {
  AbortWhy,
  AttemptCall,
  AttemptSink,
  Cache,
  CachedAnswer,
  Clock,
  Dice,
  HeadgateEvent,
  Incoming,
  Millis,
  Provider,
  Recorder,
  Reply,
  Scheduler,
  Verdict,
} from './ports.ts'
import { RouteDesk } from './route-desk.ts'
import { withModel } from './with-model.ts'
import { SettledIds } from './settled-ids.ts'
import { ShadowRequests, type Shadow } from './shadow-requests.ts'
import { Timer, TimerHeap } from './timer-heap.ts'

const TICK: Millis = 1_000
/** A gap between ticks that means the clock jumped or the process stood still. */
const JUMP: Millis = 5_000
/** A cache that has not answered by then has nothing. */
const CONSULT: Millis = 500
/** A transport that has not confirmed an abort by then is reported. */
const ABORT_ALARM: Millis = 1_000

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
  /** How the controllers run; the service uses actors, the simulator tables. */
  runner: 'actors' | 'tables'
  /** Who watches the machines; absent: nobody. */
  inspection?: Inspection | null
  /** A broken invariant: the process should say so and end. */
  onBug: (error: unknown) => void
}

const lifecycle = compile(lifecycleMachine)

export class Loop implements Scheduler {
  readonly state: State
  readonly #options: LoopOptions
  /** Always called with `?.`: where it is null, the event behind it is never built. */
  readonly #recorder: Recorder | null
  readonly #heap = new TimerHeap()
  readonly #live = new Map<string, Live>()
  readonly #settled = new SettledIds()
  readonly #routes: RouteDesk
  readonly #shadows: ShadowRequests | null
  readonly #waiting: (() => void)[] = []
  readonly #tickTimer = new Timer(() => this.#tick())
  readonly #drainTimer = new Timer(() => this.#step({ type: 'drain-over' }))
  #stepping = false
  /** When something last happened here, and when the clock last was found far beyond that. */
  #seenAt: Millis
  #jumpedAt: Millis = -Infinity
  #armed: { at: Millis; cancel: () => void } | null = null
  #lastTick: Millis
  #wallOffset: Millis
  #idle: (() => void) | null = null
  #stopped = false

  constructor(options: LoopOptions) {
    this.#options = options
    this.#recorder = options.recorder
    const now = options.clock.now()
    this.state = emptyState(options.config, now)
    this.#routes = new RouteDesk({
      heap: this.#heap,
      now: () => this.#now(),
      wall: () => this.#wall(),
      random: () => options.dice.next(),
      runner: options.runner,
      config: () => this.state.config,
      record: (event) => this.#recorder?.record(event),
      step: (input) => this.#step(input),
      onError: options.onBug,
      inspection: options.inspection ?? null,
    })
    this.#shadows =
      options.inspection == null
        ? null
        : new ShadowRequests({ inspection: options.inspection, onError: options.onBug })
    this.#lastTick = now
    this.#seenAt = now
    this.#wallOffset = options.clock.wall() - now
    this.#heap.set(this.#tickTimer, now + TICK)
    this.#arm()
  }

  // ---- what doors ask ----

  request(incoming: Incoming): void {
    const key = requestKey(incoming.tenant, incoming.id)
    this.#enter(() => {
      if (this.#live.has(key)) return this.#refuseDuplicate(incoming)
      const now = this.#now()
      const live: Live = {
        incoming,
        key,
        id: incoming.id,
        tenant: incoming.tenant,
        lane: incoming.lane,
        model: incoming.model,
        stream: incoming.stream,
        maxTokens: incoming.maxTokens,
        bytes: incoming.body.length,
        deadlineMs: incoming.deadlineMs,
        cell: lifecycle.start({ at: now }),
        shadow: this.#shadows?.begin(key, now) ?? null,
        timer: new Timer(() => this.#wake(live)),
        arrivedWall: now + this.#wallOffset,
        trace: traceContext(incoming.headers),
        request: null,
        running: null,
        closing: null,
        answered: false,
        ttftMs: 0,
        carried: null,
        rung: TOP,
        refused: null,
        consulting: false,
        kept: this.#keeps(incoming) && incoming.stream ? { parts: [], bytes: 0 } : null,
        route: null,
      }
      this.#live.set(key, live)
      this.#step({ type: 'request', request: live })
    })
  }

  malformed(of: Parameters<Scheduler['malformed']>[0]): void {
    this.#enter(() => this.#refuseEarly(of, of.refusal, null))
  }

  dropped(of: Parameters<Scheduler['dropped']>[0]): void {
    this.#recorder?.record({ name: 'request.dropped', at: this.#wall(), data: of })
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

  status(tenant: string, id: string): StatusAnswer | null {
    const key = requestKey(tenant, id)
    const live = this.#live.get(key)
    return live === undefined ? this.#recall(key) : statusOf(live, this.state, this.#now())
  }

  // ---- what operators ask ----

  configure(config: Config): void {
    this.#enter(() => {
      this.#step({ type: 'config', config })
      this.#step({ type: 'tick', elapsedMs: 0, controls: this.#routes.configure(config) })
    })
  }

  pause(lane: string, paused: boolean): void {
    this.#enter(() => this.#step({ type: 'lane', lane, paused }))
  }

  /** Stops taking and starting; resolves when every slot is back. Running requests have `drain_ms`. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.#idle = resolve
      this.#enter(() => {
        this.#step({ type: 'drain' })
        this.#heap.set(this.#drainTimer, this.#now() + this.state.config.file.drain_ms)
      })
    })
  }

  /** Ends what still runs, now. */
  hurry(): void {
    this.#enter(() => this.#step({ type: 'drain-over' }))
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
  machines(): ReturnType<RouteDesk['views']> {
    return this.#routes.views()
  }

  /** How often each edge of the lifecycle was taken, by all loops of this process, in the chart's order. */
  lifecycleCounts(): readonly number[] {
    return [...lifecycle.taken.values()]
  }

  /** Live requests that fit, oldest first. */
  requests(of: RequestsAsked): RequestsPage {
    return requestsOf(this.#live.values(), of, this.#wall() - this.#now())
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
    for (const timer of [this.#tickTimer, this.#drainTimer]) if (timer.pending) others++
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
      act()
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
    if (now - this.#seenAt > JUMP) this.#jumpedAt = now
    this.#seenAt = now
    const effects = step(this.state, input, now, this.#options.dice)
    for (const effect of effects) this.#perform(effect, now)
  }

  #perform(effect: Effect, now: Millis): void {
    switch (effect.type) {
      case 'queued':
        return this.#queued(effect.request)
      case 'start-attempt':
        return this.#start(effect.request, effect.attempt, now)
      case 'forwarding':
        return this.#forwarding(effect.request, now)
      case 'attempt-ended':
        return this.#attemptEnded(effect.request, effect.attempt, effect.verdict, now)
      case 'abort-attempt':
        return this.#abort(effect, now)
      case 'backoff':
        return this.#backoff(effect.request, effect.verdict, effect.waitMs, now)
      case 'requeued':
        return this.#requeued(effect.request, effect.why, now)
      case 'settled': {
        const live = this.#liveOf(effect.request)
        if (effect.ending.kind === 'completed') this.#complete(live, effect.ending.verdict, now)
        else if (this.#reroute(live, effect.ending, now)) return
        else this.#lastWord(live, effect.ending, now)
        return this.#end(live, now)
      }
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
      case 'route-closed':
        return this.#routes.close(effect.route.id)
      case 'alarm':
        return this.#recorder?.record({
          name: 'alarm',
          at: this.#wall(),
          data: { name: effect.name, route: effect.route, detail: effect.detail },
        })
    }
  }

  // ---- effects, in the order of a request's life ----

  #queued(request: Request): void {
    const live = request.asked as Live
    if (live.request !== null) throw new Error(`${request.key}: accepted twice`)
    live.request = request
    const before = live.route
    live.route = request.route.id
    if (before !== null) return this.#rerouted(live, request)
    const { incoming } = live
    this.#recorder?.record(
      told(live, {
        name: 'request.queued',
        at: live.arrivedWall,
        data: {
          ...about(live),
          route: request.route.id,
          stream: incoming.stream,
          max_tokens: incoming.maxTokens,
          bytes: incoming.body.length,
          deadline_ms: incoming.deadlineMs,
          predicted_wait_ms: Math.round(request.predictedMs),
        },
      }),
    )
  }

  #start(request: Request, attempt: Attempt, now: Millis): void {
    const live = this.#liveOf(request)
    this.#move(live, 'attempt.started', now)
    this.#routes.started(request)
    this.#recorder?.record(
      told(live, {
        name: 'request.dispatched',
        at: this.#wall(),
        data: {
          ...about(live),
          route: request.route.id,
          attempt: attempt.number,
          queue_ms: Math.round(request.queueMs),
          predicted_wait_ms:
            attempt.number + request.preemptions === 1 ? Math.round(request.predictedMs) : null,
        },
      }),
    )
    live.running = this.#options.provider.send(
      this.#callOf(live, request, attempt),
      this.#sinkOf(live, attempt),
    )
  }

  #sinkOf(live: Live, attempt: Attempt): AttemptSink {
    const { key } = live
    return {
      firstByte: () => this.#enter(() => this.#step({ type: 'progress', key, what: 'first-byte' })),
      event: (data) =>
        this.#enter(() => {
          // The first event moves the request. After an abort none is passed on: another attempt
          // may still answer, from its own beginning.
          if (live.cell.state === 'running')
            this.#step({ type: 'progress', key, what: 'forwarded' })
          if (live.cell.state !== 'forwarding') return
          if (live.kept !== null) this.#keep(live, data)
          live.incoming.reply.event(data)
        }),
      ended: (verdict) => this.#enter(() => this.#verdict(live, attempt, verdict)),
    }
  }

  #callOf(live: Live, request: Request, attempt: Attempt): AttemptCall {
    const { incoming } = live
    return {
      tenant: incoming.tenant,
      lane: incoming.lane,
      id: incoming.id,
      upstream: this.#options.upstream(request.route.upstream.name),
      model: live.model,
      body: live.model === incoming.model ? incoming.body : withModel(incoming.body, live.model),
      stream: incoming.stream,
      headers: incoming.headers,
      firstByteMs: attempt.firstByteMs,
      idleMs: this.state.config.file.limits.idle_ms,
    }
  }

  #forwarding(request: Request, now: Millis): void {
    const live = this.#liveOf(request)
    this.#move(live, 'stream.forwarding', now)
    live.ttftMs = now - (request.attempt?.startedAt ?? now)
    this.#recorder?.record(
      told(live, {
        name: 'request.forwarding',
        at: this.#wall(),
        data: { ...about(live), route: request.route.id, ttft_ms: Math.round(live.ttftMs) },
      }),
    )
  }

  /** Breaker and limit hear of it first; the core gets their new word with the verdict. */
  #verdict(live: Live, attempt: Attempt, raw: Verdict): void {
    const { request } = live
    if (request === null || request.attempt !== attempt)
      throw new Error(`${live.key}: a verdict comes once, for an attempt in a slot`)
    live.running = null
    if (live.closing !== null) this.#heap.clear(live.closing)
    live.closing = null
    const now = this.#now()
    // Silence that fell while the process stood still was not the upstream's.
    const heard = attempt.startedAt < this.#jumpedAt ? raw : withSilence(attempt, raw, now)
    const verdict = explained(request.route.quota, heard, now)
    const control = this.#routes.ended(request, attempt, verdict)
    this.#step({ type: 'verdict', key: live.key, verdict, control })
  }

  #attemptEnded(request: Request, attempt: Attempt, verdict: Verdict, now: Millis): void {
    const live = this.#liveOf(request)
    this.#recorder?.record(
      told(live, {
        name: 'attempt.ended',
        at: this.#wall(),
        data: {
          ...about(live),
          route: request.route.id,
          attempt: attempt.number,
          verdict: verdict.kind,
          status: verdict.status,
          error_type: verdict.errorType,
          cause: verdict.cause,
          duration_ms: Math.round(now - attempt.startedAt),
          may_have_run: verdict.mayHaveRun,
          input_tokens: verdict.usage?.inputTokens ?? null,
          output_tokens: verdict.usage?.outputTokens ?? null,
        },
      }),
    )
  }

  #abort(effect: Extract<Effect, { type: 'abort-attempt' }>, now: Millis): void {
    const live = this.#liveOf(effect.request)
    if (live.cell.state !== 'aborting') this.#move(live, 'attempt.aborting', now)
    if (effect.ending !== null) this.#answerNo(live, effect.ending, now)
    live.closing ??= new Timer(() => this.#unconfirmed(live, effect.why))
    this.#heap.set(live.closing, now + ABORT_ALARM)
    live.running?.abort(effect.why)
  }

  #unconfirmed(live: Live, why: AbortWhy): void {
    this.#recorder?.record({
      name: 'alarm',
      at: this.#wall(),
      data: {
        name: 'abort_unconfirmed',
        route: live.request?.route.id ?? null,
        detail: `the transport has not closed an attempt ${ABORT_ALARM} ms after its abort (${why})`,
      },
    })
  }

  #backoff(request: Request, verdict: Verdict, waitMs: Millis, now: Millis): void {
    const live = this.#liveOf(request)
    this.#move(live, 'attempt.retrying', now)
    this.#recorder?.record(
      told(live, {
        name: 'request.retrying',
        at: this.#wall(),
        data: {
          ...about(live),
          route: request.route.id,
          attempt: request.attempts,
          max_attempts: request.lane.config.maxAttempts,
          status: verdict.status,
          error_type: verdict.errorType,
          cause: verdict.cause,
          wait_ms: Math.round(waitMs),
        },
      }),
    )
  }

  #requeued(request: Request, why: 'backoff' | 'preempted', now: Millis): void {
    const live = this.#liveOf(request)
    this.#move(live, why === 'backoff' ? 'backoff.over' : 'attempt.requeued', now)
    if (why === 'backoff') return
    this.#recorder?.record(
      told(live, {
        name: 'request.preempted',
        at: this.#wall(),
        data: {
          ...about(live),
          route: request.route.id,
          preemptions: request.preemptions,
          wasted_ms: Math.round(request.upstreamMs),
        },
      }),
    )
  }

  // ---- the one answer ----

  #complete(live: Live, verdict: Verdict, now: Millis): void {
    const accounting = accountingOf(live, 'completed', verdict, now)
    this.#answered(live)
    if (accounting.servedBy === 'upstream') this.#store(live, verdict)
    if (live.incoming.stream) live.incoming.reply.end(accounting)
    else live.incoming.reply.answer(verdict.body ?? NOTHING, accounting)
    this.#recordSettled(live, accounting, null, null, 200)
  }

  #answerNo(live: Live, refused: Refused, now: Millis): void {
    const said = refusalOf(refused)
    const spent = spentBy(live)
    const made = spent !== null && spent.attempts + spent.preemptions > 0
    const verdict = refused.verdict ?? spent?.lastVerdict ?? null
    const accounting = accountingOf(live, outcomeOf(said, made), verdict, now)
    this.#answered(live)
    live.incoming.reply.refuse(said, accounting, refused.verdict?.body ?? null)
    this.#recordSettled(live, accounting, said, refused.reason, said.status)
  }

  #refused(key: string, refused: Refused, now: Millis): void {
    const live = this.#live.get(key)
    if (live === undefined) throw new Error(`${key}: refused but not live`)
    if (this.#reroute(live, refused, now)) return
    this.#lastWord(live, refused, now)
    this.#end(live, now)
  }

  // ---- the lesser answers (control-laws §13) ----

  /** True where something else than this refusal may still come. */
  #reroute(live: Live, refused: Refused, now: Millis): boolean {
    const { incoming } = live
    if (incoming.degrade.length === 0 || live.answered) return false
    const next = nextStep({
      steps: incoming.degrade,
      rung: live.rung,
      reason: refused.reason,
      forwarded: live.cell.state === 'forwarding',
      chain: chainOf(this.state, incoming.model),
    })
    if (next === null) return false
    live.refused = { refusal: this.#kinder(live, refused), attempts: attemptsOf(live) }
    live.carried = carriedFrom(this.state, live, live.request, now)
    live.request = null
    live.rung = next.rung
    if (live.cell.state === 'running') this.#move(live, 'attempt.rerouted', now)
    this.#descend(live, next, now)
    return true
  }

  #descend(live: Live, next: Lesser, now: Millis): void {
    switch (next.step) {
      case 'fallback':
        live.model = next.model
        // After the effects of the present step: they are about a world without it.
        return this.#enter(() => {
          if (!live.answered) this.#step({ type: 'request', request: live })
        })
      case 'cache':
        return this.#consult(live, now)
      case 'defer':
        return this.#enter(() => this.#stillRefused(live, DEFER_MISSING))
    }
  }

  /** Looks for an earlier answer, for as long as there is time. */
  #consult(live: Live, now: Millis): void {
    const cache = this.#options.cache ?? null
    if (cache === null) return this.#enter(() => this.#stillRefused(live))
    live.consulting = true
    this.#heap.set(live.timer, Math.min(now + CONSULT, live.carried?.deadline ?? now))
    const found = (answer: CachedAnswer | null): void =>
      this.#enter(() => {
        if (!live.consulting || live.answered) return
        live.consulting = false
        if (answer === null) this.#stillRefused(live)
        else this.#answerFromCache(live, answer)
      })
    cache.get(live.incoming).then(found, () => found(null))
  }

  /** A step of the ladder led nowhere: the next one, or the refusal. */
  #stillRefused(live: Live, why = ''): void {
    const { refused } = live
    if (refused === null || live.answered) return
    const now = this.#now()
    const refusal =
      why === '' ? refused.refusal : { ...refused.refusal, message: refused.refusal.message + why }
    live.refused = { ...refused, refusal }
    if (this.#reroute(live, refusal, now)) return
    this.#lastWord(live, refusal, now)
    this.#end(live, now)
  }

  /** Of two refusals the one that says more: the first, unless attempts were made since. */
  #kinder(live: Live, refused: Refused): Refused {
    const before = live.refused
    return before === null || attemptsOf(live) > before.attempts ? refused : before.refusal
  }

  #lastWord(live: Live, refused: Refused, now: Millis): void {
    const said = this.#kinder(live, refused)
    // What no other model took up is the refusal of the one asked for.
    if (said === live.refused?.refusal && said.verdict === null) live.model = live.incoming.model
    this.#answerNo(live, said, now)
  }

  #answerFromCache(live: Live, { parts, requestId }: CachedAnswer): void {
    const now = this.#now()
    const { reply, stream, model } = live.incoming
    live.model = model
    const accounting: Accounting = {
      ...accountingOf(live, 'completed', null, now),
      servedBy: 'cache',
      upstreamRequestId: requestId,
    }
    this.#answered(live)
    if (stream) {
      for (const part of parts) reply.event(part)
      reply.end(accounting)
    } else reply.answer(parts[0] ?? NOTHING, accounting)
    this.#recordSettled(live, accounting, null, null, 200)
    this.#end(live, now)
  }

  /** In line again, on another route. */
  #rerouted(live: Live, request: Request): void {
    this.#recorder?.record(
      told(live, {
        name: 'request.rerouted',
        at: this.#wall(),
        data: {
          ...about(live),
          route: request.route.id,
          asked_model: live.incoming.model,
          attempts: request.attempts,
        },
      }),
    )
  }

  #keeps(incoming: Incoming): boolean {
    return this.#options.cache != null && incoming.degrade.includes('cache')
  }

  /** A copy: an event's bytes are a window on a larger read. */
  #keep(live: Live, data: Uint8Array): void {
    const { kept } = live
    if (kept === null) return
    kept.bytes += data.length
    if (kept.bytes > (this.#options.cache?.answerBytesMax ?? 0)) live.kept = null
    else kept.parts.push(new Uint8Array(data))
  }

  #store(live: Live, verdict: Verdict): void {
    if (!this.#keeps(live.incoming)) return
    const parts = live.incoming.stream
      ? live.kept?.parts
      : verdict.body === null
        ? []
        : [verdict.body]
    if (parts === undefined || parts.length === 0) return
    this.#options.cache?.put(live.incoming, { parts, requestId: verdict.requestId })
  }

  /** Nobody wants it any more. */
  #withdraw(live: Live): void {
    if (live.answered) return
    if (!live.consulting) return this.#step({ type: 'cancel', key: live.key })
    live.consulting = false
    const now = this.#now()
    this.#answerNo(live, refuse('CANCELLED', 'cancelled, or the caller is gone'), now)
    this.#end(live, now)
  }

  #wake(live: Live): void {
    if (!live.consulting) return this.#step({ type: 'wake', key: live.key })
    live.consulting = false
    this.#stillRefused(live)
  }

  /** A live request of this id exists already; it goes on, untouched. */
  #refuseDuplicate(incoming: Incoming): void {
    const message = 'a request of this tenant with this id is live already'
    const trace = traceContext(incoming.headers)
    this.#refuseEarly({ ...incoming, trace }, refusal('duplicate_id', message), 'DUPLICATE_ID')
  }

  #refuseEarly(
    of: {
      tenant: string
      lane: string
      id: string
      model: string | null
      reply: Reply
      trace?: TraceContext | null
    },
    said: Refusal,
    reason: Refused['reason'] | null,
  ): void {
    const accounting = unattempted(of.id, of.model)
    of.reply.refuse(said, accounting, null)
    this.#recorder?.record({
      name: 'request.settled',
      at: this.#wall(),
      data: {
        tenant: of.tenant,
        lane: of.lane,
        id: of.id,
        model: of.model,
        route: null,
        ...settledData(accounting, said, reason, said.status),
      },
      ...(of.trace == null ? {} : { trace: of.trace }),
    })
  }

  #answered(live: Live): void {
    if (live.answered) throw new Error(`${live.key}: a request has one outcome`)
    live.answered = true
  }

  #recordSettled(
    live: Live,
    accounting: Accounting,
    said: Refusal | null,
    reason: Refused['reason'] | null,
    status: number,
  ): void {
    this.#recorder?.record(
      told(live, {
        name: 'request.settled',
        at: this.#wall(),
        data: {
          ...about(live),
          route: live.route,
          ...settledData(accounting, said, reason, status),
        },
      }),
    )
  }

  /** The request holds nothing any more. */
  #end(live: Live, now: Millis): void {
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
  #move(live: Live, type: LifecycleEvent['type'], at: Millis): void {
    const from = live.cell.state
    if (!lifecycle.send(live.cell, { type, at }))
      throw new Error(`${live.key}: ${type} is no move from ${from}`)
    if (live.shadow !== null) this.#follow(live, live.shadow, { type, at })
  }

  /** A shadow stands where its cell stands, or one of them is wrong. */
  #follow(live: Live, shadow: Shadow, event: LifecycleEvent): void {
    shadow.send(event)
    const { state } = live.cell
    if (shadow.state() !== state) {
      const detail = `a request's actor is in ${shadow.state()} where its table is in ${state}`
      const data = { name: 'shadow_disagrees', route: live.request?.route.id ?? null, detail }
      this.#recorder?.record({ name: 'alarm', at: this.#wall(), data })
    }
    if (state === 'settled') shadow.end()
  }

  /** What the loop handed over as asked comes back with every effect. */
  #liveOf(request: Request): Live {
    const live = request.asked as Live
    if (live.request !== request)
      throw new Error(`${request.key}: an effect for a request not live`)
    return live
  }
}

const NOTHING = new Uint8Array(0)
const DEFER_MISSING = '; defer is not to be had: this Headgate keeps no durable jobs'

const attemptsOf = (live: Live): number => {
  const spent = spentBy(live)
  return spent === null ? 0 : spent.attempts + spent.preemptions
}

/** The event, with the trace context of the request it is about. */
function told(live: Live, event: HeadgateEvent): HeadgateEvent {
  if (live.trace !== null) event.trace = live.trace
  return event
}
