/** What the core decided, carried out one after the other. */
import type { Effect, Ending, Refused } from '#core/model/effects'
import type { Request } from '#core/model/state'
import type { BudgetKeeper, Meter, Millis } from '#ports'
import type { Answers } from './answers.ts'
import type { Attempts } from './attempts.ts'
import { newsOf, type FleetNews } from './fleet-news.ts'
import type { KeptAnswers } from './kept-answers.ts'
import type { Ladder } from './ladder.ts'
import type { LiveRequest } from './live.ts'
import type { RequestEvents } from './request-events.ts'
import type { RouteControllers } from './route-controllers.ts'
import type { Spine } from './spine.ts'
import { usedOf } from './used.ts'

export interface EffectsOptions {
  spine: Spine
  live: ReadonlyMap<string, LiveRequest>
  attempts: Attempts
  routes: RouteControllers
  events: RequestEvents
  answers: Answers
  kept: KeptAnswers
  ladder: Ladder
  allowances?: BudgetKeeper | undefined
  meter?: Meter | undefined
  tell?: ((news: FleetNews) => void) | undefined
}

export class Effects {
  readonly #of: EffectsOptions

  constructor(options: EffectsOptions) {
    this.#of = options
  }

  perform(effect: Effect, now: Millis): void {
    switch (effect.type) {
      case 'queued':
        return this.#queued(effect.request)
      case 'start-attempt':
        return this.#of.attempts.start(liveOf(effect.request), effect.request, effect.attempt, now)
      case 'forwarding':
        return this.#of.attempts.forwarding(liveOf(effect.request), effect.request, now)
      case 'attempt-silent':
        return this.#of.attempts.silent(effect.request, effect.attempt)
      case 'attempt-ended':
        return this.#attemptEnded(effect, now)
      case 'abort-attempt':
        return this.#of.attempts.abort(liveOf(effect.request), effect, now)
      case 'backoff':
        return this.#backoff(effect, now)
      case 'requeued':
        return this.#requeued(effect.request, effect.why, now)
      case 'settled':
        return this.#settle(liveOf(effect.request), effect.ending, now)
      case 'refused':
        return this.#refused(effect.key, effect.refused, now)
      case 'released':
        return this.#of.spine.end(liveOf(effect.request), now)
      case 'wake-at':
        return this.#of.spine.heap.set(liveOf(effect.request).timer, effect.at)
      case 'route-wake-at':
        return this.#of.routes.wakeAt(effect.route.id, effect.at)
      case 'route-opened':
        return this.#of.routes.open(effect.route)
      case 'allowance-wanted':
        return this.#of.allowances?.wanted(effect.account, effect.allowance, effect.short)
      case 'route-closed':
        return this.#of.routes.close(effect.route.id)
      case 'quota-paused':
      case 'upstream-blocked':
        return this.#of.tell?.(newsOf(effect, now))
      case 'alarm':
        return this.#of.events.alarm({
          name: effect.name,
          route: effect.route,
          detail: effect.detail,
        })
    }
  }

  // ---- in the order of a request's life ----

  #queued(request: Request): void {
    const live = request.asked as LiveRequest
    if (live.request !== null) throw new Error(`${request.key}: accepted twice`)
    live.request = request
    const before = live.route
    live.route = request.route.id
    if (before === null) this.#of.events.queued(live, request)
    else this.#of.events.rerouted(live, request)
  }

  #attemptEnded(effect: Extract<Effect, { type: 'attempt-ended' }>, now: Millis): void {
    const live = liveOf(effect.request)
    const used = usedOf(live, effect)
    this.#of.events.paid(live, used)
    this.#of.events.attemptEnded(live, effect, now)
    this.#of.meter?.count(used)
  }

  #backoff(effect: Extract<Effect, { type: 'backoff' }>, now: Millis): void {
    const live = liveOf(effect.request)
    this.#of.spine.move(live, 'attempt.retrying', now)
    this.#of.events.retrying(live, effect)
  }

  #requeued(request: Request, why: 'backoff' | 'preempted', now: Millis): void {
    const live = liveOf(request)
    this.#of.spine.move(live, why === 'backoff' ? 'backoff.over' : 'attempt.requeued', now)
    if (why === 'preempted') this.#of.events.preempted(live, request)
  }

  #settle(live: LiveRequest, ending: Ending, now: Millis): void {
    if (ending.kind === 'refused') return this.#of.ladder.refused(live, ending, now)
    const { servedBy } = this.#of.answers.complete(live, ending.verdict, now)
    if (servedBy === 'upstream') this.#of.kept.store(live, ending.verdict)
    this.#of.spine.end(live, now)
  }

  #refused(key: string, refused: Refused, now: Millis): void {
    const live = this.#of.live.get(key)
    if (live === undefined) throw new Error(`${key}: refused but not live`)
    this.#of.ladder.refused(live, refused, now)
  }
}

/** What the loop handed over as asked comes back with every effect. */
function liveOf(request: Request): LiveRequest {
  const live = request.asked as LiveRequest
  if (live.request !== request) throw new Error(`${request.key}: an effect for a request not live`)
  return live
}
