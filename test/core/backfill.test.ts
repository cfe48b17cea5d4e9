/** A large request that waits for tokens lets smaller ones pass, by a bounded amount (core/laws/backfill). */
import { describe, expect, test } from 'vitest'
import { CoreWorld } from '../support/core-world.ts'

/** 950 input tokens a second, 28,500 at once. */
const file = {
  routes: [{ model: 'm', itpm: 60_000 }],
  llm_gateway: { max_inflight_global: 1_000, max_inflight_per_tenant: 1_000 },
  lanes: { batch: { cap: 60 } },
}
const bytesOf = (tokens: number): number => tokens * 3.5
const GIANT = { bytes: bytesOf(20_000), deadlineMs: 600_000 }
const SMALL = { bytes: bytesOf(100), deadlineMs: 600_000, tenant: 'small' }

/** One giant has just taken 20,000 of 28,500 tokens, and another waits for 11,500 more: 12.1 s. */
function waiting(): CoreWorld {
  const world = new CoreWorld(file)
  world.submit({ ...GIANT, tenant: 'first', id: 'g' })
  world.submit({ ...GIANT, tenant: 'second', id: 'g' })
  expect(world.started()).toEqual(['first/g'])
  return world
}
const startsOf = (world: CoreWorld, tenant: string): number =>
  world.started().filter((key) => key.startsWith(tenant)).length

describe('a giant that waits for tokens', () => {
  test('lets a small request of another tenant start at once', () => {
    const world = waiting()
    world.submit(SMALL)
    expect(startsOf(world, 'small')).toBe(1)
  })

  test('is passed by at most a quarter of its own need, and starts that much later at most', () => {
    const world = waiting()
    for (let i = 0; i < 56; i++) world.submit(SMALL)
    // 5,000 tokens of a hundred each.
    expect(startsOf(world, 'small')).toBe(50)
    world.advance(17_000)
    expect(startsOf(world, 'second')).toBe(0)
    world.advance(400)
    expect(startsOf(world, 'second')).toBe(1)
    world.advance(5_000)
    expect(startsOf(world, 'small')).toBe(56)
  })

  test('is not passed by what is as large as itself', () => {
    const world = waiting()
    world.submit({ ...GIANT, tenant: 'third', id: 'g' })
    world.advance(12_200)
    expect(world.started()).toEqual(['first/g', 'second/g'])
  })

  test('finds its tokens when they have come: batch does not take them in the last moment', () => {
    const world = waiting()
    world.submit({ ...GIANT, lane: 'batch', tenant: 'bulk', id: 'g' })
    world.submit({ ...SMALL, lane: 'batch', tenant: 'bulk', id: 's' })
    world.advance(12_200)
    expect(world.started()).toEqual(['first/g', 'second/g'])
  })

  test('keeps nothing from batch while its lane is paused', () => {
    const world = waiting()
    world.input({ type: 'lane', lane: 'interactive', paused: true })
    world.submit({ ...SMALL, lane: 'batch', tenant: 'bulk', id: 's' })
    expect(world.started()).toContain('bulk/s')
  })

  test('leaves nothing behind when it is cancelled', () => {
    const world = waiting()
    world.submit({ ...SMALL, lane: 'batch', tenant: 'bulk', id: 's' })
    expect(world.started()).not.toContain('bulk/s')
    world.input({ type: 'cancel', key: 'second/g' })
    expect(world.state.backfills.size).toBe(0)
    expect(world.started()).toContain('bulk/s')
  })

  test('yields its place to a request of its tenant that comes back from a failure', () => {
    const world = new CoreWorld(file)
    world.submit({ ...GIANT, tenant: 'first', id: 'g' })
    world.submit({ ...GIANT, tenant: 'a', id: 'failing', bytes: bytesOf(8_000) })
    world.submit({ ...GIANT, tenant: 'a', id: 'g' })
    world.end('a/failing', 'overloaded')
    world.advance(300)
    // What was tried before goes first, and needs less than is there.
    expect(world.started()).toEqual(['first/g', 'a/failing', 'a/failing'])
  })
})
