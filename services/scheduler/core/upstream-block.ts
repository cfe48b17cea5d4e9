/** Accounts that may not spend, or whose key is bad: nothing on them can succeed, so nothing is tried until
 *  one attempt has tested them (control-laws §2). */
import type { Millis } from '#contracts/units'
import { verdicts, type Verdict } from '#contracts/verdict'
import type { Effect } from './effects.ts'
import type { Request, State } from './state.ts'
import { wakeRoute } from './wakes.ts'

/** A blocked upstream is tested after this. */
const BLOCK: Millis = 900_000
/** Consecutive 401s that mean the key is bad, not a request. */
const UNAUTHORISED_MAX = 5

/** Blocks an account that may not spend, and finds out whether it may again (control-laws §2). */
export function learnUpstream(
  state: State,
  request: Request,
  verdict: Verdict,
  now: Millis,
  effects: Effect[],
): void {
  const { upstream, id } = request.route
  const tested = upstream.tester === request.key
  if (tested) upstream.tester = null
  if (verdict.alarm === true)
    effects.push({ type: 'alarm', name: 'upstream', route: id, detail: verdict.cause })
  if (verdict.kind === 'ok') upstream.unauthorisedInRow = 0
  if (verdict.status === 401) upstream.unauthorisedInRow++
  const badKey = verdict.status === 401 && upstream.unauthorisedInRow >= UNAUTHORISED_MAX
  const stop = badKey || verdicts[verdict.kind].quota === 'block'
  if (!stop) {
    const works = ['ok', 'rejected', 'throttled'].includes(verdict.kind) && verdict.status !== 401
    if (tested && works) {
      upstream.testing = false
      upstream.blockedBy = null
    }
    return
  }
  if (!upstream.testing || tested)
    effects.push({ type: 'alarm', name: 'upstream_blocked', route: id, detail: verdict.cause })
  upstream.blockedUntil = now + BLOCK
  upstream.testing = true
  upstream.blockedBy = verdict
  for (const route of state.routes.values())
    if (route.upstream === upstream) wakeRoute(route, upstream.blockedUntil, now, effects)
}
