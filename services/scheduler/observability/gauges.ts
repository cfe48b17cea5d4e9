/** The gauges: read from a snapshot and the guardrails when somebody asks. */
import { Gauge, type Registry } from 'prom-client'
import type { Config } from '#contracts/config'
import { TOKEN } from '#contracts/ids'
import type { BucketSnapshot, Snapshot } from '#contracts/snapshot'
import { OTHER } from './busiest.ts'
import type { Guardrails } from './guardrails.ts'

export type Gauges = ReturnType<typeof makeGauges>

/** A gauge of ours, known to the registry. */
const makerFor =
  (registry: Registry) =>
  <L extends string>(name: string, help: string, ...labelNames: L[]): Gauge<L> =>
    new Gauge({ name: `headgate_${name}`, help, labelNames, registers: [registry] })
type Make = ReturnType<typeof makerFor>

export function makeGauges(registry: Registry) {
  const gauge = makerFor(registry)
  return {
    ...ofFleet(gauge),
    ...ofJobs(gauge),
    build: gauge('build_info', 'The version that runs; always 1.', 'version'),
    waitP95: gauge('queue_wait_ms_p95', 'P95 of the queue wait over 5 minutes.', 'lane'),
    byTenant: gauge('inflight_by_tenant', 'Attempts in flight.', 'tenant'),
    breaker: gauge('circuit_breaker_state', '0 closed, 1 ramp, 2 half-open, 3 open.', 'route'),
    limit: gauge('concurrency_limit', 'Attempts that may be in flight on a route.', 'route'),
    inflight: gauge('inflight', 'Attempts in flight.', 'lane', 'route'),
    queued: gauge('queued', 'Requests waiting.', 'lane'),
    waiting: gauge('waiting', 'Requests waiting, by the bound that holds them.', 'lane', 'reason'),
    oldest: gauge('queue_oldest_ms', 'How long the oldest waiting request has waited.', 'lane'),
    lanePaused: gauge('lane_paused', '1 while an operator has paused the lane.', 'lane'),
    silent: gauge(
      'upstream_silent_ms',
      'For how long the upstream says nothing although answers are due; 0: it answers.',
      'route',
    ),
    blocked: gauge(
      'upstream_blocked',
      '1 while the upstream is blocked: a refused key, a spending limit, an account on hold.',
      'upstream',
      'reason',
    ),
    bus: gauge('bus_connected', '1 while this instance hears requests that are published.'),
    emergency: gauge('emergency', '1 while the emergency block is on.'),
    configRefused: gauge(
      'config_refused',
      '1 while the configuration file on disk is refused and an older one is in force.',
    ),
    level: gauge(
      'degradation_level',
      '0 none, 1 batch has its minimum share, 2 batch has what is left, 3 sheds arrivals.',
    ),
    condition: gauge(
      'condition_seconds',
      'How long each condition of the snapshot has held; what does not hold has no series.',
      'condition',
      'about',
    ),
    quotaLevel: gauge(
      'quota_level',
      'What may start at once, as a share of the burst; below 0: debt.',
      'quota',
      'dimension',
    ),
    quotaRate: gauge(
      'quota_rate_per_minute',
      'How fast the quota is used at most, now.',
      'quota',
      'dimension',
    ),
    ratio_429: gauge('guardrail_ratio_429', '429 answers per attempt over the window.'),
    p95_e2e_ms: gauge('guardrail_p95_e2e_ms', 'P95 from acceptance to final reply.'),
    retry_amplification: gauge('guardrail_retry_amplification', 'Attempts per request with one.'),
  }
}

const ofFleet = (gauge: Make) => ({
  share: gauge(
    'fleet_share',
    "Slots of a route's limit that this instance may use; without a fleet, the limit.",
    'route',
  ),
  members: gauge(
    'fleet_members',
    'Instances that divide the limits, by how they stand; without a fleet, none.',
    'standing',
  ),
  lapses: gauge('fleet_lapses', 'Times that the lease of this instance has run out.'),
  slots: gauge(
    'fleet_slots',
    'Slots of the global limit that this instance holds; without a fleet, no series.',
  ),
  usable: gauge('fleet_usable', 'Slots that it may use now: less than it holds after a lapse.'),
  want: gauge('fleet_want', 'Slots that it could use.'),
  used: gauge('fleet_inflight', 'Slots that it uses.'),
})

const ofJobs = (gauge: Make) => ({
  jobs: gauge('jobs', 'Durable jobs that have not ended, by where they stand.', 'state'),
  jobsStored: gauge(
    'jobs_stored',
    'Durable jobs of all instances that have not ended, without those that were not to start at once.',
    'lane',
  ),
  jobsOldest: gauge(
    'jobs_oldest_ms',
    'Since the oldest of them was accepted; 0: there is none.',
    'lane',
  ),
  jobsExpected: gauge('jobs_expected_ms', 'How old it may get before it is told.', 'lane'),
  jobsDead: gauge('jobs_dead', 'Dead letters that are kept, of all instances.'),
  jobsStoreUp: gauge('jobs_store_up', '1 while the store of durable jobs answers.'),
  jobsStoreFull: gauge(
    'jobs_store_full',
    '1 while it refuses writes for want of room, or has less than 5 % left.',
  ),
  jobsStoreBytes: gauge('jobs_store_bytes', 'What its jobs and claims take.'),
  jobsStoreBytesMax: gauge(
    'jobs_store_bytes_max',
    'What they may take; no series: the server alone bounds them.',
  ),
})

const BREAKER: Readonly<Record<string, number>> = {
  closed: 0,
  ramp: 1,
  half_open: 2,
  halfOpen: 2,
  open: 3,
}

export function readSnapshot(to: Gauges, from: Snapshot, tenantOf: (name: string) => string): void {
  const { byTenant, breaker, limit, inflight, queued, waiting, share } = to
  for (const gauge of [byTenant, breaker, limit, inflight, queued, waiting, share]) gauge.reset()
  let unnamed = from.global.inflight
  for (const { tenant, inflight: count } of from.tenants) {
    if (!TOKEN.test(tenant) || tenantOf(tenant) !== tenant) continue
    byTenant.set({ tenant }, count)
    unnamed -= count
  }
  byTenant.inc({ tenant: OTHER }, Math.max(0, unnamed))
  for (const lane of from.lanes) queued.set({ lane: lane.name }, lane.queued)
  for (const { lane, reason, count } of from.waiting) waiting.inc({ lane, reason }, count)
  for (const one of from.routes) {
    const route = one.id
    limit.set({ route }, one.limit)
    share.set({ route }, one.limit)
    const state = BREAKER[one.breaker]
    if (state !== undefined) breaker.set({ route }, state)
    for (const lane of from.lanes)
      inflight.set({ lane: lane.name, route }, one.inflight_by_lane[lane.name] ?? 0)
  }
  readFleet(to, from)
  readConditions(to, from)
  readAlarms(to, from)
  readQuotas(to, from)
  readJobs(to, from)
}

/** The others tell of themselves: each has its own page. */
function readFleet(to: Gauges, { fleet, global }: Snapshot): void {
  const { members, lapses, slots, usable, want, used } = to
  members.reset()
  lapses.set({}, fleet?.lapses ?? 0)
  for (const gauge of [slots, usable, want, used]) gauge.remove()
  if (fleet === null) return
  for (const { standing } of fleet.members) members.inc({ standing })
  const own = fleet.members.find((one) => one.own)
  slots.set(own?.share ?? 0)
  usable.set(fleet.usable)
  want.set(own?.want ?? 0)
  used.set(global.inflight)
}

/** What the alert rules watch. */
function readAlarms(to: Gauges, from: Snapshot): void {
  for (const gauge of [to.oldest, to.lanePaused, to.silent, to.blocked]) gauge.reset()
  for (const { name: lane, oldest_ms, paused } of from.lanes) {
    to.oldest.set({ lane }, oldest_ms ?? 0)
    to.lanePaused.set({ lane }, Number(paused))
  }
  for (const { id: route, silent_ms, blocked, upstream } of from.routes) {
    to.silent.set({ route }, silent_ms ?? 0)
    if (blocked !== null) to.blocked.set({ upstream, reason: blocked.reason }, 1)
  }
  to.bus.set(Number(from.bus.connected))
  to.emergency.set(Number(from.emergency))
}

/** `waiting` has series of its own, by lane and reason. */
function readConditions(to: Gauges, { at, conditions }: Snapshot): void {
  to.condition.reset()
  const now = Date.parse(at)
  for (const { condition, about, since } of conditions)
    if (condition !== 'waiting')
      to.condition.set({ condition, about: about ?? '' }, Math.max(0, now - since) / 1_000)
}

/** Without durable jobs there are no series. */
function readJobs(to: Gauges, { jobs }: Snapshot): void {
  const { jobsStored, jobsOldest, jobsExpected, jobsDead } = to
  const { jobsStoreUp, jobsStoreFull, jobsStoreBytes, jobsStoreBytesMax } = to
  for (const gauge of [to.jobs, jobsStored, jobsOldest, jobsExpected]) gauge.reset()
  for (const gauge of [jobsDead, jobsStoreUp, jobsStoreFull, jobsStoreBytes, jobsStoreBytesMax])
    gauge.remove()
  if (jobs === null) return
  for (const [state, count] of Object.entries(jobs.states)) to.jobs.set({ state }, count)
  for (const { lane, stored, oldest_ms, expected_ms } of jobs.lanes) {
    jobsStored.set({ lane }, stored)
    jobsOldest.set({ lane }, oldest_ms ?? 0)
    jobsExpected.set({ lane }, expected_ms)
  }
  jobsDead.set(jobs.dead.kept)
  const { reachable, full, bytes, bytes_max } = jobs.store
  jobsStoreUp.set(Number(reachable))
  jobsStoreFull.set(Number(full))
  jobsStoreBytes.set(bytes)
  if (bytes_max !== null) jobsStoreBytesMax.set(bytes_max)
}

/** A dimension that is not paced has no series. Routes of one quota say the same. */
function readQuotas({ level, quotaLevel, quotaRate }: Gauges, from: Snapshot): void {
  level.set(from.global.level)
  quotaLevel.reset()
  quotaRate.reset()
  for (const { quota, buckets } of from.routes)
    for (const [dimension, bucket] of Object.entries<BucketSnapshot>(buckets)) {
      if (bucket === null) continue
      quotaLevel.set({ quota, dimension }, bucket.level / bucket.burst)
      quotaRate.set({ quota, dimension }, bucket.rate_per_minute)
    }
}

export function readGuardrails(to: Gauges, from: Guardrails, now: number, config: Config): void {
  for (const { name, value } of from.readings(now)) to[name].set(value)
  const waits = from.queueWaitP95(now)
  to.waitP95.reset()
  for (const { name } of config.lanes) to.waitP95.set({ lane: name }, waits.get(name) ?? 0)
}
