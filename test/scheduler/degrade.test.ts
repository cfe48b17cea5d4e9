/** The lesser answers in the loop: another model, an earlier answer, a clear no (control-laws §13). */
import { describe, expect, test } from 'vitest'
import { seededDice } from '#core/estimators/dice'
import { violations } from '#core/invariants'
import type { DegradeStep } from '#contracts/messages'
import type { VerdictKind } from '#contracts/verdict'
import type { Cache } from '#ports'
import { memoryCache } from '../../services/scheduler/degrade/memory-cache.ts'
import { LoopWorld } from '../support/loop-world.ts'
import { rolledScript, type Act } from '../support/scripted-provider.ts'

const whole = (text: string): Act => ({
  firstByteMs: 100,
  endMs: 100,
  end: { kind: 'ok', status: 200, requestId: 'req_1', body: Buffer.from(text) },
})
const streamed: Act = {
  firstByteMs: 100,
  events: ['{"type":"message_start"}', '{"type":"message_stop"}'],
  endMs: 100,
  end: { kind: 'ok', status: 200, requestId: 'req_1' },
}
const overloaded: Act = {
  firstByteMs: 20,
  end: { kind: 'overloaded', status: 529, errorType: 'overloaded_error' },
}
const blocked: Act = { firstByteMs: 20, end: { kind: 'key_stop', status: 402 } }
const routes = [
  { model: 'big', fallback: ['mid', 'small'] },
  { model: 'mid', upstream: 'other' },
  { model: 'small', upstream: 'third' },
]
const file = { upstreams: { default: {}, other: {}, third: {} }, routes }
const body = (model: string): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ model, max_tokens: 5, messages: [] }))
const big = { model: 'big', body: body('big'), stream: false }

const cacheOf = (world: { clock: { now(): number } }): Cache =>
  memoryCache({
    clock: world.clock,
    limits: { ttlMs: 60_000, answerBytesMax: 1_000, tenantBytesMax: 1e6, bytesMax: 1e6 },
  })
const zero = { requests: 0, slots: 0, probes: 0, timers: 0, replies: 0 }
const names = (world: LoopWorld, id: string): string[] =>
  world.events.flatMap((e) => ('id' in e.data && e.data.id === id ? [e.name] : []))

describe('fallback', () => {
  test('the next model of the chain answers, with a body of its own, and the answer says so', async () => {
    const world = new LoopWorld({
      file,
      script: (_, { model }) => (model === 'big' ? blocked : whole(model)),
    })
    const id = world.request({ ...big, degrade: ['fallback'] })
    await world.pass(1_000)
    expect(world.answers.get(id)).toMatchObject([
      {
        how: 'answer',
        said: ['mid'],
        accounting: { servedBy: 'fallback', model: 'mid', attempts: 2, outcome: 'completed' },
      },
    ])
    expect(
      world.provider.calls.map(({ model, body }) => [
        model,
        JSON.parse(Buffer.from(body).toString()).model,
      ]),
    ).toEqual([
      ['big', 'big'],
      ['mid', 'mid'],
    ])
    expect(names(world, id)).toEqual([
      'request.queued',
      'request.dispatched',
      'attempt.ended',
      'request.rerouted',
      'request.dispatched',
      'attempt.ended',
      'request.settled',
    ])
    expect(world.loop.held()).toEqual(zero)
  })

  test('one that was never accepted goes there at once, and the chain is followed to its end', async () => {
    const world = new LoopWorld({
      file,
      script: (_, { model }) => (model === 'small' ? whole(model) : blocked),
    })
    for (const model of ['big', 'mid']) world.request({ model, body: body(model) })
    await world.pass(1_000)
    const id = world.request({ ...big, degrade: ['fallback'] })
    await world.pass(1_000)
    expect(world.answers.get(id)).toMatchObject([{ accounting: { model: 'small', attempts: 1 } }])
    expect(names(world, id)[0]).toBe('request.queued')
  })

  test('in a circle of fallbacks only the list of the model asked for is walked, once', async () => {
    const circle = [
      { model: 'big', fallback: ['mid'] },
      { model: 'mid', upstream: 'other', fallback: ['big'] },
    ]
    const world = new LoopWorld({ file: { ...file, routes: circle }, script: () => blocked })
    const id = world.request({ ...big, degrade: ['fallback'] })
    await world.pass(1_000)
    expect(world.provider.calls.map(({ model }) => model)).toEqual(['big', 'mid'])
    expect(world.answers.get(id)).toMatchObject([{ how: 'refuse' }])
    expect(world.loop.held()).toEqual(zero)
  })

  test('who did not ask for it is refused', async () => {
    const world = new LoopWorld({ file, script: () => blocked })
    const id = world.request(big)
    await world.pass(1_000)
    expect(world.answers.get(id)).toMatchObject([
      {
        how: 'refuse',
        refusal: { code: 'upstream_error' },
        accounting: { servedBy: 'none', model: 'big' },
      },
    ])
  })

  test('attempts carry over, and a request that used them all falls back no more', async () => {
    const world = new LoopWorld({
      file: { ...file, lanes: { interactive: { max_attempts: 2 } } },
      script: () => overloaded,
    })
    const id = world.request({ ...big, degrade: ['fallback'] })
    await world.pass(20_000)
    expect(world.provider.calls.map((call) => call.model)).toEqual(['big', 'big'])
    expect(world.answers.get(id)).toMatchObject([
      { refusal: { code: 'retries_exhausted', status: 529 } },
    ])
  })

  test('the deadline carries over', async () => {
    const world = new LoopWorld({
      file,
      script: (_, { model }) =>
        model === 'big'
          ? { firstByteMs: 900, end: { kind: 'key_stop', status: 402 } }
          : { firstByteMs: 400 },
    })
    const id = world.request({ ...big, stream: true, degrade: ['fallback'], deadlineMs: 1_000 })
    await world.pass(3_000)
    expect(world.answers.get(id)).toMatchObject([
      {
        refusal: { code: 'deadline_exceeded' },
        accounting: { totalMs: 1_000, outcome: 'expired' },
      },
    ])
  })

  test('after the first event nothing else is served', async () => {
    const world = new LoopWorld({
      file,
      script: () => ({
        firstByteMs: 10,
        events: ['{"type":"message_start"}'],
        end: { kind: 'cut', status: 200 },
      }),
    })
    const id = world.request({ ...big, stream: true, degrade: ['fallback', 'cache'] })
    await world.pass(1_000)
    expect(world.answers.get(id)).toMatchObject([{ refusal: { code: 'stream_broken' }, events: 1 }])
    expect(world.provider.calls.length).toBe(1)
  })

  test('where no model takes it, the refusal of the one that was asked for is told', async () => {
    const world = new LoopWorld({
      file: {
        ...file,
        llm_gateway: { max_inflight_global: 1 },
        lanes: { interactive: { queue_max: 1 } },
      },
      script: () => ({ firstByteMs: Infinity }),
    })
    world.request({ model: 'big' })
    for (const model of ['big', 'mid', 'small']) world.request({ model, body: body(model) })
    const id = world.request({ ...big, degrade: ['fallback'] })
    await world.settle()
    expect(world.answers.get(id)).toMatchObject([
      {
        refusal: { code: 'queue_full' },
        accounting: { model: 'big', attempts: 0, outcome: 'refused' },
      },
    ])
  })

  test('a cancel while another model works reaches it', async () => {
    const world = new LoopWorld({
      file,
      script: (_, { model }) => (model === 'big' ? blocked : { firstByteMs: Infinity }),
    })
    const id = world.request({ ...big, degrade: ['fallback'] })
    await world.pass(100)
    expect(world.loop.cancel('a', id)).toMatchObject({ cancelled: true, state: 'running' })
    await world.pass(100)
    expect(world.answers.get(id)).toMatchObject([
      { refusal: { code: 'cancelled' }, accounting: { model: 'mid' } },
    ])
    expect(world.loop.held()).toEqual(zero)
  })
})

describe('cache', () => {
  const steps: DegradeStep[] = ['cache']

  test.each([false, true])(
    'an answer to the same words stands in for a refusal; streamed: %s',
    async (stream) => {
      const clockless = { now: () => 0 }
      let act: Act = stream ? streamed : whole('first')
      const world = new LoopWorld({ script: () => act, cache: cacheOf({ clock: clockless }) })
      const asked = { ...big, stream, degrade: steps }
      const first = world.request(asked)
      await world.pass(1_000)
      act = blocked
      const second = world.request(asked)
      await world.pass(1_000)
      const third = world.request(asked)
      await world.pass(1_000)
      const said = world.answers.get(first)?.[0]?.said
      expect(said?.length).toBe(stream ? 2 : 1)
      for (const [id, attempts] of [
        [second, 1],
        [third, 0],
      ] as const)
        expect(world.answers.get(id)).toMatchObject([
          {
            how: stream ? 'end' : 'answer',
            said,
            accounting: {
              servedBy: 'cache',
              outcome: 'completed',
              attempts,
              model: 'big',
              upstreamRequestId: 'req_1',
            },
          },
        ])
      expect(world.loop.status('a', second)).toMatchObject({ state: 'settled', attempts: 1 })
      expect(world.loop.held()).toEqual(zero)
    },
  )

  test('another tenant finds nothing, and neither does who did not ask for it', async () => {
    let act: Act = whole('mine')
    const world = new LoopWorld({ script: () => act, cache: cacheOf({ clock: { now: () => 0 } }) })
    world.request({ ...big, degrade: steps })
    world.request({ ...big, tenant: 'quiet' })
    await world.pass(1_000)
    act = blocked
    const ids = [
      world.request({ ...big, tenant: 'b', degrade: steps }),
      world.request({ ...big, tenant: 'quiet', degrade: steps }),
      world.request(big),
    ]
    await world.pass(2_000)
    for (const id of ids)
      expect(world.answers.get(id)).toMatchObject([
        { how: 'refuse', refusal: { code: 'upstream_error' } },
      ])
  })

  test("another model's answer is not kept as this one's", async () => {
    let mid = whole('from mid')
    const world = new LoopWorld({
      file,
      script: (_, { model }) => (model === 'mid' ? mid : blocked),
      cache: cacheOf({ clock: { now: () => 0 } }),
    })
    world.request({ ...big, degrade: ['fallback', 'cache'] })
    await world.pass(1_000)
    mid = blocked
    const id = world.request({ ...big, degrade: ['fallback', 'cache'] })
    await world.pass(2_000)
    expect(world.answers.get(id)).toMatchObject([{ how: 'refuse' }])
  })

  /** A cache that answers when told. */
  function slowCache(): Cache & { answer(text: string | null): void } {
    let give: (text: string | null) => void = () => {}
    return {
      answerBytesMax: 1_000,
      get: () =>
        new Promise(
          (resolve) =>
            (give = (text) =>
              resolve(text === null ? null : { parts: [Buffer.from(text)], requestId: null })),
        ),
      put: () => {},
      close: async () => {},
      answer: (text) => give(text),
    }
  }

  test('one that says nothing has nothing after half a second, and what it says later is not heard', async () => {
    const cache = slowCache()
    const world = new LoopWorld({ script: () => blocked, cache })
    const id = world.request({ ...big, degrade: steps })
    await world.pass(450)
    expect(world.answers.get(id)).toBe(undefined)
    expect(world.loop.status('a', id)).toMatchObject({
      state: 'queued',
      position: null,
      attempts: 1,
    })
    await world.pass(200)
    expect(world.answers.get(id)).toMatchObject([{ refusal: { code: 'upstream_error' } }])
    cache.answer('late')
    await world.settle()
    expect(world.answers.get(id)?.length).toBe(1)
    expect(world.loop.held()).toEqual(zero)
    expect(world.bugs).toEqual([])
  })

  test('nor where another model works meanwhile', async () => {
    const cache = slowCache()
    const slow: Act = { ...whole('mid'), firstByteMs: 2_000, endMs: 2_000 }
    const script = (_: number, { model }: { model: string }) => (model === 'big' ? blocked : slow)
    const world = new LoopWorld({ file, script, cache })
    const id = world.request({ ...big, degrade: ['cache', 'fallback'] })
    await world.pass(1_000)
    expect(world.provider.running()).toBe(1)
    cache.answer('late')
    await world.settle()
    expect(world.answers.get(id)).toBe(undefined)
    await world.pass(5_000)
    expect(world.answers.get(id)).toMatchObject([{ said: ['mid'] }])
    expect(world.bugs).toEqual([])
  })

  test('a cancel, a drain and a stop find a request that looks for an earlier answer', async () => {
    const cache = slowCache()
    const world = new LoopWorld({ script: () => blocked, cache })
    const cancelled = world.request({ ...big, degrade: steps })
    await world.pass(100)
    expect(world.loop.cancel('a', cancelled)).toEqual({ cancelled: true, state: 'queued' })
    expect(world.answers.get(cancelled)).toMatchObject([
      { refusal: { code: 'cancelled' }, accounting: { attempts: 1 } },
    ])
    const drained = world.request({ ...big, degrade: steps })
    await world.settle()
    const over = world.loop.drain()
    await world.pass(1_000)
    await over
    expect(world.answers.get(drained)).toMatchObject([{ refusal: { code: 'upstream_error' } }])
    expect(world.bugs).toEqual([])
  })
})

test('defer is refused clearly: nothing keeps jobs', async () => {
  const world = new LoopWorld({ script: () => blocked })
  const id = world.request({ ...big, degrade: ['defer'] })
  await world.pass(1_000)
  const [answer] = world.answers.get(id) ?? []
  expect(answer?.refusal).toMatchObject({ code: 'upstream_error' })
  expect(answer?.refusal?.message).toMatch(/no durable jobs/)
})

test('whatever happens on the ladder, each request has one answer and everything is given back', async () => {
  const kinds: VerdictKind[] = [
    'overloaded',
    'fault',
    'hang',
    'broken',
    'throttled',
    'unexplained',
    'rejected',
    'cut',
    'key_stop',
  ]
  const ladders: DegradeStep[][] = [
    [],
    ['fallback'],
    ['cache'],
    ['fallback', 'cache'],
    ['cache', 'fallback'],
    ['defer', 'fallback', 'cache'],
  ]
  const served = new Set<string>()
  for (let seed = 1; seed <= 40; seed++) {
    const dice = seededDice(seed)
    const script = rolledScript(dice, [
      { weight: 4, act: { ...streamed, end: { ...streamed.end!, body: Buffer.from('{}') } } },
      ...kinds.map((kind) => ({
        weight: kind === 'key_stop' ? 0.1 : 1,
        act: { firstByteMs: 80, end: { kind, status: 500 } },
      })),
    ])
    const clock = { now: () => world.clock.now() }
    const world: LoopWorld = new LoopWorld({
      seed,
      file: {
        ...file,
        llm_gateway: { max_inflight_global: 3 },
        lanes: { interactive: { queue_max: 3 } },
      },
      script,
      cache: cacheOf({ clock }),
    })
    const asked: string[] = []
    for (let i = 0; i < 60; i++) {
      const model = ['big', 'big', 'mid', 'small'][Math.floor(dice.next() * 4)]!
      const tenant = `t${Math.floor(dice.next() * 3)}`
      const id = world.request({
        model,
        tenant,
        body: body(model),
        lane: dice.next() < 0.3 ? 'batch' : 'interactive',
        stream: dice.next() < 0.5,
        deadlineMs: dice.next() < 0.3 ? 1 + Math.floor(dice.next() * 2_000) : null,
        degrade: ladders[Math.floor(dice.next() * ladders.length)]!,
      })
      asked.push(id)
      if (dice.next() < 0.15)
        world.loop.cancel(tenant, asked[Math.floor(dice.next() * asked.length)]!)
      await world.pass(Math.floor(dice.next() * 200))
      expect(violations(world.loop.state, [])).toEqual([])
    }
    await world.pass(20_000, 200)
    const drained = world.loop.drain()
    await world.pass(31_000, 500)
    await drained
    expect(world.bugs).toEqual([])
    expect(world.loop.held()).toEqual(zero)
    expect(asked.filter((id) => world.answers.get(id)?.length !== 1)).toEqual([])
    expect(world.provider.running()).toBe(0)
    for (const [answer] of world.answers.values()) served.add(answer!.accounting.servedBy)
    world.loop.stop()
    expect(world.clock.pending()).toBe(0)
  }
  expect([...served].toSorted()).toEqual(['cache', 'fallback', 'none', 'upstream'])
})
