/** Each attempt is counted once, as its provider ended it, however its request did. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { memoryCache } from '../../../services/scheduler/degrade/memory-cache.ts'
import type { Provider, Used, Verdict } from '#ports'
import type { Usage } from '#contracts/verdict'
import { LoopWorld } from '../../support/loop-world.ts'
import { scriptedProvider, type Act } from '../../support/scripted-provider.ts'

const usage = (outputTokens: number): Usage => ({
  ...{ inputTokens: 10, cacheCreationTokens: 2, cacheReadTokens: 3, outputTokens },
})
const ROOM = {
  llm_gateway: { max_inflight_global: 60, max_inflight_per_tenant: 60 },
  lanes: { batch: { cap: 60 } },
  prices: { m: { input: 1, output: 2 } },
}
const good: Act = {
  firstByteMs: 50,
  events: ['{}'],
  endMs: 100,
  end: { kind: 'ok', usage: usage(5) },
}

/** A provider whose every end is written down. */
function heard(inner: Provider): { provider: Provider; ends: Verdict[] } {
  const ends: Verdict[] = []
  const send: Provider['send'] = (call, sink) =>
    inner.send(call, {
      ...sink,
      ended(verdict) {
        ends.push(verdict)
        sink.ended(verdict)
      },
    })
  return { provider: { ...inner, send }, ends }
}

function worldOf(script: (index: number) => Act, more: object = {}) {
  const box: { provider?: Provider } = {}
  const world = new LoopWorld({
    ...{ file: ROOM, script: (index) => script(index) },
    provider: {
      send: (call, sink) => box.provider!.send(call, sink),
      aux: (call) => box.provider!.aux(call),
      close: () => box.provider!.close(),
    },
    ...more,
  })
  const { provider, ends } = heard(
    scriptedProvider({ clock: world.clock, script: (_, index) => script(index) }),
  )
  box.provider = provider
  return { world, ends }
}

const kinds = (used: readonly Used[]): string[] => used.map(({ kind }) => kind).toSorted()
const costs = (world: LoopWorld): (number | null | undefined)[] =>
  world.events.flatMap((one) => (one.name === 'request.settled' ? [one.data.cost_usd] : []))

describe('an attempt is counted once', () => {
  test('that was answered, and the request says its cost', async () => {
    const { world } = worldOf(() => good)
    world.request()
    await world.pass(1_000)
    expect(world.used).toMatchObject([
      { tenant: 'a', lane: 'interactive', model: 'm', kind: 'answered', usage: usage(5) },
    ])
    expect(costs(world)[0]).toBeCloseTo((10 + 2 * 1.25 + 0.3 + 5 * 2) / 1e6, 9)
  })

  test('that broke, was tried again and cost twice', async () => {
    const broken: Act = { firstByteMs: 10, end: { kind: 'broken', usage: usage(1) } }
    const { world } = worldOf((i) => (i === 0 ? broken : good))
    world.request()
    await world.pass(10_000)
    expect(kinds(world.used)).toEqual(['answered', 'failed'])
    expect(costs(world)[0]).toBeCloseTo((2 * 12.8 + 2 + 10) / 1e6, 9)
  })

  test('that its caller or its deadline ended', async () => {
    const { world, ends } = worldOf(() => ({ firstByteMs: 50, events: ['{}'], endMs: Infinity }))
    const id = world.request()
    world.request({ deadlineMs: 2_000 })
    await world.pass(500)
    world.loop.cancel('a', id)
    await world.pass(5_000)
    expect(kinds(world.used)).toEqual(['aborted', 'aborted'])
    expect(ends).toHaveLength(2)
  })

  test('that yielded to others, and is paid by nobody', async () => {
    const slow: Act = { firstByteMs: 260, events: ['{}'], endMs: 20_000, end: { kind: 'ok' } }
    const { world } = worldOf((i) => (i < 56 ? slow : { ...good, endMs: 400 }))
    for (let i = 0; i < 56; i++) world.request({ tenant: 'b', lane: 'batch' })
    for (let i = 0; i < 4; i++) world.request({ tenant: 'i', deadlineMs: 100_000 })
    world.request({ tenant: 'i' })
    await world.pass(250, 10)
    await world.pass(60_000, 100)
    expect(world.used.filter(({ kind }) => kind === 'preempted')).toHaveLength(1)
    expect(world.used).toHaveLength(62)
  })

  test('and what the cache answers is no call', async () => {
    const cache = memoryCache({
      limits: { ttlMs: 60_000, answerBytesMax: 1e6, tenantBytesMax: 1e6, bytesMax: 1e6 },
      clock: { now: () => 0 },
    })
    const refused: Act = { end: { kind: 'rejected', status: 400 } }
    const { world } = worldOf((i) => (i === 0 ? good : refused), { cache })
    world.request({ degrade: ['cache'] })
    await world.pass(1_000)
    world.request({ degrade: ['cache'] })
    await world.pass(1_000)
    expect(world.used).toHaveLength(world.events.filter((e) => e.name === 'attempt.ended').length)
  })

  test('whatever becomes of it, and with what it used', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1e6 }), async (seed) => {
        const roll = (n: number, i: number): number => (seed * 7_919 + i * 104_729) % n
        const script = (i: number): Act => {
          const act = ACTS[roll(ACTS.length, i)]!
          const endMs = roll(7, i) === 0 ? Infinity : 300
          return { firstByteMs: 20 + roll(400, i), endMs, ...act }
        }
        const { world, ends } = worldOf(script)
        for (let i = 0; i < 120; i++) {
          const lane = i % 2 === 0 ? 'batch' : 'interactive'
          const id = world.request({
            tenant: `t${i % 5}`,
            lane,
            deadlineMs: 3_000 + roll(9_000, i),
          })
          if (i % 10 === 0) await world.pass(50)
          if (i % 7 === 0) world.loop.cancel(`t${i % 5}`, id)
        }
        await world.pass(60_000, 250)
        expect(world.bugs).toEqual([])
        expect(world.used).toHaveLength(ends.length)
        const sum = (all: readonly (Usage | null)[]): number =>
          all.reduce((total, one) => total + (one?.outputTokens ?? 0), 0)
        expect(sum(world.used.map((one) => one.usage))).toBe(sum(ends.map((one) => one.usage)))
      }),
      { numRuns: 20 },
    )
  })
})

/** After an event that was passed on, nothing is tried again. */
const ACTS: readonly Act[] = [
  { events: ['{}', '{}'], end: { kind: 'ok', usage: usage(7) } },
  { events: ['{}'], end: { kind: 'ok', usage: usage(11) } },
  { events: ['{}'], end: { kind: 'cut', usage: usage(3) } },
  { end: { kind: 'broken', usage: usage(1) } },
  { end: { kind: 'overloaded', status: 529 } },
  { end: { kind: 'throttled', status: 429, retryAfterMs: 100 } },
]
