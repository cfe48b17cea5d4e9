/** Why a request waits: each bound, caused by hand, is the one that is named. */
import { describe, expect, test } from 'vitest'
import { waitWords, type WaitReason } from '#contracts/waiting'
import { whyWaits, waitingBy } from '#core/laws/waiting'
import { CoreWorld, verdictOf } from '../support/core-world.ts'

const why = (world: CoreWorld, key: string): WaitReason =>
  whyWaits(world.state, world.state.requests.get(key)!, world.now).reason

const filled = (file: unknown, count: number, of: { tenant?: string; lane?: string } = {}) => {
  const world = new CoreWorld(file)
  for (let i = 0; i < count; i++) world.submit({ tenant: of.tenant ?? `t${i}`, ...of })
  return world
}

describe('the bound that holds a queued request is named', () => {
  test('a paused lane', () => {
    const world = new CoreWorld()
    world.input({ type: 'lane', lane: 'interactive', paused: true })
    world.submit({ id: 'x' })
    expect(why(world, 'a/x')).toBe('lane_paused')
  })

  test("its tenant's configured cap, with the number", () => {
    const world = new CoreWorld({ tenants: { a: { max_inflight: 2 } } })
    for (const id of ['x', 'y', 'z']) world.submit({ id })
    expect(whyWaits(world.state, world.state.requests.get('a/z')!, 0)).toEqual({
      reason: 'tenant_cap',
      bound: 2,
      untilMs: null,
    })
  })

  test("its lane's configured cap", () => {
    const world = filled({ lanes: { interactive: { cap: 3 } } }, 3)
    world.submit({ id: 'x' })
    expect(why(world, 'a/x')).toBe('lane_cap')
  })

  test("the route's limit, and the limit of all", () => {
    const file = { concurrency_limit: { initial: 4, floor: 4 } }
    const world = filled(file, 4)
    world.submit({ id: 'x' })
    expect(why(world, 'a/x')).toBe('route_limit')
    const all = filled({ llm_gateway: { max_inflight_global: 4 } }, 4)
    all.submit({ id: 'x' })
    expect(why(all, 'a/x')).toBe('global')
  })

  test('a breaker that is open, with the time until its probes', () => {
    const world = filled({}, 1)
    world.setGate('default-m', { state: 'open', cap: 0, until: 12_000 })
    world.submit({ id: 'x' })
    expect(whyWaits(world.state, world.state.requests.get('a/x')!, 0)).toEqual({
      reason: 'breaker',
      bound: 0,
      untilMs: 12_000,
    })
  })

  test('a pause that a 429 asked for, and the back-off of the one that got it', () => {
    const world = filled({}, 1)
    world.end('t0/r0', verdictOf('throttled', { status: 429, retryAfterMs: 9_000 }))
    world.submit({ id: 'x' })
    expect(why(world, 'a/x')).toBe('pause')
    expect(why(world, 't0/r0')).toBe('retry')
  })

  test('a bucket that is empty, with the time until it holds enough', () => {
    const routes = [{ model: 'm', rpm: 12 }]
    const world = filled({ routes }, 1)
    world.submit({ id: 'x' })
    world.submit({ id: 'y' })
    const wait = whyWaits(world.state, world.state.requests.get('a/y')!, world.now)
    expect(wait.reason).toBe('quota')
    expect(wait.untilMs).toBeGreaterThan(3_000)
  })

  test('an upstream that is blocked', () => {
    const world = filled({}, 1)
    world.end('t0/r0', verdictOf('key_stop', { status: 402 }))
    world.submit({ id: 'x', lane: 'batch' })
    expect(why(world, 'a/x')).toBe('block')
  })

  test("slots that are held for another lane's guarantee", () => {
    const file = {
      llm_gateway: { max_inflight_global: 4 },
      concurrency_limit: { initial: 4, floor: 4 },
      scheduling: { base: 4 },
      lanes: {
        premium: { guarantee: 2, reserved_slots: 2, cap: 4 },
        interactive: { cap: 4 },
        batch: { cap: 4, minimum_share: 0 },
      },
    }
    const world = filled(file, 2)
    world.submit({ id: 'x' })
    expect(why(world, 'a/x')).toBe('hold')
  })
})

test('rows count by lane, route and reason, and name the tenant whose cap it is', () => {
  const world = new CoreWorld({ tenants: { a: { max_inflight: 1 } } })
  for (let i = 0; i < 5; i++) world.submit({ id: `x${i}` })
  world.now = 2_000
  expect(waitingBy(world.state, world.now)).toEqual([
    {
      lane: 'interactive',
      route: 'default-m',
      reason: 'tenant_cap',
      count: 4,
      oldest_ms: 2_000,
      tenant: 'a',
      bound: 1,
      until_ms: null,
    },
  ])
})

test('the words say the numbers, and a time in whole seconds', () => {
  expect(waitWords({ reason: 'tenant_cap', bound: 12, untilMs: null })).toBe(
    'its tenant has as many calls in flight as it may (12)',
  )
  expect(waitWords({ reason: 'breaker', bound: 0, untilMs: 11_200 })).toBe(
    'the breaker keeps the route shut (12 s more)',
  )
  expect(waitWords({ reason: 'breaker', bound: 3, untilMs: null })).toBe(
    'the breaker lets only 3 probes through at once',
  )
})
