/** How long a request will wait before it starts (control-laws §6). Virtual time already holds everybody
 *  else's backlog, so the distance from here to the tenant's turn, over the pace at which virtual time goes,
 *  is the wait: O(1) however many wait. */
import type { Millis, Seconds } from '#contracts/units'
import { heldUntil } from './held.ts'
import type { Priority } from '#core/model/limits'
import type { Flow, LaneRoute, Quota, Route, State, Tenant } from '#core/model/state'
import { bindingCap } from './slots.ts'
import { costOf, type Denominators, type Estimate, type Expected } from '#core/estimators/cost'
import { DIMENSIONS } from '#core/estimators/pace'

/** What an arrival of this tenant would wait in this laneRoute now, breaker and pause included. Without evidence
 *  of how long anything takes, the queue's part of it is not guessed. */
export function waitOf(
  state: State,
  laneRoute: LaneRoute,
  of: { tenant: string; expected: Estimate; now: Millis },
): Millis {
  const { queue, route } = laneRoute
  const held = heldUntil(route.quota, [of.tenant], of.now)
  const gate = Math.max(gateOpensIn(route, of.now), held - of.now)
  const flow = queue.flows.get(of.tenant) ?? null
  const quota = quotaWait(route.quota, flow, of.expected, of.now)
  if (!of.expected.evidence) return Math.max(gate, quota)
  const tenant = state.tenants.get(of.tenant)
  const ahead = flow === null ? null : aheadOf(flow, of.expected)
  const turn =
    queue.standing > 0
      ? queueWait(state, laneRoute, flow, ahead)
      : tenant === undefined
        ? 0
        : capWait(state, laneRoute, tenant, 0)
  return Math.max(gate + turn, quota)
}

/** How long the buckets need for what waits before it and for itself. What others have waiting is left out: whose
 *  turn comes first is the queue's to say. Without evidence only its one request is certain. */
function quotaWait(quota: Quota, flow: Flow | null, own: Estimate, now: Millis): Millis {
  const { requests } = quota
  const wait = requests.comesIn((flow?.queued ?? 0) + 1, now)
  if (!own.evidence) return wait
  const { ahead } = flow ?? NOTHING
  const usual = tokensIn(quota, ahead, own, now)
  const { priority } = quota
  if (priority === null || own.priority !== true) return Math.max(wait, usual)
  return Math.max(wait, Math.min(usual, tokensIn(priority, ahead, own, now)))
}

const tokensIn = (
  { inputTokens, outputTokens }: Priority,
  ahead: Expected,
  own: Estimate,
  now: Millis,
): Millis =>
  Math.max(
    inputTokens.comesIn(ahead.inputTokens + Math.min(own.inputTokens, inputTokens.burst), now),
    outputTokens.comesIn(ahead.outputTokens + Math.min(own.outputTokens, outputTokens.burst), now),
  )
const NOTHING = { ahead: { duration: 0, inputTokens: 0, outputTokens: 0 } }

/** What waits before it; requests that came before there was evidence are taken to be like itself. */
function aheadOf({ ahead, blind }: Flow, like: Expected): Expected {
  if (blind === 0) return ahead
  return {
    duration: ahead.duration + blind * like.duration,
    inputTokens: ahead.inputTokens + blind * like.inputTokens,
    outputTokens: ahead.outputTokens + blind * like.outputTokens,
  }
}

/** What a waiting request will still wait. */
export function waitOfQueued(
  state: State,
  of: { laneRoute: LaneRoute; flow: Flow; ahead: Expected },
  now: Millis,
): Millis {
  return gateOpensIn(of.laneRoute.route, now) + queueWait(state, of.laneRoute, of.flow, of.ahead)
}

/** Time until the breaker lets probes in and the pause is over. */
export const gateOpensIn = (route: Route, now: Millis): Millis =>
  Math.max(0, Math.max(route.gate.until ?? 0, route.quota.pausedUntil) - now)

function queueWait(
  state: State,
  laneRoute: LaneRoute,
  flow: Flow | null,
  ahead: Expected | null,
): Millis {
  const { queue, pace } = laneRoute
  if (queue.queued === 0) return 0
  const vdot = pace.usable
  const capped = flow === null ? 0 : capWait(state, laneRoute, flow.tenant, flow.queued)
  if (vdot <= 0) return capped
  const finish = flow?.finish ?? 0
  const own =
    flow === null || ahead === null
      ? 0
      : costOf(ahead, denominators(laneRoute.route)) / flow.tenant.weight
  const distance = Math.max(0, finish - queue.v) + own
  // Virtual time supposes that all who wait now go on waiting; all of them together take no longer than this.
  return Math.max(capped, Math.min(OVERTAKEN * allGoneIn(laneRoute), distance / vdot) * 1_000)
}

/** Others who come later and go first, as a part more of those who wait already. */
export const OVERTAKEN = 2

/** How long all who wait now need at the rate at which they have left lately; endless where nobody has, or where
 *  it is not known what they need. */
function allGoneIn({ queue, pace }: LaneRoute): Seconds {
  if (queue.blind > 0) return Infinity
  let longest = 0
  for (const what of DIMENSIONS)
    if (queue.ahead[what] > 0) longest = Math.max(longest, queue.ahead[what] / pace.leaving[what])
  return longest
}

/** A tenant at its cap waits for its own slots, whatever the others do. */
function capWait(state: State, laneRoute: LaneRoute, tenant: Tenant, queued: number): Millis {
  if (!tenant.parked || tenant.heldBack) return 0
  const cap = bindingCap(state, tenant)
  return (((queued + 1) * laneRoute.pace.meanService) / cap) * 1_000
}

/** What one second of the bottleneck is on this route now. */
export const denominators = (route: Route): Denominators => ({
  slots: route.limit,
  inputPerSecond: route.quota.inputTokens.limit === null ? null : route.quota.inputTokens.rate,
  outputPerSecond: route.quota.outputTokens.limit === null ? null : route.quota.outputTokens.rate,
})

/** Once a second, for every laneRoute. */
export function samplePaces(state: State, seconds: Seconds): void {
  for (const lane of state.lanes)
    for (const { pace, queue } of lane.laneRoutes)
      pace.sample({ ...queue.takeMoved(), seconds, busy: queue.standing > 0 })
}
