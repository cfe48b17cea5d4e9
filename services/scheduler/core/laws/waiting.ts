/** Why a request waits: which bound holds it now. The same questions as `select` asks, in an order that names
 *  the bound that would still hold it if the others did not. */
import type { Wait, WaitReason, WaitingRow } from '#contracts/waiting'
import type { Millis } from '#contracts/units'
import { kept } from './backfill.ts'
import type { Estimate } from '#core/estimators/cost'
import { traitsOf } from '#core/estimators/witness'
import { heldUntil } from './held.ts'
import { wantedByOthers } from './lanes.ts'
import {
  bindingCap,
  freeOn,
  freeOverall,
  fits,
  headroomFor,
  mostInflight,
  reserved,
} from './slots.ts'
import type { LaneRoute, Request, State, Tenant, Flow } from '#core/model/state'
import { readyAt } from './token-buckets.ts'

const because = (
  reason: WaitReason,
  more: { bound?: number; untilMs?: Millis | null } = {},
): Wait => ({
  reason,
  bound: more.bound ?? null,
  untilMs: more.untilMs == null ? null : Math.max(0, Math.round(more.untilMs)),
})

/** What holds this queued request, or keeps it in back-off. O(lanes). */
export function whyWaits(state: State, request: Request, now: Millis): Wait {
  const { place } = request
  if (place.in === 'back-off') return because('retry', { untilMs: place.until - now })
  if (place.in === 'aside') return because('prefix', { untilMs: place.until - now })
  return whyFlow(state, request.laneRoute, request.flow, now)
}

/** What would hold an arrival of this tenant in this laneRoute, which is expected to use so much. */
export function whyWould(
  state: State,
  laneRoute: LaneRoute,
  of: { tenant: Tenant | undefined; expected: Estimate },
  now: Millis,
): Wait {
  const all = whyAll(laneRoute, now)
  if (all !== null) return all
  const { tenant } = of
  if (tenant !== undefined && tenant.heldBack) return limited(tenant, now)
  if (tenant?.parked === true) return because('tenant_cap', { bound: bindingCap(state, tenant) })
  return whyLaneRoute(state, laneRoute, laneRoute.queue.first()?.expected ?? of.expected, now)
}

function whyFlow(state: State, laneRoute: LaneRoute, flow: Flow, now: Millis): Wait {
  const all = whyAll(laneRoute, now)
  if (all !== null) return all
  const { tenant, head } = flow
  if (flow.held && head !== null) {
    const until = heldUntil(laneRoute.route.quota, traitsOf(head.asked), now)
    return because('pause', { untilMs: until === 0 ? null : until - now })
  }
  if (tenant.heldBack) return limited(tenant, now)
  if (tenant.parked) return because('tenant_cap', { bound: bindingCap(state, tenant) })
  if (flow.backfilled || head === null)
    return because('quota', { untilMs: quotaIn(laneRoute, head?.expected ?? null, now) })
  return whyLaneRoute(state, laneRoute, laneRoute.queue.first()?.expected ?? null, now)
}

const limited = ({ account }: Tenant, now: Millis): Wait =>
  because(account?.waitsFor ?? 'tenant_limit', {
    untilMs: account === null || account.waitsFor === 'budget_store' ? null : account.until - now,
  })

/** Reasons that are a tenant's own. */
const OWN: ReadonlySet<WaitReason> = new Set([
  'tenant_cap',
  'tenant_limit',
  'tenant_budget',
  'budget_store',
])

/** What holds everybody in the lane on this route. */
function whyAll({ lane, route }: LaneRoute, now: Millis): Wait | null {
  if (lane.paused) return because('lane_paused')
  const { upstream, quota, gate } = route
  if (now < upstream.blockedUntil) return because('block', { untilMs: upstream.blockedUntil - now })
  if (now < quota.pausedUntil) return because('pause', { untilMs: quota.pausedUntil - now })
  if (route.ofGeneration >= gate.cap)
    return because('breaker', {
      bound: gate.cap,
      untilMs: gate.until === null ? null : gate.until - now,
    })
  return null
}

/** What holds the tenant whose turn it is, and needs so much. */
function whyLaneRoute(
  state: State,
  laneRoute: LaneRoute,
  need: Estimate | null,
  now: Millis,
): Wait {
  const { lane, route } = laneRoute
  const untilMs = quotaIn(laneRoute, need, now)
  if (untilMs !== null && untilMs > 0) return because('quota', { untilMs })
  if (freeOn(route) <= 0) return because('route_limit', { bound: route.limit })
  if (freeOverall(state) <= 0) return because('global', { bound: mostInflight(state) })
  if (laneRoute.inflight >= laneRoute.cap || lane.inflight >= lane.cap)
    return because('lane_cap', { bound: Math.min(laneRoute.cap, lane.cap) })
  if (!fits(state, laneRoute, false)) {
    const held = reserved(state, laneRoute)
    const own = reservedBy(state, laneRoute)
    return because(own >= held.overall || held.route > 0 ? 'hold' : 'other_routes', {
      bound: Math.max(held.route, held.overall),
    })
  }
  if (!lane.config.preemptible) return because('turn')
  if (wantedByOthers(route, now) || kept(route.quota)) return because('yields')
  if (!fits(state, laneRoute, true))
    return because('headroom', { bound: headroomOf(state, laneRoute) })
  return because('turn')
}

function headroomOf(state: State, laneRoute: LaneRoute): number {
  const { route, overall } = headroomFor(state, laneRoute)
  return Math.max(route, overall)
}

/** Slots that other lanes reserve over all routes. */
function reservedBy(state: State, laneRoute: LaneRoute): number {
  let sum = 0
  for (const other of state.lanes)
    if (other !== laneRoute.lane) sum += Math.max(0, other.reservedSlots - other.inflight)
  return sum
}

/** Null: there is nobody whose need is known. */
const quotaIn = (laneRoute: LaneRoute, need: Estimate | null, now: Millis): Millis | null =>
  need === null ? null : readyAt(laneRoute.route.quota, need, now) - now

/** Who waits for what, by lane and route; requests in back-off are not in a queue and not here.
 *  O(tenants that wait): for observers, not for a step. */
export function waitingBy(state: State, now: Millis): WaitingRow[] {
  const rows: Rows = new Map()
  for (const lane of state.lanes)
    for (const laneRoute of lane.laneRoutes)
      if (laneRoute.queue.queued > 0) countLaneRoute(state, laneRoute, now, rows)
  return [...rows.values()].map(({ most: _, ...row }) => row)
}

type Rows = Map<string, WaitingRow & { most: number }>

function countLaneRoute(state: State, laneRoute: LaneRoute, now: Millis, rows: Rows): void {
  for (const flow of laneRoute.queue.flows.values()) {
    const { head, aside, tenant } = flow
    const standing = flow.queued - aside.size
    if (standing > 0) {
      const wait = whyFlow(state, laneRoute, flow, now)
      count(rows, laneRoute, { wait, tenant, count: standing, oldest: head, now })
    }
    if (aside.first === null) continue
    const wait = whyWaits(state, aside.first, now)
    count(rows, laneRoute, { wait, tenant, count: aside.size, oldest: aside.first, now })
  }
}

function count(
  rows: Rows,
  { lane, route }: LaneRoute,
  of: { wait: Wait; tenant: Tenant; count: number; oldest: Request | null; now: Millis },
): void {
  const { reason, bound, untilMs } = of.wait
  const key = `${lane.config.name} ${route.id} ${reason}`
  const oldest = of.oldest === null ? 0 : Math.round(of.now - of.oldest.queuedAt)
  const own = OWN.has(reason)
  const row = rows.get(key) ?? {
    lane: lane.config.name,
    route: route.id,
    reason,
    count: 0,
    oldest_ms: 0,
    tenant: null,
    bound: bound === null || Number.isFinite(bound) ? bound : null,
    until_ms: untilMs,
    most: 0,
  }
  rows.set(key, row)
  row.count += of.count
  row.oldest_ms = Math.max(row.oldest_ms, oldest)
  if (!own || of.count <= row.most) return
  row.most = of.count
  row.tenant = of.tenant.name
  row.bound = bound
}
