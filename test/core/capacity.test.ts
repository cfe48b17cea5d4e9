/** Capacity that the provider counts apart: fast mode, and what an account has committed to (control-laws §23). */
import { describe, expect, test } from 'vitest'
import type { RateHeaders, Usage } from '#contracts/verdict'
import { BURN_DOWN } from '#core/laws/token-buckets'
import { CoreWorld, verdictOf } from '../support/core-world.ts'

const family = (limit: number | null, remaining: number | null) => ({ limit, remaining })
const NONE = family(null, null)
const used = (more: Partial<Usage> = {}): Usage => ({
  ...{ inputTokens: 100, cacheCreationTokens: 0, cacheReadTokens: 0, outputTokens: 10 },
  ...more,
})
const rate = (more: Partial<RateHeaders>): RateHeaders => ({
  ...{ requests: NONE, inputTokens: NONE, outputTokens: NONE },
  ...more,
})
const running = (world: CoreWorld, id: string): boolean =>
  world.state.requests.get(`a/${id}`)?.place.in === 'slot'
const input = (world: CoreWorld, of: 'usual' | 'priority') => {
  const [quota] = world.state.quotas.values()
  const from = of === 'usual' ? quota : quota?.priority
  if (from == null) throw new Error(`no ${of} tokens`)
  return from.inputTokens
}

describe('fast mode', () => {
  test('its calls have a route, a breaker and a quota of their own; a 429 there stops nobody else', () => {
    const world = new CoreWorld()
    world.submit({ id: 'fast', fast: true })
    world.submit({ id: 'usual' })
    expect([...world.state.routes.keys()]).toEqual(['default-_fast-m', 'default-m'])
    world.end('a/fast', verdictOf('throttled', { status: 429, retryAfterMs: 20_000 }))
    world.submit({ id: 'usual-2' })
    world.submit({ id: 'fast-2', fast: true })
    expect([running(world, 'usual-2'), running(world, 'fast-2')]).toEqual([true, false])
  })

  test('where routes are configured and none of them is for it, it goes with the others', () => {
    const world = new CoreWorld({ routes: [{ model: 'm' }] })
    world.submit({ id: 'one', fast: true })
    expect([...world.state.routes.keys()]).toEqual(['default-m'])
  })

  test('a configured one has its own limits, and is told from the usual one', () => {
    const world = new CoreWorld({ routes: [{ model: 'm' }, { model: 'm', fast: true, rpm: 12 }] })
    for (const fast of [true, false])
      for (const n of [1, 2]) world.submit({ id: `${fast}${n}`, fast })
    const starts = ['true1', 'true2', 'false1', 'false2'].map((id) => running(world, id))
    expect(starts).toEqual([true, false, true, true])
  })

  test('no name of a model takes its place, nor does it take that of one', () => {
    const world = new CoreWorld()
    for (const model of ['m-fast', '_fast-m', 'm_fast']) world.submit({ model, id: model })
    world.submit({ id: 'fast', fast: true })
    world.submit({ id: 'usual' })
    const ids = ['m-fast', '_fast-m', 'm_fast', 'fast', 'usual']
    expect(ids.filter((id) => !running(world, id))).toEqual([])
    expect(new Set(world.state.routes.keys()).size).toBe(5)
  })

  test('two models whose names are cut to one id have a route each', () => {
    const world = new CoreWorld()
    const models = ['a:b', 'a/b', 'a_b', `${'x'.repeat(70)}1`, `${'x'.repeat(70)}2`]
    for (const model of models) world.submit({ model, id: model })
    expect(models.filter((id) => !running(world, id))).toEqual([])
    const ids = [...world.state.routes.keys()]
    expect(ids.every((id) => /^[A-Za-z0-9_-]{1,64}$/.test(id))).toBe(true)
    expect(new Set(ids).size).toBe(5)
  })

  test('its answers teach nothing about how long the others take', () => {
    const world = new CoreWorld()
    for (let i = 0; i < 25; i++) {
      world.submit({ id: `f${i}`, fast: true })
      world.advance(200)
      world.end(`a/f${i}`, verdictOf('ok', { usage: used(), ttftMs: 100 }))
    }
    const ask = { tenant: 'a', model: 'm', maxTokens: 1_024, bytes: 100 }
    const { costs, config } = world.state
    expect(costs.estimate({ ...ask, fast: true }, config).evidence).toBe(true)
    expect(costs.estimate(ask, config).evidence).toBe(false)
  })
})

describe('committed capacity', () => {
  /** The usual tokens are used up, and an answer has spoken of committed ones. */
  const spent = (): CoreWorld => {
    const world = new CoreWorld()
    world.submit({ id: 'first', priority: true })
    const priority = { inputTokens: family(60_000, 60_000), outputTokens: family(60_000, 60_000) }
    const told = { inputTokens: family(60_000, 0), outputTokens: family(60_000, 50_000), priority }
    world.end('a/first', verdictOf('ok', { usage: used({ tier: 'standard' }), rate: rate(told) }))
    expect(input(world, 'usual').levelAt(world.now)).toBeLessThan(0)
    return world
  }

  test('a call that may draw on it starts; one that may not waits for the usual tokens', () => {
    const world = spent()
    world.submit({ id: 'may', priority: true })
    world.submit({ id: 'may-not', lane: 'premium', priority: false })
    expect([running(world, 'may'), running(world, 'may-not')]).toEqual([true, false])
    expect(world.state.requests.get('a/may-not')?.place.in).toBe('queue')
  })

  test('where it is used up too, nobody is sent who would be refused', () => {
    const world = spent()
    for (let i = 0; i < 12; i++) world.submit({ id: `r${i}`, priority: true, bytes: 20_000 })
    const went = Array.from({ length: 12 }, (_, i) => running(world, `r${i}`)).filter(Boolean)
    expect(went.length).toBeGreaterThan(2)
    expect(went.length).toBeLessThan(12)
  })

  test('what the provider served otherwise than expected is paid where it was served', () => {
    const world = spent()
    world.submit({ id: 'one', priority: true })
    const [usual, committed] = [input(world, 'usual'), input(world, 'priority')]
    const before = { usual: usual.levelAt(world.now), committed: committed.burst }
    expect(committed.levelAt(world.now)).toBeLessThan(committed.burst)
    world.end('a/one', verdictOf('ok', { usage: used({ tier: 'standard', inputTokens: 700 }) }))
    expect(committed.levelAt(world.now)).toBe(before.committed)
    expect(usual.levelAt(world.now)).toBe(before.usual - 700)
  })

  test('reads from the cache and writes to it count with their weights', () => {
    const world = spent()
    world.submit({ id: 'one', priority: true })
    const cached = { cacheCreationTokens: 300, cacheCreation1hTokens: 100, cacheReadTokens: 1_000 }
    world.end('a/one', verdictOf('ok', { usage: used({ tier: 'priority', ...cached }) }))
    const { read, write5m, write1h } = BURN_DOWN
    const counted = 100 + read * 1_000 + write5m * 200 + write1h * 100
    const committed = input(world, 'priority')
    expect(committed.burst - committed.levelAt(world.now)).toBeCloseTo(counted, 6)
  })

  test('an account without any is never told of it, and nothing changes', () => {
    const world = new CoreWorld()
    world.submit({ id: 'one', priority: true })
    const told = { inputTokens: family(60_000, 50_000), outputTokens: family(60_000, 50_000) }
    const none = { inputTokens: family(0, 0), outputTokens: family(0, 0) }
    world.end('a/one', verdictOf('ok', { usage: used(), rate: rate({ ...told, priority: none }) }))
    expect([...world.state.quotas.values()].map(({ priority }) => priority)).toEqual([null])
  })
})
