/** Nothing stands still, or stays small, that the provider would take. */
import { describe, expect, test } from 'vitest'
import { wanted } from '#core/laws/capacity'
import * as aimd from '#machines/aimd'
import { CoreWorld } from '../support/core-world.ts'
import { attemptOf } from '#core/model/place'

const routeOf = (world: CoreWorld) => [...world.state.routes.values()][0]!

test.each([50, 60, 100, 107])('a cap of all slots is all of them, of base %i', (base) => {
  const world = new CoreWorld({
    llm_gateway: { max_inflight_global: 200 },
    scheduling: { base },
    lanes: { interactive: { cap: base } },
  })
  world.submit()
  const route = routeOf(world)
  for (let limit = 1; limit <= 128; limit++) {
    world.setLimit(route.id, limit)
    const laneRoute = route.laneRoutes.find(({ lane }) => lane.config.name === 'interactive')
    expect(laneRoute?.cap).toBe(limit)
  }
})

test.each([1, 2])('a configured headroom leaves batch one of %i slots', (slots) => {
  const world = new CoreWorld({
    llm_gateway: { max_inflight_global: slots },
    scheduling: { headroom: 5 },
  })
  world.submit({ lane: 'batch', id: 'one' })
  expect(world.running()).toEqual(['a/one'])
})

test('a call that is not streamed, of a model that nothing is known of, is given up in the end', () => {
  const world = new CoreWorld()
  world.submit({ id: 'one', lane: 'batch', stream: false, maxTokens: 8_192 })
  const attempt = attemptOf(world.state.requests.get('a/one')!)
  // Three times what 8,192 tokens take by the priors.
  expect(attempt?.firstByteMs).toBeCloseTo(3_000 * (1 + 8_192 / 60), 0)
})

describe('work waits for the limit', () => {
  const held = (file: object, lane: string): boolean => {
    const world = new CoreWorld(file)
    world.submit({ lane, id: 'first' })
    world.setLimit(routeOf(world).id, 8)
    for (let i = 0; i < 20; i++) world.submit({ lane })
    expect(world.running().length).toBeLessThan(8)
    return wanted(routeOf(world))
  }
  test.each([
    ["its lane's cap", { lanes: { interactive: { cap: 30 } } }, 'interactive'],
    [
      "another lane's reserved slots",
      { lanes: { premium: { reserved_slots: 20 } } },
      'interactive',
    ],
    ['the headroom', { scheduling: { headroom: 30 } }, 'batch'],
  ])('also where %s scales with it', (_, file, lane) => {
    expect(held(file, lane)).toBe(true)
  })

  test('and not where its lane is paused', () => {
    const world = new CoreWorld()
    world.submit({ id: 'first' })
    world.input({ type: 'lane', lane: 'interactive', paused: true })
    world.setLimit(routeOf(world).id, 1)
    world.submit()
    expect(wanted(routeOf(world))).toBe(false)
  })
})

test('what others may need is what they may start: the rest of their queue keeps no slot free', () => {
  const world = new CoreWorld({ lanes: { premium: { cap: 2, guarantee: 0 } } })
  for (let i = 0; i < 50; i++) world.submit({ lane: 'premium' })
  for (let i = 0; i < 5; i++) {
    world.now += 1_000
    world.tick()
  }
  for (let i = 0; i < 60; i++) world.submit({ lane: 'batch', tenant: `b${i % 9}` })
  expect(world.running().length).toBeGreaterThanOrEqual(56)
})

test('the limit finds a capacity of long calls, of which few end in a window', () => {
  const settings = {
    mode: 'default',
    initial: 8,
    floor: 4,
    ceiling: 128,
    windowMs: 30_000,
  } as const
  let a = aimd.begin(settings, 0)
  for (let at = 1_000; at <= 600_000; at += 1_000) {
    a = aimd.started(a, a.limit)
    // Calls of 30 s each.
    const ends = Math.floor((at * a.limit) / 30_000) - Math.floor(((at - 1_000) * a.limit) / 30_000)
    for (let i = 0; i < ends; i++) a = aimd.ok(a, at)
    a = aimd.tick(a, { at, inflight: a.limit, wanted: true }, settings).next
  }
  expect(a.limit).toBeGreaterThan(30)
})

test('a budget that can never have a token is not waited for', () => {
  const retry = { budget_start: 0, budget_max: 0 }
  const world = new CoreWorld({ llm_gateway: { retry } })
  world.submit({ id: 'one', deadlineMs: 3_600_000 })
  const effects = world.end('a/one', 'fault')
  expect(effects).toContainEqual(expect.objectContaining({ type: 'settled' }))
})
