/** Whether the routes that are configured to share a quota do share one. Where the provider names different limits for
 *  them they do not: each is paced by its own until they agree. Limits that are configured bind all of them together,
 *  and then the lowest that was named does too. */
import { endBackfills } from './backfill.ts'
import type { Effect } from '#core/model/effects'
import { letGo } from './held.ts'
import type { Limits } from '#core/model/limits'
import type { Route, State } from '#core/model/state'
import { quotaOf } from '#core/model/make'
import { configureQuota } from './token-buckets.ts'

/** What this answer names. Gives what the route's buckets should learn. */
export function shareLimits(state: State, route: Route, named: Limits, effects: Effect[]): Limits {
  const { quota } = route.config
  if (quota === null || namesNone(named)) return named
  const known = route.named
  route.named = known === null ? named : merged(known, named)
  const group = [...state.routes.values()].filter((one) => one.config.quota === quota)
  if (group.length === 1) return named
  const differ = group.some((one) => differs(route.named, one.named))
  const bound = group.some(({ config }) => (config.rpm ?? config.itpm ?? config.otpm) !== null)
  if (differ !== route.differs) tell(route, group, differ, effects)
  part(state, group, differ && !bound, effects)
  return differ && bound ? lowest(group) : named
}

const namesNone = ([requests, input, output]: Limits): boolean =>
  requests === null && input === null && output === null

const merged = (a: Limits, b: Limits): Limits => [b[0] ?? a[0], b[1] ?? a[1], b[2] ?? a[2]]

const differs = (a: Limits | null, b: Limits | null): boolean =>
  a !== null &&
  b !== null &&
  a.some((limit, i) => limit !== null && b[i] !== null && b[i] !== limit)

function lowest(group: readonly Route[]): Limits {
  const least = (i: 0 | 1 | 2): number | null => {
    const all = group.map(({ named }) => named?.[i] ?? Infinity)
    const limit = Math.min(...all)
    return limit === Infinity ? null : limit
  }
  return [least(0), least(1), least(2)]
}

function tell(route: Route, group: readonly Route[], differ: boolean, effects: Effect[]): void {
  for (const one of group) one.differs = differ
  if (!differ) return
  const said = group
    .filter(({ named }) => named !== null)
    .map(({ id, named }) => `${id} ${named!.map((limit) => limit ?? '-').join('/')}`)
  effects.push({
    type: 'alarm',
    name: 'quota_limits_differ',
    route: route.id,
    detail: `quota ${route.config.quota}: the upstream names different limits (requests/input/output a minute) for its routes: ${said.join(', ')}`,
  })
}

/** Each route has its own buckets, or all have the ones of their quota. What runs is settled where it was reserved. */
function part(state: State, group: readonly Route[], apart: boolean, effects: Effect[]): void {
  const moving = group.filter((one) => one.quota.name !== nameOf(one, apart))
  if (moving.length === 0) return
  endBackfills(state)
  letGo(state, Infinity, effects)
  for (const route of moving) {
    route.quota = quotaOf(state, nameOf(route, apart))
    configureQuota(state, route.quota, state.now)
  }
}

const nameOf = (route: Route, apart: boolean): string =>
  apart ? route.id : (route.config.quota ?? route.id)
