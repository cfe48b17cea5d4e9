/** When quota lets a request start: the pauses that a 429 imposes.
 *
 *  A pause covers every route of a quota, because the provider counts their models together. The paced
 *  starts of control-laws §9 (requests, input and output tokens per minute, refilled continuously, with
 *  debt) belong in `readyAt` and `learnQuota`: their callers in `lanes` and `step` already ask. */
import type { Millis } from '#contracts/units'
import type { Verdict } from '#contracts/verdict'
import { verdicts } from '#contracts/verdict'
import type { Dice } from './dice.ts'
import { fullJitter } from './retry.ts'
import type { Request, Route } from './state.ts'

/** The earliest instant at which quota allows this request to start. */
export const readyAt = (request: Request): Millis => request.route.quota.pausedUntil

/** What a verdict says of the route's quota. True when it made the pause longer. */
export function learnQuota(
  route: Route,
  of: { verdict: Verdict; request: Request; now: Millis; dice: Dice },
): boolean {
  const { quota } = verdicts[of.verdict.kind]
  if (quota !== 'pause' && quota !== 'pause-and-cut') return false
  const wait = of.verdict.retryAfterMs ?? fullJitter(of.request, of.dice)
  const until = of.now + wait
  if (until <= route.quota.pausedUntil) return false
  route.quota.pausedUntil = until
  return true
}
