/** An account that may not spend, or whose key is refused: what is tried, when, and by whom. */
import { describe, expect, test } from 'vitest'
import { CoreWorld, verdictOf } from '../support/core-world.ts'

const unauthorised = verdictOf('rejected', { status: 401 })
const spent = verdictOf('key_stop', { status: 402, spendLimit: true })

/** The key is refused five times in a row. */
function refused(file: unknown = {}): CoreWorld {
  const world = new CoreWorld(file)
  for (let i = 0; i < 5; i++) {
    world.submit({ id: `k${i}`, deadlineMs: 3_600_000 })
    world.end(`a/k${i}`, unauthorised)
  }
  return world
}
const refusal = (world: CoreWorld) =>
  world.effects.flatMap((e) => (e.type === 'refused' ? [e.refused] : [])).at(-1)

describe('a refused key', () => {
  test('is called what it is, and arrivals hear when it is tested', () => {
    const world = refused()
    world.submit({ id: 'x' })
    expect(refusal(world)).toMatchObject({
      reason: 'UPSTREAM_BLOCKED',
      message: 'the upstream refuses the key (401)',
      retryAfterMs: 15_000,
    })
  })

  test('is one that was refused five times with no answer between: an answer begins the count anew', () => {
    const world = new CoreWorld()
    const once = (id: string, verdict: Parameters<CoreWorld['end']>[1]): void => {
      world.submit({ id })
      world.end(`a/${id}`, verdict)
    }
    for (let i = 0; i < 4; i++) once(`before${i}`, unauthorised)
    once('well', 'ok')
    for (let i = 0; i < 4; i++) once(`after${i}`, unauthorised)
    expect(world.state.upstreams.get('default')?.testing).toBe(false)
    once('fifth', unauthorised)
    expect(world.state.upstreams.get('default')?.testing).toBe(true)
  })

  test('is tested by a single call each 15 s, and the first that works lifts the block', () => {
    const world = refused()
    world.advance(15_000)
    world.submit({ id: 'x' })
    expect(world.running()).toEqual(['a/x'])
    world.submit({ id: 'y' })
    expect(world.running()).toEqual(['a/x'])
    world.end('a/x', unauthorised)
    world.advance(14_000)
    world.submit({ id: 'z' })
    expect(world.running()).toEqual([])
    world.advance(1_000)
    world.submit({ id: 'v' })
    world.end('a/v')
    world.submit({ id: 'w' })
    expect(world.running()).toEqual(['a/w'])
  })

  test('is tested at once when an operator says so', () => {
    const world = refused()
    world.advance(1_000)
    world.input({ type: 'test-upstream', upstream: 'default' })
    world.submit({ id: 'x' })
    world.end('a/x')
    world.submit({ id: 'y' })
    expect(world.running()).toEqual(['a/y'])
  })

  test('takes no waiting batch with it: who was the test waits for the next one', () => {
    const world = refused()
    world.submit({ id: 'b', lane: 'batch', deadlineMs: 3_600_000 })
    for (let i = 0; i < 20; i++) {
      world.advance(15_000)
      expect(world.running()).toEqual(['a/b'])
      world.end('a/b', unauthorised)
      expect(world.effects.findLast((e) => e.type === 'backoff')?.waitMs).toBe(15_000)
    }
    world.advance(15_000)
    world.end('a/b')
    expect(world.outcomes.get('a/b')).toEqual(['completed'])
  })
})

describe('a test that hangs', () => {
  test('keeps nobody from testing after 15 s', () => {
    const world = new CoreWorld()
    world.submit({ id: 's' })
    world.end('a/s', spent)
    world.advance(900_000)
    world.submit({ id: 'hung' })
    world.submit({ id: 'early' })
    expect(world.running()).toEqual(['a/hung'])
    world.advance(15_000)
    world.submit({ id: 'next' })
    expect(world.running()).toEqual(['a/hung', 'a/next'])
    world.end('a/next')
    world.submit({ id: 'free' })
    expect(world.running()).toEqual(['a/hung', 'a/free'])
  })
})

test('a spending limit is tested after a quarter of an hour, and told as such', () => {
  const world = new CoreWorld()
  world.submit({ id: 's' })
  world.end('a/s', spent)
  world.advance(899_000)
  world.submit({ id: 'x' })
  expect(refusal(world)?.message).toBe('the upstream account has reached its spend limit')
  world.advance(1_000)
  world.submit({ id: 'y' })
  expect(world.running()).toEqual(['a/y'])
})
