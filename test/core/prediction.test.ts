/** How long a request will wait, by hand (control-laws §6). */
import { describe, expect, test } from 'vitest'
import type { Estimate, Expected } from '#core/estimators/cost'
import { denominators, gateOpensIn, waitOf } from '#core/laws/prediction'
import { Pace } from '#core/estimators/pace'
import type { LaneRoute } from '#core/model/state'
import { CoreWorld } from '../support/core-world.ts'
import { attemptOf } from '#core/model/place'

const leaves = (duration: number): Expected => ({ duration, inputTokens: 0, outputTokens: 0 })
const none = leaves(0)

describe('the pace of virtual time', () => {
  const paced = (...moves: number[]): Pace => {
    const pace = new Pace()
    pace.sample({ moved: 99, left: none, seconds: 1, busy: true })
    for (const moved of moves) pace.sample({ moved, left: none, seconds: 1, busy: true })
    return pace
  }

  test('is unknown at first', () => {
    expect([new Pace().usable, new Pace().meanService]).toEqual([0, 0])
  })

  test('is taken from seconds that had a queue at both ends', () => {
    const pace = new Pace()
    pace.sample({ moved: 5, left: none, seconds: 1, busy: true })
    expect(pace.vdot).toBe(0)
    pace.sample({ moved: 4, left: none, seconds: 1, busy: true })
    expect(pace.vdot).toBe(4)
    pace.sample({ moved: 9, left: none, seconds: 1, busy: false })
    pace.sample({ moved: 9, left: none, seconds: 1, busy: true })
    expect(pace.vdot).toBe(4)
    pace.sample({ moved: 9, left: none, seconds: 1, busy: true })
    expect(pace.vdot).toBeCloseTo(0.7 * 4 + 0.3 * 9, 12)
  })

  test('is per second, however long the tick; a tick without time teaches nothing', () => {
    const pace = paced()
    pace.sample({ moved: 6, left: none, seconds: 3, busy: true })
    expect(pace.vdot).toBe(2)
    pace.sample({ moved: 6, left: none, seconds: 0, busy: true })
    expect(pace.vdot).toBe(2)
  })

  test('is never below a tenth of its mean over a minute', () => {
    const pace = paced(10, ...Array.from({ length: 9 }, () => 0))
    // 0.7^9 of ten, against a tenth of (59/60)^9 of ten.
    expect(pace.vdot).toBeCloseTo(10 * 0.7 ** 9, 9)
    expect(pace.usable).toBeCloseTo(0.1 * 10 * (59 / 60) ** 9, 9)
  })

  test('who leaves is counted over the same seconds', () => {
    const pace = new Pace()
    pace.sample({ moved: 1, left: leaves(50), seconds: 1, busy: true })
    expect(pace.leaving).toEqual(none)
    pace.sample({ moved: 1, left: leaves(20), seconds: 2, busy: true })
    expect(pace.leaving.duration).toBe(10)
    pace.sample({ moved: 1, left: leaves(30), seconds: 1, busy: true })
    expect(pace.leaving.duration).toBeCloseTo(0.7 * 10 + 0.3 * 30, 12)
  })

  test('the usual service is the first, then goes a twentieth of the way', () => {
    const pace = new Pace()
    pace.served(4)
    pace.served(8)
    expect(pace.meanService).toBeCloseTo(4.2, 12)
  })
})

const like: Estimate = { duration: 2, inputTokens: 0, outputTokens: 0, evidence: true, own: false }

/** Four slots, all taken; `queued` requests of the tenant wait behind them. */
function backlog(of: { queued?: number; weight?: number; cap?: number } = {}): {
  world: CoreWorld
  laneRoute: LaneRoute
} {
  const { queued = 0, weight = 1, cap } = of
  const tenant = { weight, ...(cap === undefined ? {} : { max_inflight: cap }) }
  const world = new CoreWorld({
    concurrency_limit: { initial: 4, floor: 1 },
    tenants: { busy: {}, t: tenant },
  })
  for (let i = 0; i < 4; i++) world.submit({ tenant: 'busy', id: `b${i}` })
  world.submit({ tenant: 'other', id: 'o' })
  for (let i = 0; i < queued; i++) world.submit({ tenant: 't', id: `t${i}` })
  const route = [...world.state.routes.values()][0]!
  const laneRoute = route.laneRoutes.find((one) => one.lane.config.name === 'interactive')!
  return { world, laneRoute }
}
/** Virtual time goes by so much a second. */
function goes(laneRoute: LaneRoute, perSecond: number): void {
  for (let i = 0; i < 2; i++)
    laneRoute.pace.sample({ moved: perSecond, left: none, seconds: 1, busy: true })
}
const wait = (world: CoreWorld, laneRoute: LaneRoute, tenant = 't', expected = like): number =>
  waitOf(world.state, laneRoute, { tenant, expected, now: world.now })

describe('the wait', () => {
  test('is what the tenant has queued, at its cost, over the pace', () => {
    const { world, laneRoute } = backlog({ queued: 3 })
    goes(laneRoute, 0.25)
    // 3 x 2 s on 4 slots are 1.5 s of the bottleneck, at a quarter a second.
    expect(wait(world, laneRoute)).toBeCloseTo(6_000, 6)
  })

  test('counts what the tenant was served already, and its weight', () => {
    const { world, laneRoute } = backlog({ queued: 3, weight: 3 })
    goes(laneRoute, 0.25)
    laneRoute.queue.flows.get('t')!.finish = laneRoute.queue.v + 1
    // (1 + 1.5 / 3) / 0.25
    expect(wait(world, laneRoute)).toBeCloseTo(6_000, 6)
  })

  test('is no longer than all who wait need, and a part more for those who go before it', () => {
    const { world, laneRoute } = backlog({ queued: 3 })
    goes(laneRoute, 0.25)
    for (let i = 0; i < 2; i++)
      laneRoute.pace.sample({ moved: 0.25, left: leaves(8), seconds: 1, busy: true })
    // What those need who wait is not known: the pace alone speaks.
    expect(wait(world, laneRoute)).toBeCloseTo(6_000, 6)
    laneRoute.queue.blind = 0
    Object.assign(laneRoute.queue.ahead, leaves(12))
    // Virtual time is in no hurry, and twice 12 s of slots at 8 a second are 3 s.
    expect(wait(world, laneRoute)).toBeCloseTo(3_000, 6)
    // Tokens may be what keeps them.
    Object.assign(laneRoute.queue.ahead, { inputTokens: 100 })
    expect(wait(world, laneRoute)).toBeCloseTo(6_000, 6)
    Object.assign(laneRoute.pace.leaving, { inputTokens: 50 })
    expect(wait(world, laneRoute)).toBeCloseTo(4_000, 6)
  })

  test('credits nobody for having been served long ago', () => {
    const { world, laneRoute } = backlog({ queued: 3 })
    goes(laneRoute, 0.25)
    laneRoute.queue.v += 100
    expect(wait(world, laneRoute)).toBeCloseTo(6_000, 6)
  })

  test('of a tenant that has nothing here is nothing: its turn is next', () => {
    const { world, laneRoute } = backlog({ queued: 3 })
    goes(laneRoute, 0.25)
    expect(wait(world, laneRoute, 'new')).toBe(0)
  })

  test('an unknown pace gives none', () => {
    const { world, laneRoute } = backlog({ queued: 3 })
    expect(wait(world, laneRoute)).toBe(0)
  })

  test('without evidence nothing is guessed but the gate', () => {
    const { world, laneRoute } = backlog({ queued: 3 })
    goes(laneRoute, 0.25)
    expect(wait(world, laneRoute, 't', { ...like, evidence: false })).toBe(0)
    laneRoute.route.quota.pausedUntil = 7_000
    expect(wait(world, laneRoute, 't', { ...like, evidence: false })).toBe(7_000)
  })

  test('adds the time until the gate opens: the later of breaker and pause', () => {
    const { world, laneRoute } = backlog({ queued: 3 })
    goes(laneRoute, 0.25)
    laneRoute.route.quota.pausedUntil = 4_000
    expect(wait(world, laneRoute)).toBeCloseTo(10_000, 6)
    laneRoute.route.gate = { ...laneRoute.route.gate, state: 'open', until: 9_000 }
    expect(gateOpensIn(laneRoute.route, 1_000)).toBe(8_000)
    expect(wait(world, laneRoute)).toBeCloseTo(15_000, 6)
    expect(gateOpensIn(laneRoute.route, 60_000)).toBe(0)
  })

  test('of a tenant at its cap is at least what its own slots need', () => {
    const { world, laneRoute } = backlog({ queued: 2, cap: 1 })
    const tenant = world.state.tenants.get('t')!
    laneRoute.pace.served(5)
    expect(wait(world, laneRoute)).toBe(0)
    tenant.parked = true
    // Two before it and itself, 5 s each, one at a time.
    expect(wait(world, laneRoute)).toBe(15_000)
    goes(laneRoute, 0.25)
    expect(wait(world, laneRoute)).toBe(15_000)
    // The others may keep it waiting longer: 1 s of the bottleneck at a twentieth a second.
    laneRoute.pace.vdot = 0.05
    expect(wait(world, laneRoute)).toBeCloseTo(20_000, 6)
  })

  test('of a tenant at its cap is its own slots’ also when nothing is queued', () => {
    const world = new CoreWorld({ tenants: { t: { max_inflight: 2 } } })
    for (let i = 0; i < 2; i++) world.submit({ tenant: 't' })
    const [route] = world.state.routes.values()
    const laneRoute = route!.laneRoutes.find((one) => one.lane.config.name === 'interactive')!
    laneRoute.pace.served(6)
    // It is the next, and a slot of its two comes free in 3 s on the average.
    expect(wait(world, laneRoute)).toBe(3_000)
  })

  test('is asked of slots, and of tokens where they are paced', () => {
    const { laneRoute } = backlog()
    expect(denominators(laneRoute.route)).toEqual({
      slots: 4,
      inputPerSecond: null,
      outputPerSecond: null,
    })
    laneRoute.route.quota.outputTokens.configure(600, 0)
    expect(denominators(laneRoute.route).outputPerSecond).toBe(9.5)
  })

  test('tokens that bind lengthen it', () => {
    const { world, laneRoute } = backlog({ queued: 3 })
    goes(laneRoute, 0.25)
    laneRoute.route.quota.outputTokens.configure(600, 0)
    // 3 x 95 tokens at 9.5 a second are 30 s of the bottleneck; 1.5 s of slots are less.
    expect(wait(world, laneRoute, 't', { ...like, outputTokens: 95 })).toBeCloseTo(120_000, 6)
  })
})

test('under a steady load the prediction comes true', () => {
  const world = new CoreWorld({
    concurrency_limit: { initial: 4, floor: 1 },
    llm_gateway: { max_inflight_per_tenant: 60 },
    scheduling: { tenant_queue_share: 1 },
  })
  const usage = { inputTokens: 100, cacheCreationTokens: 0, cacheReadTokens: 0, outputTokens: 60 }
  const ends = (): void => {
    for (const [key, request] of world.state.requests)
      if (world.now - (attemptOf(request)?.startedAt ?? Infinity) >= 2_000)
        world.end(key, {
          kind: 'ok',
          status: 200,
          errorType: null,
          cause: 'ok',
          retryAfterMs: null,
          requestId: null,
          usage,
          ttftMs: 1_000,
          mayHaveRun: true,
          rate: null,
          body: null,
        })
  }
  const errors: number[] = []
  const predicted = new Map<string, number>()
  for (let second = 0; second < 120; second++) {
    // Two tenants ask for five starts in two seconds, where four can be.
    for (const tenant of second % 2 === 0 ? ['a', 'b'] : ['a', 'b', 'a'])
      for (const effect of world.submit({ tenant }))
        if (effect.type === 'queued' && second > 40)
          predicted.set(effect.request.key, effect.request.predictedMs)
    world.advance(1_000)
    ends()
    world.tick()
  }
  for (const effect of world.effects)
    if (effect.type === 'start-attempt' && predicted.has(effect.request.key))
      errors.push(
        Math.abs(
          predicted.get(effect.request.key)! -
            (effect.attempt.startedAt - effect.request.acceptedAt),
        ),
      )
  errors.sort((a, b) => a - b)
  expect(errors.length).toBeGreaterThan(50)
  // Nobody waits less than 10 s; 19 in 20 are right to 3 s.
  expect(errors[Math.floor(0.95 * errors.length)]).toBeLessThan(3_000)
})
