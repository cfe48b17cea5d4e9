/** Everything true at one instant, read from the core's state; nobody's state but ours is touched. */
import { readinessOf, type Doors } from '#contracts/readiness'
import type { BucketSnapshot, FleetNow, JobsNow, Snapshot } from '#contracts/snapshot'
import type { Lane, Route, State, Tenant } from '#core/model/state'
import type { TokenBucket } from '#core/estimators/token-bucket'
import { nearlyUsed, type NearlyUsed } from '#core/laws/nearly-used'
import { silentOn, silentSince } from '#core/laws/silence'
import { waitingBy } from '#core/laws/waiting'
import type { Loop } from '#scheduler/loop/loop'
import type { Clock } from '#ports'

export function snapshotOf(of: {
  loop: Loop
  /** What the guardrails' monitor reads now. */
  guardrails: readonly {
    name: string
    value: number
    bound: number
    met: boolean
    samples: number
  }[]
  clock: Clock
  instance: string
  version: string
  startedAt: number
  bus: Snapshot['bus']
  /** What keeps each door; absent: the bus is the only one. */
  doors?: Doors
  /** The file on disk is not what is in force. */
  configRefused?: boolean
  /** Null or absent: no durable jobs are kept. */
  jobs?: JobsNow | null
  /** Null or absent: it works alone. */
  fleet?: FleetNow | null
  /** What of it holds, and since when. */
  conditions: (of: Omit<Snapshot, 'conditions'>) => Snapshot['conditions']
}): Snapshot {
  const { loop, clock } = of
  const { state } = loop
  const now = clock.now()
  const byState = loop.requestsByState()
  const seen = {
    instance: of.instance,
    version: of.version,
    at: new Date(clock.wall()).toISOString(),
    uptime_ms: now - of.startedAt,
    draining: state.draining,
    emergency: state.config.emergency,
    config_refused: of.configRefused ?? false,
    bus: of.bus,
    doors: readinessOf(of.doors ?? { [of.bus.kind]: [] }, null)?.doors ?? {},
    global: {
      limit: state.config.maxInflight,
      inflight: state.inflight,
      queued: state.queued,
      backoff: byState.backoff,
      level: state.load.level,
    },
    lanes: state.lanes.map((lane) => laneOf(lane, now)),
    routes: [...state.routes.values()].map((route) =>
      routeOf(route, loop, { now, offset: clock.wall() - now }),
    ),
    tenants: busiest(state, state.config.file.metrics.tenants_max),
    jobs: of.jobs ?? null,
    fleet: of.fleet ?? null,
    budgets: nearlyUsed(state, now).map((one) => budgetOf(one, clock.wall() - now)),
    requests_by_state: byState,
    waiting: waitingBy(state, now),
    guardrails: of.guardrails.map(({ name, value, bound, met, samples }) => ({
      name,
      value: samples === 0 ? null : value,
      bound,
      met,
    })),
    held: loop.held(),
  }
  return { ...seen, conditions: of.conditions(seen) }
}

const laneOf = (lane: Lane, now: number): Snapshot['lanes'][number] => ({
  name: lane.config.name,
  weight: lane.config.weight,
  preemptible: lane.config.preemptible,
  paused: lane.paused,
  guarantee: lane.guarantee,
  cap: lane.cap,
  inflight: lane.inflight,
  queued: lane.queued,
  oldest_ms: oldest(lane, now),
})

function budgetOf(of: NearlyUsed, offset: number): Snapshot['budgets'][number] {
  const { tenant, span, unit } = of
  const shown = (units: number): number => (unit === 'usd' ? units / 1e6 : Math.ceil(units))
  return {
    ...{ tenant, span, unit, whole: shown(of.whole), left: shown(of.left) },
    ends_at: Math.round(of.endsAt + offset),
  }
}

function blockOf({ upstream }: Route, offset: number): Snapshot['routes'][number]['blocked'] {
  const { testing, blockedBy, blockedSince } = upstream
  if (!testing || blockedBy === null) return null
  const { status, spendLimit } = blockedBy
  const reason =
    status === 401 ? 'key_refused' : spendLimit === true ? 'spend_limit' : ('stopped' as const)
  return { status, reason, since: Math.round(blockedSince + offset) }
}

function silentMs(route: Route, now: number): number | null {
  const since = silentSince(route, now)
  return since === null ? null : Math.round(now - since)
}

/** Three at once, and a quarter of what is in flight, are no chance, long before each by itself proves a hang. */
const OVERDUE = { calls: 3, part: 0.25 }
/** Less than this means little, whatever is usual; where nothing is known, it is long. */
const OVERDUE_MS = { least: 3_000, unknown: 8_000 }

function overdueOf(route: Route, now: number): Snapshot['routes'][number]['overdue'] {
  let [calls, oldest, known] = [0, 0, false]
  for (const { attempt } of silentOn(route)) {
    if (attempt.ending !== null) continue
    const { ms, evidence } = attempt.silence
    const silent = now - attempt.silentSince
    // Half of what proves a hang where one call stands alone.
    const bound = evidence ? Math.max(OVERDUE_MS.least, ms / 2) : Math.min(OVERDUE_MS.unknown, ms)
    if (silent <= bound) continue
    calls++
    oldest = Math.max(oldest, silent)
    known ||= evidence
  }
  if (calls < OVERDUE.calls || calls < OVERDUE.part * route.inflight) return null
  return { calls, oldest_ms: Math.round(oldest), usual_known: known }
}

/** `offset` makes wall time of the clock's `now`. */
function routeOf(
  route: Route,
  loop: Loop,
  { now, offset }: { now: number; offset: number },
): Snapshot['routes'][number] {
  const { requests, inputTokens, outputTokens } = route.quota
  return {
    id: route.id,
    model: route.config.model,
    upstream: route.upstream.name,
    limit: route.limit,
    limit_state: loop.limitState(route.id),
    breaker: route.gate.state,
    breaker_cap: route.gate.cap === Infinity ? null : route.gate.cap,
    inflight: route.inflight,
    queued: route.laneRoutes.reduce((sum, laneRoute) => sum + laneRoute.queue.queued, 0),
    paused_ms: Math.max(0, Math.round(route.quota.pausedUntil - now)),
    blocked_ms: Math.max(0, Math.round(route.upstream.blockedUntil - now)),
    blocked: blockOf(route, offset),
    silent_ms: silentMs(route, now),
    overdue: overdueOf(route, now),
    inflight_by_lane: Object.fromEntries(
      route.laneRoutes.map((laneRoute) => [laneRoute.lane.config.name, laneRoute.inflight]),
    ),
    quota: route.quota.name,
    buckets: {
      requests: bucketOf(requests, now),
      input_tokens: bucketOf(inputTokens, now),
      output_tokens: bucketOf(outputTokens, now),
    },
    reserve: route.reserve.slots,
    peak: route.peak,
  }
}

function bucketOf(bucket: TokenBucket, now: number): BucketSnapshot {
  if (bucket.limit === null) return null
  return {
    limit_per_minute: bucket.limit,
    rate_per_minute: toTenths(bucket.rate * 60),
    level: toTenths(bucket.levelAt(now)),
    burst: toTenths(bucket.burst),
  }
}

/** A burst of requests may be as small as one. Never minus zero. */
const toTenths = (value: number): number => Math.round(value * 10) / 10 + 0

/** The oldest head of the lane: heads are each tenant's oldest, but for requests that came back. */
function oldest(lane: Lane, now: number): number | null {
  let at = Infinity
  for (const laneRoute of lane.laneRoutes)
    for (const flow of laneRoute.queue.flows.values())
      for (const first of [flow.head, flow.aside.first])
        if (first !== null) at = Math.min(at, first.queuedAt)
  return at === Infinity ? null : Math.round(now - at)
}

function busiest(state: State, most: number): Snapshot['tenants'] {
  const load = (tenant: Tenant): number => tenant.inflight + tenant.queued
  return [...state.active]
    .sort((a, b) => load(b) - load(a))
    .slice(0, most)
    .map(({ name: tenant, inflight, queued }) => ({ tenant, inflight, queued }))
}
