/** A changed configuration, applied without losing a request: what is dropped serves what it holds. */
import type { Config } from '#contracts/config'
import * as admission from './admission.ts'
import { endAsides } from './aside.ts'
import type { Effect } from './effects.ts'
import { rescale, reviewParking } from './slots.ts'
import { configureLanes, quotaOf, type Route, type State } from './state.ts'
import { configureQuota } from './token-buckets.ts'

export function configure(state: State, config: Config, effects: Effect[]): void {
  state.config = config
  configureLanes(state)
  admission.configureTenants(state)
  endAsides(state)
  for (const route of state.routes.values()) configureRoute(state, route)
  for (const quota of state.quotas.values()) configureQuota(state, quota, state.now)
  for (const tenant of state.active) reviewParking(state, tenant)
  sweepRetired(state, effects)
  rescale(state)
}

/** A route whose model is gone, or answered by another upstream now, takes nobody new. */
function configureRoute(state: State, route: Route): void {
  const { routes, routeDefaults } = state.config
  const { model } = route.config
  const wanted =
    routes === null ? { ...routeDefaults, model } : routes.find((one) => one.model === model)
  route.retired = wanted === undefined || wanted.upstream !== route.config.upstream
  if (wanted === undefined || route.retired) return
  route.config = wanted
  route.quota = quotaOf(state, wanted.quota ?? route.id)
  state.routesByModel.set(model, route)
}

/** Routes and lanes that the configuration dropped go when they are empty. */
export function sweepRetired(state: State, effects: Effect[]): void {
  for (const route of state.routes.values())
    if (route.retired && route.live === 0) admission.closeRoute(state, route, effects)
  for (const lane of state.lanes) {
    if (!lane.retired || lane.inflight > 0 || lane.queued > 0) continue
    if (lane.cells.some((cell) => [...cell.queue.members.values()].some((one) => one.live > 0)))
      continue
    admission.closeLane(state, lane)
  }
}
