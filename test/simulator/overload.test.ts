/** The overload benchmark's load and figures, which the bench on real parts and the scenario share. */
import { describe, expect, test } from 'vitest'
import {
  GREEDY,
  isCut,
  isStorm,
  overloadConfig,
  overloadFigures,
  overloadSource,
  overloadTenants,
  phaseOf,
  type OverloadRow,
} from '../../services/simulator/overload.ts'
import { simulateScenario } from '../../services/simulator/simulate.ts'
import { drawn } from '../support/simulated.ts'

const of = { seconds: 240, capacity: 48 }

describe('the load', () => {
  const arrivals = drawn(overloadSource({ seed: 1, ...of }))
  const lane = (name: string) => arrivals.filter(({ asked }) => asked.lane === name)

  test('asks for half as much again as there is, half of it interactive', () => {
    const work = arrivals.reduce((sum, one) => sum + one.work.serviceMs, 0) / 1_000
    expect(work / (48 * 240)).toBeGreaterThan(1.45)
    expect(work / (48 * 240)).toBeLessThan(1.55)
    expect(lane('interactive').length / arrivals.length).toBeCloseTo(0.5, 1)
    expect(new Set(lane('interactive').map(({ asked }) => asked.deadlineMs))).toEqual(
      new Set([8_000]),
    )
    expect(new Set(lane('batch').map(({ asked }) => asked.deadlineMs))).toEqual(new Set([120_000]))
  })

  test('one of twenty tenants asks twenty times what each of the others asks', () => {
    const tenants = Map.groupBy(arrivals, ({ asked }) => asked.tenant)
    expect([...tenants.keys()].toSorted()).toEqual(overloadTenants().toSorted())
    const quiet = (arrivals.length - tenants.get(GREEDY)!.length) / 19
    expect(tenants.get(GREEDY)!.length / quiet).toBeGreaterThan(18)
    expect(tenants.get(GREEDY)!.length / quiet).toBeLessThan(22)
  })

  test('a storm of 24 s and a cut of 36 s lie within 240 s, and shrink with the run', () => {
    const seconds = Array.from({ length: 240 }, (_, at) => at)
    expect(seconds.filter((at) => isStorm(at, 240)).length).toBe(24)
    expect(seconds.filter((at) => isCut(at, 240)).length).toBe(36)
    expect([0, 60, 84, 144, 180].map((at) => phaseOf(at, 240))).toEqual(['before', 'storm', 'between', 'cut', 'after']) // prettier-ignore
    expect([14, 15, 21, 36, 45].map((at) => phaseOf(at, 60))).toEqual(['before', 'storm', 'between', 'cut', 'after']) // prettier-ignore
  })

  test('grows with the capacity, and bounds that would bind give room', () => {
    const twice = drawn(overloadSource({ seed: 1, seconds: 60, capacity: 96 })).length
    const once = drawn(overloadSource({ seed: 1, seconds: 60, capacity: 48 })).length
    expect(twice / once).toBeCloseTo(2, 0)
    expect(overloadConfig({ initial: null, capacity: 48 })).toEqual({ concurrency_limit: {} })
    expect(overloadConfig({ initial: 20, capacity: 16 })).toEqual({ concurrency_limit: { initial: 20 } }) // prettier-ignore
    expect(overloadConfig({ initial: null, capacity: 200 })).toEqual({
      llm_gateway: { max_inflight_global: 250 },
      concurrency_limit: { ceiling: 250 },
    })
  })
})

describe('the figures', () => {
  const row = (more: Partial<OverloadRow> = {}): OverloadRow => ({
    at: 0,
    lane: 'interactive',
    model: 'claude',
    tenant: 'quiet0',
    serviceMs: 1_000,
    endedAt: 1_000,
    inTime: true,
    attempts: 1,
    refused: 0,
    ...more,
  })
  const late = { inTime: false, endedAt: 9_000 }

  test('in time is by phase of arrival, and of quiet tenants outside storm and cut', () => {
    const figures = overloadFigures(
      [
        row(),
        row(late),
        row({ ...late, at: 70_000 }),
        row({ at: 150_000, ...late }),
        row({ ...late, at: 200_000, tenant: GREEDY }),
        row({ lane: 'batch', ...late }),
      ],
      of,
    )
    expect(figures.interactiveInTime).toBe(0.2)
    expect(figures.byPhase).toEqual({ before: 0.5, storm: 0, between: 0, cut: 0, after: 0 })
    expect(figures.quietInTime).toBe(0.5)
  })

  test('work after the end of the run is not counted, nor what came too late', () => {
    const figures = overloadFigures(
      [row({ serviceMs: 48_000 }), row({ endedAt: 240_001 }), row(late), row({ lane: 'batch' })],
      of,
    )
    expect(figures.ofCapacity).toBeCloseTo(49 / (48 * 240), 9)
    // 180 s of 48 slots, 36 s of 24, a tenth of 24 s of 48.
    expect(figures.ofPossible).toBeCloseTo(49 / (180 * 48 + 36 * 24 + 2.4 * 48), 9)
    expect(figures.batchPerS).toBeCloseTo(1 / 240, 9)
  })

  test('attempts are counted at the provider; what never reached it does not count', () => {
    const figures = overloadFigures(
      [row({ attempts: 3, refused: 2 }), row(), row({ attempts: 0, ...late })],
      of,
    )
    expect([figures.attemptsPerStarted, figures.refusedUpstream]).toEqual([2, 0.5])
  })

  test('recovered is when answers come at nine tenths of their rate before the storm', () => {
    const steady = (from: number, until: number, perSecond: number): OverloadRow[] =>
      Array.from({ length: (until - from) * perSecond }, (_, i) =>
        row({ endedAt: (from + i / perSecond) * 1_000 }),
      )
    const after = (at: number) =>
      overloadFigures([...steady(0, 60, 10), ...steady(at, 144, 10)], of)
    expect([after(60).recoveryS, after(84).recoveryS, after(90).recoveryS]).toEqual([0, 0, 6])
    expect(overloadFigures([...steady(0, 60, 10), ...steady(84, 144, 8)], of).recoveryS).toBe(null)
  })
})

test('the scenario gives the SDK alone what it gets on real parts', async () => {
  const what = { name: 'overload', part: 1, load: null, reserved: null, noise: null }
  const job = { label: '', policy: 'sdk', config: null } as const
  const { figures } = await simulateScenario(job, what, [1])
  // Two thirds fit, and three tries of a tenth each get through a storm.
  expect(figures['in_time_before']).toBeCloseTo(48 / 72, 1)
  expect(figures['in_time_storm']).toBeCloseTo(1 - 0.9 ** 3, 1)
  expect(figures['attempts_per_started']).toBeGreaterThan(2)
})

describe('with Headgate', () => {
  const job = { label: '', policy: 'headgate', config: null } as const
  const ran = async (name: string, seed: number) => {
    const what = { name, part: 1, load: null, reserved: null, noise: null }
    return (await simulateScenario(job, what, [seed])).figures
  }

  test('a raise of the limit that the provider refuses opens no breaker', async () => {
    // After 14 s 45 slots become 53 of 48, while 40 are in use.
    const figures = await ran('overload-from-20', 1)
    expect(figures['in_time_before']).toBeGreaterThan(0.9)
  })

  test('what nobody is about to need any more is used, and the quiet ones miss nothing', async () => {
    const all = await Promise.all([1, 2, 3].map((seed) => ran('overload', seed)))
    for (const figures of all) {
      expect(figures['of_capacity_and_quota']).toBeGreaterThan(0.9)
      expect(figures['quiet_in_time']).toBeGreaterThan(0.97)
      expect(figures['refused_upstream']).toBeLessThan(0.06)
    }
  })
})
