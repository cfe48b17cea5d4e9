/** How a request ends: what it gives back, and what a final refusal says beside its reason. */
import type { Millis } from '#contracts/units'
import type { Verdict } from '#contracts/verdict'
import type { Effect, Ending, Refused } from '#core/model/effects'
import { attemptOf, HAND, waits } from '#core/model/place'
import type { Request, State } from '#core/model/state'
import { dequeue } from './queueing.ts'
import { owesNoMore } from './retry.ts'
import { reviewActive } from './slots.ts'

/** Ends a live request with a refusal, wherever it stands. */
export function conclude(
  state: State,
  request: Request,
  ending: Refused,
  why: 'cancel' | 'deadline' | 'drain',
  now: Millis,
  effects: Effect[],
): void {
  const attempt = attemptOf(request)
  if (attempt === null) {
    if (waits(request)) dequeue(state, request, now)
    finish(state, request, ending, effects)
    return
  }
  attempt.ending = why
  request.answered = true
  effects.push({ type: 'abort-attempt', request, attempt, why, ending })
}

/** The one outcome of a request that holds no slot; it leaves the system. */
export function finish(state: State, request: Request, ending: Ending, effects: Effect[]): void {
  request.answered = true
  leave(state, request)
  effects.push({ type: 'settled', request, ending })
}

export function leave(state: State, request: Request): void {
  state.requests.delete(request.key)
  state.bytes -= request.asked.bytes
  request.tenant.bytes -= request.asked.bytes
  request.route.live--
  request.place = HAND
  owesNoMore(request)
  reviewActive(state, request.tenant)
  request.laneRoute.queue.leave(request.flow, state.config.file.scheduling.idle_tenants_max)
}

/** When a caller may come back who could not be served, by our own reckoning. */
export const LATER = { min: 1_000, max: 60_000 }

/** What a final refusal says beside its reason: the upstream's answer, and when to come back. */
export function later(
  request: Request,
  reason: Refused['reason'],
  verdict: Verdict,
  now: Millis,
): Pick<Refused, 'verdict' | 'retryAfterMs' | 'inVain'> {
  if (reason === 'SHUTDOWN') return { verdict: null, retryAfterMs: null }
  // An error event of the upstream's has words for the caller.
  if (reason === 'STREAM_BROKEN') return { verdict, retryAfterMs: null }
  const { route } = request
  const until = Math.max(
    route.quota.pausedUntil,
    route.gate.until ?? 0,
    now + (verdict.retryAfterMs ?? 0),
  )
  const ours = Math.min(LATER.max, Math.max(LATER.min, until - now))
  // What the upstream said is not made shorter: its caller may be a job that can wait for hours.
  const retryAfterMs = Math.max(ours, verdict.toldRetryAfterMs ?? 0)
  return { verdict, retryAfterMs, ...(verdict.notAgain === true ? { inVain: true } : {}) }
}
