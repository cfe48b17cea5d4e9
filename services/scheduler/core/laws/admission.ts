/** Accept or refuse, with the reason (control-laws §6, §12), and make room in a full queue. */
import type { TenantConfig } from '#contracts/config'
import type { Millis } from '#contracts/units'
import type { Estimate } from '#core/estimators/cost'
import type { Effect, Refused } from '#core/model/effects'
import type { Carried, NewRequest } from '#core/model/inputs'
import { type LaneRoute, type Lane, type Request, type State, Tenant } from '#core/model/state'
import { usageOf } from './degradation.ts'
import { waitOf } from './prediction.ts'
import { reviewParking } from './slots.ts'
import { cannotPay, joinAccount } from './accounts.ts'
import { blockWords } from './upstream-block.ts'
import { HAND } from '#core/model/place'
import { unreachable } from './deadlines.ts'
import { prefixOf } from './prefixes.ts'
import { queueFull, refuse } from './refusal.ts'
import { routeFor } from './routes.ts'

/** Takes a request in, or says why not. `evicted` is a request that loses its place to it. */
export type Admission =
  | { admitted: true; request: Request; evicted: Request | null }
  | { admitted: false; refused: Refused }

export function admit(state: State, asked: NewRequest, now: Millis, effects: Effect[]): Admission {
  const lane = state.lanesByName.get(asked.lane)
  const settings = tenantConfig(state, asked.tenant)
  const early = authorise(state, asked, lane, settings)
  if (early !== null) return no(early)
  if (lane === undefined || settings === null) throw new Error('authorise checks lane and tenant')
  const { route, none } = routeFor(state, asked, effects)
  if (route === null) return no(refuse('UNKNOWN_MODEL', none))
  const laneRoute = route.laneRoutes.find((one) => one.lane === lane)
  if (laneRoute === undefined) throw new Error('every route stands in every lane')
  // A blocked upstream still takes work that can wait.
  if (now < route.upstream.blockedUntil && !lane.config.preemptible)
    return no(
      refuse('UPSTREAM_BLOCKED', blockWords(route.upstream), {
        retryAfterMs: route.upstream.blockedUntil - now,
        verdict: route.upstream.blockedBy,
      }),
    )
  const { carried = null } = asked
  if (carried === null) state.load.arrived(now)
  if (!lane.config.preemptible) route.reserve.arrived()
  // Where nothing waits a slot is free, and whoever comes may have it.
  if (laneRoute.queue.standing > 0 && sheds(state, lane, asked.tenant, now)) return no(shed())
  const room = makeRoom(state, laneRoute, asked, settings)
  if (room.refused !== null) return no(room.refused)
  const deadline = carried?.deadline ?? now + (asked.deadlineMs ?? lane.config.timeoutMs)
  const expected = state.costs.estimate(asked, state.config)
  const waitMs = waitOf(state, laneRoute, { tenant: asked.tenant, expected, now })
  const { tenant } = asked
  const first = (carried?.attempts ?? 0) + (carried?.preemptions ?? 0) === 0
  const poor = cannotPay(state, {
    tenant: asked.tenant,
    route,
    need: expected,
    deadline,
    now,
    first,
  })
  if (poor !== null) return no(poor)
  const late = unreachable(state, laneRoute, { expected, waitMs, now, deadline, asked, tenant })
  if (late !== null) return no(late)
  return {
    admitted: true,
    request: accept(state, laneRoute, asked, { now, deadline, expected, predictedMs: waitMs }),
    evicted: room.evicted,
  }
}

/** Turned away while the provider gives so little that arrivals outrun it (control-laws §13): heavy tenants
 *  of light lanes first. */
function sheds(state: State, lane: Lane, tenant: string, now: Millis): boolean {
  if (state.load.level < 2) return false
  const known = state.tenants.get(tenant)
  const heavier = state.lanes.indexOf(lane)
  return state.load.sheds({
    laneRank: state.lanes.length - 1 - heavier,
    usage: known === undefined ? 0 : usageOf(known, now),
  })
}

export const SHED_RETRY_AFTER: Millis = 5_000
const shed = (): Refused =>
  refuse(
    'SHED',
    `the provider gives far less than usual and the queue grows; retry in ${SHED_RETRY_AFTER / 1_000} s`,
    { retryAfterMs: SHED_RETRY_AFTER },
  )

const no = (refused: Refused): Admission => ({ admitted: false, refused })

export function tenantConfig(state: State, tenant: string): TenantConfig | null {
  const { tenants } = state.config
  const named = tenants.named.get(tenant)
  if (named !== undefined) return named
  return tenants.unknown === 'reject' && tenant !== 'default' ? null : tenants.default
}

function authorise(
  state: State,
  asked: NewRequest,
  lane: Lane | undefined,
  settings: TenantConfig | null,
): Refused | null {
  if (state.draining) return refuse('SHUTDOWN', 'this instance is stopping; others may serve')
  const never = mayNot(state, asked, lane, settings)
  if (never !== null) return never
  if (state.requests.has(asked.key))
    return refuse('DUPLICATE_ID', 'a request of this tenant with this id is live already')
  return null
}

/** Why it would be refused whenever it came: its tenant, its lane or its model is none of this configuration. */
export function refusedAlways(
  state: State,
  asked: Pick<NewRequest, 'tenant' | 'lane' | 'model'>,
): Refused | null {
  const lane = state.lanesByName.get(asked.lane)
  const never = mayNot(state, asked, lane, tenantConfig(state, asked.tenant))
  const { routes } = state.config
  if (never !== null || routes === null) return never
  if (routes.some(({ model }) => model === asked.model)) return null
  const models = routes.map(({ model }) => model).join(', ')
  return refuse('UNKNOWN_MODEL', `no route serves the model; there are ${models}`)
}

function mayNot(
  state: State,
  asked: Pick<NewRequest, 'lane'>,
  lane: Lane | undefined,
  settings: TenantConfig | null,
): Refused | null {
  if (settings === null) return refuse('FORBIDDEN', 'the tenant is not in the configuration')
  if (lane === undefined || lane.retired) {
    const names = state.config.lanes.map((one) => one.name).join(', ')
    return refuse('UNKNOWN_LANE', `no such lane; there are ${names}`)
  }
  if (settings.lanes !== null && !settings.lanes.includes(asked.lane))
    return refuse('FORBIDDEN', `the tenant may use ${settings.lanes.join(', ')} only`)
  return null
}

// ---- room ----

interface Room {
  refused: Refused | null
  evicted: Request | null
}
const ROOM: Room = { refused: null, evicted: null }

/** Bounded queues (control-laws §12). When a lane is full, the tenant with most queued per weight loses
 *  its newest request that was never attempted; requests already admitted are never refused for space. */
function makeRoom(
  state: State,
  laneRoute: LaneRoute,
  asked: NewRequest,
  settings: TenantConfig,
): Room {
  const { config } = state
  const { queued_bytes, tenant_bytes } = config.file.limits
  const ownBytes = state.tenants.get(asked.tenant)?.bytes ?? 0
  if (ownBytes + asked.bytes > tenant_bytes)
    return full("the tenant's live bodies together hold all they may (limits.tenant_bytes)")
  if (state.bytes + asked.bytes > queued_bytes)
    return full('all live bodies together hold all they may (limits.queued_bytes)')
  const { queue } = laneRoute
  const most = laneRoute.lane.config.queueMax
  const own = queue.flows.get(asked.tenant)
  const ownQueued = own?.queued ?? 0
  const share = Math.max(1, Math.floor(most * config.file.scheduling.tenant_queue_share))
  const othersWait = queue.queued > ownQueued
  if (othersWait && ownQueued >= share)
    return full(`the tenant has ${ownQueued} of at most ${share} queued in lane ${asked.lane}`)
  if (queue.queued < most) return ROOM
  const message = `lane ${asked.lane} is full (${queue.queued} queued)`
  const fullest = queue.fullest()
  if (fullest === undefined) return full(message)
  const pressure = fullest.queued / fullest.tenant.weight
  if (fullest === own || (ownQueued + 1) / settings.weight >= pressure) return full(message)
  for (const newest of [fullest.tail, fullest.aside.last])
    for (let r = newest; r !== null; r = r.before)
      if (r.attempts === 0 && r.preemptions === 0) return { refused: null, evicted: r }
  return full(message)
}

const full = (message: string): Room => ({ refused: queueFull(message), evicted: null })

// ---- acceptance ----

function accept(
  state: State,
  laneRoute: LaneRoute,
  asked: NewRequest,
  of: { now: Millis; deadline: Millis; expected: Estimate; predictedMs: Millis },
): Request {
  const { now } = of
  const { lane, route } = laneRoute
  const tenant = tenantOf(state, asked.tenant)
  const flow = laneRoute.queue.join(tenant)
  const { carried = null } = asked
  const request: Request = {
    key: asked.key,
    asked,
    tenant,
    lane,
    route,
    laneRoute,
    flow,
    acceptedAt: carried?.acceptedAt ?? now,
    deadline: of.deadline,
    expected: of.expected,
    predictedMs: of.predictedMs,
    laneStamp: carried?.laneStamp ?? lane.group.v,
    routeStamp: lane.v,
    tenantStamp: laneRoute.queue.v,
    asideTurn: 0,
    asideMs: 0,
    limitedMs: 0,
    limitedBefore: 0,
    prefix: prefixOf(state, asked, route),
    place: HAND,
    before: null,
    after: null,
    queuedAt: now,
    queueMs: carried?.queueMs ?? 0,
    upstreamMs: carried?.upstreamMs ?? 0,
    attempts: carried?.attempts ?? 0,
    preemptions: carried?.preemptions ?? 0,
    mayBeBackfilled: null,
    unexplained: carried?.unexplained ?? 0,
    lastVerdict: carried?.lastVerdict ?? null,
    checked: false,
    answered: false,
  }
  state.requests.set(asked.key, request)
  state.bytes += asked.bytes
  tenant.bytes += asked.bytes
  route.live++
  return request
}

/** What a refused request takes along to another route; `request` is what it was here, null when it never
 *  was accepted. */
export function carriedFrom(
  state: State,
  asked: NewRequest,
  request: Request | null,
  now: Millis,
): Carried {
  if (request !== null) {
    const { acceptedAt, deadline, laneStamp, attempts, preemptions } = request
    const { unexplained, queueMs, upstreamMs, lastVerdict } = request
    const spent = { attempts, preemptions, unexplained, queueMs, upstreamMs, lastVerdict }
    return { acceptedAt, deadline, laneStamp, ...spent }
  }
  const { carried = null } = asked
  if (carried !== null) return carried
  const timeoutMs = state.lanesByName.get(asked.lane)?.config.timeoutMs ?? 0
  return {
    acceptedAt: now,
    deadline: now + (asked.deadlineMs ?? timeoutMs),
    laneStamp: null,
    ...{ attempts: 0, preemptions: 0, unexplained: 0, queueMs: 0, upstreamMs: 0 },
    lastVerdict: null,
  }
}

/** The models to try instead, as the route of the model asked for names them. */
export const chainOf = (state: State, model: string): readonly string[] =>
  (
    state.routesByModel.get(model)?.config ??
    state.config.routes?.find((route) => route.model === model)
  )?.fallback ?? []

function tenantOf(state: State, name: string): Tenant {
  const known = state.tenants.get(name)
  if (known !== undefined) return known
  const settings = tenantConfig(state, name) ?? state.config.tenants.default
  const { weight, maxInflight } = settings
  const tenant = new Tenant(name, { weight, cap: maxInflight }, state.tenants)
  joinAccount(state, tenant)
  return tenant
}

/** New weights and caps for the tenants that are here. */
export function configureTenants(state: State): void {
  for (const tenant of state.tenants.values()) {
    const settings = tenantConfig(state, tenant.name) ?? state.config.tenants.default
    tenant.weight = settings.weight
    tenant.cap = settings.maxInflight
    for (const flow of tenant.flows) flow.queue.rearm(flow)
    reviewParking(state, tenant)
  }
}
