/** The metrics page: the contract's names, the right numbers, and bounds that hold under attack. */
import { beforeEach, describe, expect, test } from 'vitest'
import { configFile, defaultConfig, resolve, type Config } from '#contracts/config'
import type { Snapshot } from '#contracts/snapshot'
import type { MessageBatchNews } from '#ports'
import { PERIOD_MS } from '../../../services/scheduler/observability/busiest.ts'
import { countCells, SERIES_MAX } from '../../../services/scheduler/observability/count-cells.ts'
import { guardrails } from '../../../services/scheduler/observability/guardrails.ts'
import { createMetrics, type Metrics } from '../../../services/scheduler/observability/metrics.ts'
import { stillFleet, stillJobs, stillMember } from '../../support/fed.ts'
import { manualClock, type ManualClock } from '../../support/manual-clock.ts'
import { event, served } from './events.ts'

const CONTRACT: readonly (readonly [name: string, type: string])[] = [
  ['requests_total', 'counter'],
  ['attempts_total', 'counter'],
  ['batches', 'gauge'],
  ['batches_total', 'counter'],
  ['batch_entries_total', 'counter'],
  ['batch_bytes_total', 'counter'],
  ['gatherings', 'gauge'],
  ['gathered_jobs', 'gauge'],
  ['gathered_jobs_total', 'counter'],
  ['retry_attempts_histogram', 'histogram'],
  ['queue_wait_ms', 'histogram'],
  ['queue_wait_ms_p95', 'gauge'],
  ['predicted_wait_ms', 'histogram'],
  ['predicted_wait_error_ms', 'histogram'],
  ['inflight_by_tenant', 'gauge'],
  ['circuit_breaker_state', 'gauge'],
  ['concurrency_limit', 'gauge'],
  ['inflight', 'gauge'],
  ['queued', 'gauge'],
  ['waiting', 'gauge'],
  ['condition_seconds', 'gauge'],
  ['preemptions_total', 'counter'],
  ['prefix_saved_tokens_total', 'counter'],
  ['tokens_total', 'counter'],
  ['billed_tokens_total', 'counter'],
  ['cost_usd_total', 'counter'],
  ['guardrail_ratio_429', 'gauge'],
  ['guardrail_p95_e2e_ms', 'gauge'],
  ['guardrail_retry_amplification', 'gauge'],
  ['fleet_share', 'gauge'],
  ['fleet_members', 'gauge'],
  ['fleet_lapses', 'gauge'],
  ['fleet_slots', 'gauge'],
  ['fleet_usable', 'gauge'],
  ['fleet_want', 'gauge'],
  ['fleet_inflight', 'gauge'],
  ['requests_dropped_total', 'counter'],
  ['upstream_alarms_total', 'counter'],
  ['build_info', 'gauge'],
  ['refusals_total', 'counter'],
  ['answers_total', 'counter'],
  ['degradation_level', 'gauge'],
  ['quota_level', 'gauge'],
  ['queue_oldest_ms', 'gauge'],
  ['lane_paused', 'gauge'],
  ['upstream_silent_ms', 'gauge'],
  ['upstream_blocked', 'gauge'],
  ['bus_connected', 'gauge'],
  ['emergency', 'gauge'],
  ['config_refused', 'gauge'],
  ['quota_rate_per_minute', 'gauge'],
  ['jobs_total', 'counter'],
  ['jobs', 'gauge'],
  ['jobs_stored', 'gauge'],
  ['jobs_oldest_ms', 'gauge'],
  ['jobs_expected_ms', 'gauge'],
  ['jobs_dead', 'gauge'],
  ['jobs_store_up', 'gauge'],
  ['jobs_store_full', 'gauge'],
  ['jobs_store_bytes', 'gauge'],
  ['jobs_store_bytes_max', 'gauge'],
]

const snapshot: Snapshot = {
  instance: 'one',
  version: '1.2.3',
  at: '2026-01-01T00:00:00Z',
  uptime_ms: 1,
  draining: false,
  emergency: false,
  config_refused: false,
  bus: { kind: 'memory', connected: true },
  global: { limit: 60, inflight: 10, queued: 3, backoff: 0, level: 2 },
  lanes: defaultConfig().lanes.map((lane) => ({
    name: lane.name,
    weight: lane.weight,
    preemptible: lane.preemptible,
    paused: false,
    guarantee: lane.guarantee,
    cap: lane.cap,
    inflight: 5,
    queued: lane.name === 'batch' ? 3 : 0,
    oldest_ms: null,
  })),
  routes: [
    {
      id: 'default-claude-a',
      model: 'claude-a',
      upstream: 'default',
      limit: 42,
      limit_state: 'recovering',
      breaker: 'half_open',
      breaker_cap: 4,
      inflight: 10,
      queued: 3,
      paused_ms: 0,
      blocked_ms: 0,
      blocked: null,
      silent_ms: null,
      overdue: null,
      inflight_by_lane: { interactive: 7, batch: 3 },
      quota: 'family',
      buckets: {
        requests: { limit_per_minute: 60, rate_per_minute: 57, level: 1.9, burst: 3.8 },
        input_tokens: {
          limit_per_minute: 40_000,
          rate_per_minute: 19_000,
          level: -4_750,
          burst: 9_500,
        },
        output_tokens: null,
      },
      reserve: 0,
      peak: 50,
    },
  ],
  tenants: [
    { tenant: 'acme', inflight: 6, queued: 0 },
    { tenant: 'stranger', inflight: 1, queued: 0 },
  ],
  requests_by_state: {},
  waiting: [],
  conditions: [],
  jobs: null,
  fleet: null,
  budgets: [],
  doors: {},
  guardrails: [],
  held: { requests: 0, slots: 0, probes: 0, timers: 0, replies: 0 },
}

let clock: ManualClock
let metrics: Metrics
let config: Config
let watch: ReturnType<typeof guardrails>

function start(file: unknown = {}): void {
  clock = manualClock()
  config = resolve(configFile.parse(file)).config
  watch = guardrails({ settings: config.file.guardrails, lanes: config.lanes })
  metrics = createMetrics({
    config: () => config,
    snapshot: () => snapshot,
    guardrails: () => watch,
    clock,
    version: '1.2.3',
  })
}

const page = async (): Promise<string> => (await metrics.page()).body
const feed = (...events: ReturnType<typeof event>[]): void => {
  for (const one of events) {
    watch.note(one, clock.now())
    metrics.record(one)
  }
}
const series = (text: string, name: string): string[] =>
  text.split('\n').filter((line) => line.startsWith(`headgate_${name}{`))

beforeEach(() => start())

test('the names are exactly those of the contract, and there from the start', async () => {
  const found = [...(await page()).matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [
    name?.replace('headgate_', ''),
    type,
  ])
  expect(found.toSorted()).toEqual(CONTRACT.map((one) => [...one]).toSorted())
})

test('a served request counts once, with its labels', async () => {
  feed(...served())
  const text = await page()
  const labels = 'model="claude-a",status="200",lane="interactive",tenant="acme"'
  expect(text).toContain(`headgate_requests_total{${labels}} 1`)
  expect(text).toContain(`headgate_attempts_total{${labels}} 1`)
  expect(text).toContain('headgate_tokens_total{model="claude-a",kind="input"} 10')
  expect(text).toContain('headgate_tokens_total{model="claude-a",kind="output"} 20')
  expect(text).toContain('headgate_retry_attempts_histogram_bucket{le="0",model="claude-a"} 1')
  expect(text).toContain('headgate_queue_wait_ms_count{lane="interactive"} 1')
  expect(text).toMatch(/headgate_queue_wait_ms_p95\{lane="interactive"\} 12(\.\d+)?\n/)
  expect(await page()).toContain(`headgate_requests_total{${labels}} 1`)
})

test('of calls that waited for a prefix is told what they read from the cache', async () => {
  feed(...served({ model: 'claude-opus-5' }))
  const usage = { inputTokens: 10, cacheCreationTokens: 3, cacheReadTokens: 4, outputTokens: 20 }
  const used = { tenant: 'acme', lane: 'interactive', model: 'claude-opus-5', usage } as const
  metrics.count({ ...used, kind: 'answered' })
  metrics.count({ ...used, kind: 'answered', waitedForPrefix: true })
  metrics.count({ ...used, kind: 'answered', waitedForPrefix: true })
  expect(series(await page(), 'prefix_saved_tokens_total')).toEqual([
    'headgate_prefix_saved_tokens_total{model="claude-opus-5",lane="interactive",tenant="acme"} 8',
  ])
})

test('what a call used is billed by the kind of its tokens, and costs what its model costs', async () => {
  feed(...served({ model: 'claude-opus-5' }))
  const usage = {
    ...{ inputTokens: 10, cacheCreationTokens: 3, cacheCreation1hTokens: 1 },
    ...{ cacheReadTokens: 4, outputTokens: 20 },
  }
  const used = { tenant: 'acme', lane: 'interactive', model: 'claude-opus-5', usage } as const
  metrics.count({ ...used, kind: 'answered' })
  metrics.count({ ...used, kind: 'preempted' })
  metrics.count({ ...used, kind: 'failed', usage: null })
  metrics.count({ ...used, kind: 'batch', batch: true, tenant: 'globex', model: 'claude-x' })
  const text = await page()
  const of = (kind: string, model = 'claude-opus-5', tenant = 'acme'): string =>
    `headgate_billed_tokens_total{model="${model}",kind="${kind}",lane="interactive",tenant="${tenant}"}`
  expect(text).toContain(`${of('input')} 10`)
  expect(text).toContain(`${of('cache_write_5m')} 2`)
  expect(text).toContain(`${of('cache_write_1h')} 1`)
  expect(text).toContain(`${of('cache_read')} 4`)
  expect(text).toContain(`${of('output')} 20`)
  expect(text).toContain(`${of('output', 'claude-x', 'globex')} 20`)
  const cost = (10 * 5 + 2 * 6.25 + 10 + 4 * 0.5 + 20 * 25) / 1e6
  expect(series(text, 'cost_usd_total')).toEqual([
    `headgate_cost_usd_total{model="claude-opus-5",lane="interactive",tenant="acme"} ${cost}`,
  ])
})

test.each([
  [
    event('attempt.ended', { status: null }),
    'attempts_total{model="claude-a",status="error",lane="interactive",tenant="other"} 1',
  ],
  [event('request.preempted'), 'preemptions_total{lane="batch"} 1'],
  [event('request.dropped'), 'requests_dropped_total{reason="no_reply"} 1'],
  [event('alarm'), 'upstream_alarms_total{name="key_stop"} 1'],
  [event('request.settled', { attempts: 3 }), 'retry_attempts_histogram_sum{model="claude-a"} 2'],
  [
    event('request.queued', { predicted_wait_ms: 240 }),
    'predicted_wait_ms_sum{lane="interactive"} 240',
  ],
  [
    event('request.dispatched', { queue_ms: 12, predicted_wait_ms: 240 }),
    'predicted_wait_error_ms_sum{lane="interactive"} 228',
  ],
  [
    event('request.settled', { code: 'queue_full', reason: 'SHED', status: 429 }),
    'refusals_total{reason="SHED",lane="interactive"} 1',
  ],
  [
    event('request.settled', { lane: 'nope', code: 'invalid_request', reason: null, status: 400 }),
    'refusals_total{reason="other",lane="other"} 1',
  ],
  [
    event('request.settled', { served_by: 'cache' }),
    'answers_total{served_by="cache",lane="interactive"} 1',
  ],
  [
    event('request.settled', { lane: 'nope', model: 'gpt', route: null, status: 404 }),
    'requests_total{model="other",status="404",lane="other",tenant="acme"} 1',
  ],
])('$name counts', async (given, line) => {
  feed(given)
  expect(await page()).toContain(`headgate_${line}\n`)
})

test('gauges are what the snapshot says', async () => {
  feed(...served())
  const text = await page()
  for (const line of [
    'build_info{version="1.2.3"} 1',
    'circuit_breaker_state{route="default-claude-a"} 2',
    'concurrency_limit{route="default-claude-a"} 42',
    'fleet_share{route="default-claude-a"} 42',
    'inflight{lane="interactive",route="default-claude-a"} 7',
    'inflight{lane="premium",route="default-claude-a"} 0',
    'queued{lane="batch"} 3',
    'inflight_by_tenant{tenant="acme"} 6',
    'inflight_by_tenant{tenant="other"} 4',
    'degradation_level 2',
    'quota_level{quota="family",dimension="requests"} 0.5',
    'quota_level{quota="family",dimension="input_tokens"} -0.5',
    'quota_rate_per_minute{quota="family",dimension="input_tokens"} 19000',
    'guardrail_ratio_429 0',
    'guardrail_retry_amplification 1',
  ])
    expect(text).toContain(`headgate_${line}\n`)
})

describe('durable jobs', () => {
  const jobs: Snapshot['jobs'] = stillJobs({
    states: { delayed: 1, stored: 5, waiting: 2, calling: 3, settling: 0, elsewhere: 4 },
    lanes: [
      { lane: 'premium', stored: 0, oldest_ms: null, expected_ms: 150_000 },
      { lane: 'batch', stored: 14, oldest_ms: 7_000, expected_ms: 43_200_000 },
    ],
    dead: { kept: 2, last_at: 1 },
    store: { ...stillJobs().store, reachable: false, full: true, bytes: 900, bytes_max: 1_000 },
  })
  const saidOf = async (of: Snapshot['jobs']): Promise<string> => {
    const own = createMetrics({
      ...{ config: () => config, guardrails: () => watch, clock, version: '1.2.3' },
      snapshot: () => ({ ...snapshot, jobs: of }),
    })
    return (await own.page()).body
  }

  test('are what the snapshot says', async () => {
    const said = await saidOf(jobs)
    for (const line of [
      'jobs{state="delayed"} 1',
      'jobs{state="stored"} 5',
      'jobs{state="elsewhere"} 4',
      'jobs_stored{lane="batch"} 14',
      'jobs_oldest_ms{lane="premium"} 0',
      'jobs_oldest_ms{lane="batch"} 7000',
      'jobs_expected_ms{lane="batch"} 43200000',
      'jobs_dead 2',
      'jobs_store_up 0',
      'jobs_store_full 1',
      'jobs_store_bytes 900',
      'jobs_store_bytes_max 1000',
    ])
      expect(said).toContain(`headgate_${line}\n`)
  })

  test('that nobody keeps have no series, and a store without a bound has none of it', async () => {
    expect(await saidOf(null)).not.toMatch(/^headgate_jobs/m)
    const unbounded = await saidOf(stillJobs())
    expect(unbounded).toContain('headgate_jobs_store_up 1\n')
    expect(unbounded).not.toMatch(/^headgate_jobs_store_bytes_max/m)
  })

  test('count by what became of them, an ended one by its outcome', async () => {
    const work = { job: { tenant: 'acme', lane: 'batch', id: 'j' }, claims: 1, attempts: 1 }
    metrics.jobNews({ kind: 'taken_over', from: 'two', ageMs: 1, ambiguous: true, ...work })
    metrics.jobNews({ kind: 'ambiguous', job: work.job })
    metrics.jobNews({ kind: 'settled', outcome: 'expired', ageMs: 1, ...work })
    metrics.jobNews({
      kind: 'dead',
      reason: 'unknown_lane',
      ...work,
      job: { ...work.job, lane: 'x' },
    })
    metrics.jobNews({ kind: 'store_error', job: null, error: new Error() })
    const text = await page()
    for (const line of [
      'event="taken_over",lane="batch"',
      'event="ambiguous",lane="batch"',
      'event="expired",lane="batch"',
      'event="dead",lane="other"',
      'event="store_error",lane="other"',
    ])
      expect(text).toContain(`headgate_jobs_total{${line}} 1\n`)
  })
})

describe('batches', () => {
  test('count what was received and how it ended, and those of the provider by their jobs', async () => {
    const own = createMetrics({
      ...{ config: () => config, guardrails: () => watch, clock, version: '1.2.3' },
      snapshot: () => null,
      batches: () => ({
        open: { receiving: 1, in_progress: 2, canceling: 0 },
        ...{ gatherings: 3, gathered: 40 },
      }),
    })
    const note = (news: MessageBatchNews): void =>
      own.jobNews({ kind: 'message_batch', job: null, ...news })
    note({ what: 'opened' })
    note({ what: 'page', entries: 5, bytes: 600 })
    note({ what: 'received' })
    note({ what: 'ended', tally: { succeeded: 3, errored: 1, canceled: 1, expired: 0 } })
    own.jobNews({ kind: 'batch', what: 'created', entries: 40, job: null })
    const { body } = await own.page()
    for (const line of [
      'batches_total{event="opened"} 1',
      'batches_total{event="received"} 1',
      'batches_total{event="ended"} 1',
      'batch_entries_total{event="received"} 5',
      'batch_entries_total{event="succeeded"} 3',
      'batch_entries_total{event="canceled"} 1',
      'batch_bytes_total 600',
      'batches{state="receiving"} 1',
      'batches{state="in_progress"} 2',
      'gatherings 3',
      'gathered_jobs 40',
      'gathered_jobs_total{event="created"} 40',
      'jobs_total{event="batch_created",lane="other"} 1',
    ])
      expect(body).toContain(`headgate_${line}\n`)
    expect(body).not.toContain('event="message_batch"')
  })
})

describe('a fleet', () => {
  const saidOf = async (fleet: Snapshot['fleet']): Promise<string> => {
    const own = createMetrics({
      ...{ config: () => config, guardrails: () => watch, clock, version: '1.2.3' },
      snapshot: () => ({ ...snapshot, fleet }),
    })
    return (await own.page()).body
  }

  test('has the share of this instance beside what it could use and uses, the others by standing', async () => {
    const others = ['two', 'three'].map((member) => stillMember({ member, standing: 'silent' }))
    const members = [stillMember({ own: true, share: 20, want: 35 }), ...others]
    const said = await saidOf(stillFleet({ lapses: 2, usable: 3, members }))
    for (const line of [
      'fleet_slots 20',
      'fleet_usable 3',
      'fleet_want 35',
      'fleet_inflight 10',
      'fleet_lapses 2',
      'fleet_members{standing="alive"} 1',
      'fleet_members{standing="silent"} 2',
    ])
      expect(said).toContain(`headgate_${line}\n`)
  })

  test('that has not begun has a share of nothing, and one that is none has no series', async () => {
    expect(await saidOf(stillFleet({ members: [] }))).toContain('headgate_fleet_slots 0\n')
    expect(await saidOf(null)).not.toMatch(/^headgate_fleet_(slots|usable|want|inflight|members)/m)
  })
})

test('what the alert rules watch is there while all is well, and says what is not', async () => {
  const [route] = snapshot.routes
  const well = await page()
  for (const line of [
    'queue_oldest_ms{lane="batch"} 0',
    'lane_paused{lane="batch"} 0',
    'upstream_silent_ms{route="default-claude-a"} 0',
    'bus_connected 1',
    'emergency 0',
    'config_refused 0',
  ])
    expect(well).toContain(`headgate_${line}\n`)
  expect(series(well, 'upstream_blocked')).toEqual([])
  const blocked = { status: 401, reason: 'key_refused' as const, since: 1 }
  const trouble: Snapshot = {
    ...snapshot,
    emergency: true,
    bus: { kind: 'nats', connected: false },
    lanes: snapshot.lanes.map((lane) => ({ ...lane, paused: true, oldest_ms: 7_000 })),
    routes: [{ ...route!, silent_ms: 12_000, blocked }],
  }
  const ill = createMetrics({
    config: () => config,
    snapshot: () => trouble,
    guardrails: () => watch,
    clock,
    version: '1.2.3',
    configRefused: () => true,
  })
  const said = (await ill.page()).body
  for (const line of [
    'queue_oldest_ms{lane="batch"} 7000',
    'lane_paused{lane="batch"} 1',
    'upstream_silent_ms{route="default-claude-a"} 12000',
    'upstream_blocked{upstream="default",reason="key_refused"} 1',
    'bus_connected 0',
    'emergency 1',
    'config_refused 1',
  ])
    expect(said).toContain(`headgate_${line}\n`)
})

test('a dimension without a limit, and a wait that nobody could predict, have no series', async () => {
  feed(event('request.queued', { predicted_wait_ms: null }))
  feed(event('request.dispatched', { attempt: 2, predicted_wait_ms: null }))
  feed(...served())
  const text = await page()
  expect(series(text, 'quota_level')).toHaveLength(2)
  expect(series(text, 'quota_rate_per_minute')).toHaveLength(2)
  expect(text).toContain('headgate_predicted_wait_ms_count{lane="interactive"} 1\n')
  expect(text).toContain('headgate_predicted_wait_error_ms_count{lane="interactive"} 1\n')
  expect(series(text, 'refusals_total')).toEqual([])
})

describe('bounds', () => {
  test('10,000 tenants make 200 names and `other`, and nothing is lost', async () => {
    for (let i = 0; i < 10_000; i++) feed(...served({ tenant: `t${i}` }))
    const lines = series(await page(), 'requests_total')
    expect(lines).toHaveLength(201)
    const sum = lines.reduce((total, line) => total + Number(line.split(' ').at(-1)), 0)
    expect(sum).toBe(10_000)
  })

  test('a busy tenant that comes after a flood of others gets its name, and keeps it', async () => {
    for (let i = 0; i < 1_000; i++) feed(...served({ tenant: `flood${i}` }))
    for (let minute = 0; minute < 3; minute++) {
      for (let i = 0; i < 2_000; i++) {
        if (i % 10 === 0) feed(...served({ tenant: 'busy' }))
        feed(...served({ tenant: `flood${minute}-${i}` }))
      }
      clock.advance(PERIOD_MS)
    }
    feed(...served({ tenant: 'busy' }))
    const text = await page()
    expect(text).toContain('tenant="busy"')
    expect(series(text, 'requests_total').length).toBeLessThanOrEqual(201)
  })

  test('steady tenants keep their names while strangers pass', async () => {
    start({ metrics: { tenants_max: 5 } })
    for (let minute = 0; minute < 5; minute++) {
      for (let i = 0; i < 200; i++) feed(...served({ tenant: `steady${i % 5}` }))
      for (let i = 0; i < 200; i++) feed(...served({ tenant: `passing${minute}-${i}` }))
      clock.advance(PERIOD_MS)
    }
    const text = await page()
    for (let i = 0; i < 5; i++) expect(text).toMatch(new RegExp(`tenant="steady${i}"} 200\n`))
  })

  test('invented models make no more names than there may be routes', async () => {
    for (let i = 0; i < 1_000; i++) feed(...served({ model: `model-${i}` }))
    for (let i = 0; i < 1_000; i++) feed(event('request.settled', { model: `x-${i}`, route: null }))
    const text = await page()
    expect(series(text, 'requests_total').length).toBe(51)
    expect(series(text, 'tokens_total').length).toBe(51 * 2)
    expect(text).not.toContain('"x-1"')
  })

  test('invented statuses, lanes and alarms make no series of their own', async () => {
    for (let i = 0; i < 1_000; i++) {
      feed(event('attempt.ended', { status: 600 + i, lane: `lane${i}` }))
      feed(event('alarm', { name: `alarm${i}` }))
    }
    const text = await page()
    expect(series(text, 'attempts_total')).toHaveLength(1)
    expect(series(text, 'upstream_alarms_total')).toHaveLength(51)
  })

  test('the cells of one counter are bounded, whatever their labels', () => {
    const labels = ['model', 'status', 'lane', 'tenant'] as const
    const cells = countCells({ labels, keeps: () => true, isStale: () => false })
    for (let i = 0; i < SERIES_MAX + 5_000; i++) cells.add('m', '200', 'l', `t${i}`, 1)
    expect([...cells.all()].length).toBe(SERIES_MAX + 1)
  })

  test.each(['a"} 1\nheadgate_evil 1', 'a\\', '\u0000', 'x'.repeat(65), '', 'a b', '</script>'])(
    'a tenant called %j is `other`',
    async (tenant) => {
      feed(...served({ tenant }))
      const text = await page()
      expect(series(text, 'requests_total')).toHaveLength(1)
      expect(text).toContain('tenant="other"} 1')
      expect(text).not.toContain('headgate_evil')
    },
  )

  test('a hostile model name cannot break a line', async () => {
    feed(...served({ model: 'a"} 1\nheadgate_evil 1' }))
    expect(await page()).not.toMatch(/^headgate_evil/m)
  })
})
