import { describe, expect, test } from 'vitest'
import { seededDice } from '#core/estimators/dice'
import { violations } from '#core/invariants'
import type { Verdict, VerdictKind } from '#contracts/verdict'
import { handProvider } from '../support/hand-provider.ts'
import { LoopWorld } from '../support/loop-world.ts'
import { rolledScript, verdictOf, type Act } from '../support/scripted-provider.ts'
import { attemptOf } from '#core/model/place'

const good: Act = {
  firstByteMs: 100,
  events: ['{"type":"message_start"}'],
  endMs: 300,
  end: { kind: 'ok', status: 200, ttftMs: 100 },
}
const storm: Act = {
  firstByteMs: 100,
  end: { kind: 'overloaded', status: 529, errorType: 'overloaded_error' },
}
const zero = { requests: 0, slots: 0, probes: 0, timers: 0, replies: 0 } // prettier-ignore

describe('the machines of a route', () => {
  test('a storm opens the breaker, probes close it again, and traffic returns in steps', async () => {
    let sick = true
    const world = new LoopWorld({ script: () => (sick ? storm : good) })
    const traffic = async (ms: number): Promise<void> => {
      for (let t = 0; t < ms; t += 100) {
        world.request({ tenant: `t${(t / 100) % 7}`, deadlineMs: 60_000 })
        await world.pass(100)
      }
    }
    await traffic(5_000)
    const states = (): string[] =>
      world.events.flatMap((e) => (e.name === 'breaker' ? [e.data.state] : []))
    expect(states()).toEqual(['open'])
    const before = world.provider.calls.length
    await traffic(5_000)
    expect(world.provider.calls.length).toBe(before)
    await traffic(20_000)
    // One probe a second, and no more, while none succeeds.
    expect(states()).toEqual(['open', 'half_open'])
    expect(world.provider.calls.length - before).toBeLessThan(30)
    sick = false
    await traffic(60_000)
    expect(states()).toEqual(['open', 'half_open', 'ramp', 'closed'])
    await world.pass(70_000)
    expect(world.loop.held()).toEqual(zero)
    expect(world.bugs).toEqual([])
    for (const all of world.answers.values()) expect(all.length).toBe(1)
    expect(world.codes()['completed']).toBeGreaterThan(400)
  })

  test('half-open never has more probes than its cap, and closes on probes that succeed', async () => {
    let act: Act = storm
    const world = new LoopWorld({ script: () => act })
    for (let i = 0; i < 60; i++) world.request({ tenant: `t${i % 7}` })
    await world.pass(3_000)
    act = { firstByteMs: Infinity }
    for (let i = 0; i < 30; i++) world.request({ tenant: `t${i % 7}`, deadlineMs: 200_000 })
    const [route] = world.loop.state.routes.values()
    let most = 0
    for (let s = 0; s < 30; s++) {
      await world.pass(1_000, 500)
      if (route!.gate.state !== 'half_open') continue
      most = Math.max(most, route!.ofGeneration)
      expect(world.loop.held().probes).toBe(route!.ofGeneration)
    }
    // A share of the usual limit of 60: the storm has driven the present one down.
    const cap = Math.ceil(0.1 * 60)
    expect(route!.limit).toBeLessThan(60)
    expect(most).toBeGreaterThan(0)
    expect(most).toBeLessThanOrEqual(cap)
    expect(route!.gate.state).toBe('half_open')
    act = good
    for (let s = 0; s < 240 && route!.gate.state !== 'closed'; s++) {
      world.request({ tenant: `t${s % 7}` })
      await world.pass(1_000, 500)
    }
    expect(route!.gate.state).toBe('closed')
  })

  test('silence while the machine slept proves nothing against the upstream', async () => {
    const world = new LoopWorld({ script: () => ({ firstByteMs: Infinity }) })
    for (let i = 0; i < 40; i++) world.request({ tenant: `t${i % 7}`, deadlineMs: 100_000 })
    await world.pass(2_000)
    world.jumpMs = 3_600_000
    await world.pass(2_000)
    expect(world.codes()).toEqual({ deadline_exceeded: 40 })
    const [route] = world.loop.state.routes.values()
    expect(route!.gate.state).toBe('closed')
    expect(route!.limit).toBe(60)
  })

  test('one congestion event shrinks the limit once', async () => {
    let sick = false
    const world = new LoopWorld({
      file: { llm_gateway: { circuit_breaker: { min_samples: 10_000 } } },
      script: () => (sick ? storm : good),
    })
    for (let i = 0; i < 40; i++) world.request({ tenant: `t${i % 7}` })
    sick = true
    for (let i = 0; i < 20; i++) world.request({ tenant: `t${i % 7}` })
    await world.pass(250)
    const limits = world.events.flatMap((e) =>
      e.name === 'limit' ? [[e.data.from, e.data.limit, e.data.reason]] : [],
    )
    expect(limits).toEqual([[60, 40, 'upstream_overloaded']])
  })
})

describe('429', () => {
  const throttled: Act = {
    firstByteMs: 20,
    end: { kind: 'throttled', status: 429, retryAfterMs: 1_000 },
  }

  test('moves quota, and neither limit nor breaker', async () => {
    const world = new LoopWorld({ script: (i) => (i < 40 ? throttled : good) })
    for (let i = 0; i < 40; i++) world.request({ tenant: `t${i % 7}` })
    await world.pass(10_000)
    expect(world.events.filter((e) => e.name === 'limit' || e.name === 'breaker')).toEqual([])
    expect(world.codes()).toEqual({ completed: 40 })
  })

  test('in classic mode shrinks the limit and fails the breaker', async () => {
    const world = new LoopWorld({
      file: { concurrency_limit: { mode: 'classic' } },
      script: () => throttled,
    })
    for (let i = 0; i < 40; i++) world.request({ tenant: `t${i % 7}` })
    await world.pass(10_000)
    expect(world.events.some((e) => e.name === 'limit' && e.data.limit < 60)).toBe(true)
    expect(world.events.some((e) => e.name === 'breaker' && e.data.state === 'open')).toBe(true)
  })
})

test('whatever the upstream does, each request has one answer and everything is given back', async () => {
  const kinds: VerdictKind[] = [
    'overloaded',
    'fault',
    'hang',
    'broken',
    'throttled',
    'ramp_limited',
    'unexplained',
    'rejected',
    'cut',
  ]
  for (let seed = 1; seed <= 25; seed++) {
    const dice = seededDice(seed)
    const world = new LoopWorld({
      seed,
      file: { llm_gateway: { max_inflight_global: 6 }, lanes: { interactive: { queue_max: 20 } } },
      script: rolledScript(dice, [
        { weight: 10, act: good },
        {
          weight: 2,
          act: {
            firstByteMs: 50,
            events: ['{}', '{}'],
            gapMs: 400,
            endMs: 2_000,
            end: { kind: 'ok' },
          },
        },
        { weight: 1, act: { firstByteMs: Infinity } },
        ...kinds.map((kind) => ({
          weight: 1,
          act: { firstByteMs: 80, end: { kind, status: 500 } },
        })),
      ]),
    })
    const asked: string[] = []
    for (let i = 0; i < 80; i++) {
      const lane = ['premium', 'interactive', 'batch'][Math.floor(dice.next() * 3)]!
      const tenant = `t${Math.floor(dice.next() * 4)}`
      const deadlineMs = dice.next() < 0.3 ? 1 + Math.floor(dice.next() * 3_000) : null
      const id = world.request({ lane, tenant, deadlineMs, stream: dice.next() < 0.6 })
      asked.push(id)
      if (dice.next() < 0.1)
        world.loop.cancel(tenant, asked[Math.floor(dice.next() * asked.length)]!)
      await world.pass(Math.floor(dice.next() * 300))
    }
    await world.pass(20_000, 200)
    const drained = world.loop.drain()
    await world.pass(31_000, 500)
    await drained
    expect(world.bugs).toEqual([])
    expect(world.loop.held()).toEqual(zero)
    expect(violations(world.loop.state, [])).toEqual([])
    expect(asked.filter((id) => world.answers.get(id)?.length !== 1)).toEqual([])
    expect(world.provider.running()).toBe(0)
    world.loop.stop()
    expect(world.clock.pending()).toBe(0)
  }
})

test('a preempted attempt forwards nothing and its request is answered by another attempt', async () => {
  const world = new LoopWorld({
    file: { llm_gateway: { max_inflight_global: 60, max_inflight_per_tenant: 60 }, lanes: { batch: { cap: 60 } } },
    script: (i) => (i < 56 ? { firstByteMs: 260, events: ['{}'], endMs: 20_000, end: { kind: 'ok' } } : good),
  }) // prettier-ignore
  for (let i = 0; i < 56; i++) world.request({ tenant: 'b', lane: 'batch' })
  for (let i = 0; i < 4; i++) world.request({ tenant: 'i', deadlineMs: 100_000 })
  const urgent = world.request({ tenant: 'i' })
  await world.pass(250, 10)
  expect(world.events.filter((e) => e.name === 'request.preempted').length).toBe(1)
  await world.pass(60_000, 100)
  expect(world.answers.get(urgent)?.[0]?.how).toBe('end')
  const victim = world.events.find((e) => e.name === 'request.preempted')
  const id = victim?.name === 'request.preempted' ? victim.data.id : ''
  expect(world.answers.get(id)).toMatchObject([
    { how: 'end', events: 1, accounting: { attempts: 1, preemptions: 1 } },
  ])
})

test('what an attempt still says after its abort is not passed on: another one may answer', async () => {
  const provider = handProvider()
  const { sinks } = provider
  const file = {
    llm_gateway: { max_inflight_global: 60, max_inflight_per_tenant: 60 },
    lanes: { batch: { cap: 60 } },
  }
  const world = new LoopWorld({ file, script: () => good, provider })
  for (let i = 0; i < 60; i++)
    world.request({ tenant: 'b', lane: i < 56 ? 'batch' : 'interactive', id: `b${i}` })
  world.request({ tenant: 'i', id: 'urgent' })
  await world.pass(250, 10)
  const at = [...world.loop.state.requests.values()].findIndex(
    (r) => attemptOf(r)?.ending === 'preempt',
  )
  expect(at).toBeGreaterThanOrEqual(0)
  sinks[at]!.event(new Uint8Array(2))
  sinks[at]!.ended(verdictOf({ kind: 'ended' }))
  expect(world.events.some((e) => e.name === 'request.forwarding')).toBe(false)
  // Each end makes room, so more attempts come while this goes on.
  for (const [i, sink] of sinks.entries())
    if (i !== at) sink.ended(verdictOf({ kind: 'ok', status: 200 }))
  expect(world.bugs).toEqual([])
  expect([...world.answers.values()].flat().filter((one) => one.events > 0)).toEqual([])
  expect(world.answers.get(`b${at}`)).toMatchObject([
    { how: 'end', accounting: { preemptions: 1 } },
  ])
})

test('ended ids are remembered for settled_ms, at most settled_max of them', async () => {
  const world = new LoopWorld({ file: { settled_max: 3, settled_ms: 10_000 }, script: () => good })
  for (let i = 0; i < 5; i++) world.request({ id: `id${i}` })
  await world.pass(1_000)
  expect(world.loop.status('a', 'id0')).toBe(null)
  expect(world.loop.status('a', 'id4')).toMatchObject({
    state: 'settled',
    attempts: 1,
    position: null,
  })
  expect(world.loop.cancel('a', 'id4')).toEqual({ cancelled: false, reason: 'already_settled' })
  await world.pass(10_000, 1_000)
  expect(world.loop.status('a', 'id4')).toBe(null)
  expect(world.loop.cancel('a', 'id4')).toBe(null)
})

test('an id that is used again is known by its last end, and memory of ended ids stays bounded', async () => {
  const world = new LoopWorld({
    file: { settled_max: 2_000, settled_ms: 10_000 },
    script: () => good,
  })
  for (let round = 0; round < 3; round++) {
    world.request({ id: 'again', lane: round < 2 ? 'batch' : 'premium' })
    await world.pass(1_000)
  }
  expect(world.loop.status('a', 'again')).toMatchObject({ state: 'settled', lane: 'premium' })
  for (let i = 0; i < 4_500; i++) {
    world.request({ id: `n${i}`, tenant: `t${i % 50}` })
    if (i % 50 === 49) await world.pass(500, 250)
  }
  await world.pass(2_000)
  const known = Array.from({ length: 4_500 }, (_, i) =>
    world.loop.status(`t${i % 50}`, `n${i}`),
  ).filter((one) => one !== null)
  expect(known.length).toBeLessThanOrEqual(2_000)
  expect(known.length).toBeGreaterThan(0)
  expect(world.loop.status('a', 'again')).toBe(null)
})

test('a clock that jumps ahead an hour moves neither limit nor breaker', async () => {
  const world = new LoopWorld({ script: () => good })
  for (let i = 0; i < 50; i++) world.request({ tenant: `t${i % 7}` })
  await world.pass(2_000)
  world.jumpMs = 3_600_000
  await world.pass(2_000)
  expect(world.events.filter((e) => e.name === 'limit' || e.name === 'breaker')).toEqual([])
  expect(world.bugs).toEqual([])
})

test('a well-formed trace context reaches every event of its request, and no other text does', async () => {
  const world = new LoopWorld({ script: () => good })
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  world.request({ id: 'traced', headers: { traceparent, tracestate: 'vendor=1' } })
  world.request({ id: 'odd', headers: { traceparent: 'a planted prompt' } })
  await world.pass(1_000)
  const of = (id: string) => world.events.filter((e) => 'id' in e.data && e.data.id === id)
  expect(of('traced').length).toBeGreaterThanOrEqual(4)
  for (const e of of('traced')) expect(e.trace).toEqual({ traceparent, tracestate: 'vendor=1' })
  expect(of('odd').every((e) => e.trace === undefined)).toBe(true)
  expect(JSON.stringify(world.events)).not.toContain('planted')
})

test('a deadline that passes in silence proves what a hang proves; one that cuts an answer short proves nothing', async () => {
  const limitMoves = async (act: Act): Promise<number> => {
    const file = {
      limits: { first_byte_max_ms: 1_000 },
      llm_gateway: { circuit_breaker: { min_samples: 10_000 } },
    }
    const world = new LoopWorld({ file, script: () => act })
    for (let i = 0; i < 30; i++)
      world.request({ tenant: `t${i % 7}`, deadlineMs: 2_000, stream: false })
    await world.pass(3_000)
    expect(world.codes()).toEqual({ deadline_exceeded: 30 })
    return world.events.filter((e) => e.name === 'limit').length
  }
  expect(await limitMoves({ firstByteMs: 100, endMs: 60_000, end: { kind: 'ok' } })).toBe(0)
  expect(await limitMoves({ firstByteMs: Infinity })).toBe(1)
})

test('after ramp_limit_exceeded the limit is held and the breaker ramps more slowly', async () => {
  const limited: Act = {
    firstByteMs: 20,
    end: { kind: 'ramp_limited', status: 429, retryAfterMs: 1_000 },
  }
  let act: Act = limited
  const world = new LoopWorld({ script: () => act })
  world.request()
  await world.pass(100)
  expect(world.loop.limitState('default-m')).toBe('held')
  act = storm
  const ramped = async (): Promise<number> => {
    const from = world.events.length
    for (let i = 0; i < 1_200; i++) {
      world.request({ tenant: `t${i % 7}`, deadlineMs: 40_000 })
      if (world.loop.state.routes.get('default-m')?.gate.state === 'open') act = good
      await world.pass(100)
    }
    const steps = world.events.slice(from).filter((e) => e.name === 'breaker')
    const ramp = steps.findIndex((e) => e.name === 'breaker' && e.data.state === 'ramp')
    const closed = steps.findIndex((e) => e.name === 'breaker' && e.data.state === 'closed')
    return steps[closed]!.at - steps[ramp]!.at
  }
  expect(await ramped()).toBeGreaterThanOrEqual(29_000)
  await world.pass(700_000, 1_000)
  act = storm
  expect(await ramped()).toBeLessThanOrEqual(16_000)
})

test('a job that comes with a past keeps its age and its attempts, and has spent nothing else', async () => {
  const world = new LoopWorld({ script: () => good })
  await world.pass(1_000)
  const id = world.request({ past: { ageMs: 5_000, attempts: 2 } })
  await world.pass(1_000)
  expect(world.answers.get(id)).toMatchObject([
    { accounting: { attempts: 3, preemptions: 0, queueMs: 0, upstreamMs: 400, totalMs: 5_400 } },
  ])
  const late = world.request({ past: { ageMs: 5_000, attempts: 2 }, deadlineMs: 4_000 })
  expect(world.answers.get(late)).toMatchObject([{ refusal: { code: 'deadline_unreachable' } }])
})

test('once stopped it sets no timer, not even where that is in the middle of a step', async () => {
  let dispatched = 0
  const world: LoopWorld = new LoopWorld({
    script: () => good,
    onEvent({ name }) {
      if (name === 'request.dispatched') dispatched++
      if (name === 'request.settled') world.loop.stop()
    },
  })
  world.request()
  await world.pass(500)
  expect(world.clock.pending()).toBe(0)
  world.request()
  await world.pass(500)
  expect([dispatched, world.clock.pending()]).toEqual([1, 0])
})

test('each machine says where it stands, and since when', async () => {
  const limited: Act = { firstByteMs: 0, end: { kind: 'ramp_limited', status: 429 } }
  const world = new LoopWorld({ script: () => limited })
  const view = () => world.loop.machines().get('default-m')
  await world.pass(5_000)
  world.request()
  const opened = world.clock.now()
  expect(view()?.limit).toMatchObject({ state: 'steady', since: opened })
  await world.pass(1_000)
  expect(view()?.limit).toMatchObject({ state: 'held' })
  const { since } = view()!.limit
  expect(since).toBeGreaterThanOrEqual(opened)
  expect(since).toBeLessThan(opened + 1_000)
  await world.pass(20_000, 1_000)
  expect(view()).toMatchObject({
    limit: { state: 'held', since },
    breaker: { state: 'closed', since: opened },
  })
})

test('the limit is held after ramp_limit_exceeded for as long as the upstream asks', async () => {
  const heldFor = async (retryAfterMs: number): Promise<number> => {
    const end = { kind: 'ramp_limited', status: 429, retryAfterMs } as const
    const world = new LoopWorld({ script: (i) => (i === 0 ? { firstByteMs: 0, end } : good) })
    world.request({ deadlineMs: 3_600_000 })
    let seconds = 0
    do await world.pass(1_000, 1_000)
    while (world.loop.limitState('default-m') === 'held' && ++seconds < 3_600)
    return seconds
  }
  const least = await heldFor(1_000)
  expect(least).toBeGreaterThan(0)
  const asked = 2 * least
  expect(Math.abs((await heldFor(1_000 * asked)) - asked)).toBeLessThanOrEqual(2)
})

test('an abort that the transport has not confirmed is told after 1 s, once, and not where it was in time', async () => {
  const alarms = (world: LoopWorld): number =>
    world.events.filter(
      ({ name, data }) =>
        name === 'alarm' && data.name === 'abort_unconfirmed' && data.route === 'default-m',
    ).length
  const hands = handProvider()
  const world = new LoopWorld({ script: () => good, provider: hands })
  const cancelled = (id: string): void => {
    world.request({ id })
    world.loop.cancel('a', id)
  }
  cancelled('slow')
  await world.pass(999, 1)
  expect(alarms(world)).toBe(0)
  await world.pass(1, 1)
  expect(alarms(world)).toBe(1)
  await world.pass(5_000)
  expect(alarms(world)).toBe(1)
  cancelled('prompt')
  await world.pass(500)
  hands.sinks.at(-1)?.ended(verdictOf({ kind: 'ended', cause: 'cancel' }))
  await world.pass(5_000)
  expect(alarms(world)).toBe(1)
})

test('who ends between two attempts is told the request id of the last one', async () => {
  const busy: Act = { firstByteMs: 10, end: { ...storm.end!, requestId: 'req_last' } }
  const world = new LoopWorld({ script: () => busy })
  const id = world.request({ deadlineMs: 60_000 })
  await world.pass(50, 10)
  expect(world.loop.status('a', id)?.state).toBe('backoff')
  world.loop.cancel('a', id)
  expect(world.answers.get(id)).toMatchObject([
    { refusal: { code: 'cancelled' }, accounting: { upstreamRequestId: 'req_last', attempts: 1 } },
  ])
})

test('who is refused for what another met is told of it under its id, and has none of its tokens in its account', async () => {
  const usage = { inputTokens: 7, outputTokens: 1 } as Verdict['usage']
  const spent: Act = {
    firstByteMs: 10,
    end: { kind: 'key_stop', status: 402, requestId: 'req_first', usage },
  }
  const world = new LoopWorld({ script: () => spent })
  const first = world.request({ tenant: 'one' })
  await world.pass(50, 10)
  const second = world.request({ tenant: 'two' })
  expect(world.answers.get(first)).toMatchObject([
    {
      refusal: { status: 402 },
      accounting: { upstreamRequestId: 'req_first', inputTokens: 7, attempts: 1 },
    },
  ])
  expect(world.answers.get(second)).toMatchObject([
    {
      refusal: { status: 402 },
      accounting: { upstreamRequestId: 'req_first', inputTokens: null, attempts: 0 },
    },
  ])
})

test.each([
  ['serves most of what it may is full: its breaker stays shut', 15, 'closed'],
  ['serves little of it is ill: its breaker opens', 5, 'open'],
] as const)('a provider that %s', async (_, taken, state) => {
  const long: Act = { firstByteMs: 60_000, end: { kind: 'ok', status: 200 } }
  const refused: Act = { firstByteMs: 5, end: { kind: 'overloaded', status: 529 } }
  const world = new LoopWorld({
    file: { concurrency_limit: { initial: 16, floor: 8, ceiling: 16 } },
    script: (index) => (index < taken ? long : refused),
  })
  for (let i = 0; i < taken; i++) world.request({ tenant: `t${i}`, deadlineMs: 300_000 })
  await world.pass(1_000)
  // One call more than it takes, and the next in line is refused as quickly, and the next.
  for (let i = 0; i < 30; i++) {
    world.request({ tenant: `u${i}`, maxAttempts: 1, deadlineMs: 300_000 })
    await world.pass(10, 5)
  }
  expect(world.loop.state.routes.get('default-m')?.gate.state).toBe(state)
})
