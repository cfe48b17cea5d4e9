/** Attempts in flight, under a limit and a gate (control-laws §5).
 *
 *  Lanes' slot numbers are "of base" and are scaled to what there really is, in two scopes: the route
 *  and all routes. Scaling happens when a limit, a gate or the configuration moves, so that a decision
 *  only compares. */
import { SHARED_TENANT_CAP } from '#contracts/config'
import type { Level } from '#core/estimators/load-watch'
import { inflightBy, keptForOthers, reviewReserves } from './isolation.ts'
import { RecentNeed } from '#core/estimators/lending'
import type { Attempt, LaneRoute, Lane, Request, Route, State, Tenant } from '#core/model/state'
import { HAND } from '#core/model/place'
import { ALONE, partOf, slotsOf } from '#core/model/share'

/** Below this many slots one slot would be a large share: there is no minimum. */
export const MINIMUM_FROM_SLOTS = 12

/** Recomputes every scaled number. O(lanes x routes). */
export function rescale(state: State): void {
  const { base, headroom } = state.config.file.scheduling
  let total = 0
  let limits = 0
  for (const route of state.routes.values()) {
    total += usable(route)
    limits += route.limit
  }
  const most = mostInflight(state)
  state.slots = state.routes.size === 0 ? most : Math.min(most, total)
  // The breaker's cap counts its own generation; a lane's counts survivors of an outage too, and would let them
  // keep probes out.
  const limited = state.routes.size === 0 ? most : Math.min(most, limits)
  const { level } = state.load
  state.headroom = headroomOf(headroom ?? 0, state.slots, base)
  state.anyReserved = false
  for (const lane of state.lanes) {
    scale(lane, lane, { slots: state.slots, limit: limited, base, level })
    if (lane.config.reservedSlots > 0) state.anyReserved = true
  }
  for (const route of state.routes.values()) {
    route.headroom = headroomOf(headroom ?? 0, usable(route), base)
    for (const laneRoute of route.laneRoutes) {
      scale(laneRoute, laneRoute.lane, { slots: usable(route), limit: route.limit, base, level })
      if (laneRoute.lane.config.preemptible) capByAllowance(laneRoute, base)
    }
  }
  reviewReserves(state, 0)
  reviewLarge(state)
}

/** Of so many slots, what is configured to be kept free: a part of one slot is a slot, and the last one is never. */
const headroomOf = (configured: number, slots: number, base: number): number =>
  Math.max(0, Math.min(Math.ceil((configured * slots) / base), slots - 1))

/** After the allowance of one preemptible lane on one route has moved. */
export function rescaleAllowance(state: State, laneRoute: LaneRoute): void {
  const { base } = state.config.file.scheduling
  capByAllowance(laneRoute, base)
}

function scale(
  into: { guarantee: number; reservedSlots: number; minimumShare: number; cap: number },
  lane: Lane,
  of: { slots: number; limit: number; base: number; level: Level },
): void {
  const { config } = lane
  const { slots, limit, base, level } = of
  // Multiplied first: a quotient that is rounded costs a slot.
  const scaled = (number: number): number => Math.floor((number * slots) / base)
  into.guarantee = scaled(config.guarantee)
  into.reservedSlots = level >= 2 ? 0 : scaled(config.reservedSlots)
  into.minimumShare =
    !config.preemptible || level >= 2 || slots < MINIMUM_FROM_SLOTS || config.minimumShare === 0
      ? 0
      : Math.max(1, scaled(config.minimumShare))
  into.cap = Math.max(1, Math.floor((capOf(lane, base) * limit) / base))
}

/** A preemptible lane's default cap binds no idle slot. */
export const capOf = ({ config }: Lane, base: number): number =>
  config.preemptible && !config.capBinds ? Math.max(base, config.cap) : config.cap

/** What preemption leaves to the lane. */
function capByAllowance(laneRoute: LaneRoute, base: number): void {
  const full = Math.floor((capOf(laneRoute.lane, base) * laneRoute.route.limit) / base)
  laneRoute.cap = Math.max(1, laneRoute.minimumShare, Math.min(full, laneRoute.allowance))
}

/** min(L, b): the slots that a route can use at all. */
export const usable = (route: Route): number => Math.min(route.limit, route.gate.cap)

/** Slots free on the route; may be negative after a decrease. */
export const freeOn = (route: Route): number =>
  Math.min(route.limit - route.inflight, route.gate.cap - route.ofGeneration)

export const freeOverall = (state: State): number => mostInflight(state) - state.inflight

/** Attempts that may be in flight together, of ours, now. */
export const mostInflight = ({ config, share, now }: State): number =>
  Math.min(config.maxInflight, slotsOf(share, now))

/** Of a bound that the whole fleet keeps: our part of it, and never none. */
const oursOf = ({ share, now }: State, bound: number): number =>
  share === ALONE ? bound : Math.max(1, Math.floor(bound * partOf(share, now)))

/** Slots that other lanes hold back from this one, in each scope; overall also what other routes need. */
export function reserved(state: State, laneRoute: LaneRoute): { route: number; overall: number } {
  const others = state.lacking === 0 ? 0 : keptForOthers(state, laneRoute.route)
  if (!state.anyReserved) return others === 0 ? NOTHING : { route: 0, overall: others }
  let route = 0
  for (const other of laneRoute.route.laneRoutes)
    if (other.lane !== laneRoute.lane && !other.lane.paused)
      route += Math.max(0, other.reservedSlots - other.inflight)
  let overall = 0
  for (const other of state.lanes)
    if (other !== laneRoute.lane && !other.paused)
      overall += Math.max(0, other.reservedSlots - other.inflight)
  return { route, overall: Math.max(overall, others) }
}
const NOTHING = { route: 0, overall: 0 }

/** May one more attempt of this lane start on this route, leaving reserved slots (and headroom) alone? */
export function fits(state: State, laneRoute: LaneRoute, leaveHeadroom: boolean): boolean {
  if (laneRoute.inflight >= laneRoute.cap || laneRoute.lane.inflight >= laneRoute.lane.cap)
    return false
  const held = reserved(state, laneRoute)
  const room = leaveHeadroom ? headroomFor(state, laneRoute) : NOTHING
  const onRoute = Math.max(held.route, room.route)
  const overall = Math.max(held.overall, room.overall)
  return freeOn(laneRoute.route) > onRoute && freeOverall(state) > overall
}

/** Slots that a preemptible lane leaves free for the others: as configured, else what they lately needed. A lane
 *  always has one slot, or its minimum share, that it need not leave; and probes come from whoever has work. */
export function headroomFor(
  state: State,
  laneRoute: LaneRoute,
): { route: number; overall: number } {
  const { route, lane } = laneRoute
  if (route.gate.state !== 'closed') return NOTHING
  if (laneRoute.inflight < unasked(state, laneRoute) && lane.inflight < unasked(state, lane))
    return NOTHING
  if (state.config.file.scheduling.headroom !== undefined)
    return { route: route.headroom, overall: state.headroom }
  return { route: route.firm.free, overall: state.firm.free }
}

/** Slots that a preemptible lane has without regard to what others may need; while the provider gives far less
 *  than usual its minimum share at most, then none. */
export function unasked({ load }: State, { minimumShare }: Pick<Lane, 'minimumShare'>): number {
  if (load.level >= 2) return 0
  return load.level === 1 ? minimumShare : Math.max(1, minimumShare)
}

/** An attempt takes its slot. */
export function take(state: State, request: Request, attempt: Attempt): void {
  const { laneRoute, route, lane, tenant } = request
  request.place = { in: 'slot', attempt }
  state.inflight++
  inflightBy(state, route, 1)
  route.running.add(request)
  route.ofGeneration++
  lane.inflight++
  laneRoute.inflight++
  if (attempt.firm) firmBy(state, request, 1)
  else laneRoute.running.add(request)
  tenant.inflight++
  noteLarge(state, tenant)
  reviewParking(state, tenant)
}

function firmBy(state: State, { route, tenant }: Request, by: 1 | -1): void {
  route.firm.changed(by)
  state.firm.changed(by)
  tenant.firm += by
}

/** Gives the slot back, with the breaker's permit. Exactly once per attempt. */
export function release(state: State, request: Request): Attempt {
  const { laneRoute, route, lane, tenant, place } = request
  if (place.in !== 'slot') throw new Error(`${request.key}: a slot is given back once`)
  const { attempt } = place
  request.place = HAND
  state.inflight--
  inflightBy(state, route, -1)
  route.running.delete(request)
  if (attempt.generation === route.gate.generation) route.ofGeneration--
  lane.inflight--
  laneRoute.inflight--
  if (laneRoute.running.size > 0) laneRoute.running.delete(request)
  if (attempt.firm) firmBy(state, request, -1)
  route.firm.ended()
  state.firm.ended()
  tenant.inflight--
  if (tenant.others !== null && tenant.inflight < FEW) {
    state.large.delete(tenant)
    tenant.others = null
  }
  reviewParking(state, tenant)
  reviewActive(state, tenant)
  return attempt
}

/** From this many slots on a tenant's neighbours are watched, and no more below so few. */
const MANY = SHARED_TENANT_CAP
export const FEW = SHARED_TENANT_CAP / 2

/** A start: those with many slots hear what the others have now. */
function noteLarge(state: State, tenant: Tenant): void {
  if (tenant.inflight >= MANY && tenant.others === null) {
    tenant.others = new RecentNeed()
    state.large.add(tenant)
  }
  if (state.large.size === 0) return
  for (const large of state.large)
    if (large !== tenant) large.others?.note(state.firm.inflight - large.firm)
  reviewLarge(state)
}

/** The default cap of those with many slots is what the others lately left, and never below the shared one. */
export function reviewLarge(state: State): void {
  for (const tenant of state.large) {
    const needed = (tenant.others?.value ?? 0) - state.firm.soon
    const cap = Math.max(oursOf(state, SHARED_TENANT_CAP), state.slots - Math.max(0, needed))
    if (cap === tenant.sharedCap) continue
    tenant.sharedCap = cap
    reviewParking(state, tenant)
  }
}

/** The cap that binds this tenant now (control-laws §1): a configured one always; the default one only
 *  while another tenant has work, and then it is what the others lately left at their peak: no slot stays idle
 *  that nobody is about to need. */
export function bindingCap(state: State, tenant: Tenant): number {
  const cap = tenant.cap ?? state.config.tenantCap
  if (cap !== null) return oursOf(state, cap)
  const others = state.active.size - (tenant.active ? 1 : 0)
  return others > 0 ? tenant.sharedCap : Infinity
}

/** It has as many slots as it may. */
export const atCap = (state: State, tenant: Tenant): boolean =>
  tenant.inflight >= bindingCap(state, tenant)

/** Parks a tenant at its cap, or that must wait for more of its limits; or arms it again. */
export function reviewParking(state: State, tenant: Tenant): void {
  const parked = tenant.heldBack || atCap(state, tenant)
  if (parked === tenant.parked) return
  tenant.parked = parked
  for (const flow of tenant.flows) flow.queue.rearm(flow)
}

/** Keeps the set of tenants with work. When it goes between one and two, the default cap of the one who
 *  was alone begins or ceases to bind. */
export function reviewActive(state: State, tenant: Tenant): void {
  const { active } = state
  const has = tenant.queued > 0 || tenant.inflight > 0
  if (has === tenant.active) return
  tenant.active = has
  const before = active.size
  if (has) active.add(tenant)
  else active.delete(tenant)
  if (Math.max(before, active.size) > 2) return
  for (const one of active) reviewParking(state, one)
}
