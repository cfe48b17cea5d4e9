/** What status says of a request: where it stands, and what it will still wait. */
import { describe, expect, test } from 'vitest'
import { statusAnswer, type StatusAnswer } from '#contracts/messages'
import { LoopWorld } from '../support/loop-world.ts'
import type { Act } from '../support/scripted-provider.ts'

/** Half a second of service: eight slots serve sixteen a second. */
const good: Act = {
  firstByteMs: 100,
  events: ['{}'],
  endMs: 400,
  end: {
    kind: 'ok',
    status: 200,
    usage: { inputTokens: 25, cacheCreationTokens: 0, cacheReadTokens: 0, outputTokens: 40 },
  },
}
const file = {
  llm_gateway: { max_inflight_global: 8 },
  concurrency_limit: { initial: 8, floor: 8 },
}

const statusOf = (world: LoopWorld, tenant: string, id: string): StatusAnswer =>
  statusAnswer.parse(world.loop.status(tenant, id))

/** `count` requests of each tenant, in turn. */
function backlog(world: LoopWorld, count: number, tenants = ['a', 'b']): void {
  for (let i = 0; i < count; i++)
    for (const tenant of tenants)
      world.request({ tenant, id: `${tenant}${i}`, deadlineMs: 120_000 })
}

/** One that has seen what its requests use. */
async function taught(): Promise<LoopWorld> {
  const world = new LoopWorld({ file, script: () => good })
  for (let i = 0; i < 60; i++) world.request({ tenant: i % 2 === 0 ? 'a' : 'b' })
  await world.pass(10_000)
  return world
}

/** Until the request is no longer queued. */
async function waited(world: LoopWorld, tenant: string, id: string): Promise<number> {
  const since = world.clock.now()
  while (statusOf(world, tenant, id).state === 'queued') await world.pass(50)
  return world.clock.now() - since
}

describe('estimated_wait_ms', () => {
  test('is null while no pace has been seen', async () => {
    const world = new LoopWorld({ file, script: () => good })
    backlog(world, 20)
    await world.settle()
    expect(statusOf(world, 'a', 'a19')).toMatchObject({
      state: 'queued',
      position: 15,
      estimated_wait_ms: null,
    })
  })

  test('is near the truth in a backlog, and longer the further back a request stands', async () => {
    const world = await taught()
    backlog(world, 200)
    await world.pass(6_000)
    const estimates = ['a70', 'a120', 'a199'].map(
      (id) => statusOf(world, 'a', id).estimated_wait_ms ?? -1,
    )
    expect(estimates).toEqual(estimates.toSorted((x, y) => x - y))
    const truth = await waited(world, 'a', 'a120')
    expect(estimates[1]! / truth).toBeGreaterThan(0.7)
    expect(estimates[1]! / truth).toBeLessThan(1.4)
    expect(world.bugs).toEqual([])
  })

  test('is null for what runs, waits for a retry, or has ended', async () => {
    const acts: Act[] = [
      good,
      { firstByteMs: 10, end: { kind: 'overloaded', status: 529 } },
      { firstByteMs: 10, end: { kind: 'ok', status: 200 } },
    ]
    const world = new LoopWorld({ script: (index) => acts[index] ?? good })
    for (const id of ['running', 'later', 'over']) world.request({ id })
    await world.pass(20, 10)
    for (const [id, state] of Object.entries({
      running: 'running',
      later: 'backoff',
      over: 'settled',
    }))
      expect(statusOf(world, 'a', id)).toMatchObject({
        state,
        position: null,
        estimated_wait_ms: null,
      })
  })

  test('holds the pause that a 429 imposed', async () => {
    const acts: Act[] = [
      { end: { kind: 'throttled', status: 429, retryAfterMs: 20_000, cause: 'rate_limit' } },
    ]
    const world = new LoopWorld({ script: (index) => acts[index] ?? good })
    world.request({ deadlineMs: 120_000 })
    await world.pass(100)
    world.request({ id: 'next', deadlineMs: 120_000 })
    await world.pass(1_000)
    const estimate = statusOf(world, 'a', 'next').estimated_wait_ms
    expect(estimate).toBeGreaterThan(18_000)
    expect(estimate).toBeLessThan(20_000)
  })

  test('is null in a lane that an operator has paused', async () => {
    const world = new LoopWorld({ file, script: () => good })
    backlog(world, 200)
    await world.pass(6_000)
    expect(statusOf(world, 'a', 'a199').estimated_wait_ms).not.toBeNull()
    world.loop.pause('interactive', true)
    expect(statusOf(world, 'a', 'a199')).toMatchObject({ state: 'queued', estimated_wait_ms: null })
  })
})

test('asked in brief it says whose and in which state, and reckons nothing', async () => {
  const world = await taught()
  backlog(world, 20)
  await world.settle()
  const whole = statusOf(world, 'a', 'a19')
  expect(whole).toMatchObject({ state: 'queued', position: expect.any(Number) as number })
  const nothing = { position: null, estimated_wait_ms: null, waits_for: null }
  expect(world.loop.status('a', 'a19', true)).toEqual({ ...whole, ...nothing })
  expect(world.loop.status('a', 'nobody', true)).toBe(null)
})
