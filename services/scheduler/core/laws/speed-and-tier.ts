/** How a call is to be served: as its body says, else as its lane does (control-laws §23). It is said when a call
 *  comes in, and stays: a change of speed in mid conversation would cost it its cached prefix. */
import type { State } from '#core/model/state'

/** What a lane adds to a body that lacks it. */
export interface LaneAdds {
  speed?: 'fast'
  service_tier?: string
}

/** `asked`: `speed` and `service_tier` of the body; absent or null: it does not say. */
export function speedAndTier(
  state: State,
  asked: { lane: string; speed?: string | null; tier?: string | null },
  model: string,
): { fast: boolean; priority: boolean; adds: LaneAdds | null } {
  const lane = state.lanesByName.get(asked.lane)?.config
  const speed = asked.speed ?? null
  const added = speed === null && lane?.fast.includes(model) === true
  const tier = (asked.tier ?? null) === null ? (lane?.serviceTier ?? null) : null
  return {
    fast: added || speed === 'fast',
    priority: (asked.tier ?? tier) !== 'standard_only',
    adds:
      added || tier !== null
        ? { ...(added ? { speed: 'fast' } : {}), ...(tier === null ? {} : { service_tier: tier }) }
        : null,
  }
}
