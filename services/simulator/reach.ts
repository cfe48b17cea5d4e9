/** What a configuration and a provider in good health allow to certain calls, when nobody else calls: the yardstick
 *  of whether capacity that is wanted is used. Reckoned from the words of the configuration, not from the core. */
import { routeId } from '#contracts/ids'
import type { Config, LaneConfig, RouteConfig } from '#contracts/config'
import type { Seconds, Tokens } from '#contracts/units'
import type { Calls } from './random-world.ts'

/** Of a configured limit that pacing uses, and of a limit that must be in use for it to grow. */
const PACED = 0.95
const GROWS_FROM = 0.85

export interface Reach {
  /** In flight at once. */
  slots: number
  /** Starts per second that quotas allow; Infinity: none is known. */
  perSecond: number
}

export interface Given {
  /** Slots of the provider. */
  capacity: number
  /** Per minute; Infinity: not limited. */
  quota: { requests: number; input: Tokens; output: Tokens }
}

/** For one kind of calls alone, as far as they ask for it. */
export function reachOf(config: Config, calls: Calls, given: Given): Reach {
  const route = routeOf(config, calls.model)
  const lane = config.lanes.find((one) => one.name === calls.lane)
  if (lane === undefined) throw new Error(`no lane ${calls.lane}`)
  return {
    slots: slotsOf(config, { lane, route, calls, capacity: given.capacity }),
    perSecond: quotaOf(config, { route, calls, given }),
  }
}

export const routeOf = (config: Config, model: string): RouteConfig =>
  config.routes?.find((one) => one.model === model) ?? { ...config.routeDefaults, model }

function slotsOf(
  config: Config,
  of: { lane: LaneConfig; route: RouteConfig; calls: Calls; capacity: number },
): number {
  const { lane, route, calls } = of
  const { ceiling } = config.file.concurrency_limit
  const share = shareOf(config, lane)
  // Who may not use a limit to the full cannot prove that more is possible: it comes back, and no more.
  const known = share < GROWS_FROM ? route.initial : Infinity
  const limit = Math.min(of.capacity, ceiling, known)
  const all = Math.min(limit, config.maxInflight)
  return Math.max(1, Math.min(Math.floor(share * all), tenantsMay(config, calls)))
}

/** Of what there is, the part that the lane may have when no other lane asks for anything. */
function shareOf(config: Config, lane: LaneConfig): number {
  const { base, headroom = 0 } = config.file.scheduling
  const cap = lane.preemptible && !lane.capBinds ? Math.max(base, lane.cap) : lane.cap
  const held = config.lanes
    .filter((one) => one !== lane)
    .reduce((sum, one) => sum + one.reservedSlots, 0)
  const kept = Math.max(held, lane.preemptible ? headroom : 0)
  return Math.min(1, cap / base, Math.max(0, base - kept) / base)
}

const tenantsMay = (config: Config, { tenants }: Calls): number =>
  tenants.reduce((sum, name) => sum + tenantMay(config, name), 0)

/** The cap of one tenant; Infinity: none is configured. */
export function tenantMay(config: Config, name: string): number {
  const own = config.tenants.named.get(name) ?? config.tenants.default
  return own.maxInflight ?? config.tenantCap ?? Infinity
}

/** Starts per second that the quota of the route and the provider's own allow. */
function quotaOf(config: Config, of: { route: RouteConfig; calls: Calls; given: Given }): number {
  const { route, calls, given } = of
  const name = route.quota ?? routeId(route)
  const [input, output] = [calls.input, outputOf(calls.service)]
  let most = Math.min(given.quota.requests, given.quota.input / input, given.quota.output / output)
  for (const one of config.routes ?? []) {
    if ((one.quota ?? routeId(one)) !== name) continue
    const per = (limit: number | null): number => limit ?? Infinity
    most = Math.min(most, per(one.rpm), per(one.itpm) / input, per(one.otpm) / output)
  }
  return (PACED * most) / 60
}

const TOKENS_PER_SECOND = 60
export const outputOf = (service: Seconds): Tokens => Math.max(1, service * TOKENS_PER_SECOND)
