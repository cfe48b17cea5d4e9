/** A changed configuration, applied without losing a request: what is dropped serves what it holds. */
import type { Config } from '#contracts/config'
import { routeKey } from '#contracts/ids'
import { priceOf } from '#contracts/prices'
import { configureAccounts } from './accounts.ts'
import { configureTenants } from './admission.ts'
import { endBackfills } from './backfill.ts'
import type { Effect } from '#core/model/effects'
import { letGo } from './held.ts'
import { allComeBack } from './prefixes.ts'
import { rescale, reviewParking } from './slots.ts'
import type { Route, State } from '#core/model/state'
import { configureLanes, quotaOf } from '#core/model/make'
import { configureQuota } from './token-buckets.ts'
import { closeLane, closeRoute } from './routes.ts'

export function configure(state: State, config: Config, effects: Effect[]): void {
  state.config = config
  configureLanes(state)
  configureAccounts(state)
  configureTenants(state)
  endBackfills(state)
  allComeBack(state, effects)
  letGo(state, Infinity, effects)
  for (const route of state.routes.values()) configureRoute(state, route)
  const used = new Set([...state.routes.values()].map((route) => route.quota))
  for (const quota of state.quotas.values())
    if (used.has(quota)) configureQuota(state, quota, state.now)
    else state.quotas.delete(quota.name)
  for (const tenant of state.active) reviewParking(state, tenant)
  sweepRetired(state, effects)
  rescale(state)
}

/** A route whose model is gone, or answered by another upstream now, takes nobody new. */
function configureRoute(state: State, route: Route): void {
  const { routes, routeDefaults } = state.config
  const { model, fast } = route.config
  const wanted =
    routes === null
      ? { ...routeDefaults, model, fast }
      : routes.find((one) => one.model === model && one.fast === fast)
  route.retired = wanted === undefined || wanted.upstream !== route.config.upstream
  if (wanted === undefined || route.retired) return
  route.config = wanted
  route.price = priceOf(state.config.prices, model)
  route.named = null
  route.differs = false
  route.quota = quotaOf(state, wanted.quota ?? route.id)
  state.routesByModel.set(routeKey(model, fast), route)
}

/** Routes and lanes that the configuration dropped go when they are empty. */
export function sweepRetired(state: State, effects: Effect[]): void {
  for (const route of state.routes.values())
    if (route.retired && route.live === 0) closeRoute(state, route, effects)
  for (const lane of state.lanes) {
    if (!lane.retired || lane.inflight > 0 || lane.queued > 0) continue
    if (
      lane.laneRoutes.some((laneRoute) =>
        [...laneRoute.queue.flows.values()].some((one) => one.live > 0),
      )
    )
      continue
    closeLane(state, lane)
  }
}
