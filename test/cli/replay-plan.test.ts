/** Who asks for what and when: the shares that the rules promise, and the same again for the same seed. */
import { describe, expect, test } from 'vitest'
import {
  floodRow,
  NOISY_ROW,
  planSteady,
  planTrace,
  serviceS,
  tenantName,
  type Arrival,
  type PlanOptions,
} from '../../services/cli/replay-plan.ts'
import type { Trace } from '#contracts/trace-file'
import { seeded, zipf } from '../../services/cli/seeded.ts'

const of = (more: Partial<PlanOptions> = {}): PlanOptions => ({
  seed: 1,
  speed: 30,
  load: 0.8,
  slots: 60,
  forS: 120,
  tenants: 200,
  flood: null,
  noisy: null,
  ...more,
})

/** One call a second that holds a slot for about two. */
const trace: Trace = {
  rows: Array.from({ length: 600 }, (_, n) => ({ atS: n, input: 100, output: 96 })),
  lastS: 599,
  cut: false,
}

const shareOf = (arrivals: readonly Arrival[], fits: (one: Arrival) => boolean): number =>
  arrivals.filter(fits).length / arrivals.length
const demandOf = (arrivals: readonly Arrival[], { forS, speed }: PlanOptions): number =>
  arrivals.reduce((sum, one) => sum + serviceS(one.output), 0) / (forS * speed)

describe('a plan', () => {
  const plan = planTrace(trace, of())

  test('asks for the load: a thin trace is laid over itself', () => {
    expect(plan.demand).toBeGreaterThan(48 * 0.97)
    expect(plan.demand).toBeLessThan(48 * 1.03)
  })

  test('thins a trace that asks for more', () => {
    const options = of({ load: 0.01, speed: 5 })
    const { demand } = planTrace(trace, options)
    expect(demand).toBeGreaterThan(0.6 * 0.8)
    expect(demand).toBeLessThan(0.6 * 1.2)
  })

  test('goes faster by speed and begins again where the trace is short', () => {
    const last = plan.arrivals.at(-1)
    expect(last?.atMs).toBeLessThanOrEqual(120_000)
    expect(last?.atMs).toBeGreaterThan(119_000)
    expect(plan.arrivals.every(({ atMs }, n) => atMs >= (plan.arrivals[n - 1]?.atMs ?? 0))).toBe(
      true,
    )
  })

  test('gives 20 % to premium, 50 % to interactive, 30 % to batch, and streams a half', () => {
    const { arrivals } = plan
    expect(shareOf(arrivals, ({ lane }) => lane === 'premium')).toBeCloseTo(0.2, 1)
    expect(shareOf(arrivals, ({ lane }) => lane === 'interactive')).toBeCloseTo(0.5, 1)
    expect(shareOf(arrivals, ({ lane }) => lane === 'batch')).toBeCloseTo(0.3, 1)
    expect(shareOf(arrivals, ({ stream }) => stream)).toBeCloseTo(0.5, 1)
  })

  test('is the same for the same seed, and another for another', () => {
    expect(planTrace(trace, of())).toEqual(plan)
    expect(planTrace(trace, of({ seed: 2 })).arrivals).not.toEqual(plan.arrivals)
  })

  test('without a trace asks for the same load', () => {
    const { demand } = planSteady(of())
    expect(demand).toBeGreaterThan(48 * 0.95)
    expect(demand).toBeLessThan(48 * 1.05)
  })

  test('with a flood keeps everybody else as they were', () => {
    const options = of({ flood: { lane: 'batch', factor: 2 }, forS: 20 })
    const flooded = planSteady(options).arrivals
    const others = flooded.filter(({ row }) => row !== floodRow('batch'))
    expect(others).toEqual(planSteady(of({ forS: 20 })).arrivals)
    const flood = flooded.filter(({ row }) => row === floodRow('batch'))
    expect(flood.every(({ lane, extra }) => lane === 'batch' && extra)).toBe(true)
    expect(demandOf(flood, options) / 120).toBeCloseTo(1, 1)
  })

  test('with a noisy tenant lets it ask so many times what each other does', () => {
    const { arrivals } = planSteady(of({ noisy: 10, forS: 60 }))
    const noisy = arrivals.filter(({ row }) => row === NOISY_ROW)
    expect(new Set(noisy.map(({ tenant }) => tenant))).toEqual(new Set([tenantName(0)]))
    const each = (arrivals.length - noisy.length) / 19
    expect(noisy.length / each).toBeGreaterThan(8.5)
    expect(noisy.length / each).toBeLessThan(11.5)
  })
})

describe('tenants', () => {
  test('follow a Zipf law: the second is asked for 2^1.1 times less than the first', () => {
    const draw = zipf({ count: 200, exponent: 1.1, dice: seeded(1, 'law') })
    const counts = new Map<number, number>()
    for (let n = 0; n < 100_000; n++) {
      const tenant = draw()
      counts.set(tenant, (counts.get(tenant) ?? 0) + 1)
    }
    expect((counts.get(0) ?? 0) / (counts.get(1) ?? 1)).toBeCloseTo(2 ** 1.1, 0)
    expect(Math.max(...counts.keys())).toBeLessThan(200)
  })
})
