/** One tenant's trouble stays its own: what only it meets binds it, and nobody else until others meet it too. */
import { describe, expect, test } from 'vitest'
import type { RateHeaders } from '#contracts/verdict'
import type { Input } from '#core/model/inputs'
import { CoreWorld, configOf, verdictOf } from '../support/core-world.ts'

const BETA = 'context-1m-2025-08-07'
const paused = (more = {}) =>
  verdictOf('throttled', { status: 429, retryAfterMs: 20_000, mayHaveRun: false, ...more })
const started = (world: CoreWorld, key: string) => world.running().includes(key)

/** Six tenants of whom five have just been answered well. */
function served(file: object = {}): CoreWorld {
  const world = new CoreWorld(file)
  for (const tenant of ['b', 'c', 'd', 'e', 'f']) {
    world.submit({ tenant, id: 'well' })
    world.end(`${tenant}/well`)
  }
  return world
}
const routeOf = (world: CoreWorld, id = 'm') => {
  const route = [...world.state.routes.values()].find((one) => one.config.model === id)
  if (route === undefined) throw new Error(`no route of ${id}`)
  return route
}

describe('a pause that one tenant meets alone', () => {
  test('holds it, in every lane, and nobody else; its end is kept', () => {
    const world = served()
    world.submit({ tenant: 'a', id: 'one', deadlineMs: 300_000 })
    world.end('a/one', paused())
    world.submit({ tenant: 'a', id: 'two', deadlineMs: 300_000 })
    world.submit({ tenant: 'a', id: 'three', lane: 'premium', deadlineMs: 300_000 })
    world.submit({ tenant: 'b', id: 'four' })
    expect(world.running()).toEqual(['b/four'])
    world.end('b/four')
    world.advance(19_999)
    expect(world.running()).toEqual([])
    world.advance(1)
    expect(world.running().sort()).toEqual(['a/three', 'a/two'])
  })

  test('binds all as soon as another meets it', () => {
    const world = served()
    world.submit({ tenant: 'a', id: 'one' })
    world.submit({ tenant: 'b', id: 'two' })
    world.end('a/one', paused())
    world.end('b/two', paused())
    world.submit({ tenant: 'c', id: 'three' })
    expect(started(world, 'c/three')).toBe(false)
  })

  const family = (limit: number, remaining: number) => ({ limit, remaining })
  const none = { limit: null, remaining: null }
  const usedUp: RateHeaders = {
    requests: family(50, 0),
    inputTokens: none,
    outputTokens: none,
  }
  test.each([
    ['the upstream says that its quota is used up', served, paused({ rate: usedUp })],
    ['nobody else was lately answered', () => new CoreWorld(), paused()],
  ])('binds all where %s', (_name, made, verdict) => {
    const world = made()
    world.submit({ tenant: 'a', id: 'one' })
    world.end('a/one', verdict)
    world.submit({ tenant: 'b', id: 'three' })
    expect(started(world, 'b/three')).toBe(false)
  })

  test('of a beta holds whoever asks for it, and its tenants go on without', () => {
    const world = served()
    for (const tenant of ['a', 'g']) {
      world.submit({ tenant, id: 'one', beta: BETA })
      world.end(`${tenant}/one`, paused())
    }
    for (const tenant of ['h', 'b']) world.submit({ tenant, id: 'beta', beta: BETA })
    for (const tenant of ['c', 'd']) world.submit({ tenant, id: 'plain' })
    expect(world.running().sort()).toEqual(['c/plain', 'd/plain'])
  })

  test('of long prompts holds long prompts, and the same tenants go on with short ones', () => {
    const world = served()
    const long = { bytes: 800_000 }
    for (const tenant of ['a', 'g']) {
      world.submit({ tenant, id: 'one', ...long })
      world.end(`${tenant}/one`, paused())
    }
    for (const tenant of ['h', 'b']) world.submit({ tenant, id: 'long', ...long })
    for (const tenant of ['c', 'd']) world.submit({ tenant, id: 'short' })
    expect(world.running().sort()).toEqual(['c/short', 'd/short'])
  })

  test('is told to who asks why it waits, and ends with a reload', () => {
    const world = served()
    world.submit({ tenant: 'a', id: 'one' })
    world.end('a/one', paused())
    world.submit({ tenant: 'a', id: 'two' })
    const refused = world.submit({ tenant: 'a', id: 'late', deadlineMs: 5_000 })
    expect(refused).toMatchObject([{ type: 'refused', refused: { reason: 'DOOMED' } }])
    world.input({ type: 'config', config: configOf() })
    expect(started(world, 'a/two')).toBe(true)
  })
})

describe('answers that take long', () => {
  /** Forty answers of one tenant, each a minute; then nothing runs. */
  function slow(): CoreWorld {
    const world = new CoreWorld()
    for (let i = 0; i < 40; i++) {
      world.submit({ tenant: 'a', id: `long${i}`, stream: false })
      world.advance(60_000)
      world.tick()
      world.end(`a/long${i}`)
    }
    return world
  }
  const soon = { stream: false, deadlineMs: 10_000 }

  test('of one tenant speak against no call of another while nothing waits', () => {
    const world = slow()
    world.submit({ tenant: 'b', id: 'short', ...soon })
    expect(world.running()).toEqual(['b/short'])
    // Its own do.
    expect(world.submit({ tenant: 'a', id: 'short', ...soon })).toMatchObject([
      { type: 'refused', refused: { reason: 'DOOMED' } },
    ])
  })

  test('count where others wait before it', () => {
    const world = slow()
    world.setLimit('default-m', 1)
    world.submit({ tenant: 'b', id: 'first', stream: false, deadlineMs: 100_000 })
    world.submit({ tenant: 'b', id: 'second', ...soon })
    world.advance(9_000)
    world.end('b/first')
    expect(world.outcomes.get('b/second')).toEqual(['DOOMED'])
  })
})

describe('the retry budget', () => {
  test('keeps a half for the neighbours of a tenant whose every call fails', () => {
    const file = { llm_gateway: { retry: { budget_start: 10, budget_per_minute: 0 } } }
    const world = new CoreWorld(file)
    world.submit({ tenant: 'good', id: 'before' })
    world.end('good/before')
    world.submit({ tenant: 'good', id: 'here', deadlineMs: 3_600_000 })
    let poisoned = 0
    for (let i = 0; i < 40; i++) {
      const key = `poison/${i}`
      world.submit({ tenant: 'poison', id: String(i), deadlineMs: 2_000 })
      const failed = world.end(key, verdictOf('fault', { status: 500 }))
      if (failed.some((one) => one.type === 'backoff' && !one.owes)) poisoned++
      world.input({ type: 'cancel', key })
    }
    expect(poisoned).toBeGreaterThanOrEqual(5)
    expect(poisoned).toBeLessThanOrEqual(6)
    const [effect] = world
      .end('good/here', verdictOf('fault', { status: 500 }))
      .filter((one) => one.type === 'backoff')
    expect(effect).toMatchObject({ owes: false })
  })
})

describe('routes of one quota', () => {
  const file = (more: object = {}) => ({
    routes: ['m', 'n'].map((model) => ({ model, quota: 'shared', ...more })),
  })
  const told = (limit: number, remaining = limit): RateHeaders => ({
    requests: { limit, remaining },
    inputTokens: { limit: null, remaining: null },
    outputTokens: { limit: null, remaining: null },
  })
  const answer = (world: CoreWorld, model: string, limit: number) => {
    const id = `${model}${world.now}${limit}`
    world.submit({ id, model })
    return world.end(`a/${id}`, verdictOf('ok', { rate: told(limit) }))
  }

  test('that are named different limits are paced apart until they agree, and an alarm says so', () => {
    const world = new CoreWorld(file())
    answer(world, 'm', 50)
    expect(answer(world, 'n', 4_000)).toContainEqual(
      expect.objectContaining({ type: 'alarm', name: 'quota_limits_differ' }),
    )
    const limits = () => ['m', 'n'].map((model) => routeOf(world, model).quota.requests.limit)
    expect(answer(world, 'm', 50).some(({ type }) => type === 'alarm')).toBe(false)
    expect(limits()).toEqual([50, 4_000])
    answer(world, 'n', 50)
    expect(limits()).toEqual([50, 50])
    expect(routeOf(world, 'm').quota).toBe(routeOf(world, 'n').quota)
  })

  test('with limits of their configuration stay together, under the lowest that is named', () => {
    const world = new CoreWorld(file({ rpm: 1_000 }))
    answer(world, 'm', 500)
    answer(world, 'n', 4_000)
    answer(world, 'm', 500)
    expect(routeOf(world, 'm').quota).toBe(routeOf(world, 'n').quota)
    expect(routeOf(world, 'n').quota.requests.limit).toBe(500)
  })

  test('a call is settled where it was reserved, though a reload has moved its route since', () => {
    const routes = (quota?: string): Input => ({
      type: 'config',
      config: configOf({
        routes: [
          { model: 'm', quota: 'shared', itpm: 50_000 },
          { model: 'n', ...(quota === undefined ? {} : { quota }), itpm: 900_000 },
        ],
      }),
    })
    const world = new CoreWorld()
    world.input(routes())
    world.submit({ id: 'big', model: 'n', bytes: 1_400_000 })
    world.submit({ id: 'small', model: 'm' })
    world.end('a/small')
    world.input(routes('shared'))
    world.end('a/big', {
      ...verdictOf('ok'),
      usage: { inputTokens: 420_000, cacheCreationTokens: 0, cacheReadTokens: 0, outputTokens: 5 },
    })
    expect(routeOf(world, 'n').quota.inputTokens.levelAt(world.now)).toBeGreaterThan(0)
    expect([...world.state.quotas.keys()]).toEqual(['shared'])
  })
})

test('who would wait for a minute of quota longer than it may is told so at once', () => {
  const world = new CoreWorld({ routes: [{ model: 'm', rpm: 2 }] })
  world.submit({ id: 'one' })
  world.end('a/one')
  expect(world.submit({ id: 'two', deadlineMs: 10_000 })).toMatchObject([
    {
      type: 'refused',
      refused: { reason: 'DOOMED', retryAfterMs: expect.closeTo(31_579, -2) as number },
    },
  ])
  world.submit({ id: 'three', deadlineMs: 40_000 })
  world.advance(32_000)
  expect(world.running()).toEqual(['a/three'])
})
