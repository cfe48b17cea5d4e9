/** Who asks for what and when: streams, bursts, traces, and the dice behind them. */
import { describe, expect, test } from 'vitest'
import { exponential, lognormal, seeded, zipf } from '../../services/simulator/chance.ts'
import type { TraceArrival } from '../../services/simulator/trace-file.ts'
import {
  bursts,
  merged,
  poisson,
  traced,
  type Arrival,
  type Stream,
} from '../../services/simulator/workload.ts'
import { drawn, sourceOf } from '../support/simulated.ts'

const stream = (of: Partial<Stream> = {}): Stream => ({
  lane: 'interactive',
  tenants: { prefix: 'i', count: 20 },
  rate: () => 5,
  rateMost: 5,
  service: 6,
  until: 4_000,
  ...of,
})
const all = (of: Partial<Stream> = {}, seed = 1, name = 'I'): Arrival[] =>
  drawn(poisson(stream(of), seed, name))
const times = (arrivals: readonly Arrival[]): number[] => arrivals.map((one) => one.at)
const within = (arrivals: readonly Arrival[], from: number, until: number): number =>
  arrivals.filter((one) => one.at >= from * 1_000 && one.at < until * 1_000).length
const mean = (values: readonly number[]): number =>
  values.reduce((sum, one) => sum + one, 0) / values.length
const near = (value: number, wanted: number, share: number): void => {
  expect(value).toBeGreaterThan(wanted * (1 - share))
  expect(value).toBeLessThan(wanted * (1 + share))
}

describe('a Poisson stream', () => {
  test.each([1, 2, 3])('arrives at its rate, within 5 %% over a long run (seed %i)', (seed) => {
    near(all({}, seed).length, 20_000, 0.05)
  })

  test('has gaps that vary as much as they last, as waiting for chance does', () => {
    const at = times(all())
    const gaps = at.slice(1).map((one, i) => one - at[i]!)
    const usual = mean(gaps)
    near(usual, 200, 0.05)
    near(Math.sqrt(mean(gaps.map((gap) => (gap - usual) ** 2))), 200, 0.05)
  })

  test('thinned, follows a rate that changes', () => {
    const rate = (at: number): number => (at < 1_000 ? 1 : at < 2_000 ? 0 : 5)
    const arrivals = all({ rate })
    near(within(arrivals, 0, 1_000), 1_000, 0.1)
    expect(within(arrivals, 1_000, 2_000)).toBe(0)
    near(within(arrivals, 2_000, 4_000), 10_000, 0.05)
  })

  test('arrives in order of time, and ends before its end', () => {
    const at = times(all({ until: 100 }))
    expect(at).toEqual(at.toSorted((a, b) => a - b))
    expect(at.at(-1)).toBeLessThanOrEqual(100_000)
  })

  test('its beginning is the same however long it lasts', () => {
    const short = all({ until: 50 })
    expect(all({ until: 4_000 }).slice(0, short.length)).toEqual(short)
  })

  test('equal seeds give equal arrivals; another seed or another name gives others', () => {
    expect(all({ until: 100 })).toEqual(all({ until: 100 }))
    const first = times(all({ until: 100 }))
    expect(times(all({ until: 100 }, 2))).not.toEqual(first)
    expect(times(all({ until: 100 }, 1, 'P'))).not.toEqual(first)
  })

  test('longer services move no arrival, its own or another stream’s', () => {
    const both = (service: number): Arrival[] =>
      drawn(
        merged([
          poisson(stream({ service, until: 200 }), 1, 'I'),
          poisson(stream({ lane: 'premium', service: 6, until: 200 }), 1, 'P'),
        ]),
      )
    const [slow, fast] = [both(25), both(6)]
    expect(times(slow)).toEqual(times(fast))
    const premium = (arrivals: readonly Arrival[]) =>
      arrivals.filter((one) => one.asked.lane === 'premium')
    expect(premium(slow)).toEqual(premium(fast))
  })

  test('its tenants take turns by even chance', () => {
    const counts = new Map<string, number>()
    for (const { asked } of all()) counts.set(asked.tenant, (counts.get(asked.tenant) ?? 0) + 1)
    expect(counts.size).toBe(20)
    // 1,000 each, four standard deviations of 31.
    for (const count of counts.values()) expect(Math.abs(count - 1_000)).toBeLessThan(124)
  })

  test('services are lognormal: mean 6 s, median 6 / √2 s, none under 0.3 s', () => {
    const seconds = all().map((one) => one.work.serviceMs / 1_000)
    near(mean(seconds), 6, 0.03)
    const middle = Math.floor(seconds.length / 2)
    near(seconds.toSorted((a, b) => a - b)[middle]!, 4.243, 0.03)
    expect(Math.min(...seconds)).toBeGreaterThanOrEqual(0.3)
  })

  test('asks for what it says: lane, model, deadline, tokens as long as the answer takes', () => {
    const [one] = all({ model: 'm', deadline: 20, ttft: 0.5, input: 250 })
    const { serviceMs } = one!.work
    expect(one!.asked).toMatchObject({ model: 'm', deadlineMs: 20_000, stream: true })
    expect(one!.work).toMatchObject({ ttftMs: Math.min(serviceMs, 500), inputTokens: 250 })
    expect(Math.abs(one!.work.outputTokens - (serviceMs / 1_000) * 60)).toBeLessThanOrEqual(1)
    expect(one!.asked.maxTokens).toBeGreaterThanOrEqual(one!.work.outputTokens)
    const [other] = all({ deadline: null })
    expect(other!.asked).toMatchObject({ model: 'claude', deadlineMs: null, stream: false })
  })
})

test('bursts come whole, in one instant, at their period', () => {
  const of = { ...stream({ until: 221 }), from: 100, every: 60, size: 3 }
  expect(times(drawn(bursts(of, 1, 'P')))).toEqual(
    [100, 100, 100, 160, 160, 160, 220, 220, 220].map((at) => at * 1_000),
  )
})

test('several sources are one in order of time; at equal times in order of the list', () => {
  const source = merged([
    sourceOf({ at: 5, tenant: 'a' }, { at: 10, tenant: 'b' }),
    sourceOf(),
    sourceOf({ at: 1, tenant: 'c' }, { at: 5, tenant: 'd' }, { at: 20, tenant: 'e' }),
  ])
  expect(drawn(source).map((one) => one.asked.tenant)).toEqual(['c', 'a', 'd', 'b', 'e'])
})

describe('a trace', () => {
  const row = (of: Partial<TraceArrival> = {}): TraceArrival => ({
    atMs: 0,
    tenant: null,
    lane: null,
    model: null,
    stream: null,
    inputTokens: 100,
    outputTokens: 50,
    maxTokens: null,
    deadlineMs: null,
    marked: null,
    ...of,
  })
  const play = (
    rows: readonly TraceArrival[],
    of: Partial<Parameters<typeof traced>[1]> = {},
  ): Arrival[] =>
    drawn(
      traced(rows, {
        seed: 1,
        scale: 1,
        tenants: 4,
        lanes: [{ name: 'interactive', share: 1 }],
        until: 1_000,
        ...of,
      }),
    )
  const many = Array.from({ length: 20_000 }, () => row())

  test('at twice its scale arrives twice as densely, with the services as they were', () => {
    const rows = [0, 1_000, 3_000].map((atMs) => row({ atMs, outputTokens: 600 }))
    const [once, twice] = [play(rows), play(rows, { scale: 2 })]
    expect(times(once)).toEqual([0, 1_000, 3_000])
    expect(times(twice)).toEqual([0, 500, 1_500])
    expect(twice.map((one) => one.work)).toEqual(once.map((one) => one.work))
  })

  test('ends with its window, counted in the time of the simulation', () => {
    const rows = [0, 10_000, 19_000, 21_000, 60_000].map((atMs) => row({ atMs }))
    expect(times(play(rows, { until: 20 }))).toEqual([0, 10_000, 19_000])
    expect(times(play(rows, { until: 20, scale: 2 }))).toEqual([0, 5_000, 9_500, 10_500])
  })

  test('tenants it does not name are t1 to tN with shares by k^-1.1', () => {
    const weights = [1, 2, 3, 4].map((k) => k ** -1.1)
    const total = weights.reduce((sum, one) => sum + one, 0)
    const counts = new Map<string, number>()
    for (const { asked } of play(many))
      counts.set(asked.tenant, (counts.get(asked.tenant) ?? 0) + 1)
    expect([...counts.keys()].toSorted()).toEqual(['t1', 't2', 't3', 't4'])
    for (const [k, weight] of weights.entries())
      near(counts.get(`t${k + 1}`)!, (20_000 * weight) / total, 0.05)
  })

  test('lanes it does not name are drawn by their shares', () => {
    const lanes = [
      { name: 'premium', share: 0.1 },
      { name: 'interactive', share: 0.6 },
      { name: 'batch', share: 0.3 },
    ]
    const arrivals = play(many, { lanes })
    for (const { name, share } of lanes)
      near(arrivals.filter((one) => one.asked.lane === name).length, 20_000 * share, 0.07)
  })

  test('what it tells is kept, the deadline too', () => {
    const told = {
      tenant: 'acme',
      lane: 'batch',
      model: 'opus',
      stream: true,
      maxTokens: 77,
      deadlineMs: 12_345,
    }
    const [one] = play([row(told)])
    expect(one!.asked).toEqual(told)
    expect(one!.work).toMatchObject({ inputTokens: 100, outputTokens: 50 })
    expect(play([row({ ...told, stream: false })])[0]!.asked.stream).toBe(false)
    expect(play([row()])[0]!.asked.deadlineMs).toBe(null)
  })

  test('what one row tells moves no throw for the others', () => {
    const rows = Array.from({ length: 20 }, (_, i) => row({ atMs: i }))
    const told = rows.with(3, row({ atMs: 3, tenant: 'acme', lane: 'batch', stream: true }))
    expect(play(told).toSpliced(3, 1)).toEqual(play(rows).toSpliced(3, 1))
  })

  test('a call holds its slot for its first token and 60 tokens a second; half are streamed', () => {
    const arrivals = play(many)
    for (const { work } of arrivals.slice(0, 100))
      expect(work.serviceMs - work.ttftMs).toBe(Math.round((50 / 60) * 1_000))
    near(arrivals.filter((one) => one.asked.stream).length, 10_000, 0.05)
    const ttft = arrivals.map((one) => one.work.ttftMs).toSorted((a, b) => a - b)
    near(ttft[10_000]!, 400, 0.03)
  })

  test.each([
    [1, 256],
    [256, 256],
    [257, 1_024],
    [65_536, 65_536],
    [70_000, 70_000],
  ])('an answer of %i tokens was asked for with %i', (outputTokens, maxTokens) => {
    expect(play([row({ outputTokens })])[0]!.asked.maxTokens).toBe(maxTokens)
  })
})

describe('dice', () => {
  test('of one seed and purpose repeat; of another purpose do not', () => {
    const throws = (seed: number, purpose: string) => {
      const dice = seeded(seed, purpose)
      return Array.from({ length: 5 }, () => dice())
    }
    expect(throws(1, 'a')).toEqual(throws(1, 'a'))
    expect(throws(1, 'b')).not.toEqual(throws(1, 'a'))
    expect(throws(2, 'a')).not.toEqual(throws(1, 'a'))
  })

  test('the exponential, by hand', () => {
    expect(exponential(2, () => 0)).toBeCloseTo(0, 12)
    expect(exponential(2, () => 1 - Math.exp(-1))).toBeCloseTo(2, 12)
  })

  test('a lognormal has the mean and the coefficient of variation that were asked for', () => {
    const dice = seeded(1, 'lognormal')
    const draw = lognormal({ mean: 10, cv: 0.5 })
    const values = Array.from({ length: 40_000 }, () => draw(dice))
    near(mean(values), 10, 0.02)
    near(Math.sqrt(mean(values.map((one) => (one - 10) ** 2))), 5, 0.05)
  })

  test('Zipf, by hand: of two with exponent 1, the first gets two thirds', () => {
    const drawnAt = (value: number) => zipf({ count: 2, exponent: 1, dice: () => value })()
    expect([0, 0.66, 0.67, 0.999].map(drawnAt)).toEqual([0, 0, 1, 1])
  })
})
