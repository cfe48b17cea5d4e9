/** Our part of a quota's rates, in a fleet (control-laws §14). */
import { routeId } from '#contracts/ids'
import type { Millis } from '#contracts/units'
import { inForce, partOf } from '#core/model/share'
import type { Quota, State } from '#core/model/state'

/** What we have of its routes that somebody wants more of, on average; where nobody does, our part of the whole. All
 *  members name the same routes, so the parts of all sum to one at most. */
export function quotaPart(state: State, quota: Quota, now: Millis): number {
  const { share } = state
  let [sum, count] = [0, 0]
  for (const [route, { from, to }] of share.routes) {
    if (quotaName(state, route) !== quota.name) continue
    sum += to - from
    count++
  }
  return count === 0 ? partOf(share, now) : (sum / count) * inForce(share, now)
}

/** Of a route that may be open elsewhere only. */
function quotaName({ routes, config }: State, route: string): string {
  const open = routes.get(route)
  if (open !== undefined) return open.quota.name
  return config.routes?.find((one) => routeId(one) === route)?.quota ?? route
}
