/** Attempts on their way: sent through the provider's port, heard, and ended. */
import type { UpstreamHeaders } from '#contracts/messages'
import type { Effect } from '#core/model/effects'
import { attemptOf } from '#core/model/place'
import type { Attempt, Request } from '#core/model/state'
import { slotsOf } from '#core/model/share'
import { judge } from '#core/laws/judgement'
import type { AbortWhy, AttemptCall, AttemptSink, Millis, Provider, Verdict } from '#ports'
import type { Answers } from './answers.ts'
import type { KeptAnswers } from './kept-answers.ts'
import type { LiveRequest } from './live.ts'
import { NEVER_SENT } from './own-faults.ts'
import type { RequestEvents } from './request-events.ts'
import type { RouteControllers } from './route-controllers.ts'
import type { Spine } from './spine.ts'
import { Timer } from './timer-heap.ts'
import { FAST_BETA, withBeta, withFields } from './with-fields.ts'
import { withModel } from './with-model.ts'

/** A transport that has not confirmed an abort by then is reported. */
export const ABORT_ALARM: Millis = 1_000

export interface AttemptsOptions {
  spine: Spine
  provider: Provider
  /** Where an upstream answers and with which key. */
  upstream: (name: string) => AttemptCall['upstream']
  routes: RouteControllers
  events: RequestEvents
  answers: Answers
  kept: KeptAnswers
}

export class Attempts {
  readonly #of: AttemptsOptions
  /** When the clock was last found far beyond where it had been. */
  jumpedAt: Millis = -Infinity

  constructor(options: AttemptsOptions) {
    this.#of = options
  }

  start(live: LiveRequest, request: Request, attempt: Attempt, now: Millis): void {
    const { spine, routes, events, provider } = this.#of
    spine.move(live, 'attempt.started', now)
    routes.started(request)
    events.dispatched(live, request, attempt)
    const sink = this.#sinkOf(live, attempt)
    if (!this.#stillOurs(attempt)) {
      spine.move(live, 'attempt.aborting', now)
      return sink.ended(LAPSED)
    }
    try {
      live.running = provider.send(this.#callOf(live, request, attempt), sink)
    } catch (error) {
      spine.fault(error)
      // After this step: nothing is heard from inside `send`.
      sink.ended(NEVER_SENT)
    }
  }

  /** The last look at the lease, right before the call: the process may have stood still since it was decided. What
   *  may not start any more waits for its turn again. */
  #stillOurs(attempt: Attempt): boolean {
    const { state, now } = this.#of.spine
    const { share } = state
    if (share.until === Infinity || state.inflight <= slotsOf(share, now())) return true
    attempt.ending = 'preempt'
    return false
  }

  forwarding(live: LiveRequest, request: Request, now: Millis): void {
    this.#of.spine.move(live, 'stream.forwarding', now)
    live.ttftMs = now - (attemptOf(request)?.startedAt ?? now)
    this.#of.events.forwarding(live, request)
  }

  /** The machines hear of a silence while it lasts; what they then say reaches the core after this step. */
  silent(request: Request, attempt: Attempt): void {
    const { spine, routes } = this.#of
    const control = routes.ended(request, attempt, { kind: 'ended_silent', ...NO_ANSWER })
    spine.enter(() => spine.step({ type: 'control', control }))
  }

  abort(live: LiveRequest, effect: Extract<Effect, { type: 'abort-attempt' }>, now: Millis): void {
    const { spine, answers } = this.#of
    if (live.cell.state !== 'aborting') spine.move(live, 'attempt.aborting', now)
    if (effect.ending !== null) answers.refuse(live, effect.ending, now)
    live.closing ??= new Timer(() => this.#unconfirmed(live, effect.why))
    spine.heap.set(live.closing, now + ABORT_ALARM)
    live.running?.abort(effect.why)
  }

  #unconfirmed(live: LiveRequest, why: AbortWhy): void {
    this.#of.events.alarm({
      name: 'abort_unconfirmed',
      route: live.request?.route.id ?? null,
      detail: `the transport has not closed an attempt ${ABORT_ALARM} ms after its abort (${why})`,
    })
  }

  #sinkOf(live: LiveRequest, attempt: Attempt): AttemptSink {
    const { key } = live
    const { spine, answers, kept } = this.#of
    return {
      firstByte: () => spine.enter(() => spine.step({ type: 'progress', key, what: 'first-byte' })),
      event: (data) =>
        spine.enter(() => {
          // The first event moves the request. After an abort none is passed on: another attempt
          // may still answer, from its own beginning.
          if (live.cell.state === 'running')
            spine.step({ type: 'progress', key, what: 'forwarded' })
          if (live.cell.state !== 'forwarding') return
          kept.keep(live, data)
          answers.say(() => live.incoming.reply.event(data))
        }),
      ended: (verdict) => spine.enter(() => this.#verdict(live, attempt, verdict)),
    }
  }

  #callOf(live: LiveRequest, request: Request, attempt: Attempt): AttemptCall {
    const { incoming } = live
    return {
      tenant: incoming.tenant,
      lane: incoming.lane,
      id: incoming.id,
      upstream: this.#of.upstream(request.route.upstream.name),
      model: live.model,
      fast: request.route.config.fast,
      body: bodyOf(live),
      stream: incoming.stream,
      headers: headersOf(live),
      firstByteMs: attempt.firstByteMs,
      idleMs: this.#of.spine.state.config.file.limits.idle_ms,
    }
  }

  /** Breaker and limit hear of it first; the core gets their new word with the verdict. */
  #verdict(live: LiveRequest, attempt: Attempt, raw: Verdict): void {
    const { spine, routes } = this.#of
    const { request } = live
    if (request === null || attemptOf(request) !== attempt)
      throw new Error(`${live.key}: a verdict comes once, for an attempt in a slot`)
    live.running = null
    if (live.closing !== null) spine.heap.clear(live.closing)
    live.closing = null
    const now = spine.now()
    const { verdict, known } = judge(attempt, raw, { now, jumpedAt: this.jumpedAt })
    const control = known ? routes.control(request) : routes.ended(request, attempt, verdict)
    spine.step({ type: 'verdict', key: live.key, verdict, control })
  }
}

/** As the caller wrote it, but for what another model or its lane makes of it. */
function bodyOf({ incoming, model, adds }: LiveRequest): Uint8Array {
  const body = model === incoming.model ? incoming.body : withModel(incoming.body, model)
  return adds === null ? body : withFields(body, adds)
}

const headersOf = ({ incoming: { headers }, adds }: LiveRequest): UpstreamHeaders =>
  adds?.speed === undefined ? headers : { ...headers, beta: withBeta(headers.beta, FAST_BETA) }

const NO_ANSWER: Omit<Verdict, 'kind'> = {
  status: null,
  errorType: null,
  cause: 'silence',
  retryAfterMs: null,
  requestId: null,
  usage: null,
  ttftMs: null,
  mayHaveRun: true,
  rate: null,
  body: null,
}

const LAPSED: Verdict = {
  kind: 'ended',
  ...NO_ANSWER,
  cause: 'lease_lapsed',
  mayHaveRun: false,
}
