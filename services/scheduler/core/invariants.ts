/** What always holds, one function per sentence (control-laws §15). Each gives what it found wrong, or
 *  null. For tests, the simulator and `doctor`: they scan everything and belong on no hot path. */
import type { Effect } from './model/effects.ts'
import { lacking } from './laws/isolation.ts'
import { select, wantedByOthers } from './laws/lanes.ts'
import {
  atCap,
  bindingCap,
  freeOn,
  freeOverall,
  headroomFor,
  mostInflight,
  unasked,
} from './laws/slots.ts'
import { doomed } from './laws/deadlines.ts'
import { kept } from './laws/backfill.ts'
import type { LaneRoute, Lane, Request, Route, State } from './model/state.ts'
import { readyAt } from './laws/token-buckets.ts'
import { attemptOf, owes, waits } from './model/place.ts'

type Finding = string | null

/** Every slot in use is held by exactly one attempt, in every count that is kept of it. */
export function slotsAddUp(state: State): Finding {
  const attempts = [...state.requests.values()].filter((r) => attemptOf(r) !== null)
  const routes = sum(state.routes.values(), (route) => route.inflight)
  const lanes = sum(state.lanes, (lane) => lane.inflight)
  const tenants = sum(state.tenants.values(), (tenant) => tenant.inflight)
  const laneRoutes = sum(
    state.lanes.flatMap((lane) => lane.laneRoutes),
    (laneRoute) => laneRoute.inflight,
  )
  const counts = [state.inflight, routes, lanes, tenants, laneRoutes]
  if (counts.every((n) => n === attempts.length)) return null
  return `${attempts.length} attempts, but counts of ${counts.join(', ')}`
}

/** Every waiting request stands in exactly one queue, in every count that is kept of it. */
export function queuesAddUp(state: State): Finding {
  const waiting = [...state.requests.values()].filter(waits).length
  const lanes = sum(state.lanes, (lane) => lane.queued)
  const tenants = sum(state.tenants.values(), (tenant) => tenant.queued)
  const queues = sum(
    state.lanes.flatMap((lane) => lane.laneRoutes),
    (laneRoute) => laneRoute.queue.queued,
  )
  const counts = [state.queued, lanes, tenants, queues]
  if (counts.every((n) => n === waiting)) return null
  return `${waiting} waiting, but counts of ${counts.join(', ')}`
}

/** Whoever stands aside waits for a call that is in a slot and has not begun to answer, and not beyond its time. */
export function asideForACause(state: State): Finding {
  let aside = 0
  for (const { key, place, prefix, flow, asideMs } of state.requests.values()) {
    if (place.in !== 'aside') continue
    aside++
    if (prefix === null || prefix.opening.size === 0) return `${key} stands aside for nobody`
    for (const other of prefix.opening)
      if (attemptOf(other)?.forwarded !== false) return `${key} stands aside for ${other.key}`
    if (place.until < state.now || flow.queued < flow.aside.size) return `${key} stands aside late`
    const most = state.config.file.scheduling.prefix_wait_ms
    if (asideMs + place.until - place.since > most) return `${key} stands aside for too long`
  }
  const queues = sum(
    state.lanes.flatMap((lane) => lane.laneRoutes),
    (laneRoute) => laneRoute.queue.aside,
  )
  const flows = sum(state.tenants.values(), (tenant) =>
    sum(tenant.flows, (flow) => flow.aside.size),
  )
  const counts = [state.aside, queues, flows]
  return counts.every((n) => n === aside)
    ? null
    : `${aside} aside, but counts of ${counts.join(', ')}`
}

/** Who is held back is nobody's backlog. */
export function heldBackAddsUp(state: State): Finding {
  for (const laneRoute of state.lanes.flatMap((lane) => lane.laneRoutes)) {
    const { queue } = laneRoute
    const back = sum(queue.flows.values(), (flow) =>
      flow.tenant.heldBack ? flow.queued - flow.aside.size : 0,
    )
    if (back !== queue.back) return `${back} are held back, ${queue.back} counted`
  }
  return null
}

/** What those who wait are expected to use is what each of them is, but for the rounding of sums. */
export function expectedAddsUp(state: State): Finding {
  const waiting = new Map<LaneRoute, { duration: number; blind: number }>()
  for (const request of state.requests.values()) {
    if (!waits(request)) continue
    const { laneRoute, expected } = request
    const one = waiting.get(laneRoute) ?? { duration: 0, blind: 0 }
    if (expected.evidence) one.duration += expected.duration
    else one.blind++
    waiting.set(laneRoute, one)
  }
  for (const laneRoute of state.lanes.flatMap((lane) => lane.laneRoutes)) {
    const { duration, blind } = waiting.get(laneRoute) ?? { duration: 0, blind: 0 }
    const { queue } = laneRoute
    const off = Math.abs(queue.ahead.duration - duration)
    if (queue.blind !== blind || off > ROUNDING * Math.max(1, duration))
      return `${laneRoute.lane.config.name}: ${duration} s and ${blind} unknown wait, counted ${queue.ahead.duration} s and ${queue.blind}`
  }
  return null
}
const ROUNDING = 1e-6

/** No live request is left between two places. */
export function onePlaceEach(state: State): Finding {
  for (const { key, place } of state.requests.values())
    if (place.in === 'hand') return `${key} stands nowhere`
  return null
}

/** A breaker's permits are the attempts of its present generation, and no more than it gave. */
export function permitsAddUp(state: State): Finding {
  for (const route of state.routes.values()) {
    let held = 0
    for (const r of state.requests.values())
      if (r.route === route && attemptOf(r)?.generation === route.gate.generation) held++
    if (held !== route.ofGeneration)
      return `${route.id}: ${held} attempts of the generation, ${route.ofGeneration} counted`
  }
  return null
}

/** What lanes that go first have in flight is counted as it was when it started, whatever was reloaded since. */
export function firmAddsUp(state: State): Finding {
  let all = 0
  for (const request of state.requests.values()) if (attemptOf(request)?.firm === true) all++
  const { inflight } = state.firm
  return all === inflight ? null : `${all} firm attempts in flight, ${inflight} counted`
}

/** Who waits for a token of a retry budget is noted there, and nobody else is. */
export function owingAddsUp(state: State): Finding {
  const noted = new Set<Request>()
  for (const { budgets } of state.routes.values())
    for (const { owing } of budgets) for (const request of owing) noted.add(request)
  const owing = [...state.requests.values()].filter(({ place }) => owes(place))
  if (noted.size === owing.length && owing.every((one) => noted.has(one))) return null
  return `${owing.length} wait for a token of the retry budget, ${noted.size} noted`
}

/** What routes lack is counted as they come and go. */
export function lackingAddsUp(state: State): Finding {
  const all = sum(state.routes.values(), lacking)
  return all === state.lacking ? null : `routes lack ${all} slots, ${state.lacking} counted`
}

/** I8's mechanism: a tenant at its cap is outside every heap, any other with work is in it. */
export function parkedAtCap(state: State): Finding {
  for (const tenant of state.tenants.values()) {
    const should = tenant.heldBack || atCap(state, tenant)
    if (tenant.parked !== should)
      return `${tenant.name}: parked is ${tenant.parked} with ${tenant.inflight} in flight`
    for (const flow of tenant.flows) {
      const out = flow.head === null || tenant.parked || flow.backfilled || flow.held
      const place = out ? 'not armed' : 'armed'
      if ((flow.place === 'armed' ? 'armed' : 'not armed') !== place)
        return `${tenant.name}: is ${flow.place}, should be ${place}`
    }
  }
  return null
}

/** I5: after a step nothing is left that could start and would be in time. */
export function nothingLeftToStart(state: State): Finding {
  if (state.draining) return null
  for (const { backfill } of state.backfills)
    if (
      backfill?.request.flow.backfilled === true &&
      readyAt(backfill.request.route.quota, backfill.need, state.now) <= state.now
    )
      return `${backfill.request.key} stands aside and could start`
  const skip = new Set<Route>()
  for (;;) {
    const request = select(state, state.now, skip)
    if (request === null) return null
    const need = state.costs.estimate(request.asked, state.config)
    const inTime = doomed(state, request, state.now, need) === null
    const { quota } = request.route
    const yields = request.lane.config.preemptible && kept(quota)
    if (inTime && !yields && readyAt(quota, need, state.now) <= state.now)
      return `${request.key} could start and did not`
    skip.add(request.route)
  }
}

/** I1, I2, I3, I8 for the starts of one step: no bound is passed by a start. */
export function startsWithinBounds(state: State, effects: readonly Effect[]): Finding {
  for (const effect of effects) {
    if (effect.type !== 'start-attempt') continue
    const { route, lane, laneRoute, tenant, key } = effect.request
    if (attemptOf(effect.request) === null) continue
    if (route.inflight > route.limit) return `I1: ${key} started above the limit of ${route.id}`
    if (route.ofGeneration > route.gate.cap) return `I1: ${key} started above the breaker's cap`
    if (state.inflight > mostInflight(state)) return `I2: ${key} started above the global limit`
    if (laneRoute.inflight > laneRoute.cap || lane.inflight > lane.cap)
      return `I3: ${key} started above the cap of lane ${lane.config.name}`
    if (tenant.inflight > bindingCap(state, tenant))
      return `I8: ${key} started above its tenant's cap`
    if (state.now < route.quota.pausedUntil) return `I13: ${key} started before the pause's end`
  }
  return null
}

/** I3: beyond its minimum share a preemptible lane starts only where no other lane has an eligible head, and leaves
 *  the headroom free. Seen after the step: within it, other lanes go first and heads only leave. */
export function batchYields(state: State, effects: readonly Effect[]): Finding {
  // What preemptible lanes started later in the step was free at the time.
  const later = new Map<Route, number>()
  let laterOverall = 0
  for (const { request, inLane, inLaneRoute } of startsBackwards(effects)) {
    const { route, lane, laneRoute, key } = request
    if (!lane.config.preemptible) continue
    const laterHere = later.get(route) ?? 0
    const free = { route: freeOn(route) + laterHere, overall: freeOverall(state) + laterOverall }
    later.set(route, laterHere + 1)
    laterOverall++
    if (inLane < lane.minimumShare && inLaneRoute < laneRoute.minimumShare) continue
    if (wantedByOthers(route, state.now)) return `I3: ${key} started where another lane has a head`
    if (inLane < unasked(state, lane) && inLaneRoute < unasked(state, laneRoute)) continue
    const room = headroomFor(state, laneRoute)
    if (free.route < room.route || free.overall < room.overall)
      return `I3: ${key} started into the headroom`
  }
  return null
}

/** I4: no start comes before one that a guarantee of at least its own weight entitles to go first. */
export function guaranteesFirst(_state: State, effects: readonly Effect[]): Finding {
  let entitled: Request | null = null
  for (const { request, inLane, inLaneRoute } of startsBackwards(effects)) {
    const { lane, laneRoute, route } = request
    const own = inLane < lane.guarantee && inLaneRoute < laneRoute.guarantee
    if (
      entitled !== null &&
      entitled.route === route &&
      entitled.lane !== lane &&
      (!own || lane.config.weight < entitled.lane.config.weight)
    )
      return `I4: ${request.key} started before ${entitled.key}, which a guarantee entitled`
    if (own) entitled = request
  }
  return null
}

/** The starts of one step, last first, each with what its lane held before it, overall and on the route. */
function* startsBackwards(
  effects: readonly Effect[],
): Generator<{ request: Request; inLane: number; inLaneRoute: number }> {
  const lanes = new Map<Lane, number>()
  const laneRoutes = new Map<LaneRoute, number>()
  for (const effect of effects.toReversed()) {
    if (effect.type !== 'start-attempt' || attemptOf(effect.request) === null) continue
    const { request } = effect
    const inLane = (lanes.get(request.lane) ?? request.lane.inflight) - 1
    const inLaneRoute = (laneRoutes.get(request.laneRoute) ?? request.laneRoute.inflight) - 1
    lanes.set(request.lane, inLane)
    laneRoutes.set(request.laneRoute, inLaneRoute)
    yield { request, inLane, inLaneRoute }
  }
}

/** I9: at rest every counter is zero. */
export function allBackAtRest(state: State): Finding {
  if (state.requests.size > 0) return null
  const held = {
    slots: state.inflight,
    queued: state.queued,
    aside: state.aside,
    bytes: state.bytes,
    tenantBytes: sum(state.tenants.values(), (tenant) => tenant.bytes),
    active: state.active.size,
    live: sum(state.routes.values(), (route) => route.live),
    permits: sum(state.routes.values(), (route) => route.ofGeneration),
  }
  const left = Object.entries(held).filter(([, n]) => n !== 0)
  return left.length === 0 ? null : `at rest: ${left.map(([k, n]) => `${k} ${n}`).join(', ')}`
}

const always = [
  slotsAddUp,
  queuesAddUp,
  heldBackAddsUp,
  asideForACause,
  expectedAddsUp,
  onePlaceEach,
  permitsAddUp,
  firmAddsUp,
  owingAddsUp,
  lackingAddsUp,
  parkedAtCap,
  nothingLeftToStart,
  allBackAtRest,
]

const ofStarts = [startsWithinBounds, batchYields, guaranteesFirst]

/** Everything that is wrong now; empty when all is well. */
export function violations(state: State, effects: readonly Effect[]): string[] {
  const found = always.map((law) => {
    const finding = law(state)
    return finding === null ? null : `${law.name}: ${finding}`
  })
  for (const law of ofStarts) found.push(law(state, effects))
  return found.filter((one) => one !== null)
}

function sum<T>(items: Iterable<T>, of: (item: T) => number): number {
  let total = 0
  for (const item of items) total += of(item)
  return total
}
