/** The events of a request, told to whoever records them. Where nobody does, none is built. */
import type { TraceContext } from '#contracts/events'
import type { Accounting, Refusal } from '#contracts/messages'
import type { Prices } from '#contracts/prices'
import { attemptsAllowed } from '#core/laws/retry'
import { ownWaitOf } from '#core/model/place'
import type { Refused } from '#core/model/effects'
import type { Attempt, Request } from '#core/model/state'
import type { HeadgateEvent, Millis, Recorder, Scheduler, Used, Verdict } from '#ports'
import { settledData } from './accounting.ts'
import { about, type LiveRequest } from './live.ts'
import { costData, paidWith } from './used.ts'

export class RequestEvents {
  /** Always called with `?.`: where it is null, the event behind it is never built. */
  readonly #recorder: Recorder | null
  readonly #wall: () => Millis
  readonly #prices: () => Prices

  constructor(of: { recorder: Recorder | null; wall: () => Millis; prices: () => Prices }) {
    this.#recorder = of.recorder
    this.#wall = of.wall
    this.#prices = of.prices
  }

  /** An attempt of its own has ended, and is paid for. */
  paid(live: LiveRequest, used: Used): void {
    if (this.#recorder !== null) live.paid = paidWith(live, used, this.#prices())
  }

  dropped(of: Parameters<Scheduler['dropped']>[0]): void {
    this.#recorder?.record({ name: 'request.dropped', at: this.#wall(), data: of })
  }

  queued(live: LiveRequest, request: Request): void {
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

  /** In line again, on another route. */
  rerouted(live: LiveRequest, request: Request): void {
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

  dispatched(live: LiveRequest, request: Request, attempt: Attempt): void {
    const first = attempt.number + request.preemptions === 1
    this.#recorder?.record(
      told(live, {
        name: 'request.dispatched',
        at: this.#wall(),
        data: {
          ...about(live),
          route: request.route.id,
          attempt: attempt.number,
          queue_ms: Math.round(request.queueMs),
          ...ownWait(request),
          predicted_wait_ms: first ? Math.round(request.predictedMs) : null,
        },
      }),
    )
  }

  forwarding(live: LiveRequest, request: Request): void {
    this.#recorder?.record(
      told(live, {
        name: 'request.forwarding',
        at: this.#wall(),
        data: { ...about(live), route: request.route.id, ttft_ms: Math.round(live.ttftMs) },
      }),
    )
  }

  attemptEnded(
    live: LiveRequest,
    of: { request: Request; attempt: Attempt; verdict: Verdict },
    now: Millis,
  ): void {
    const { request, attempt, verdict } = of
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

  retrying(live: LiveRequest, of: { request: Request; verdict: Verdict; waitMs: Millis }): void {
    const { request, verdict, waitMs } = of
    this.#recorder?.record(
      told(live, {
        name: 'request.retrying',
        at: this.#wall(),
        data: {
          ...about(live),
          route: request.route.id,
          attempt: request.attempts,
          max_attempts: attemptsAllowed(request),
          status: verdict.status,
          error_type: verdict.errorType,
          cause: verdict.cause,
          wait_ms: Math.round(waitMs),
        },
      }),
    )
  }

  preempted(live: LiveRequest, request: Request): void {
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

  settled(live: LiveRequest, accounting: Accounting, how: How): void {
    this.#recorder?.record(
      told(live, {
        name: 'request.settled',
        at: this.#wall(),
        data: {
          ...about(live),
          route: live.route,
          ...settledData(accounting, how.said, how.reason, how.status),
          ...(live.request === null ? {} : ownWait(live.request)),
          ...costData(live, this.#prices()),
        },
      }),
    )
  }

  /** One that never came to be a request. */
  refused(of: NeverLive, accounting: Accounting, how: How): void {
    this.#recorder?.record({
      name: 'request.settled',
      at: this.#wall(),
      data: {
        tenant: of.tenant,
        lane: of.lane,
        id: of.id,
        model: of.model,
        route: null,
        ...settledData(accounting, how.said, how.reason, how.status),
      },
      ...(of.trace == null ? {} : { trace: of.trace }),
    })
  }

  alarm(data: { name: string; route: string | null; detail: string }): void {
    this.#recorder?.record({ name: 'alarm', at: this.#wall(), data })
  }
}

/** Left out where there is none. */
function ownWait(request: Request): { own_wait_ms?: number } {
  const ms = Math.round(ownWaitOf(request))
  return ms > 0 ? { own_wait_ms: ms } : {}
}

/** How a request ended; without a refusal it was answered. */
export interface How {
  said: Refusal | null
  reason: Refused['reason'] | null
  status: number
}

/** What is known of a message that was refused before it was anybody's request. */
export interface NeverLive {
  tenant: string
  lane: string
  id: string
  model: string | null
  trace?: TraceContext | null
}

/** The event, with the trace context of the request it is about. */
function told(live: LiveRequest, event: HeadgateEvent): HeadgateEvent {
  if (live.trace !== null) event.trace = live.trace
  return event
}
