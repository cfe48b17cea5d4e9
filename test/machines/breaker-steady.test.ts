/** The breaker as Headgate runs it: probes go on, the ramp follows successes. */
import { SimulatedClock, createActor } from 'xstate'
import { describe, expect, test } from 'vitest'
import { breakerMachine, capOf } from '#machines/breaker'

function opened(settings: object = {}) {
  const clock = new SimulatedClock()
  const actor = createActor(breakerMachine, {
    clock,
    input: {
      random: () => 0.5,
      settings: {
        ...{ threshold: 0.25, windowMs: 30_000, minSamples: 20, openMs: 15_000, probeRatio: 0.1 },
        ...{ inRow: 20, steady: true, ...settings },
      },
    },
  }).start()
  const of = () => actor.getSnapshot()
  const end = (type: 'attempt.ok' | 'attempt.failed', more: object = {}) =>
    actor.send({
      type,
      generation: of().context.generation,
      tenant: 't1',
      at: clock.now(),
      limit: 60,
      inflight: 20,
      ...more,
    })
  const cap = () => capOf(of(), 8, 60)
  const second = () => {
    clock.increment(1_000)
    actor.send({ type: 'tick' })
  }
  return { actor, clock, end, cap, second, state: () => of().value }
}

/** Opened by a storm and half-open, with a first probe under way. */
function probing() {
  const world = opened()
  for (let i = 0; i < 200; i++) world.end('attempt.ok', { tenant: `t${i % 3}` })
  for (let i = 0; i < 20; i++) world.end('attempt.failed', { tenant: `t${i % 3}` })
  expect(world.state()).toBe('open')
  world.clock.increment(15_000)
  world.actor.send({ type: 'probe.started' })
  expect(world.state()).toBe('probing')
  return world
}

describe('steady', () => {
  test('twenty failures in a row open it, whatever the half minute before was like', () => {
    const world = opened()
    for (let i = 0; i < 1_000; i++) world.end('attempt.ok', { tenant: `t${i % 3}` })
    for (let i = 0; i < 19; i++) world.end('attempt.failed', { tenant: `t${i % 3}` })
    expect(world.state()).toBe('closed')
    world.end('attempt.failed', { tenant: 't0' })
    expect(world.state()).toBe('open')
  })

  test('failed probes give their permits back a second later, fewer each time, and at least one', () => {
    const world = probing()
    const permits: number[] = []
    for (let s = 0; s < 70; s++) {
      permits.push(world.cap())
      for (let i = world.cap(); i > 0; i--) world.end('attempt.failed')
      expect(world.cap()).toBe(0)
      world.second()
    }
    expect(permits.slice(0, 4)).toEqual([6, 3, 2, 1])
    expect(permits.slice(4).every((n) => n === 1)).toBe(true)
    expect(world.state()).toBe('probing')
  })

  test('five successes begin the ramp, which doubles in a round and closes at the limit', () => {
    const world = probing()
    for (let i = 0; i < 5; i++) world.end('attempt.ok')
    expect(world.state()).toBe('ramp')
    let rounds = 0
    for (; world.state() === 'ramp' && rounds < 20; rounds++) {
      const out = capOf(world.actor.getSnapshot(), 60, 60)
      for (let i = 0; i < out; i++) world.end('attempt.ok')
    }
    expect(world.state()).toBe('closed')
    expect(rounds).toBeLessThanOrEqual(4)
  })

  test('a refusal cuts the ramp, and many take it back to probes without another open time', () => {
    const world = probing()
    for (let i = 0; i < 25; i++) world.end('attempt.ok')
    const before = capOf(world.actor.getSnapshot(), 60, 60)
    world.end('attempt.failed', { inflight: before })
    expect(capOf(world.actor.getSnapshot(), 60, 60)).toBe(Math.floor(0.7 * before))
    for (let i = 0; i < 12; i++) world.end('attempt.failed', { inflight: 3 })
    expect(world.state()).toBe('halfOpen')
  })

  test('a quiet route closes on the little that it has seen', () => {
    const world = probing()
    world.end('attempt.ok')
    world.clock.increment(60_000)
    expect(world.state()).toBe('ramp')
    for (let step = 0; step < 3; step++) world.clock.increment(5_000)
    expect(world.state()).toBe('closed')
  })
})
