/** Stepping back honestly (control-laws §13): levels, shedding, and the ladder of a single request. */
import { describe, expect, test } from 'vitest'
import type { DegradeStep } from '#contracts/messages'
import { reasons, type Reason } from '#contracts/refusals'
import { LoadWatch, type Level } from '#core/estimators/load-watch'
import { nextStep, TOP, noteUsage, usageOf, type Rung } from '#core/laws/degradation'
import { Tenant } from '#core/model/state'
import { CoreWorld } from '../support/core-world.ts'

/** Of 100 slots that are usual, so many are given now, and lanes that are not preemptible use them all. */
const review = (
  watch: LoadWatch,
  of: { capacity: number; second: number; firmInflight?: number; usual?: number },
): Level =>
  watch.review({
    capacity: of.capacity,
    usual: of.usual ?? 100,
    firmInflight: of.firmInflight ?? of.capacity,
    now: of.second * 1_000,
  })

/** `slow` of `all` first starts waited longer than 2 s. */
function starts(
  watch: LoadWatch,
  of: { all: number; slow: number; second: number; firm?: boolean },
): void {
  for (let i = 0; i < of.all; i++)
    watch.started({
      firm: of.firm ?? true,
      waitMs: i < of.slow ? 2_001 : 2_000,
      now: of.second * 1_000,
    })
}

describe('levels', () => {
  test.each([
    { capacity: 100, level: 0 },
    { capacity: 60, level: 0 },
    { capacity: 59, level: 1 },
    { capacity: 40, level: 1 },
    { capacity: 39, level: 2 },
    { capacity: 1, level: 2 },
  ])('with $capacity of 100 slots that are usual, the level is $level', ({ capacity, level }) => {
    expect(review(new LoadWatch(), { capacity, second: 1 })).toBe(level)
  })

  test('where nothing is usual yet, all is well', () => {
    expect(review(new LoadWatch(), { capacity: 0, usual: 0, second: 1 })).toBe(0)
  })

  test('the third needs more than one in twenty starts to have waited over 2 s', () => {
    const of = (slow: number, firm = true): Level => {
      const watch = new LoadWatch()
      starts(watch, { all: 100, slow, second: 1, firm })
      return review(watch, { capacity: 30, second: 1 })
    }
    expect([of(5), of(6)]).toEqual([2, 3])
    // What batch waits is no sign.
    expect(of(100, false)).toBe(2)
    const well = new LoadWatch()
    starts(well, { all: 100, slow: 100, second: 1 })
    expect(review(well, { capacity: 50, second: 1 })).toBe(1)
  })

  test('slow starts count for 30 s', () => {
    const at = (second: number): Level => {
      const watch = new LoadWatch()
      starts(watch, { all: 10, slow: 10, second: 0 })
      return review(watch, { capacity: 30, second })
    }
    expect([at(29), at(30)]).toEqual([3, 2])
  })

  test('so they do where one second follows the other', () => {
    const watch = new LoadWatch()
    starts(watch, { all: 10, slow: 10, second: 0 })
    const levels = Array.from({ length: 60 }, (_, second) => {
      starts(watch, { all: 1, slow: 0, second: second + 1 })
      return review(watch, { capacity: 30, second: second + 1 })
    })
    // A level is left 30 s after what raised it.
    expect([levels.lastIndexOf(3), levels.at(-1)]).toEqual([57, 2])
  })

  test('batch alone never raises a level: lanes that are not preemptible must want what there is', () => {
    const of = (firmInflight: number): Level =>
      review(new LoadWatch(), { capacity: 30, firmInflight, second: 1 })
    expect([of(0), of(23), of(24)]).toEqual([0, 0, 2])
  })

  test('a level is left after 30 s without its condition, each by itself', () => {
    const watch = new LoadWatch()
    expect(review(watch, { capacity: 30, second: 0 })).toBe(2)
    // From here on it is that of the first level only.
    const levels = [1, 29, 30].map((second) => review(watch, { capacity: 50, second }))
    expect(levels).toEqual([2, 2, 1])
    expect([31, 59, 60].map((second) => review(watch, { capacity: 90, second }))).toEqual([1, 1, 0])
  })

  test('a condition that comes back begins its 30 s anew', () => {
    const watch = new LoadWatch()
    review(watch, { capacity: 50, second: 0 })
    review(watch, { capacity: 90, second: 20 })
    review(watch, { capacity: 50, second: 25 })
    expect([54, 55].map((second) => review(watch, { capacity: 90, second }))).toEqual([1, 0])
  })
})

describe('shedding', () => {
  /** At level 3, with so many arrivals and starts in the last 30 s. */
  function crowded(of: { arrivals: number; starts: number }): LoadWatch {
    const watch = new LoadWatch()
    for (let i = 0; i < of.arrivals; i++) watch.arrived(1_000)
    starts(watch, { all: of.starts, slow: of.starts, second: 1 })
    if (of.starts === 0) starts(watch, { all: 1, slow: 1, second: 1 })
    expect(review(watch, { capacity: 30, second: 1 })).toBe(3)
    return watch
  }
  const again = (watch: LoadWatch): void => void review(watch, { capacity: 30, second: 1 })
  const kinds = [
    { laneRank: 0, usage: 90 },
    { laneRank: 0, usage: 1 },
    { laneRank: 1, usage: 90 },
    { laneRank: 1, usage: 1 },
  ]
  /** A thousand arrivals, as many of each kind; then the threshold knows them. */
  function known(watch: LoadWatch): LoadWatch {
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 1_000; i++) watch.sheds(kinds[i % 4]!)
      again(watch)
    }
    return watch
  }

  test.each([
    // Heavy in the light lane 0.25, modest 0.75; in the next lane 1.25 and 1.75.
    { starts: 100, shed: [false, false, false, false] },
    { starts: 75, shed: [true, false, false, false] },
    { starts: 50, shed: [true, true, false, false] },
    { starts: 25, shed: [true, true, true, false] },
  ])('of 100 arrivals $starts start: heavy tenants of light lanes go first', (of) => {
    const watch = known(crowded({ arrivals: 100, starts: of.starts }))
    expect(kinds.map((kind) => watch.sheds(kind))).toEqual(of.shed)
  })

  test('arrivals count for 30 s: then all that arrive start', () => {
    const watch = crowded({ arrivals: 100, starts: 0 })
    for (let second = 2; second <= 31; second++) {
      watch.arrived(second * 1_000)
      starts(watch, { all: 1, slow: 1, second })
    }
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 1_000; i++) watch.sheds(kinds[i % 4]!)
      expect(review(watch, { capacity: 30, second: 31 })).toBe(3)
    }
    expect(kinds.map((kind) => watch.sheds(kind))).toEqual([false, false, false, false])
  })

  test('at most nine in ten are turned away, even when nothing starts', () => {
    const watch = crowded({ arrivals: 1_000, starts: 0 })
    const usages = Array.from({ length: 1_000 }, (_, i) => i)
    for (let round = 0; round < 2; round++) {
      for (const usage of usages) watch.sheds({ laneRank: 0, usage })
      again(watch)
    }
    const shed = usages.filter((usage) => watch.sheds({ laneRank: 0, usage }))
    expect(shed.length).toBe(900)
    // The heaviest nine hundred.
    expect(Math.min(...shed)).toBe(100)
  })

  test('nobody is turned away before level 3, nor on a guess', () => {
    const watch = new LoadWatch()
    for (let i = 0; i < 100; i++) watch.arrived(1_000)
    expect(review(watch, { capacity: 30, second: 1 })).toBe(2)
    known(watch)
    expect(kinds.some((kind) => watch.sheds(kind))).toBe(false)
    const unknown = crowded({ arrivals: 100, starts: 0 })
    expect(kinds.some((kind) => unknown.sheds(kind))).toBe(false)
  })

  test('scores of an earlier trouble are forgotten', () => {
    const watch = known(crowded({ arrivals: 100, starts: 25 }))
    review(watch, { capacity: 100, second: 40 })
    for (let i = 0; i < 100; i++) watch.arrived(41_000)
    starts(watch, { all: 10, slow: 10, second: 41 })
    expect(review(watch, { capacity: 30, second: 41 })).toBe(3)
    expect(kinds.some((kind) => watch.sheds(kind))).toBe(false)
  })
})

describe('a tenant’s usage', () => {
  const tenant = (weight: number): Tenant => new Tenant('t', { weight, cap: null }, new Map())

  test('adds up, counts by weight, and fades over five minutes', () => {
    const one = tenant(2)
    noteUsage(one, 4, 0)
    noteUsage(one, 2, 0)
    expect(usageOf(one, 0)).toBe(3)
    expect(usageOf(one, 300_000)).toBeCloseTo(3 / Math.E, 12)
    noteUsage(one, 6, 300_000)
    expect(usageOf(one, 300_000)).toBeCloseTo(3 + 3 / Math.E, 12)
  })

  test('asking changes nothing', () => {
    const one = tenant(1)
    noteUsage(one, 5, 0)
    usageOf(one, 600_000)
    expect(usageOf(one, 0)).toBe(5)
  })
})

describe('the ladder', () => {
  const all: readonly DegradeStep[] = ['fallback', 'cache', 'defer']
  const chain = ['small', 'tiny']
  const ask = { steps: all, rung: TOP, reason: 'QUEUE_FULL', forwarded: false, chain } as const
  const first = (more: Partial<Parameters<typeof nextStep>[0]>) => nextStep({ ...ask, ...more })
  /** Every step that is offered while each one leads nowhere. */
  function descent(more: Partial<Parameters<typeof nextStep>[0]> = {}): string[] {
    const offered: string[] = []
    for (let rung: Rung = TOP; ;) {
      const next = nextStep({ ...ask, ...more, rung })
      if (next === null) return offered
      offered.push(next.step === 'fallback' ? next.model : next.step)
      rung = next.rung
    }
  }

  test('goes down the steps that the request opted in to, in its own order, model by model, each once', () => {
    expect(descent()).toEqual(['small', 'tiny', 'cache', 'defer'])
    expect(descent({ steps: ['defer', 'fallback'] })).toEqual(['defer', 'small', 'tiny'])
    expect(descent({ steps: ['cache'] })).toEqual(['cache'])
    expect(descent({ chain: [] })).toEqual(['cache', 'defer'])
    expect(descent({ steps: [] })).toEqual([])
  })

  test('only stands under refusals for which a lesser service is honest', () => {
    const on: Reason[] = [
      'QUEUE_FULL',
      'SHED',
      'STALE',
      'TENANT_LIMIT',
      'BUDGET',
      'DOOMED',
      'BREAKER_OPEN',
      'ATTEMPTS',
      'RETRY_BUDGET',
      'RETRY_AFTER_TOO_LONG',
      'TOO_LATE',
      'SPEND_LIMIT',
      'UPSTREAM_BLOCKED',
    ]
    const offered = (Object.keys(reasons) as Reason[]).filter(
      (reason) => first({ reason }) !== null,
    )
    expect(offered.toSorted()).toEqual(on.toSorted())
  })

  test('ends where an event has been passed on', () => {
    expect(first({ forwarded: true })).toBe(null)
  })

  test('another model gets no attempts that this one used up', () => {
    expect(descent({ reason: 'ATTEMPTS' })).toEqual(['cache', 'defer'])
    expect(descent({ reason: 'ATTEMPTS', steps: ['fallback'] })).toEqual([])
  })

  test('one that was refused for its attempts half way down the chain goes on below it', () => {
    const rung = first({})!.rung
    expect(first({ reason: 'ATTEMPTS', rung })).toMatchObject({ step: 'cache' })
  })
})

describe('in the core', () => {
  const ROUTE = 'default/m'
  /** Sixty slots are usual and `limit` are left; interactive callers want them all. */
  function fallenTo(limit: number, file: object = {}): CoreWorld {
    const world = new CoreWorld({
      llm_gateway: { max_inflight_per_tenant: 60 },
      lanes: { interactive: { queue_max: 10_000 }, batch: {} },
      ...file,
    })
    world.submit({ id: 'first' })
    const [route] = world.state.routes.keys()
    world.setLimit(route ?? ROUTE, limit)
    for (let i = 1; i < limit; i++) world.submit({ tenant: 'a', id: `i${i}` })
    world.advance(1_000)
    world.tick()
    return world
  }
  const held = (world: CoreWorld, lane: string): number =>
    world.state.lanesByName.get(lane)?.inflight ?? 0
  const endAll = (world: CoreWorld): void => {
    for (const key of world.running()) world.end(key)
  }

  test('a level that changes is told', () => {
    const world = fallenTo(20)
    expect(world.state.load.level).toBe(2)
    const alarms = world.effects.filter((one) => one.type === 'alarm')
    expect(alarms).toMatchObject([{ name: 'degradation', route: null }])
    world.tick()
    expect(world.effects.filter((one) => one.type === 'alarm').length).toBe(1)
  })

  test('at the first level batch has its minimum share, at the second nothing, until the others need less', () => {
    for (const [limit, level, batch] of [
      // 36 of 60 slots are no trouble: batch always has one.
      [36, 0, 1],
      // 35 of 60: a minimum share of 2 x 35 / 60.
      [35, 1, 1],
      [23, 2, 0],
    ] as const) {
      const world = fallenTo(limit)
      expect([limit, world.state.load.level]).toEqual([limit, level])
      endAll(world)
      for (let i = 0; i < 40; i++) world.submit({ tenant: `b${i}`, lane: 'batch', id: `b${i}` })
      expect([limit, held(world, 'batch')]).toEqual([limit, batch])
      for (let second = 0; second < 6; second++) {
        world.advance(1_000)
        world.tick()
      }
      expect(held(world, 'batch')).toBe(limit)
    }
  })

  test('the level is left 30 s after the trouble, and keeps no slot from batch until then', () => {
    const world = fallenTo(23)
    endAll(world)
    for (let i = 0; i < 40; i++) world.submit({ tenant: `b${i}`, lane: 'batch', id: `b${i}` })
    expect(held(world, 'batch')).toBe(0)
    for (let second = 0; second < 29; second++) {
      world.advance(1_000)
      world.tick()
    }
    expect(world.state.load.level).toBe(2)
    expect(held(world, 'batch')).toBe(23)
    world.advance(1_000)
    world.tick()
    expect(world.state.load.level).toBe(0)
  })

  test('from the second level on nothing is held back for anybody', () => {
    const lanes = { premium: { reserved_slots: 20 }, interactive: {}, batch: {} }
    const holdOf = (limit: number): number | undefined =>
      fallenTo(limit, { lanes }).state.lanesByName.get('premium')?.reservedSlots
    // 20 of 60; interactive alone cannot show demand past what is reserved, so the peak is what it can use.
    const world = fallenTo(23, { lanes })
    expect(held(world, 'interactive')).toBe(16)
    for (let i = 0; i < 7; i++) world.submit({ tenant: 'p', lane: 'premium', id: `p${i}` })
    world.advance(1_000)
    world.tick()
    expect([world.state.load.level, world.state.lanesByName.get('premium')?.reservedSlots]).toEqual(
      [2, 0],
    )
    expect(holdOf(60)).toBe(20)
  })

  test('at the third, arrivals are shed with a code that may be retried', () => {
    const world = fallenTo(20)
    for (let i = 0; i < 400; i++) world.submit({ tenant: i % 2 === 0 ? 'a' : 'z', id: `q${i}` })
    // Three seconds go by before each start.
    for (let second = 0; second < 20; second++) {
      world.advance(1_000)
      if (second >= 3) world.end(world.running()[0]!)
      world.tick()
    }
    expect(world.state.load.level).toBe(3)
    for (let i = 0; i < 100; i++) world.submit({ tenant: 'z', lane: 'premium', id: `s${i}` })
    for (let i = 0; i < 100; i++) world.submit({ tenant: 'a', id: `t${i}` })
    world.advance(1_000)
    world.tick()
    const before = world.effects.length
    world.submit({ tenant: 'a', id: 'heavy' })
    world.submit({ tenant: 'z', lane: 'premium', id: 'important' })
    const told = world.effects.slice(before).filter((one) => one.type === 'refused')
    expect(told).toMatchObject([
      { key: 'a/heavy', refused: { reason: 'SHED', retryAfterMs: 5_000, verdict: null } },
    ])
  })
})
