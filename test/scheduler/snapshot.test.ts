/** The snapshot is what is true, and what its schema says. */
import { expect, test } from 'vitest'
import { snapshot as snapshotSchema, type Snapshot } from '#contracts/snapshot'
import { guardrails } from '../../services/scheduler/observability/guardrails.ts'
import { createMetrics } from '../../services/scheduler/observability/metrics.ts'
import { snapshotOf } from '../../services/scheduler/compose/snapshot.ts'
import { LoopWorld } from '../support/loop-world.ts'
import type { Act } from '../support/scripted-provider.ts'

/** An answer whose headers tell two limits: 60 requests and 40,000 input tokens a minute. */
const told: Act = {
  firstByteMs: 100,
  end: {
    kind: 'ok',
    status: 200,
    rate: {
      requests: { limit: 60, remaining: 60 },
      inputTokens: { limit: 40_000, remaining: 0 },
      outputTokens: { limit: null, remaining: null },
    },
  },
}
const silent: Act = { firstByteMs: 100, end: { kind: 'ok', status: 200 } }

function seen(world: LoopWorld): Snapshot {
  const { loop, clock } = world
  return snapshotSchema.parse(
    snapshotOf({
      loop,
      guardrails: [],
      clock,
      instance: 'one',
      version: '1',
      startedAt: 0,
      bus: { kind: 'memory', connected: true },
      conditions: () => [],
    }),
  )
}

test('a route without a limit has no buckets', async () => {
  const world = new LoopWorld({ script: () => silent })
  world.request()
  await world.pass(200)
  const { routes, global } = seen(world)
  expect(global.level).toBe(0)
  expect(routes[0]).toMatchObject({
    quota: 'default-m',
    buckets: { requests: null, input_tokens: null, output_tokens: null },
    reserve: 0,
    peak: routes[0]?.limit,
  })
})

test('what the headers taught is shown, with its debt', async () => {
  const world = new LoopWorld({ script: () => told })
  world.request()
  await world.pass(100)
  const { requests, input_tokens, output_tokens } = seen(world).routes[0]!.buckets
  expect(requests).toEqual({
    limit_per_minute: 60,
    rate_per_minute: 57,
    level: 4.8,
    burst: 4.8,
  })
  expect(input_tokens).toMatchObject({ limit_per_minute: 40_000, rate_per_minute: 38_000 })
  expect(input_tokens?.burst).toBe(19_000)
  expect(input_tokens?.level).toBeLessThan(0)
  expect(output_tokens).toBeNull()
})

test('routes of one quota show the same buckets, with the least limit of both', async () => {
  const routes = [
    { model: 'm', quota: 'family', rpm: 100 },
    { model: 'n', quota: 'family', rpm: 50 },
  ]
  const world = new LoopWorld({ file: { routes }, script: () => silent })
  world.request()
  world.request({ model: 'n' })
  await world.pass(200)
  const [first, second] = seen(world).routes
  expect([first?.quota, second?.quota]).toEqual(['family', 'family'])
  expect(first?.buckets).toEqual(second?.buckets)
  expect(first?.buckets.requests?.limit_per_minute).toBe(50)
})

test('the metrics page says the same of level and quota, and how well waits were predicted', async () => {
  const world = new LoopWorld({ script: () => told })
  const { clock, loop } = world
  const { config } = loop.state
  const watch = guardrails({ settings: config.file.guardrails, lanes: config.lanes })
  const metrics = createMetrics({
    config: () => config,
    snapshot: () => seen(world),
    guardrails: () => watch,
    clock,
    version: '1',
  })
  world.request()
  await world.pass(100)
  for (const event of world.events) metrics.record(event)
  loop.state.load.level = 3
  const { body } = await metrics.page()
  for (const line of [
    'degradation_level 3',
    'quota_level{quota="default-m",dimension="requests"} 1',
    'quota_rate_per_minute{quota="default-m",dimension="input_tokens"} 38000',
    'predicted_wait_ms_count{lane="interactive"} 1',
    'predicted_wait_error_ms_count{lane="interactive"} 1',
  ])
    expect(body).toContain(`headgate_${line}\n`)
  expect(body).toMatch(/headgate_quota_level\{quota="default-m",dimension="input_tokens"\} -/)
  expect(body).not.toContain('output_tokens')
})

test('a request that waits says which bound holds it, in the list that the page asks for', async () => {
  const world = new LoopWorld({ script: () => silent })
  world.loop.pause('interactive', true)
  world.request()
  await world.pass(100)
  const { rows } = world.loop.requests({ state: null, route: null, tenant: null, limit: 5 })
  expect(rows).toMatchObject([{ waits_for: { reason: 'lane_paused', text: 'its lane is paused' } }])
  world.loop.pause('interactive', false)
  await world.pass(10)
  const { rows: after } = world.loop.requests({ state: null, route: null, tenant: null, limit: 5 })
  expect(after.map((one) => one.waits_for)).toEqual([null])
})
