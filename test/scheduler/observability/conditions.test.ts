/** When each condition began: kept by the scheduler, whoever looks and whenever. */
import { describe, expect, test } from 'vitest'
import { conditionsIn, DEAD_LATELY_MS, type Condition } from '#contracts/conditions'
import type { FleetNow, JobsNow, Snapshot } from '#contracts/snapshot'
import { watchConditions } from '../../../services/scheduler/observability/conditions.ts'
import { stillFleet, stillJobs, stillMember, stillRoute, stillSnapshot } from '../../support/fed.ts'
import { manualClock } from '../../support/manual-clock.ts'
import { event } from './events.ts'

function watched(wall = (at: number): number => at) {
  const clock = manualClock()
  let now: Partial<Snapshot> = {}
  const read = (): Condition[] => watch.read(stillSnapshot(now))
  const watch = watchConditions({
    clock: { ...clock, wall: () => wall(clock.wall()) },
    snapshot: read,
  })
  return {
    clock,
    watch,
    read,
    be: (of: Partial<Snapshot>): void => void (now = of),
    /** Since when; null: it does not hold. */
    since: (condition: Condition['condition'], about: string | null = null): number | null =>
      read().find((one) => one.condition === condition && one.about === about)?.since ?? null,
  }
}
const lane = (of: Partial<Snapshot['lanes'][number]>): Snapshot['lanes'][number] => ({
  ...{ name: 'batch', weight: 1, preemptible: true, paused: false, guarantee: 0, cap: 10 },
  ...{ inflight: 0, queued: 0, oldest_ms: null },
  ...of,
})
const route = (of: Partial<Snapshot['routes'][number]>) => ({ routes: [stillRoute('a', of)] })
const global = (of: Partial<Snapshot['global']>) => ({
  global: { limit: 10, inflight: 0, queued: 0, backoff: 0, level: 0, ...of },
})

const jobs = (of: Partial<JobsNow>): Partial<Snapshot> => ({ jobs: stillJobs(of) })
const fleetWith = (of: Partial<FleetNow['members'][number]>, more: Partial<FleetNow> = {}) =>
  stillFleet({
    members: [stillMember({ own: true }), stillMember({ member: 'two', ...of })],
    ...more,
  })
const budget = (of: Partial<Snapshot['budgets'][number]>): Snapshot['budgets'][number] => ({
  ...{ tenant: 'acme', span: 'day', unit: 'usd', whole: 20, left: 4, ends_at: 0 },
  ...of,
})
const jobLane = { lane: 'batch', stored: 3, oldest_ms: null, expected_ms: 60_000 }

describe('what nobody looked at has begun when it began', () => {
  test.each<[Condition['condition'], string | null, Partial<Snapshot>]>([
    ['nats_lost', null, { bus: { kind: 'nats', connected: false } }],
    ['draining', null, { draining: true }],
    ['emergency', null, { emergency: true }],
    ['overloaded', null, global({ level: 2 })],
    ['slots_used', null, global({ inflight: 10, queued: 1 })],
    ['lane_paused', 'batch', { lanes: [lane({ paused: true })] }],
    ['blocked', 'default', route({ blocked: { status: 401, reason: 'key_refused', since: 0 } })],
    ['blocked', 'default', route({ blocked_ms: 1 })],
    ['breaker', 'a', route({ breaker: 'open' })],
    ['limit_lowered', 'a', route({ limit_state: 'recovering' })],
    ['quota_pause', 'a', route({ paused_ms: 5 })],
    ['jobs_store_lost', null, jobs({ store: { ...stillJobs().store, reachable: false } })],
    ['jobs_store_full', null, jobs({ store: { ...stillJobs().store, full: true } })],
    ['jobs_old', 'batch', jobs({ lanes: [{ ...jobLane, oldest_ms: 60_001 }] })],
    ['budget_low', 'acme/day', { budgets: [budget({ left: 4 })] }],
    ['budget_end', 'acme/day', { budgets: [budget({ left: 0 })] }],
    ['fleet_lapsed', null, { fleet: stillFleet({ lapsed: true }) }],
    ['fleet_superseded', null, { fleet: stillFleet({ name_taken: 'one' }) }],
    ['fleet_config_differs', 'two', { fleet: fleetWith({ config_differs: true }) }],
    [
      'guardrail',
      'ratio_429',
      { guardrails: [{ name: 'ratio_429', value: 1, bound: 0.1, met: false }] },
    ],
  ])('%s of %s', (condition, about, holds) => {
    const { clock, be, since } = watched()
    clock.advance(60_000)
    expect(since(condition, about)).toBe(null)
    const began = clock.wall()
    be(holds)
    clock.advance(75_000)
    expect(since(condition, about)).toBeGreaterThanOrEqual(began)
    expect(since(condition, about)).toBeLessThanOrEqual(began + 1_000)
    be({})
    clock.advance(30_000)
    expect(since(condition, about)).toBe(null)
  })
})

test('two of a kind have times of their own', () => {
  const { clock, be, since } = watched()
  be({ lanes: [lane({ paused: true }), lane({ name: 'premium' })] })
  clock.advance(20_000)
  be({ lanes: [lane({ paused: true }), lane({ name: 'premium', paused: true })] })
  clock.advance(20_000)
  const [one, other] = [since('lane_paused', 'batch')!, since('lane_paused', 'premium')!]
  expect(other - one).toBe(20_000)
})

test('a breaker that opens again after its probes failed is one episode', () => {
  const { clock, be, since } = watched()
  be(route({ breaker: 'open' }))
  const began = clock.wall()
  for (const breaker of ['half_open', 'open', 'half_open', 'open', 'half_open', 'ramp', 'open']) {
    clock.advance(15_000)
    be(route({ breaker }))
  }
  expect(since('breaker', 'a')! - began).toBeLessThanOrEqual(1_000)
  be(route({ breaker: 'closed' }))
  clock.advance(2_000)
  be(route({ breaker: 'open' }))
  clock.advance(2_000)
  expect(since('breaker', 'a')).toBeGreaterThan(began + 100_000)
})

test('a 429 that pauses again and again is one episode', () => {
  const { clock, be, since } = watched()
  be(route({ paused_ms: 500 }))
  clock.advance(1_000)
  const began = since('quota_pause', 'a')
  for (let round = 0; round < 5; round++) {
    be(route({ paused_ms: 0 }))
    clock.advance(4_000)
    expect(since('quota_pause', 'a')).toBe(began)
    be(route({ paused_ms: 500 }))
    clock.advance(1_000)
  }
  expect(since('quota_pause', 'a')).toBe(began)
})

test('silence began with the last word, and lasts over an open breaker until something is heard', () => {
  const { clock, be, watch, since } = watched()
  clock.advance(60_000)
  be(route({ silent_ms: 6_000 }))
  const began = clock.wall() - 6_000
  expect(since('no_answer', 'a')).toBe(began)
  clock.advance(5_000)
  // The oldest call has run into its deadline, the next one is younger.
  be(route({ silent_ms: 4_000 }))
  expect(since('no_answer', 'a')).toBe(began)
  be(route({ breaker: 'open' }))
  watch.record(event('attempt.ended', { route: 'a', verdict: 'ended_silent', status: null }))
  clock.advance(40_000)
  expect(since('no_answer', 'a')).toBe(began)
  be(route({ breaker: 'ramp' }))
  watch.record(event('attempt.ended', { route: 'a', verdict: 'ok', status: 200 }))
  clock.advance(20_000)
  expect(since('no_answer', 'a')).toBe(null)
  expect(since('breaker', 'a')).not.toBe(null)
  // Another silence is another episode.
  be(route({ silent_ms: 3_000 }))
  expect(since('no_answer', 'a')).toBe(clock.wall() - 3_000)
})

test('a jump of wall time moves no beginning in the time that has passed', () => {
  let ahead = 0
  const { clock, be, since } = watched((wall) => wall + ahead)
  be({ emergency: true })
  clock.advance(10_000)
  ahead = 3_600_000
  clock.advance(10_000)
  expect(clock.wall() + ahead - since('emergency')!).toBeLessThanOrEqual(20_000)
})

test('nothing holds for ever that is gone, and no timer is left', () => {
  const { clock, be, read, watch } = watched()
  be({ ...route({ breaker: 'open', paused_ms: 1 }), emergency: true })
  clock.advance(5_000)
  be({})
  clock.advance(30_000)
  expect(read()).toEqual([])
  watch.close()
  expect(clock.pending()).toBe(0)
})

describe('durable jobs', () => {
  const at = '2026-01-01T00:00:00.000Z'
  const held = (of: Partial<JobsNow>) =>
    conditionsIn(stillSnapshot({ at, jobs: stillJobs(of) })).map(({ condition }) => condition)

  test('that are fine hold nothing', () => {
    const store = { ...stillJobs().store, last_error: { reason: 'full' as const, at: 0 } }
    expect(held({ lanes: [{ ...jobLane, oldest_ms: 60_000 }], store })).toEqual([])
  })

  test.each([
    [DEAD_LATELY_MS - 1, ['jobs_dead']],
    [DEAD_LATELY_MS, []],
  ])('of which one was given up %i ms ago: %j', (ago, conditions) => {
    const dead = { kept: 7, last_at: Date.parse(at) - ago }
    expect(held({ dead })).toEqual(conditions)
  })

  test('each old lane is one of its own', () => {
    const old = { ...jobLane, oldest_ms: 60_001 }
    expect(held({ lanes: [old, { ...old, lane: 'premium' }, jobLane] })).toEqual([
      'jobs_old',
      'jobs_old',
    ])
  })
})

describe('a fleet', () => {
  const held = (fleet: FleetNow) =>
    conditionsIn(stillSnapshot({ fleet })).map(({ condition, about }) => [condition, about])

  test.each([
    ['alive', []],
    ['leaving', []],
    ['silent', [['fleet_silent', 'two']]],
    ['safe', [['fleet_silent', 'two']]],
    // Its process has ended, or none of its calls can run: nothing is kept.
    ['gone', []],
  ] as const)('with a member that is %s', (standing, told) =>
    expect(held(fleetWith({ standing }))).toEqual(told),
  )

  test('that this instance is cut off from is not called silent', () =>
    expect(held(fleetWith({ standing: 'silent' }, { lapsed: true }))).toEqual([
      ['fleet_lapsed', null],
    ]))

  test('differs from who is there only', () => {
    const differs = fleetWith({ config_differs: true, standing: 'leaving' })
    expect(held(differs)).toEqual([['fleet_config_differs', 'two']])
    expect(held(fleetWith({ config_differs: true, standing: 'gone' }))).toEqual([])
  })

  test('a silence began with the last word', () => {
    const { clock, be, since } = watched()
    clock.advance(60_000)
    be({ fleet: fleetWith({ standing: 'silent', heard_ms: 14_000 }) })
    const began = clock.wall() - 14_000
    expect(since('fleet_silent', 'two')).toBe(began)
    clock.advance(5_000)
    expect(since('fleet_silent', 'two')).toBe(began)
  })
})

describe('budgets', () => {
  test('of both units in one span are one, and one at its end beside one that is low are two', () => {
    const held = (budgets: Snapshot['budgets']) =>
      conditionsIn(stillSnapshot({ budgets })).map(({ condition }) => condition)
    const tokens = budget({ unit: 'tokens', left: 5 })
    expect(held([budget({}), tokens])).toEqual(['budget_low'])
    expect(held([budget({ left: 0 }), tokens])).toEqual(['budget_end', 'budget_low'])
  })

  test('of a tenant that asks now and then keep when they began', () => {
    const { clock, be, since } = watched()
    be({ budgets: [budget({ left: 0 })] })
    clock.advance(2_000)
    const began = since('budget_end', 'acme/day')
    be({})
    clock.advance(5_000)
    expect(since('budget_end', 'acme/day')).toBe(null)
    be({ budgets: [budget({ left: 0 })] })
    expect(since('budget_end', 'acme/day')).toBe(began)
  })
})
