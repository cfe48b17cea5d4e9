/** Attempts in flight, under a limit and a gate (control-laws §5).
 *
 *  Lanes' slot numbers are "of base" and are scaled to what there really is, in two scopes: the route
 *  and all routes. Scaling happens when a limit, a gate or the configuration moves, so that a decision
 *  only compares. */
import { SHARED_TENANT_CAP } from '#contracts/config'
import type { Verdict } from '#contracts/verdict'
import type { Millis } from '#contracts/units'
import type { Level } from './degradation.ts'
import { inflightBy, keptForOthers, reviewReserves } from './isolation.ts'
import type { Attempt, Cell, Lane, Request, Route, State, Tenant } from './state.ts'

/** Below this many slots a trickle would be a large share: there is none. */
const TRICKLE_FROM_SLOTS = 12

/** Recomputes every scaled number. O(lanes x routes). */
export function rescale(state: State): void {
  const { base, headroom } = state.config.file.scheduling
  let total = 0
  for (const route of state.routes.values()) total += usable(route)
  const global = state.routes.size === 0 ? state.config.maxInflight : total
  const k = Math.min(state.config.maxInflight, global) / base
  const { level } = state.load
  state.headroom = Math.ceil(headroom * k)
  state.anyHold = false
  for (const lane of state.lanes) {
    scale(lane, lane, k, base, level)
    if (lane.config.hold > 0) state.anyHold = true
  }
  for (const route of state.routes.values()) {
    const here = usable(route) / base
    route.headroom = Math.ceil(headroom * here)
    for (const cell of route.cells) {
      scale(cell, cell.lane, here, base, level)
      if (cell.lane.config.preemptible) capByAllowance(cell, here, level)
    }
  }
  reviewReserves(state, 0)
}

/** After the allowance of one preemptible cell has moved. */
export function rescaleAllowance(state: State, cell: Cell): void {
  capByAllowance(cell, usable(cell.route) / state.config.file.scheduling.base, state.load.level)
}

function scale(
  into: { guarantee: number; hold: number; trickle: number; cap: number },
  lane: Lane,
  k: number,
  base: number,
  level: Level,
): void {
  const { config } = lane
  into.guarantee = Math.floor(config.guarantee * k)
  into.hold = level >= 2 ? 0 : Math.floor(config.hold * k)
  into.trickle =
    !config.preemptible || k * base < TRICKLE_FROM_SLOTS || config.trickle === 0
      ? 0
      : Math.max(1, Math.floor(config.trickle * k))
  into.cap = Math.max(1, Math.floor(config.cap * k))
}

/** What preemption leaves to the lane, and what a level of degradation leaves of that. */
function capByAllowance(cell: Cell, k: number, level: Level): void {
  const full = Math.floor(cell.lane.config.cap * k)
  if (level >= 2) cell.cap = 0
  else if (level === 1) cell.cap = cell.trickle
  else cell.cap = Math.max(1, cell.trickle, Math.min(full, cell.allowance))
}

/** min(L, b): the slots that a route can use at all. */
export const usable = (route: Route): number => Math.min(route.limit, route.gate.cap)

/** Slots free on the route; may be negative after a decrease. */
export const freeOn = (route: Route): number =>
  Math.min(route.limit - route.inflight, route.gate.cap - route.ofGeneration)

export const freeOverall = (state: State): number => state.config.maxInflight - state.inflight

/** Slots that other lanes hold back from this one, in each scope; overall also what other routes need. */
export function reserved(state: State, cell: Cell): { route: number; overall: number } {
  const others = state.lacking === 0 ? 0 : keptForOthers(state, cell.route)
  if (!state.anyHold) return others === 0 ? NOTHING : { route: 0, overall: others }
  let route = 0
  for (const other of cell.route.cells)
    if (other.lane !== cell.lane) route += Math.max(0, other.hold - other.inflight)
  let overall = 0
  for (const other of state.lanes)
    if (other !== cell.lane) overall += Math.max(0, other.hold - other.inflight)
  return { route, overall: Math.max(overall, others) }
}
const NOTHING = { route: 0, overall: 0 }

/** May one more attempt of this lane start on this route, leaving holds (and headroom) alone? */
export function fits(state: State, cell: Cell, leaveHeadroom: boolean): boolean {
  if (cell.inflight >= cell.cap || cell.lane.inflight >= cell.lane.cap) return false
  const held = reserved(state, cell)
  const onRoute = Math.max(held.route, leaveHeadroom ? cell.route.headroom : 0)
  const overall = Math.max(held.overall, leaveHeadroom ? state.headroom : 0)
  return freeOn(cell.route) > onRoute && freeOverall(state) > overall
}

/** An attempt takes its slot. */
export function take(state: State, request: Request, attempt: Attempt): void {
  const { cell, route, lane, tenant } = request
  request.attempt = attempt
  state.inflight++
  inflightBy(state, route, 1)
  route.ofGeneration++
  lane.inflight++
  cell.inflight++
  if (lane.config.preemptible) cell.running.add(request)
  tenant.inflight++
  reviewParking(state, tenant)
}

/** Gives the slot back, with the breaker's permit. Exactly once per attempt. */
export function release(state: State, request: Request): Attempt {
  const { cell, route, lane, tenant, attempt } = request
  if (attempt === null) throw new Error(`${request.key}: a slot is given back once`)
  request.attempt = null
  state.inflight--
  inflightBy(state, route, -1)
  if (attempt.generation === route.gate.generation) route.ofGeneration--
  lane.inflight--
  cell.inflight--
  cell.running.delete(request)
  tenant.inflight--
  reviewParking(state, tenant)
  reviewActive(state, tenant)
  return attempt
}

/** The cap that binds this tenant now (control-laws §1): a configured one always; the default one only
 *  while another tenant has work, so that a lone tenant can use everything. */
export function bindingCap(state: State, tenant: Tenant): number {
  const cap = tenant.cap ?? state.config.tenantCap
  if (cap !== null) return cap
  const others = state.active.size - (state.active.has(tenant) ? 1 : 0)
  return others > 0 ? SHARED_TENANT_CAP : Infinity
}

/** Parks a tenant at its cap, or arms it again. */
export function reviewParking(state: State, tenant: Tenant): void {
  const parked = tenant.inflight >= bindingCap(state, tenant)
  if (parked === tenant.parked) return
  tenant.parked = parked
  for (const member of tenant.members) member.queue.rearm(member)
}

/** Keeps the set of tenants with work. When it goes between one and two, the default cap of the one who
 *  was alone begins or ceases to bind. */
export function reviewActive(state: State, tenant: Tenant): void {
  const { active } = state
  const has = tenant.queued > 0 || tenant.inflight > 0
  if (has === active.has(tenant)) return
  const before = active.size
  if (has) active.add(tenant)
  else active.delete(tenant)
  if (Math.max(before, active.size) > 2) return
  for (const one of active) reviewParking(state, one)
}

/** What an attempt's end proves when we ended it: one that was silent for longer than a hang, when its
 *  deadline came first, says of the upstream what a hang says. */
export function withSilence(attempt: Attempt, verdict: Verdict, now: Millis): Verdict {
  const silent =
    verdict.kind === 'ended' &&
    attempt.ending === 'deadline' &&
    !attempt.firstByte &&
    now - attempt.startedAt > attempt.silenceMs
  return silent ? { ...verdict, kind: 'ended_silent' } : verdict
}
