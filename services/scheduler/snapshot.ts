/** Everything true at one instant, read from the core's state; nobody's state but ours is touched. */
import type { BucketSnapshot, Snapshot } from '#contracts/snapshot'
import type { Lane, Route, State, Tenant } from '#core/state'
import type { TokenBucket } from '#core/token-bucket'
import type { Loop } from './loop.ts'
import type { Clock } from './ports.ts'

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
}): Snapshot {
  const { loop, clock } = of
  const { state } = loop
  const now = clock.now()
  const byState = loop.requestsByState()
  return {
    instance: of.instance,
    version: of.version,
    at: new Date(clock.wall()).toISOString(),
    uptime_ms: now - of.startedAt,
    draining: state.draining,
    emergency: state.config.emergency,
    bus: of.bus,
    global: {
      limit: state.config.maxInflight,
      inflight: state.inflight,
      queued: state.queued,
      backoff: byState.backoff,
      level: state.load.level,
    },
    lanes: state.lanes.map((lane) => ({
      name: lane.config.name,
      weight: lane.config.weight,
      preemptible: lane.config.preemptible,
      paused: lane.paused,
      guarantee: lane.guarantee,
      cap: lane.cap,
      inflight: lane.inflight,
      queued: lane.queued,
      oldest_ms: oldest(lane, now),
    })),
    routes: [...state.routes.values()].map((route) => routeOf(route, loop, now)),
    tenants: busiest(state, state.config.file.metrics.tenants_max).map((tenant) => ({
      tenant: tenant.name,
      inflight: tenant.inflight,
      queued: tenant.queued,
    })),
    requests_by_state: byState,
    guardrails: of.guardrails.map(({ name, value, bound, met, samples }) => ({
      name,
      value: samples === 0 ? null : value,
      bound,
      met,
    })),
    held: loop.held(),
  }
}

function routeOf(route: Route, loop: Loop, now: number): Snapshot['routes'][number] {
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
    queued: route.cells.reduce((sum, cell) => sum + cell.queue.queued, 0),
    paused_ms: Math.max(0, Math.round(route.quota.pausedUntil - now)),
    blocked_ms: Math.max(0, Math.round(route.upstream.blockedUntil - now)),
    inflight_by_lane: Object.fromEntries(
      route.cells.map((cell) => [cell.lane.config.name, cell.inflight]),
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
  for (const cell of lane.cells)
    for (const member of cell.queue.members.values())
      if (member.head !== null) at = Math.min(at, member.head.queuedAt)
  return at === Infinity ? null : Math.round(now - at)
}

function busiest(state: State, most: number): Tenant[] {
  const load = (tenant: Tenant): number => tenant.inflight + tenant.queued
  return [...state.active].sort((a, b) => load(b) - load(a)).slice(0, most)
}
