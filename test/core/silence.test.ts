/** An upstream that says nothing: how long is too long, who hears of it, and whose silence it is. */
import { describe, expect, test } from 'vitest'
import { LoopWorld } from '../support/loop-world.ts'
import type { Act } from '../support/scripted-provider.ts'
import { snapshotOf } from '../../services/scheduler/compose/snapshot.ts'

const usage = { inputTokens: 25, cacheCreationTokens: 0, cacheReadTokens: 0, outputTokens: 40 }
const good = (firstByteMs = 400): Act => ({
  firstByteMs,
  events: ['{}'],
  endMs: 600,
  end: { kind: 'ok', status: 200, usage, ttftMs: firstByteMs },
})
const silent: Act = { firstByteMs: Infinity, endMs: Infinity }

const breakerOf = (world: LoopWorld): string => [...world.loop.state.routes.values()][0]!.gate.state

const snapshot = (world: LoopWorld) =>
  snapshotOf({
    loop: world.loop,
    guardrails: [],
    clock: { ...world.clock },
    instance: 'i',
    version: '0',
    startedAt: 0,
    bus: { kind: 'memory', connected: true },
    conditions: () => [],
  })
const silentMs = (world: LoopWorld): number | null => snapshot(world).routes[0]!.silent_ms

/** A world whose model has answered usually, and from then on does what `then` says. */
async function taught(then: (call: { tenant: string }) => Act, usual = 400): Promise<LoopWorld> {
  let answers = true
  const world = new LoopWorld({
    script: (_index, call) => (answers ? good(usual) : then(call)),
  })
  for (let i = 0; i < 60; i++) {
    world.request({ tenant: `t${i % 6}` })
    await world.pass(100)
  }
  await world.pass(45_000)
  answers = false
  return world
}

describe('a hang of everything', () => {
  test('opens the breaker while the callers still wait, within seconds of usual first bytes', async () => {
    const world = await taught(() => silent)
    for (let i = 0; i < 30; i++) world.request({ tenant: `t${i % 6}`, deadlineMs: 30_000 })
    await world.pass(3_000)
    expect(breakerOf(world)).toBe('closed')
    await world.pass(3_000)
    expect(breakerOf(world)).toBe('open')
    expect(world.loop.state.inflight).toBe(30)
    expect(world.bugs).toEqual([])
  })

  test('is said in the snapshot within ten seconds, for how long, and no more once a byte comes', async () => {
    let acts: Act = silent
    const world = await taught(() => acts)
    world.request({ tenant: 't1', deadlineMs: 60_000 })
    await world.pass(9_000)
    expect(silentMs(world)).toBeGreaterThan(8_000)
    acts = good()
    world.request({ tenant: 't2' })
    await world.pass(2_000)
    expect(silentMs(world)).toBeNull()
  })

  test('of most calls is said while the others are answered, and not of one long answer', async () => {
    let index = 0
    const world = await taught(() => (index++ % 5 === 0 ? good() : silent))
    const { overdue } = snapshot(world).routes[0]!
    expect(overdue).toBeNull()
    for (let i = 0; i < 12; i++) {
      world.request({ tenant: `t${i % 6}`, deadlineMs: 30_000 })
      await world.pass(500)
    }
    const [route] = snapshot(world).routes
    expect(route).toMatchObject({ silent_ms: null, overdue: { usual_known: true } })
    expect(route!.overdue!.calls).toBeGreaterThanOrEqual(3)
    expect(route!.overdue!.oldest_ms).toBeGreaterThan(3_000)

    let first = true
    const other = await taught(() => (first ? ((first = false), silent) : good()))
    for (let i = 0; i < 20; i++) {
      other.request({ tenant: `t${i % 6}`, deadlineMs: 60_000 })
      await other.pass(500)
    }
    expect(snapshot(other).routes[0]!.overdue).toBeNull()
  })

  test('is said of a model that nobody has heard yet, too', async () => {
    const world = new LoopWorld({ script: () => silent })
    world.request({ deadlineMs: 60_000 })
    await world.pass(7_000)
    expect(silentMs(world)).toBeNull()
    await world.pass(2_500)
    expect(silentMs(world)).toBeGreaterThan(8_000)
  })

  test('counts when the callers leave before any time of ours is up, and only once each', async () => {
    const world = await taught(() => silent)
    const ids = Array.from({ length: 24 }, (_, i) => ({ tenant: `t${i % 6}`, id: `x${i}` }))
    for (const of of ids) world.request({ ...of, deadlineMs: 200_000 })
    await world.pass(2_900)
    // Too soon to mean anything.
    for (const { tenant, id } of ids) world.loop.cancel(tenant, id)
    await world.pass(500)
    expect(breakerOf(world)).toBe('closed')
    for (const of of ids) world.request({ ...of, id: `${of.id}y`, deadlineMs: 200_000 })
    await world.pass(4_200)
    for (const { tenant, id } of ids) world.loop.cancel(tenant, `${id}y`)
    await world.pass(500)
    expect(breakerOf(world)).toBe('open')
  })
})

describe('not a hang', () => {
  test('one impatient tenant, whose calls are silent while the others are answered', async () => {
    const world = await taught(({ tenant }) => (tenant === 'slow' ? silent : good()))
    for (let i = 0; i < 200; i++) {
      world.request({ tenant: 'slow', deadlineMs: 5_000 })
      world.request({ tenant: `t${i % 6}` })
      await world.pass(250)
    }
    expect(breakerOf(world)).toBe('closed')
    expect([...world.loop.state.routes.values()][0]!.limit).toBeGreaterThanOrEqual(60)
  })

  test('time in which the process stood still', async () => {
    const world = await taught(() => silent)
    for (let i = 0; i < 30; i++) world.request({ tenant: `t${i % 6}`, deadlineMs: 200_000 })
    await world.pass(1_000)
    world.jumpMs += 65_000
    await world.pass(2_500)
    expect(breakerOf(world)).toBe('closed')
    expect(silentMs(world)).toBeNull()
  })

  test('a model whose first bytes usually take this long', async () => {
    const world = await taught(() => silent, 12_000)
    for (let i = 0; i < 30; i++) world.request({ tenant: `t${i % 6}`, deadlineMs: 200_000 })
    await world.pass(20_000)
    expect(breakerOf(world)).toBe('closed')
  })
})
