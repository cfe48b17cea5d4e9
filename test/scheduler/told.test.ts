/** What the loop tells of attempts, requests and machines, and the last look before a call. */
import { describe, expect, test } from 'vitest'
import { unattempted } from '#contracts/messages'
import type { Share } from '#core/model/share'
import type { Refused } from '#core/model/effects'
import { refusalOf, settledData } from '#scheduler/loop/accounting'
import { LoopWorld } from '../support/loop-world.ts'
import { verdictOf, type Act } from '../support/scripted-provider.ts'

const good: Act = {
  ...{ firstByteMs: 100, endMs: 300 },
  end: {
    kind: 'ok',
    status: 200,
    usage: { inputTokens: 7, outputTokens: 3, cacheReadTokens: 0, cacheCreationTokens: 0 },
  },
}
const storm: Act = {
  firstByteMs: 100,
  end: { kind: 'overloaded', status: 529, errorType: 'overloaded_error' },
}

describe('a refusal', () => {
  const refused = (of: Parameters<typeof verdictOf>[0] | null): Refused => ({
    ...{ kind: 'refused', reason: 'ATTEMPTS', message: 'm', retryAfterMs: null },
    verdict: of === null ? null : verdictOf(of),
  })

  test.each([
    [{ kind: 'hang' } as const, 'timeout_error'],
    [{ kind: 'broken' } as const, 'api_error'],
    [{ kind: 'hang', status: 200 } as const, 'timeout_error'],
    [{ kind: 'broken', status: 529 } as const, 'overloaded_error'],
    [null, 'api_error'],
  ])('of %j has the type %s', (verdict, type) => {
    expect(refusalOf(refused(verdict)).type).toBe(type)
  })

  test('stands in the settled event with its type, and nothing does of an answer', () => {
    const accounting = unattempted('r')
    const said = refusalOf(refused({ kind: 'hang' }))
    expect(settledData(accounting, said, 'ATTEMPTS', 504)).toMatchObject({
      ...{ error_type: 'timeout_error', code: said.code, reason: 'ATTEMPTS' },
    })
    expect(settledData(accounting, null, null, 200)).toMatchObject({ error_type: null, code: null })
  })
})

test('the end of an attempt is told with the tokens that it used', async () => {
  const world = new LoopWorld({ script: () => good })
  world.request()
  await world.pass(1_000)
  expect(world.events.find(({ name }) => name === 'attempt.ended')?.data).toMatchObject({
    ...{ input_tokens: 7, output_tokens: 3 },
  })
})

test('what status says of the time of arrival is wall time, from the first moment on', () => {
  const world = new LoopWorld({ script: () => good, startedAtMs: 3_600_000 })
  const id = world.request()
  const { enqueued_at: at } = world.loop.status('a', id) ?? {}
  expect(Date.parse(at ?? '')).toBe(world.clock.wall())
})

test('requests are counted by their state', async () => {
  const world = new LoopWorld({ script: () => good })
  const none = { queued: 0, running: 0, forwarding: 0, backoff: 0, aborting: 0, settled: 0 }
  expect(world.loop.requestsByState()).toEqual(none)
  world.request()
  await world.pass(50)
  expect(world.loop.requestsByState()).toEqual({ ...none, running: 1 })
})

describe('of a limit', () => {
  test('each change is told, though its state stays what it is', async () => {
    const world = new LoopWorld({ script: () => good, file: { concurrency_limit: { initial: 8 } } })
    for (let i = 0; i < 600; i++) {
      for (let n = 0; n < 4; n++) world.request({ tenant: `t${n}`, deadlineMs: 60_000 })
      await world.pass(100)
    }
    const told = world.events.flatMap((e) => (e.name === 'limit' ? [e.data] : []))
    expect(told.length).toBeGreaterThan(2)
    expect(new Set(told.map(({ state }) => state))).toEqual(new Set(['steady']))
    // Of each the next goes on from what the last one said.
    for (const [i, { from }] of told.entries()) if (i > 0) expect(from).toBe(told[i - 1]!.limit)
    expect(told.every(({ from, limit }) => from !== limit)).toBe(true)
  })

  test('where a ramp begins it begins again from what is in flight', async () => {
    let sick = true
    const world = new LoopWorld({ script: () => (sick ? storm : good) })
    const traffic = async (ms: number): Promise<void> => {
      for (let t = 0; t < ms; t += 100) {
        world.request({ tenant: `t${(t / 100) % 7}`, deadlineMs: 60_000 })
        await world.pass(100)
      }
    }
    await traffic(20_000)
    sick = false
    await traffic(60_000)
    const first = world.events.find(
      (e) => e.name === 'limit' && e.data.reason === 'breaker_ramping',
    )
    const ramp = world.events.find((e) => e.name === 'breaker' && e.data.state === 'ramp')
    expect(ramp).toBeDefined()
    expect(first?.at).toBe(ramp?.at)
    const since = world.loop.machines().get('default-m')?.breaker.since
    const closed = world.events.findLast((e) => e.name === 'breaker')
    expect(closed?.data).toMatchObject({ state: 'closed' })
    expect(since).toBe(closed!.at - world.clock.wall() + world.clock.now())
  })
})

test('a lease that ran out between the decision and the call starts no more than is safe', async () => {
  const world: LoopWorld = new LoopWorld({
    script: () => {
      // The process stood still after the first call.
      world.jumpMs = 20_000
      return good
    },
  })
  const share = (slots: number): Share => ({
    ...{ slots, until: 10_000, safe: Math.min(1, slots), safeUntil: 300_000 },
    ...{ portion: { from: 0, to: 1 }, routes: new Map() },
  })
  world.loop.share(share(0))
  for (let i = 0; i < 3; i++) world.request({ deadlineMs: 120_000 })
  expect(world.provider.calls).toHaveLength(0)
  world.loop.share(share(6))
  expect(world.provider.calls).toHaveLength(1)
  await world.pass(30_000)
  expect(world.codes()).toEqual({ completed: 3 })
  expect(world.bugs).toEqual([])
})
