/** Accept or refuse, with the reason (control-laws §6, §12), and make room in a full queue. */
import type { TenantConfig } from '#contracts/config'
import type { Millis } from '#contracts/units'
import type { Estimate } from './cost.ts'
import type { Effect, Refused } from './effects.ts'
import type { Carried, NewRequest } from './inputs.ts'
import {
  attachLanes,
  newRoute,
  type Cell,
  type Lane,
  type Request,
  type Route,
  type State,
  Tenant,
} from './state.ts'
import { forgetAside } from './aside.ts'
import { usageOf } from './degradation.ts'
import { waitOf } from './prediction.ts'
import { rescale, reviewActive, reviewParking } from './slots.ts'
import { configureQuota } from './token-buckets.ts'

/** Bounds of the retry-after that a refusal names. */
const RETRY_AFTER = { min: 1_000, max: 60_000 }

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
  const cell = route.cells.find((one) => one.lane === lane)
  if (cell === undefined) throw new Error('every route has a cell in every lane')
  // A blocked upstream still takes work that can wait.
  if (now < route.upstream.blockedUntil && !lane.config.preemptible)
    return no(
      refuse('UPSTREAM_BLOCKED', 'the upstream account is blocked', {
        retryAfterMs: route.upstream.blockedUntil - now,
        verdict: route.upstream.blockedBy,
      }),
    )
  const { carried = null } = asked
  if (carried === null) state.load.arrived(now)
  if (!lane.config.preemptible) route.reserve.arrived()
  if (sheds(state, lane, asked.tenant, now)) return no(shed())
  const room = makeRoom(state, cell, asked, settings)
  if (room.refused !== null) return no(room.refused)
  const deadline = carried?.deadline ?? now + (asked.deadlineMs ?? lane.config.timeoutMs)
  const expected = state.costs.estimate(asked, state.config)
  const waitMs = waitOf(state, cell, { tenant: asked.tenant, expected, now })
  const late = unreachable(state, cell, { expected, waitMs, now, deadline, model: asked.model })
  if (late !== null) return no(late)
  return {
    admitted: true,
    request: accept(state, cell, asked, { now, deadline, expected, predictedMs: waitMs }),
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

const SHED_RETRY_AFTER: Millis = 5_000
const shed = (): Refused =>
  refuse(
    'SHED',
    `the provider gives far less than usual and the queue grows; retry in ${SHED_RETRY_AFTER / 1_000} s`,
    { retryAfterMs: SHED_RETRY_AFTER },
  )

const no = (refused: Refused): Admission => ({ admitted: false, refused })

export function refuse(
  reason: Refused['reason'],
  message: string,
  more: { retryAfterMs?: Millis; verdict?: Refused['verdict'] } = {},
): Refused {
  const { retryAfterMs, verdict } = more
  const bounded =
    retryAfterMs === undefined
      ? null
      : Math.min(RETRY_AFTER.max, Math.max(RETRY_AFTER.min, Math.ceil(retryAfterMs)))
  return { kind: 'refused', reason, message, retryAfterMs: bounded, verdict: verdict ?? null }
}

function tenantConfig(state: State, tenant: string): TenantConfig | null {
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
  if (settings === null) return refuse('FORBIDDEN', 'the tenant is not in the configuration')
  if (lane === undefined || lane.retired) {
    const names = state.config.lanes.map((one) => one.name).join(', ')
    return refuse('UNKNOWN_LANE', `no such lane; there are ${names}`)
  }
  if (settings.lanes !== null && !settings.lanes.includes(asked.lane))
    return refuse('FORBIDDEN', `the tenant may use ${settings.lanes.join(', ')} only`)
  if (state.requests.has(asked.key))
    return refuse('DUPLICATE_ID', 'a request of this tenant with this id is live already')
  return null
}

// ---- routes ----

/** A route, or why there is none. */
type RouteFound = { route: Route; none: null } | { route: null; none: string }
const none = (why: string): RouteFound => ({
  route: null,
  none: `no route serves the model; ${why}`,
})

/** The route of a model, made on demand where the configuration names none. */
function routeFor(state: State, asked: NewRequest, effects: Effect[]): RouteFound {
  const { model } = asked
  const known = state.routesByModel.get(model)
  if (known !== undefined && !known.retired) return { route: known, none: null }
  const configured = state.config.routes
  const config =
    configured === null
      ? { ...state.config.routeDefaults, model }
      : configured.find((one) => one.model === model)
  if (config === undefined)
    return none(`there are ${(configured ?? []).map((one) => one.model).join(', ')}`)
  const route = newRoute(state, config, asked.tenant)
  // Two models may cut to one id: the second would share the first one's machines.
  if (state.routes.has(route.id)) return none(`its route id ${route.id} is another model's`)
  if (configured === null) {
    const crowded = placeFor(state, asked.tenant, effects)
    if (crowded !== null) return none(crowded)
  }
  return { route: openRoute(state, route, effects), none: null }
}

/** Routes under way that never had a success: past `FEW` of them, at most half of `routes_max` may drive out
 *  routes that had one, and past half of `routes_max` no tenant may add more. So invented names cannot shut
 *  out real ones, even when what waits for them keeps them from being idle. */
const FEW = 10

/** Makes room for one more route, or says why there is none. */
function placeFor(state: State, tenant: string, effects: Effect[]): string | null {
  const most = state.config.file.routes_max
  let [unproven, own] = [0, 0]
  for (const route of state.routes.values()) {
    if (route.lastSuccessAt > -Infinity || route.live === 0) continue
    unproven++
    if (route.opener === tenant) own++
  }
  if (own >= FEW && state.routes.size >= most / 2)
    return `the tenant has ${own} models under way that never answered`
  if (state.routes.size < most) return null
  const idle = longestIdle(state)
  if (idle === null) return 'all routes are in use'
  const proven = idle.lastSuccessAt > -Infinity
  if (proven && unproven >= Math.max(FEW, most / 2))
    return `${unproven} models are under way that never answered`
  closeRoute(state, idle, effects)
  return null
}

export function openRoute(state: State, route: Route, effects: Effect[]): Route {
  state.routes.set(route.id, route)
  state.routesByModel.set(route.config.model, route)
  attachLanes(state, route)
  configureQuota(state, route.quota, state.now)
  rescale(state)
  effects.push({ type: 'route-opened', route })
  return route
}

/** The idle route longest without a success; one that never had any goes first, so that invented names
 *  cannot shut out real ones. */
function longestIdle(state: State): Route | null {
  let worst: Route | null = null
  for (const route of state.routes.values()) {
    if (route.live > 0) continue
    const older =
      worst === null ||
      route.lastSuccessAt < worst.lastSuccessAt ||
      (route.lastSuccessAt === worst.lastSuccessAt && route.openedAt < worst.openedAt)
    if (older) worst = route
  }
  return worst
}

export function closeRoute(state: State, route: Route, effects: Effect[]): void {
  state.routes.delete(route.id)
  if (state.routesByModel.get(route.config.model) === route)
    state.routesByModel.delete(route.config.model)
  for (const lane of state.lanesByName.values()) {
    const at = lane.cells.findIndex((cell) => cell.route === route)
    if (at >= 0) lane.cells.splice(at, 1)
  }
  for (const cell of route.cells) forgetMembers(cell)
  if (!state.routesByModel.has(route.config.model)) state.costs.forgetModel(route.config.model)
  if (![...state.routes.values()].some((one) => one.quota === route.quota))
    state.quotas.delete(route.quota.name)
  rescale(state)
  effects.push({ type: 'route-closed', route })
}

/** Takes away a lane that is configured no more and holds nothing. */
export function closeLane(state: State, lane: Lane): void {
  state.lanesByName.delete(lane.config.name)
  state.lanes = state.lanes.filter((one) => one !== lane)
  for (const cell of lane.cells) {
    forgetMembers(cell)
    cell.route.cells.splice(cell.route.cells.indexOf(cell), 1)
  }
}

function forgetMembers(cell: Cell): void {
  for (const member of [...cell.queue.members.values()]) {
    const { members } = member.tenant
    members.splice(members.indexOf(member), 1)
    if (members.length === 0) member.tenant.forget()
  }
}

// ---- room ----

interface Room {
  refused: Refused | null
  evicted: Request | null
}
const ROOM: Room = { refused: null, evicted: null }

/** Bounded queues (control-laws §12). When a lane is full, the tenant with most queued per weight loses
 *  its newest request that was never attempted; requests already admitted are never refused for space. */
function makeRoom(state: State, cell: Cell, asked: NewRequest, settings: TenantConfig): Room {
  const { config } = state
  const { queued_bytes, tenant_bytes } = config.file.limits
  const ownBytes = state.tenants.get(asked.tenant)?.bytes ?? 0
  if (ownBytes + asked.bytes > tenant_bytes)
    return full("the tenant's live bodies together hold all they may (limits.tenant_bytes)")
  if (state.bytes + asked.bytes > queued_bytes)
    return full('all live bodies together hold all they may (limits.queued_bytes)')
  const { queue } = cell
  const most = cell.lane.config.queueMax
  const own = queue.members.get(asked.tenant)
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
  for (let r = fullest.tail; r !== null; r = r.before)
    if (r.attempts === 0 && r.preemptions === 0) return { refused: null, evicted: r }
  return full(message)
}

/** One mean service of a full queue's head is the earliest that room can appear; without knowing it, the
 *  shortest honest wait is a few seconds. */
const FULL_RETRY_AFTER: Millis = 4_000

const full = (message: string): Room => ({ refused: queueFull(message), evicted: null })

export const queueFull = (message: string): Refused =>
  refuse('QUEUE_FULL', `${message}; retry in ${FULL_RETRY_AFTER / 1_000} s`, {
    retryAfterMs: FULL_RETRY_AFTER,
  })

// ---- deadline ----

/** Can the answer come in time, after the wait that is predicted (control-laws §6)? */
function unreachable(
  state: State,
  { route }: Cell,
  of: { expected: Estimate; waitMs: Millis; now: Millis; deadline: Millis; model: string },
): Refused | null {
  const { deadline, now, waitMs } = of
  const service = state.costs.service(of.model, of.expected, now) * 1_000
  if (now + waitMs + service <= deadline) return null
  const numbers = `predicted wait ${Math.round(waitMs)} ms and service ${Math.round(service)} ms exceed the deadline of ${deadline - now} ms`
  return route.gate.state === 'open'
    ? refuse('BREAKER_OPEN', `the breaker of ${route.id} is open; ${numbers}`, {
        retryAfterMs: waitMs,
      })
    : refuse('DOOMED', numbers, { retryAfterMs: waitMs })
}

/** The same test at the moment of start, where nothing is left to wait for. */
export function doomed(
  state: State,
  request: Request,
  now: Millis,
  estimate: Estimate = state.costs.estimate(request.asked, state.config),
): Refused | null {
  const service = state.costs.service(request.asked.model, estimate, now) * 1_000
  if (now + service <= request.deadline) return null
  return refuse(
    'DOOMED',
    `predicted service ${Math.round(service)} ms exceeds the ${request.deadline - now} ms left`,
    { retryAfterMs: 0 },
  )
}

// ---- acceptance ----

function accept(
  state: State,
  cell: Cell,
  asked: NewRequest,
  of: { now: Millis; deadline: Millis; expected: Estimate; predictedMs: Millis },
): Request {
  const { now } = of
  const { lane, route } = cell
  const tenant = tenantOf(state, asked.tenant)
  const member = cell.queue.join(tenant)
  const { carried = null } = asked
  const request: Request = {
    key: asked.key,
    asked,
    tenant,
    lane,
    route,
    cell,
    member,
    acceptedAt: carried?.acceptedAt ?? now,
    deadline: of.deadline,
    expected: of.expected,
    predictedMs: of.predictedMs,
    laneStamp: carried?.laneStamp ?? lane.group.v,
    routeStamp: lane.v,
    tenantStamp: cell.queue.v,
    waiting: false,
    before: null,
    after: null,
    queuedAt: now,
    queueMs: carried?.queueMs ?? 0,
    upstreamMs: carried?.upstreamMs ?? 0,
    attempt: null,
    attempts: carried?.attempts ?? 0,
    preemptions: carried?.preemptions ?? 0,
    mayBePassed: null,
    unexplained: carried?.unexplained ?? 0,
    lastVerdict: carried?.lastVerdict ?? null,
    checked: false,
    retryAt: null,
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
  return new Tenant(name, { weight: settings.weight, cap: settings.maxInflight }, state.tenants)
}

/** New weights and caps for the tenants that are here. */
export function configureTenants(state: State): void {
  for (const tenant of state.tenants.values()) {
    const settings = tenantConfig(state, tenant.name) ?? state.config.tenants.default
    tenant.weight = settings.weight
    tenant.cap = settings.maxInflight
    for (const member of tenant.members) member.queue.rearm(member)
    reviewParking(state, tenant)
  }
}

/** Into the queue, at the tail (arrival) or at the head (requests that were admitted before). */
export function enqueue(state: State, request: Request, at: 'tail' | 'head', now: Millis): void {
  request.queuedAt = now
  request.checked = false
  request.retryAt = null
  if (at === 'tail') request.cell.queue.append(request)
  else {
    if (state.asides.size > 0) forgetAside(state, request)
    request.cell.queue.prepend(request)
  }
  request.tenant.queued++
  request.lane.queued++
  state.queued++
  reviewActive(state, request.tenant)
}

export function dequeue(state: State, request: Request, now: Millis): void {
  if (state.asides.size > 0) forgetAside(state, request)
  request.cell.queue.remove(request)
  request.queueMs += now - request.queuedAt
  request.tenant.queued--
  request.lane.queued--
  state.queued--
}
