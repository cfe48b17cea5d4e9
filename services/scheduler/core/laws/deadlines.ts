/** Whether an answer can come in time (control-laws §6): at arrival, and at the moment of start. */
import type { Millis } from '#contracts/units'
import { waitWords } from '#contracts/waiting'
import type { Estimate } from '#core/estimators/cost'
import type { Refused } from '#core/model/effects'
import type { LaneRoute, Request, Route, State } from '#core/model/state'
import { whyWaits, whyWould } from './waiting.ts'
import { attemptOf, waits } from '#core/model/place'
import { refuse } from './refusal.ts'

/** Of a request what says which answers are like its own. */
type Alike = { model: string; fast?: boolean }

/** Can the answer come in time, after the wait that is predicted (control-laws §6)? */
export function unreachable(
  state: State,
  laneRoute: LaneRoute,
  of: {
    expected: Estimate
    waitMs: Millis
    now: Millis
    deadline: Millis
    asked: Alike
    tenant: string
  },
): Refused | null {
  const { route } = laneRoute
  const { deadline, now, waitMs } = of
  const service = serviceOf(state, of.asked, { estimate: of.expected, waitMs, now })
  if (now + waitMs + service <= deadline) return null
  const numbers = `predicted wait ${Math.round(waitMs)} ms and service ${Math.round(service)} ms exceed the deadline of ${deadline - now} ms`
  const after = { retryAfterMs: waitMs }
  if (route.gate.state === 'open')
    return refuse(
      'BREAKER_OPEN',
      `the breaker of ${route.id} is open${faultWords(route)}; ${numbers}`,
      after,
    )
  const tenant = state.tenants.get(of.tenant)
  const why =
    waitMs < 1
      ? ''
      : `; now it would wait: ${waitWords(whyWould(state, laneRoute, { tenant, expected: of.expected }, now))}`
  // With no wait at all it would be too long: no later moment is better.
  return now + service > deadline
    ? refuse('DOOMED', numbers, { inVain: true })
    : refuse('DOOMED', numbers + why, after)
}

/** What the route last failed with, as a clause; empty: it did not. */
export function faultWords({ lastFault }: Route): string {
  if (lastFault === null) return ''
  const { status, errorType, kind } = lastFault
  const said = [status === null || status < 400 ? null : String(status), errorType].filter(Boolean)
  if (said.length > 0) return `; the upstream last answered ${said.join(' ')}`
  return kind === 'hang' || kind === 'ended_silent'
    ? '; the upstream last gave no answer'
    : '; the upstream last failed to answer'
}

/** How long its answer will take, as far as that may speak against it: where nobody waits, nobody is refused for
 *  what the answers of others took. */
function serviceOf(
  state: State,
  asked: Alike,
  of: { estimate: Estimate; waitMs: Millis; now: Millis },
): Millis {
  if (of.waitMs < NO_WAIT && !of.estimate.own) return 0
  return state.costs.service(asked, of.estimate, of.now) * 1_000
}
export const NO_WAIT: Millis = 1

/** The same test at the moment of start, where nothing is left to wait for. */
export function doomed(
  state: State,
  request: Request,
  now: Millis,
  estimate: Estimate = state.costs.estimate(request.asked, state.config),
): Refused | null {
  const waitMs = request.queueMs + (waits(request) ? now - request.queuedAt : 0)
  const service = serviceOf(state, request.asked, { estimate, waitMs, now })
  if (now + service <= request.deadline) return null
  return refuse(
    'DOOMED',
    `predicted service ${Math.round(service)} ms exceeds the ${request.deadline - now} ms left`,
    { retryAfterMs: 0 },
  )
}

/** Where its time went, and whose doing it was. */
export function deadlineWords(state: State, request: Request, now: Millis): string {
  const passed = `the deadline of ${request.deadline - request.acceptedAt} ms passed`
  if (attemptOf(request) !== null) return `${passed} while running`
  const why = waitWords(whyWaits(state, request, now))
  return `${passed} while waiting: ${why}${faultWords(request.route)}`
}
