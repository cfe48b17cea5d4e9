/** The laws of lanes, tenants, preemption and queues, each a small story over the pure core. */
import { describe, expect, test } from 'vitest'
import { configOf, CoreWorld, verdictOf } from '../support/core-world.ts'
import { attemptOf } from '#core/model/place'

/** Attempts per tenant, or per lane, among the starts so far, but for the first `after`. */
function startsBy(world: CoreWorld, what: 'tenant' | 'lane', after = 0): Record<string, number> {
  const counts: Record<string, number> = {}
  let seen = 0
  for (const e of world.effects) {
    if (e.type !== 'start-attempt' || seen++ < after) continue
    const name = what === 'tenant' ? e.request.tenant.name : e.request.lane.config.name
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

const held = (world: CoreWorld, lane: string): number =>
  world.state.lanesByName.get(lane)?.inflight ?? 0

const fill = (world: CoreWorld, many: number, of: Parameters<CoreWorld['submit']>[0]): void => {
  for (let i = 0; i < many; i++) world.submit(of)
}

/** Ends the oldest attempt every `everyMs`, `times` times. Where shares are compared, slots x `everyMs` is
 *  the 6 s that the priors estimate: an estimate far off distorts them by up to C x c_max at first. */
function serve(world: CoreWorld, times: number, everyMs = 100): void {
  for (let i = 0; i < times; i++) {
    world.advance(everyMs)
    const [key] = world.running()
    if (key !== undefined) world.end(key)
  }
}

const deep = { lanes: { premium: { queue_max: 10_000 }, interactive: { queue_max: 10_000 } } }
const slots = (n: number, more: object = {}) => ({
  ...deep,
  llm_gateway: { max_inflight_global: n },
  scheduling: { tenant_queue_share: 1 },
  ...more,
})

describe('tenants', () => {
  test('a greedy tenant cannot starve a modest one', () => {
    const world = new CoreWorld(slots(4))
    fill(world, 500, { tenant: 'greedy' })
    fill(world, 20, { tenant: 'modest' })
    serve(world, 44, 1_500)
    const { modest = 0 } = startsBy(world, 'tenant')
    // Half of what started since it came, less the four slots that were taken already.
    expect(modest).toBeGreaterThanOrEqual(20 - 2)
  })

  test('weights divide service between tenants that are always backlogged', () => {
    const world = new CoreWorld(slots(6, { tenants: { heavy: { weight: 3 } } }))
    fill(world, 400, { tenant: 'heavy' })
    fill(world, 400, { tenant: 'light' })
    serve(world, 400, 1_000)
    const { heavy = 0, light = 0 } = startsBy(world, 'tenant')
    expect(heavy / light).toBeGreaterThan(2.8)
    expect(heavy / light).toBeLessThan(3.2)
  })

  test('equal tenants get equal service, whatever the estimates said (I6)', () => {
    const world = new CoreWorld(slots(4))
    fill(world, 3_000, { tenant: 'short' })
    fill(world, 3_000, { tenant: 'long' })
    const service: Record<string, number> = { short: 0, long: 0 }
    const due = new Map<string, { at: number; name: string; ms: number }>()
    let seen = 0
    const note = (): void => {
      for (const e of world.effects.slice(seen))
        if (e.type === 'start-attempt') {
          const name = e.request.tenant.name
          const ms = name === 'short' ? 100 : 1_700
          due.set(e.request.key, { at: world.now + ms, name, ms })
        }
      seen = world.effects.length
    }
    note()
    for (let i = 0; i < 1_500; i++) {
      const [key, next] = [...due].sort((a, b) => a[1].at - b[1].at)[0]!
      due.delete(key)
      world.now = next.at
      service[next.name]! += next.ms / 1_000 / 60
      world.end(key)
      note()
    }
    const gap = Math.abs(service['short']! - service['long']!)
    // The largest cost is 6 s of one of 60 slots, as first estimated; C is 4.
    expect(gap).toBeLessThanOrEqual((1.1 * 4 * 6) / 60)
  })

  test('idling earns no credit and erases no debt (I7)', () => {
    const world = new CoreWorld(slots(1))
    world.submit({ tenant: 'idler' })
    serve(world, 1)
    fill(world, 20, { tenant: 'worker' })
    serve(world, 10)
    fill(world, 10, { tenant: 'idler' })
    serve(world, 10)
    const { idler = 0, worker = 0 } = startsBy(world, 'tenant')
    // Back from idling it shares equally; it does not catch up on what it never asked for.
    expect(idler).toBeLessThanOrEqual(7)
    expect(worker).toBeGreaterThanOrEqual(15)
  })

  test('a tenant may have what the others lately left, and never fewer than 12; a configured cap binds', () => {
    const world = new CoreWorld({ tenants: { small: { max_inflight: 3 } } })
    fill(world, 70, { tenant: 'lone' })
    expect(world.state.inflight).toBe(60)
    for (const key of world.running().slice(0, 55)) world.end(key)
    expect(world.state.tenants.get('lone')?.inflight).toBe(15)
    fill(world, 5, { tenant: 'small' })
    expect(world.state.tenants.get('small')?.inflight).toBe(3)
    fill(world, 10, { tenant: 'lone' })
    expect(world.state.tenants.get('lone')?.inflight).toBe(25)
    fill(world, 80, { tenant: 'lone' })
    // The other needs three of 60.
    expect(world.state.tenants.get('lone')?.inflight).toBe(57)
    for (let i = 0; i < 2; i++)
      for (const key of world.running().filter((one) => one.startsWith('small'))) world.end(key)
    expect(held(world, 'interactive')).toBe(60)
  })

  test('what a neighbour lately needed stays free for it, and is lent again after half a minute', () => {
    const world = new CoreWorld()
    for (let i = 0; i < 20; i++) world.submit({ tenant: 'greedy', id: `g${i}` })
    for (let i = 0; i < 30; i++) world.submit({ tenant: 'modest', id: `m${i}` })
    for (let i = 0; i < 29; i++) world.end(`modest/m${i}`)
    fill(world, 100, { tenant: 'greedy' })
    expect(world.state.tenants.get('greedy')?.inflight).toBe(30)
    for (let second = 0; second < 36; second++) {
      world.advance(1_000)
      world.tick()
    }
    expect(world.state.tenants.get('greedy')?.inflight).toBe(59)
  })

  test('tenants that are gone are forgotten, also when no queue ever forms', () => {
    const world = new CoreWorld({}, { check: false })
    for (let i = 0; i < 2_000; i++) {
      world.submit({ tenant: `t${i}` })
      world.advance(10)
      if (i > 20) world.end(world.running()[0]!)
      if (i % 100 === 0) world.tick()
    }
    for (const key of world.running()) world.end(key)
    for (let i = 0; i < 120; i++) {
      world.advance(1_000)
      world.tick()
    }
    expect(world.state.tenants.size).toBe(0)
  })
})

describe('lanes', () => {
  test('premium and interactive share two to one beyond guarantees, and neither starves', () => {
    const world = new CoreWorld(
      slots(60, {
        ...deep,
        lanes: { ...deep.lanes, premium: { guarantee: 0, queue_max: 10_000 } },
      }),
    )
    for (let t = 0; t < 20; t++) {
      fill(world, 80, { tenant: `p${t}`, lane: 'premium' })
      fill(world, 80, { tenant: `i${t}`, lane: 'interactive' })
    }
    serve(world, 1_500, 100)
    const { premium = 0, interactive = 0 } = startsBy(world, 'lane', 300)
    expect(premium / interactive).toBeGreaterThan(1.9)
    expect(premium / interactive).toBeLessThan(2.1)
  })

  test('a guarantee is lent while idle and comes back with the next freed slots', () => {
    const world = new CoreWorld({ ...deep, llm_gateway: { max_inflight_per_tenant: 60 } })
    fill(world, 100, { tenant: 'i' })
    expect(held(world, 'interactive')).toBe(60)
    fill(world, 30, { tenant: 'p', lane: 'premium' })
    serve(world, 20)
    expect(held(world, 'premium')).toBe(20)
    expect(held(world, 'interactive')).toBe(40)
  })

  test('guaranteed starts do not move the time that the other lanes share by', () => {
    const world = new CoreWorld({ ...deep, llm_gateway: { max_inflight_per_tenant: 60 } })
    fill(world, 60, { tenant: 'i' })
    fill(world, 40, { tenant: 'i' })
    const before = world.state.groups.firm.v
    fill(world, 20, { tenant: 'p', lane: 'premium' })
    serve(world, 5)
    // Premium's tags run ahead on its guarantee; virtual time stays with the least of the two lanes.
    const interactive = world.state.lanesByName.get('interactive')!
    expect(world.state.groups.firm.v).toBeLessThanOrEqual(Math.max(before, interactive.finish))
  })

  test('reserved slots keep the guarantee free: the fixed 20 of 60', () => {
    const world = new CoreWorld({
      llm_gateway: { max_inflight_per_tenant: 60 },
      lanes: { ...deep.lanes, premium: { reserved_slots: 20 } },
    })
    fill(world, 100, { tenant: 'i' })
    expect(held(world, 'interactive')).toBe(40)
    fill(world, 30, { tenant: 'p', lane: 'premium' })
    expect(held(world, 'premium')).toBe(20)
  })

  test('batch stays under a configured cap and headroom, and keeps its minimum share under any load', () => {
    const world = new CoreWorld({
      ...deep,
      lanes: { ...deep.lanes, batch: { cap: 15 } },
      scheduling: { headroom: 4 },
      llm_gateway: { max_inflight_per_tenant: 60 },
    })
    fill(world, 30, { tenant: 'b', lane: 'batch' })
    expect(held(world, 'batch')).toBe(15)
    for (const key of world.running()) world.end(key)
    for (const key of world.running()) world.end(key)
    fill(world, 58, { tenant: 'i' })
    fill(world, 100, { tenant: 'b', lane: 'batch' })
    expect(held(world, 'batch')).toBe(2)
    fill(world, 100, { tenant: 'i' })
    for (let i = 0; i < 30; i++) {
      world.end(world.running().find((key) => key.startsWith('b/')) ?? world.running()[0]!)
      world.advance(100)
    }
    expect(held(world, 'batch')).toBe(2)
  })

  test('batch alone has every slot, whatever the limit; beside others it has what they lately left', () => {
    for (const limit of [1, 4, 60]) {
      const world = new CoreWorld({
        concurrency_limit: { initial: limit, floor: Math.min(4, limit) },
      })
      fill(world, 70, { tenant: 'b', lane: 'batch' })
      expect(held(world, 'batch')).toBe(limit)
    }
    const world = new CoreWorld({ preemption: { credit_start: 0 } })
    for (let second = 0; second < 30; second++) {
      for (let i = 0; i < 40; i++) world.submit({ tenant: `t${i % 5}`, id: `i${second}-${i}` })
      world.tick()
      world.advance(1_000)
      for (const key of world.running()) world.end(key)
    }
    fill(world, 100, { tenant: 'b', lane: 'batch' })
    // 40 a second come back within a second, ten of them before anybody waits for a quarter of one.
    expect(held(world, 'batch')).toBeGreaterThanOrEqual(20)
    expect(held(world, 'batch')).toBeLessThanOrEqual(30)
    for (let second = 0; second < 6; second++) {
      world.advance(1_000)
      world.tick()
    }
    expect(held(world, 'batch')).toBe(60)
  })

  test('a paused lane holds nothing', () => {
    const world = new CoreWorld({ lanes: { premium: { reserved_slots: 20 } } })
    fill(world, 70, { tenant: 'i' })
    expect(held(world, 'interactive')).toBe(40)
    world.input({ type: 'lane', lane: 'premium', paused: true })
    expect(held(world, 'interactive')).toBe(60)
  })

  test('while the breaker lets only probes through, batch probes too', () => {
    const world = new CoreWorld({ concurrency_limit: { initial: 8, ceiling: 8 } })
    fill(world, 1, { tenant: 'b', lane: 'batch', id: 'first' })
    world.setGate('default-m', { state: 'half_open', cap: 1 })
    world.submit({ tenant: 'b', lane: 'batch', id: 'probe' })
    expect(world.running()).toContain('b/probe')
  })

  test('slot numbers scale with what there is', () => {
    const world = new CoreWorld({
      ...deep,
      llm_gateway: { max_inflight_global: 30, max_inflight_per_tenant: 60 },
    })
    fill(world, 60, { tenant: 'i' })
    fill(world, 60, { tenant: 'p', lane: 'premium' })
    serve(world, 30)
    expect(held(world, 'premium')).toBeGreaterThanOrEqual(10)
    expect(world.state.inflight).toBe(30)
  })

  test('strict arbitration serves the heaviest lane first', () => {
    const world = new CoreWorld(
      slots(2, { scheduling: { arbitration: 'strict', tenant_queue_share: 1 } }),
    )
    fill(world, 2, { tenant: 'i' })
    fill(world, 10, { tenant: 'i' })
    fill(world, 10, { tenant: 'p', lane: 'premium' })
    serve(world, 12)
    expect(
      world
        .started()
        .slice(2, 12)
        .every((key) => key.startsWith('p/')),
    ).toBe(true)
  })

  test('a paused lane starts nothing and keeps what it holds', () => {
    const world = new CoreWorld()
    world.input({ type: 'lane', lane: 'batch', paused: true })
    fill(world, 3, { lane: 'batch' })
    expect(held(world, 'batch')).toBe(0)
    world.input({ type: 'lane', lane: 'batch', paused: false })
    expect(held(world, 'batch')).toBe(3)
  })

  test('one model in trouble does not block another', () => {
    const world = new CoreWorld(slots(10))
    fill(world, 1, { model: 'sick' })
    world.setGate('default-sick', { state: 'open', cap: 0, until: 15_000 })
    fill(world, 5, { model: 'sick' })
    fill(world, 5, { model: 'well' })
    expect(world.started().length).toBe(6)
  })
})

describe('preemption', () => {
  const full = (): CoreWorld => {
    const world = new CoreWorld({
      llm_gateway: { max_inflight_per_tenant: 60 },
      lanes: { batch: { cap: 60 }, ...deep.lanes },
    })
    fill(world, 56, { tenant: 'b', lane: 'batch' })
    fill(world, 4, { tenant: 'i' })
    expect(world.state.inflight).toBe(60)
    return world
  }

  test('a request that waited 250 ms makes one batch attempt yield, and takes its slot', () => {
    const world = full()
    world.submit({ tenant: 'i', id: 'urgent' })
    world.advance(249)
    expect(world.effects.some((e) => e.type === 'abort-attempt')).toBe(false)
    world.advance(1)
    const [abort] = world.effects.filter((e) => e.type === 'abort-attempt')
    expect(abort).toMatchObject({ why: 'preempt', ending: null })
    const key = abort?.type === 'abort-attempt' ? abort.request.key : ''
    world.end(key, 'ended')
    expect(world.started().at(-1)).toBe('i/urgent')
    const victim = world.state.requests.get(key)!
    expect(victim).toMatchObject({ place: { in: 'queue' }, preemptions: 1, attempts: 0 })
    expect(victim.laneRoute.queue.next()?.head).toBe(victim)
  })

  test.each([
    ['its breaker is not closed', (w: CoreWorld) => w.setGate('default-m', { state: 'ramp', cap: 60, until: null })],
    ['an event was already forwarded', (w: CoreWorld) => {
      for (const key of w.running()) w.input({ type: 'progress', key, what: 'forwarded' })
    }],
    ['the waste credit is used up', (w: CoreWorld) => { w.state.wasteCredit = 0 }],
    ['victims are nearly done', (w: CoreWorld) => w.advance(4_500)],
  ] as const)('but not when %s', (_, spoil) => {
    const world = full()
    spoil(world)
    world.submit({ tenant: 'i' })
    world.advance(300)
    expect(world.effects.some((e) => e.type === 'abort-attempt')).toBe(false)
  }) // prettier-ignore

  test.each([
    [2_001, 1],
    [2_000, 0],
  ])('nor when a victim would be done in 2 s: with %i ms left, %i yields', (leftMs, yields) => {
    const world = full()
    const [first] = world.state.requests.values()
    world.advance(1_000 * attemptOf(first!)!.estimate.duration - leftMs - 250)
    world.submit({ tenant: 'i' })
    world.advance(250)
    expect(world.effects.filter((e) => e.type === 'abort-attempt').length).toBe(yields)
  })

  test('nor when one slot would not be enough', () => {
    const world = full()
    world.setLimit('default-m', 50)
    world.submit({ tenant: 'i' })
    world.advance(300)
    expect(world.effects.some((e) => e.type === 'abort-attempt')).toBe(false)
  })

  test('nor where a whole service is so short that slots come back by themselves', () => {
    const world = full()
    for (const request of world.state.requests.values()) {
      const attempt = attemptOf(request)
      if (attempt !== null)
        Object.assign(attempt, { estimate: { ...attempt.estimate, duration: 2 } })
    }
    world.advance(2_500)
    world.submit({ tenant: 'i' })
    world.advance(300)
    expect(world.effects.some((e) => e.type === 'abort-attempt')).toBe(false)
  })

  test('the victim is the one that loses least: no byte yet, then the youngest, then the smaller id', () => {
    const victimOf = (spoil: (world: CoreWorld) => void): string => {
      const world = full()
      spoil(world)
      world.submit({ tenant: 'i' })
      world.advance(250)
      const abort = world.effects.find((e) => e.type === 'abort-attempt')
      return abort?.type === 'abort-attempt' ? abort.request.key : ''
    }
    const batch = (world: CoreWorld): string[] =>
      world
        .running()
        .filter((key) => key.startsWith('b/'))
        .toSorted()
    let first = ''
    // All are of one age: the smaller id.
    expect(victimOf((world) => void (first = batch(world)[0]!))).toBe(first)
    // It has shown a byte, and the next has not.
    let second = ''
    expect(
      victimOf((world) => {
        second = batch(world)[1]!
        world.input({ type: 'progress', key: first, what: 'first-byte' })
      }),
    ).toBe(second)
    // One that has just come in.
    expect(
      victimOf((world) => {
        world.advance(1_000)
        world.end(first)
        world.submit({ tenant: 'b', lane: 'batch', id: 'zzz-young' })
      }),
    ).toBe('b/zzz-young')
  })

  test('batch of a tenant at its cap yields to its own call, though slots are free', () => {
    const world = new CoreWorld({ tenants: { t: { max_inflight: 4 } } })
    fill(world, 4, { tenant: 't', lane: 'batch' })
    world.submit({ tenant: 'other', lane: 'batch', id: 'not-this' })
    world.submit({ tenant: 't', id: 'urgent' })
    expect(world.running()).not.toContain('t/urgent')
    world.advance(250)
    const aborts = world.effects.filter((e) => e.type === 'abort-attempt')
    expect(aborts).toMatchObject([{ why: 'preempt', request: { tenant: { name: 't' } } }])
    const [abort] = aborts
    world.end(abort?.type === 'abort-attempt' ? abort.request.key : '', 'ended')
    expect(world.running()).toContain('t/urgent')
    expect(world.state.tenants.get('t')?.inflight).toBe(4)
  })

  test('an abort spends the waste credit, and successes earn it back', () => {
    const world = full()
    world.advance(2_000)
    world.submit({ tenant: 'i' })
    world.advance(250)
    expect(world.state.wasteCredit).toBeCloseTo(50 - 2.25, 5)
    const kept = world
      .running()
      .find((key) => attemptOf(world.state.requests.get(key)!)?.ending === null)
    world.end(kept!)
    expect(world.state.wasteCredit).toBeCloseTo(50 - 2.25 + 0.05 * 2.25, 5)
  })

  test('a victim twice is a victim no more', () => {
    const world = full()
    for (const r of world.state.requests.values()) if (r.tenant.name === 'b') r.preemptions = 2
    world.submit({ tenant: 'i' })
    world.advance(300)
    expect(world.effects.some((e) => e.type === 'abort-attempt')).toBe(false)
  })

  test('the allowance falls with each abort and grows back in quiet', () => {
    const world = full()
    const laneRoute = world.state.lanesByName.get('batch')!.laneRoutes[0]!
    expect(laneRoute.cap).toBe(60)
    world.submit({ tenant: 'i' })
    world.advance(250)
    expect(laneRoute.cap).toBe(28)
    for (let i = 0; i < 6; i++) {
      world.advance(1_000)
      world.tick()
    }
    expect(laneRoute.cap).toBe(28)
    const abort = world.effects.find((e) => e.type === 'abort-attempt')
    world.end(abort?.type === 'abort-attempt' ? abort.request.key : '', 'ended')
    // Seven seconds of quiet for each slot, while the route is nearly full.
    for (let i = 0; i < 14; i++) {
      world.advance(1_000)
      world.tick()
    }
    expect(laneRoute.cap).toBe(30)
    for (const key of world.running().slice(0, 20)) world.end(key)
    // A second for each, once a fifth of it is free.
    for (let i = 0; i < 3; i++) {
      world.advance(1_000)
      world.tick()
    }
    expect(laneRoute.cap).toBe(33)
  })

  test('of a lane with short services it grows by half of what lies idle', () => {
    const world = full()
    const laneRoute = world.state.lanesByName.get('batch')!.laneRoutes[0]!
    world.submit({ tenant: 'i' })
    world.advance(250)
    expect(laneRoute.cap).toBe(28)
    laneRoute.pace.served(0.5)
    const abort = world.effects.find((e) => e.type === 'abort-attempt')
    world.end(abort?.type === 'abort-attempt' ? abort.request.key : '', 'ended')
    for (const key of world.running().slice(0, 20)) world.end(key)
    const caps = [1, 2, 3].map(() => {
      world.advance(1_000)
      world.tick()
      return laneRoute.cap
    })
    // Nineteen slots are idle, twenty the first time.
    expect(caps).toEqual([38, 47, 56])
  })
})

describe('queues and deadlines', () => {
  test('whose deadline passes behind a shut breaker hears what the upstream last said', () => {
    const world = new CoreWorld()
    world.submit({ id: 'first', maxAttempts: 1 })
    world.end('a/first', verdictOf('overloaded', { status: 529, errorType: 'overloaded_error' }))
    world.setGate('default-m', { state: 'open', cap: 0, until: world.now + 15_000 })
    world.submit({ id: 'waits', deadlineMs: 30_000 })
    world.setGate('default-m', { state: 'open', cap: 0, until: world.now + 60_000 })
    world.advance(30_000)
    const ended = world.effects.findLast((e) => e.type === 'settled')
    expect(ended).toMatchObject({
      ending: {
        reason: 'DEADLINE',
        message: expect.stringMatching(/breaker.*the upstream last answered 529/) as string,
      },
    })
  })

  const small = {
    llm_gateway: { max_inflight_global: 1 },
    lanes: { interactive: { queue_max: 8 } },
  }

  test('a full lane takes from the tenant that holds most of it', () => {
    const world = new CoreWorld(small)
    world.submit({ tenant: 'first' })
    fill(world, 8, { tenant: 'hog' })
    expect(world.state.queued).toBe(8)
    world.submit({ tenant: 'hog', id: 'one-too-many' })
    expect(world.effects.at(-1)).toMatchObject({
      type: 'refused',
      refused: { reason: 'QUEUE_FULL' },
    })
    world.submit({ tenant: 'modest' })
    expect(world.state.queued).toBe(8)
    expect(world.outcomes.get('hog/r8')).toEqual(['QUEUE_FULL'])
    expect(world.state.tenants.get('modest')?.queued).toBe(1)
  })

  test.each([
    ['as much as the fullest', 4, 3, 1, false],
    ['more', 4, 4, 1, false],
    ['less', 5, 3, 1, true],
    ['as much for its weight', 4, 3, 2, true],
    ['less for its weight, however many', 3, 4, 2, true],
  ])(
    'who would hold %s by coming: %i of the fullest, %i of its own, at weight %i',
    (_, fullest, own, weight, takes) => {
      const world = new CoreWorld({
        ...small,
        scheduling: { tenant_queue_share: 1 },
        tenants: { one: { weight } },
      })
      world.submit({ tenant: 'first' })
      fill(world, fullest, { tenant: 'all' })
      fill(world, own, { tenant: 'one' })
      fill(world, 8 - fullest - own, { tenant: 'other' })
      world.submit({ tenant: 'one', id: 'one-more' })
      expect(world.state.tenants.get('all')?.queued).toBe(takes ? fullest - 1 : fullest)
      expect(world.state.tenants.get('one')?.queued).toBe(takes ? own + 1 : own)
      expect(world.state.queued).toBe(8)
    },
  )

  test('a request that was admitted and tried is never refused for space', () => {
    const world = new CoreWorld({
      llm_gateway: { max_inflight_global: 2 },
      lanes: { interactive: { queue_max: 2 } },
    })
    world.submit({ tenant: 'hog', id: 'one' })
    world.submit({ tenant: 'hog', id: 'two' })
    world.end('hog/one', 'overloaded')
    world.end('hog/two', 'overloaded')
    world.submit({ tenant: 'other', id: 'running' })
    world.submit({ tenant: 'other', id: 'running too' })
    world.advance(250)
    expect(world.state.tenants.get('hog')?.queued).toBe(2)
    world.submit({ tenant: 'third' })
    expect(world.effects.findLast((e) => e.type === 'refused')).toMatchObject({
      refused: { reason: 'QUEUE_FULL' },
    })
    expect(world.outcomes.get('hog/one')).toBe(undefined)
  })

  test('one tenant holds at most a quarter of the queue while another has requests there', () => {
    const world = new CoreWorld(small)
    world.submit({ tenant: 'first' })
    world.submit({ tenant: 'other' })
    fill(world, 5, { tenant: 'hog' })
    expect(world.state.tenants.get('hog')?.queued).toBe(2)
  })

  test('the bodies of all live requests are bounded', () => {
    const world = new CoreWorld({ limits: { queued_bytes: 1_000_000 } })
    world.submit({ bytes: 900_000 })
    world.submit({ bytes: 200_000 })
    expect(world.effects.at(-1)).toMatchObject({
      type: 'refused',
      refused: { reason: 'QUEUE_FULL' },
    })
  })

  test('nothing is refused on a guess: without evidence even a short deadline is tried', () => {
    const world = new CoreWorld()
    world.submit({ deadlineMs: 5 })
    expect(world.started().length).toBe(1)
  })

  test('with evidence a deadline that cannot be met is refused, on arrival and at dequeue', () => {
    const world = new CoreWorld({ llm_gateway: { max_inflight_global: 1 } })
    const usage = { inputTokens: 10, outputTokens: 100, cacheCreationTokens: 0, cacheReadTokens: 0 }
    for (let i = 0; i < 25; i++) {
      world.submit()
      world.advance(4_000)
      world.end(world.running()[0]!, verdictOf('ok', { usage, ttftMs: 1_000 }))
    }
    world.submit({ deadlineMs: 3_000, id: 'hopeless' })
    // No later moment is better for it.
    expect(world.effects.at(-1)).toMatchObject({
      type: 'refused',
      refused: { reason: 'DOOMED', retryAfterMs: null, inVain: true },
    })
    world.submit({ id: 'blocker' })
    world.submit({ deadlineMs: 9_000, id: 'late' })
    world.advance(5_000)
    world.end('a/blocker', verdictOf('ok', { usage, ttftMs: 1_000 }))
    expect(world.outcomes.get('a/late')).toEqual(['DOOMED'])
  })

  test('an open breaker refuses those who cannot wait for it and keeps the others', () => {
    const world = new CoreWorld()
    world.submit()
    world.setGate('default-m', { state: 'open', cap: 0, until: 15_000 })
    world.submit({ deadlineMs: 5_000 })
    expect(world.effects.at(-1)).toMatchObject({
      type: 'refused',
      refused: { reason: 'BREAKER_OPEN', retryAfterMs: 15_000 },
    })
    world.submit({ deadlineMs: 60_000, id: 'patient' })
    expect(world.state.requests.get('a/patient')?.place.in).toBe('queue')
  })
})

describe('retries', () => {
  test('1,000 callers that fail in the same instant do not come back in the same instant', () => {
    const world = new CoreWorld(
      {
        llm_gateway: { max_inflight_global: 1_000, max_inflight_per_tenant: 1_000, retry: { budget_start: 5_000, budget_max: 5_000 } },
        scheduling: { base: 1_000 },
        concurrency_limit: { ceiling: 1_000, initial: 128 },
        lanes: { interactive: { cap: 1_000, queue_max: 2_000 } },
      },
      { check: false },
    ) // prettier-ignore
    fill(world, 1, {})
    world.setLimit('default-m', 1_000)
    fill(world, 999, {})
    expect(world.state.inflight).toBe(1_000)
    for (const key of world.running()) world.end(key, 'overloaded')
    const waits = world.effects.flatMap((e) => (e.type === 'backoff' ? [e.waitMs] : []))
    expect(waits.length).toBe(1_000)
    expect(Math.max(...waits)).toBeLessThanOrEqual(250)
    // Full jitter: uniform over the whole range, in tenths within sampling error.
    for (let tenth = 0; tenth < 10; tenth++) {
      const share = waits.filter((ms) => Math.min(9, Math.floor(ms / 25)) === tenth).length
      expect(share).toBeGreaterThan(60)
      expect(share).toBeLessThan(140)
    }
  })

  test('the back-off ceiling doubles from base to cap', () => {
    const world = new CoreWorld({
      lanes: { interactive: { max_attempts: 10, base_backoff_ms: 250, cap_backoff_ms: 2_500 } },
    })
    const dice = { next: () => 0.999_999 }
    Object.assign(world.dice, dice)
    world.submit()
    const waits: number[] = []
    for (let i = 0; i < 7; i++) {
      world.end('a/r0', 'overloaded')
      const last = world.effects.findLast((e) => e.type === 'backoff')
      if (last?.type === 'backoff') waits.push(Math.round(last.waitMs))
      world.advance(3_000)
    }
    expect(waits).toEqual([250, 500, 1_000, 2_000, 2_500, 2_500, 2_500])
  })

  test('retry-after is waited out in full, and jitter comes on top', () => {
    const world = new CoreWorld()
    world.submit()
    world.end('a/r0', verdictOf('throttled', { status: 429, retryAfterMs: 7_000 }))
    const wait = world.effects.find((e) => e.type === 'backoff')
    expect(wait?.type === 'backoff' && wait.waitMs >= 7_000 && wait.waitMs <= 7_250).toBe(true)
    world.submit({ id: 'another' })
    expect(world.state.requests.get('a/another')?.place.in).toBe('queue')
    world.advance(7_000)
    expect(world.state.requests.get('a/another')?.place.in).toBe('slot')
  })

  test('the buffer is added to a retry-after where it is configured', () => {
    const world = new CoreWorld({ llm_gateway: { retry: { buffer_ms: 500 } } })
    world.submit()
    world.end('a/r0', verdictOf('throttled', { status: 429, retryAfterMs: 7_000 }))
    const wait = world.effects.find((e) => e.type === 'backoff')
    expect(wait?.type === 'backoff' && wait.waitMs >= 7_500 && wait.waitMs <= 7_750).toBe(true)
  })

  test('nothing is scheduled past the deadline: an 8 s budget has no retry at second 9', () => {
    const world = new CoreWorld({ llm_gateway: { timeout_ms: 8_000 } })
    world.submit()
    world.advance(7_990)
    world.end('a/r0', verdictOf('throttled', { status: 429, retryAfterMs: 1_000 }))
    expect(world.outcomes.get('a/r0')).toEqual(['RETRY_AFTER_TOO_LONG'])
  })

  test('charged retries stay within the budget: start + a tenth of successes + ten a minute (I14)', () => {
    const world = new CoreWorld({}, { check: false })
    for (let i = 0; i < 400; i++) {
      world.submit({ tenant: `t${i % 50}`, deadlineMs: 4_000 })
      world.advance(50)
      for (const key of world.running()) world.end(key, i % 2 === 0 ? 'ok' : 'overloaded')
    }
    const retries = world.effects.filter((e) => e.type === 'requeued').length
    const successes = world.effects.filter(
      (e) => e.type === 'settled' && e.ending.kind === 'completed',
    ).length
    expect(retries).toBeLessThanOrEqual(10 + 0.1 * successes + (10 * world.now) / 60_000)
    expect(
      world.effects.some(
        (e) =>
          e.type === 'settled' && e.ending.kind === 'refused' && e.ending.reason === 'RETRY_BUDGET',
      ),
    ).toBe(true)
  })
})

describe('a changed configuration', () => {
  const served = (upstream: string) => ({
    upstreams: { one: { base_url: 'http://one' }, two: { base_url: 'http://two' } },
    routes: [{ model: 'm', upstream }],
  })

  test('sends new arrivals to the new upstream while the old one ends what it holds', () => {
    const world = new CoreWorld(served('one'))
    world.submit({ id: 'old' })
    world.input({ type: 'config', config: configOf(served('two')) })
    world.submit({ id: 'new' })
    expect(world.state.requests.get('a/old')?.route.id).toBe('one-m')
    expect(world.state.requests.get('a/new')?.route.id).toBe('two-m')
    world.end('a/old')
    world.tick()
    expect([...world.state.routes.keys()]).toEqual(['two-m'])
    world.input({ type: 'config', config: configOf(served('one')) })
    world.submit({ id: 'back' })
    expect(world.state.requests.get('a/back')?.route.id).toBe('one-m')
  })

  test('drops a lane when it is empty, and refuses new requests for it at once', () => {
    const world = new CoreWorld({ lanes: { extra: { weight: 2 } } })
    world.submit({ lane: 'extra', id: 'held' })
    world.input({ type: 'config', config: configOf({}) })
    world.submit({ lane: 'extra', id: 'late' })
    expect(world.effects.at(-1)).toMatchObject({
      type: 'refused',
      refused: { reason: 'UNKNOWN_LANE' },
    })
    world.end('a/held')
    world.tick()
    expect(world.state.lanesByName.has('extra')).toBe(false)
  })

  test('gives tenants their new weight and cap', () => {
    const world = new CoreWorld({})
    fill(world, 20, { tenant: 'a' })
    expect(world.state.tenants.get('a')?.inflight).toBe(20)
    world.input({
      type: 'config',
      config: configOf({ tenants: { a: { max_inflight: 5, weight: 3 } } }),
    })
    for (const key of world.running().slice(0, 17)) world.end(key)
    fill(world, 10, { tenant: 'a' })
    expect(world.state.tenants.get('a')).toMatchObject({ inflight: 5, weight: 3 })
  })
})

describe('models without a route of their own', () => {
  const one = { max_inflight_global: 2, max_inflight_per_tenant: 100 }
  const reasons = (world: CoreWorld): string[] =>
    world.effects.flatMap((e) => (e.type === 'refused' ? [e.refused.reason] : []))

  test('each get one, up to routes_max; then the idle one longest without a success gives way', () => {
    const world = new CoreWorld({ routes_max: 2 })
    world.submit({ model: 'a', id: 'a1' })
    world.end('a/a1')
    world.submit({ model: 'b', id: 'b1' })
    world.submit({ model: 'c', id: 'c1' })
    expect([...world.state.routesByModel.keys()]).toEqual(['b', 'c'])
    world.submit({ model: 'd', id: 'd1' })
    expect(reasons(world)).toEqual(['UNKNOWN_MODEL'])
    world.end('a/b1', 'rejected')
    world.submit({ model: 'd', id: 'd2' })
    expect([...world.state.routesByModel.keys()]).toEqual(['c', 'd'])
  })

  test('take the tenants that have nothing elsewhere with them', () => {
    const world = new CoreWorld({ routes_max: 2 })
    for (const [tenant, model] of [
      ['gone', 'a'],
      ['stays', 'a'],
      ['stays', 'b'],
    ] as const) {
      world.submit({ tenant, model, id: model })
      // What it used is a debt, for which it is remembered.
      world.advance(1_000)
      world.end(`${tenant}/${model}`)
    }
    expect([...world.state.tenants.keys()]).toEqual(['gone', 'stays'])
    world.submit({ tenant: 'new', model: 'c' })
    expect([...world.state.routesByModel.keys()]).toEqual(['b', 'c'])
    expect([...world.state.tenants.keys()]).toEqual(['stays', 'new'])
  })

  test('cannot shut out a model that has answered, however many invented ones wait', () => {
    const world = new CoreWorld({ llm_gateway: one })
    world.submit({ tenant: 'good', model: 'real' })
    world.end('good/r0')
    for (let i = 0; i < 300; i++) world.submit({ tenant: `t${i % 40}`, model: `bogus-${i}` })
    world.submit({ tenant: 'good', model: 'real', id: 'again' })
    expect(world.state.requests.has('good/again')).toBe(true)
    expect(reasons(world).length).toBeGreaterThan(200)
    expect(new Set(reasons(world))).toEqual(new Set(['UNKNOWN_MODEL']))
  })

  test('of one tenant leave room for the new models of others', () => {
    const world = new CoreWorld({ llm_gateway: one })
    for (let i = 0; i < 100; i++) world.submit({ tenant: 'mallory', model: `bogus-${i}` })
    expect(world.state.routes.size).toBe(25)
    world.submit({ tenant: 'good', model: 'real', id: 'first' })
    expect(world.state.requests.has('good/first')).toBe(true)
  })
})

test('one tenant alone cannot take all the room that bodies have', () => {
  const world = new CoreWorld({ limits: { queued_bytes: 1_000_000, tenant_bytes: 500_000 } })
  for (let i = 0; i < 20; i++) world.submit({ tenant: 'hog', bytes: 100_000 })
  expect(world.state.bytes).toBe(500_000)
  world.submit({ tenant: 'good', bytes: 300, id: 'small' })
  expect(world.state.requests.has('good/small')).toBe(true)
})
