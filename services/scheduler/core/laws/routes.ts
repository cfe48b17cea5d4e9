/** Routes that open with the first request for a model, and close when they are idle or gone from the
 *  configuration. */
import { routeKey } from '#contracts/ids'
import type { Effect } from '#core/model/effects'
import type { NewRequest } from '#core/model/inputs'
import type { LaneRoute, Lane, Route, State } from '#core/model/state'
import { attachLanes, newRoute } from '#core/model/make'
import { rescale } from './slots.ts'
import { configureQuota } from './token-buckets.ts'

/** Whether calls of the model in fast mode have a route of their own: each has where none is configured. */
const servesFast = ({ config: { routes } }: State, model: string): boolean =>
  routes === null || routes.some((one) => one.fast && one.model === model)

/** A route, or why there is none. */
export type RouteFound = { route: Route; none: null } | { route: null; none: string }
const none = (why: string): RouteFound => ({
  route: null,
  none: `no route serves the model; ${why}`,
})

/** The route of a model, made on demand where the configuration names none. */
export function routeFor(state: State, asked: NewRequest, effects: Effect[]): RouteFound {
  const { model } = asked
  const fast = asked.fast === true && servesFast(state, model)
  const known = state.routesByModel.get(routeKey(model, fast))
  if (known !== undefined && !known.retired) return { route: known, none: null }
  const configured = state.config.routes
  const config =
    configured === null
      ? { ...state.config.routeDefaults, model, fast }
      : configured.find((one) => one.model === model && one.fast === fast)
  if (config === undefined)
    return none(`there are ${[...new Set((configured ?? []).map((one) => one.model))].join(', ')}`)
  const route = newRoute(state, config, asked.tenant)
  // Two that are too much alike: not even chance gives so many.
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
export const FEW = 10

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
  state.routesByModel.set(keyOf(route), route)
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
  const key = keyOf(route)
  if (state.routesByModel.get(key) === route) state.routesByModel.delete(key)
  for (const lane of state.lanesByName.values()) {
    const at = lane.laneRoutes.findIndex((laneRoute) => laneRoute.route === route)
    if (at >= 0) lane.laneRoutes.splice(at, 1)
  }
  for (const laneRoute of route.laneRoutes) forgetFlows(laneRoute)
  if (!state.routesByModel.has(key)) state.costs.forgetModel(key)
  if (![...state.routes.values()].some((one) => one.quota === route.quota))
    state.quotas.delete(route.quota.name)
  rescale(state)
  effects.push({ type: 'route-closed', route })
}

/** Takes away a lane that is configured no more and holds nothing. */
export function closeLane(state: State, lane: Lane): void {
  state.lanesByName.delete(lane.config.name)
  state.lanes = state.lanes.filter((one) => one !== lane)
  for (const laneRoute of lane.laneRoutes) {
    forgetFlows(laneRoute)
    laneRoute.route.laneRoutes.splice(laneRoute.route.laneRoutes.indexOf(laneRoute), 1)
  }
}

const keyOf = ({ config }: Route): string => routeKey(config.model, config.fast)

function forgetFlows(laneRoute: LaneRoute): void {
  for (const flow of [...laneRoute.queue.flows.values()]) {
    const { flows } = flow.tenant
    flows.splice(flows.indexOf(flow), 1)
    if (flows.length === 0) flow.tenant.forget()
  }
}
