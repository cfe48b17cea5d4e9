/** Percentiles, evenness and fingerprints, against numbers made by hand. */
import { describe, expect, test } from 'vitest'
import { jain, maxMin, tenantJain } from '../../services/simulator/fairness.ts'
import { pooled, quantileOf, Samples } from '../../services/simulator/samples.ts'
import { Tally } from '../../services/simulator/tally.ts'
import { TraceHash } from '../../services/simulator/trace-hash.ts'

describe('samples', () => {
  const of = (...values: number[]): Samples => {
    const samples = new Samples()
    for (const value of values) samples.push(value)
    return samples
  }

  test.each([
    [0.5, 3],
    [0.2, 1],
    [0.21, 2],
    [0.95, 5],
    [1, 5],
    [0, 1],
  ])('the %f quantile of 1 to 5 is the nearest rank, %i', (p, value) => {
    expect(of(5, 1, 4, 2, 3).quantile(p)).toBe(value)
  })

  test('a percentile is a value that was seen: P95 of 20 is the 19th, P99 of 100 the 99th', () => {
    const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1)
    expect(quantileOf(upTo(20), 0.95)).toBe(19)
    expect(quantileOf(upTo(21), 0.95)).toBe(20)
    expect(quantileOf(upTo(100), 0.99)).toBe(99)
    expect(quantileOf(upTo(101), 0.99)).toBe(100)
  })

  test('numbers are ordered as numbers, and asking does not disturb the order of arrival', () => {
    const samples = of(10, 9, 100)
    expect(samples.quantile(0.5)).toBe(10)
    expect([...samples.view()]).toEqual([10, 9, 100])
  })

  test('nothing seen gives no figure', () => {
    expect(of().quantile(0.5)).toBe(null)
    expect(quantileOf([], 0.5)).toBe(null)
  })

  test('are all kept, however many', () => {
    const samples = of(...Array.from({ length: 5_000 }, (_, i) => i))
    expect([samples.length, samples.at(0), samples.at(4_999)]).toEqual([5_000, 0, 4_999])
    expect(samples.quantile(0.5)).toBe(2_499)
  })

  test('of several runs are pooled, not averaged', () => {
    expect(pooled([of(1, 2, 3), of(100)]).quantile(0.5)).toBe(2)
  })
})

describe('fairness', () => {
  test('Jain’s index: 1 is even, 1 / n is all for one', () => {
    expect(jain([3, 3, 3, 3])).toBe(1)
    expect(jain([0, 0, 0, 7])).toBe(0.25)
    // 6² / (3 x 14)
    expect(jain([1, 2, 3])).toBeCloseTo(6 / 7, 12)
    expect(jain([])).toBe(null)
    expect(jain([0, 0])).toBe(null)
  })

  test.each([
    { demands: [1, 5, 9], total: 6, shares: [1, 2.5, 2.5] },
    { demands: [9, 1, 5], total: 6, shares: [2.5, 1, 2.5] },
    { demands: [4, 4], total: 6, shares: [3, 3] },
    { demands: [1, 2, 3], total: 6, shares: [1, 2, 3] },
    { demands: [1, 2, 3], total: 60, shares: [1, 2, 3] },
    { demands: [0, 8], total: 5, shares: [0, 5] },
    { demands: [], total: 5, shares: [] },
  ])('max-min of $total over demands $demands is $shares', ({ demands, total, shares }) => {
    expect(maxMin(demands, total)).toEqual(shares)
  })

  /** Seconds asked for and got, by tenant. */
  function tallyOf(lanes: Record<string, [asked: number, got: number][]>): Tally {
    const tally = new Tally(100)
    for (const [lane, tenants] of Object.entries(lanes))
      for (const [i, [asked, got]] of tenants.entries()) {
        const tenant = tally.lane(lane).tenant(`t${i}`)
        tenant.offered = asked
        tenant.served = got
      }
    return tally
  }

  test('a tenant that asked for little and got all of it is served fully', () => {
    // 8 + 1 + 1 served; fair would be 1, 1, 8 of 20: all have what is theirs.
    expect(tenantJain(tallyOf({ i: [[20, 8], [1, 1], [1, 1]] }))).toBe(1) // prettier-ignore
  })

  test('a tenant that is kept out lowers the index, and one that asked for nothing does not', () => {
    // 10 served, 5 each were fair: ratios 2 and 0.
    expect(tenantJain(tallyOf({ i: [[10, 10], [10, 0]] }))).toBe(0.5) // prettier-ignore
    expect(tenantJain(tallyOf({ i: [[10, 10], [0, 0]] }))).toBe(1) // prettier-ignore
  })

  test('a lane’s service is divided among its own tenants', () => {
    const even = tallyOf({ premium: [[9, 9]], interactive: [[9, 1], [9, 1]] }) // prettier-ignore
    expect(tenantJain(even)).toBe(1)
    expect(tenantJain(tallyOf({ premium: [[9, 0]] }))).toBe(null)
  })
})

describe('the fingerprint', () => {
  const hashOf = (...events: [kind: number, at: number, who: number][]): string => {
    const hash = new TraceHash()
    for (const event of events) hash.add(...event)
    return hash.text
  }

  test('is 16 hexadecimal digits, equal for equal runs', () => {
    const text = hashOf([1, 0, 0], [2, 500, 0])
    expect(text).toMatch(/^[0-9a-f]{16}$/)
    expect(hashOf([1, 0, 0], [2, 500, 0])).toBe(text)
  })

  test('tells order, instant, kind and request apart', () => {
    const all = [
      hashOf([1, 5, 1], [1, 5, 2]),
      hashOf([1, 5, 2], [1, 5, 1]),
      hashOf([1, 6, 1], [1, 5, 2]),
      hashOf([2, 5, 1], [1, 5, 2]),
      hashOf([1, 5, 3], [1, 5, 2]),
      hashOf([1, 5, 1]),
      hashOf(),
    ]
    expect(new Set(all).size).toBe(all.length)
  })
})
