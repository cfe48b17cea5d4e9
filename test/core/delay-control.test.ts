/** A standing queue is kept short where its lane asks for it (control-laws §12). */
import { describe, expect, test } from 'vitest'
import { controlled } from '#core/model/make'
import { DelayControl } from '#core/estimators/delay-control'
import type { Request } from '#core/model/state'
import { CoreWorld } from '../support/core-world.ts'

/** A mean service of 2 s: the target is 1 s, the interval 4 s, and stale what waited over 2 s. */
const leaves = (control: DelayControl, second: number, queueMs: number): boolean =>
  control.leaving({ queueMs, meanService: 2, now: second * 1_000 })

describe('the controller', () => {
  test('finds a queue standing when even the luckiest of an interval waited longer than the target', () => {
    const control = new DelayControl()
    for (const [second, queueMs] of [
      [0, 5_000],
      [1, 1_001],
      [3, 5_000],
    ] as const)
      // prettier-ignore
      expect(leaves(control, second, queueMs)).toBe(false)
    expect(control.overloaded).toBe(false)
    leaves(control, 4, 1_500)
    expect(control.overloaded).toBe(true)
  })

  test('one lucky request shows that it is not', () => {
    const control = new DelayControl()
    for (const [second, queueMs] of [
      [0, 5_000],
      [1, 1_000],
      [3, 9_000],
      [4, 9_000],
    ] as const)
      // prettier-ignore
      expect(leaves(control, second, queueMs)).toBe(false)
    expect(control.overloaded).toBe(false)
  })

  const standing = (): DelayControl => {
    const control = new DelayControl()
    for (const second of [0, 2, 4]) leaves(control, second, 1_500)
    expect(control.overloaded).toBe(true)
    return control
  }

  test('then drops what waited longer than twice the target', () => {
    const control = standing()
    expect([2_000, 2_001].map((queueMs) => leaves(control, 5, queueMs))).toEqual([false, true])
  })

  test('is done when a whole interval stays below the target', () => {
    const control = standing()
    // The interval from 4 s on has one above it, that from 8 s on has none.
    leaves(control, 6, 900)
    leaves(control, 8, 900)
    expect(control.overloaded).toBe(true)
    leaves(control, 10, 1_000)
    expect(control.overloaded).toBe(true)
    leaves(control, 12, 9_000)
    expect(control.overloaded).toBe(false)
  })

  test('judges nothing while the usual service is unknown', () => {
    const control = new DelayControl()
    for (let second = 0; second < 100; second++)
      expect(control.leaving({ queueMs: 9_000, meanService: 0, now: second * 1_000 })).toBe(false)
    expect(control.overloaded).toBe(false)
  })
})

describe('speaks', () => {
  const request = (of: {
    delayControl?: boolean
    deadlineMs?: number
    attempts?: number
    preemptions?: number
  }) =>
    controlled({
      lane: { config: { delayControl: of.delayControl ?? true } },
      asked: { deadlineMs: of.deadlineMs ?? null },
      attempts: of.attempts ?? 0,
      preemptions: of.preemptions ?? 0,
    } as Request)

  test('of fresh requests without a deadline of their own, in lanes that ask for it', () => {
    expect(request({})).toBe(true)
    expect(request({ delayControl: false })).toBe(false)
    expect(request({ deadlineMs: 5_000 })).toBe(false)
    expect(request({ attempts: 1 })).toBe(false)
    expect(request({ preemptions: 1 })).toBe(false)
  })
})

describe('in the core', () => {
  /** One slot and a service of 1 s: the target is 500 ms, the interval 2 s, stale is over 1 s. */
  function busy(of: { delay_control: boolean; deadlineMs?: number }): CoreWorld {
    const { delay_control, deadlineMs = null } = of
    const world = new CoreWorld({
      concurrency_limit: { initial: 1, floor: 1 },
      lanes: { interactive: { delay_control, guarantee: 0 }, premium: { guarantee: 0 }, batch: {} },
      scheduling: { tenant_queue_share: 1 },
    })
    for (let i = 0; i < 40; i++) world.submit({ id: `r${i}`, deadlineMs })
    return world
  }
  /** A second's service, `times` times; what started is told. */
  function serve(world: CoreWorld, times: number): string[] {
    const before = world.started().length
    for (let i = 0; i < times; i++) {
      world.advance(1_000)
      for (const key of world.running()) world.end(key)
    }
    return world.started().slice(before)
  }
  const stale = (world: CoreWorld): string[] =>
    [...world.outcomes].flatMap(([key, how]) => (how.includes('STALE') ? [key] : []))

  test('a standing queue drops what is stale and serves the newest first', () => {
    const world = busy({ delay_control: true })
    // The first starts tell the service, and that nobody is lucky: by then all forty are stale.
    serve(world, 6)
    expect(stale(world).length).toBeGreaterThan(30)
    expect(stale(world)).toContain('a/r39')
    // Fresh ones now, three a second: the newest goes first, and what it passes grows stale.
    const served: string[] = []
    for (let second = 0; second < 8; second++) {
      for (let i = 0; i < 3; i++) {
        world.submit({ id: `n${second}-${i}` })
        world.advance(100)
      }
      world.advance(700)
      for (const key of world.running()) world.end(key)
      served.push(...world.started().slice(-1))
    }
    expect(served.slice(-3).every((key) => key.endsWith('-2'))).toBe(true)
    for (const how of world.outcomes.values()) expect(how.length).toBe(1)
  })

  test('a refusal names the usual service as the time to come back after', () => {
    const world = busy({ delay_control: true })
    serve(world, 6)
    const told = world.effects.filter(
      (one) =>
        one.type === 'settled' && one.ending.kind === 'refused' && one.ending.reason === 'STALE',
    )
    expect(told[0]).toMatchObject({ ending: { retryAfterMs: 1_000 } })
  })

  test('a deadline that was named is a promise: such requests keep their place and their order', () => {
    const world = busy({ delay_control: true, deadlineMs: 3_600_000 })
    const order = serve(world, 10)
    expect(stale(world)).toEqual([])
    expect(order).toEqual(Array.from({ length: 10 }, (_, i) => `a/r${i + 1}`))
  })

  test('a lane that does not ask for it drops nothing', () => {
    const world = busy({ delay_control: false })
    expect(serve(world, 10)).toEqual(Array.from({ length: 10 }, (_, i) => `a/r${i + 1}`))
    expect(stale(world)).toEqual([])
  })

  test('a request that waits for tokens has not left: its first instant makes nobody lucky', () => {
    const world = new CoreWorld({
      // A start in 6 s, and no burst.
      routes: [{ model: 'm', rpm: 10 }],
      lanes: { interactive: { delay_control: true }, premium: {}, batch: {} },
    })
    world.submit({ id: 'first' })
    world.advance(1_000)
    world.end('a/first')
    // Each comes to an empty queue and waits 5 s for its token: over the target of 500 ms.
    for (let i = 0; i < 4; i++) {
      world.submit({ id: `r${i}` })
      world.advance(6_400)
      for (const key of world.running()) world.end(key)
    }
    const [route] = world.state.routes.values()
    const laneRoute = route!.laneRoutes.find((one) => one.lane.config.name === 'interactive')!
    expect(laneRoute.delay.overloaded).toBe(true)
  })
})
