/** How a call is to be served: as its body says, else as its lane does (control-laws §23). It is said when a call
 *  comes in, and stays: a change of speed in mid conversation would cost it its cached prefix. */
import type { State } from '#core/model/state'
import type { Incoming } from '#ports'

/** The feature that fast mode is asked for by, where a model still needs to be asked so. */
export const FAST_BETA = 'fast-mode-2026-02-01'

export interface Capacity {
  fast: boolean
  priority: boolean
  /** What the body lacks and its lane adds; null: nothing. */
  adds: { speed?: 'fast'; service_tier?: string } | null
}

export function capacityOf(state: State, incoming: Incoming, model: string): Capacity {
  const lane = state.lanesByName.get(incoming.lane)?.config
  const speed = incoming.speed ?? null
  const added = speed === null && lane?.fast.includes(model) === true
  const tier = (incoming.tier ?? null) === null ? (lane?.serviceTier ?? null) : null
  return {
    fast: added || speed === 'fast',
    priority: (incoming.tier ?? tier) !== 'standard_only',
    adds:
      added || tier !== null
        ? { ...(added ? { speed: 'fast' } : {}), ...(tier === null ? {} : { service_tier: tier }) }
        : null,
  }
}

/** The body with these fields before its own. `body` is JSON with an object at its top that has none of them. */
export function withFields(body: Uint8Array, fields: object): Uint8Array {
  const open = body.indexOf(OPEN_OBJECT)
  const text = JSON.stringify(fields)
  // An object of the API has fields of its own, so that a comma follows.
  return Buffer.concat([
    body.subarray(0, open),
    Buffer.from(`${text.slice(0, -1)},`),
    body.subarray(open + 1),
  ])
}

const OPEN_OBJECT = 123

/** The features asked for, and this one. */
export function withBeta(beta: string | undefined, more: string): string {
  const asked = (beta ?? '').split(',').map((one) => one.trim())
  if (asked.includes(more)) return beta ?? more
  return asked.every((one) => one === '') ? more : `${beta},${more}`
}
