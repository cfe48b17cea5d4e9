/** What an instance could use of what its fleet divides, as its core has it. */
import type { LimitWord } from '#core/model/share'
import type { State } from '#core/model/state'
import type { Demand } from './plan.ts'

export function demandOf(of: {
  state: State
  /** What it knows of the routes' limits. */
  limits: ReadonlyMap<string, LimitWord>
  /** Of what must be equal in all configurations. */
  config: string
}): Demand {
  const { state, limits, config } = of
  const { inflight, queued } = state
  const whole = state.config.maxInflight
  const allowed = [...limits.values()].reduce((sum, { limit }) => sum + limit, 0)
  // Before any route is open nothing is known of what they allow.
  return {
    ...{ inflight, queued, whole, config, limits },
    capacity: allowed === 0 ? whole : allowed,
    routes: state.routes,
  }
}
