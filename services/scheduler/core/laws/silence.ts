/** An upstream that says nothing (control-laws §2). How long a silence is too long is this model's own: what its
 *  first bytes usually take, more for a prompt that is larger than usual; for an answer that is not streamed,
 *  whose first byte is its last, what its whole answers take. The machines hear of it while the attempt still
 *  runs, so that a hang is known within seconds and not when the callers' deadlines pass. */
import type { Millis } from '#contracts/units'
import type { Verdict } from '#contracts/verdict'
import type { Estimate } from '#core/estimators/cost'
import type { Effect } from '#core/model/effects'
import type { Silence } from '#core/model/limits'
import type { Attempt, Request, Route, State } from '#core/model/state'
import { attemptOf } from '#core/model/place'

/** Times the usual; and never below, since a second of nothing means little. */
export const TIMES = 3
export const LEAST: Millis = 3_000
/** Without evidence, times what the configuration expects. */
export const TIMES_PRIOR = 8

/** How long an attempt may be silent. `hangMs`: when it is ended for it. */
export function silenceOf(
  state: State,
  request: Request,
  estimate: Estimate,
  hangMs: Millis,
): Silence {
  const { asked } = request
  const { priors, limits } = state.config.file
  const guess = !asked.stream && !estimate.evidence
  const most = guess ? Math.min(hangMs, limits.first_byte_max_ms) : hangMs
  const usual = asked.stream
    ? state.costs.usualFirstByte(asked, estimate.inputTokens)
    : estimate.evidence
      ? Math.max(estimate.duration, state.costs.service(asked, estimate, state.now))
      : null
  const expected = asked.stream ? priors.ttft_ms : 1_000 * estimate.duration
  const ms = usual === null ? TIMES_PRIOR * expected : Math.max(LEAST, TIMES * 1_000 * usual)
  return { ms: Math.min(most, ms), evidence: usual !== null }
}

/** Once a second: attempts whose silence has become too long while nobody else on the route got a first byte
 *  either, each told once: one long answer among many is no hang. O(attempts in flight). */
export function tellSilence(state: State, now: Millis, effects: Effect[]): void {
  for (const route of state.routes.values())
    for (const { request, attempt } of silentOn(route)) {
      if (now - attempt.silentSince <= LEAST) break
      if (attempt.silenceTold || attempt.ending !== null || !attempt.silence.evidence) continue
      if (now - Math.max(attempt.silentSince, route.lastByteAt) <= attempt.silence.ms) continue
      attempt.silenceTold = true
      route.lastFault = { kind: 'hang', status: null, errorType: null }
      effects.push({ type: 'attempt-silent', request, attempt })
    }
}

/** Time in which we did not run was nobody's silence: what came meanwhile has not been read yet. */
export function forgiveSilence(state: State, now: Millis): void {
  for (const route of state.routes.values())
    for (const { attempt } of silentOn(route)) attempt.silentSince = now
}

/** What an attempt's end proves when we or its caller ended it: one that was silent for too long says of the
 *  upstream what a hang says. */
export function withSilence(attempt: Attempt, verdict: Verdict, now: Millis): Verdict {
  const { ending } = attempt
  const silent =
    verdict.kind === 'ended' &&
    (ending === 'deadline' || ending === 'cancel') &&
    !attempt.firstByte &&
    !attempt.silenceTold &&
    now - attempt.silentSince > attempt.silence.ms
  return silent ? { ...verdict, kind: 'ended_silent' } : verdict
}

/** Since when this route has said nothing at all although it should have; null: it answers, or nobody asks. */
export function silentSince(route: Route, now: Millis): Millis | null {
  for (const { attempt } of silentOn(route)) {
    const since = Math.max(attempt.silentSince, route.lastByteAt)
    return now - since > attempt.silence.ms ? since : null
  }
  return null
}

/** Attempts in flight without a first byte, the oldest start first. O(attempts in flight). */
export function* silentOn(route: Route): Generator<{ request: Request; attempt: Attempt }> {
  for (const request of route.running) {
    const attempt = attemptOf(request)
    if (attempt !== null && !attempt.firstByte) yield { request, attempt }
  }
}
