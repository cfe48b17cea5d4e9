/** The most that anybody could have served, by hand; and what really was served is never more. */
import { describe, expect, test } from 'vitest'
import { optimum } from '../../services/simulator/optimum.ts'
import { ProviderModel, type ProviderSettings } from '../../services/simulator/provider-model.ts'
import { requestOf, sourceOf, type ArrivalSketch } from '../support/simulated.ts'

describe('the optimum', () => {
  const best = (
    of: { slots?: number; until?: number; provider?: ProviderSettings },
    ...arrivals: ArrivalSketch[]
  ) =>
    optimum({
      source: sourceOf(...arrivals),
      provider: of.provider ?? { capacity: () => of.slots ?? 60 },
      until: of.until ?? 10,
    })
  const same = (many: number, of: ArrivalSketch): ArrivalSketch[] =>
    Array.from({ length: many }, () => of)

  test('is all the work where there is room for it', () => {
    const got = best({}, ...same(3, { serviceMs: 2_000, inputTokens: 7, outputTokens: 9 }))
    expect(got).toEqual({ work: 6, requests: 3, inputTokens: 21, outputTokens: 27 })
  })

  test('is what the capacity gives, second by second', () => {
    const provider = { capacity: (at: number) => (at < 4 ? 2 : 0) }
    const got = best({ provider }, ...same(10, { serviceMs: 2_000 }))
    // Two slots for four seconds: eight slot-seconds, four requests.
    expect([got.work, got.requests]).toEqual([8, 4])
  })

  test('is no more than the provider’s slots', () => {
    expect(best({ slots: 1, until: 5 }, ...same(10, { serviceMs: 2_000 })).work).toBe(5)
  })

  test('counts a slot for what passes where a share of calls fails, and nothing where all do', () => {
    const faults = [{ kind: 'overloaded', share: 0.9, from: 0, until: 5 } as const]
    const storm = { capacity: () => 10, faults }
    expect(best({ provider: storm }, ...same(100, { serviceMs: 1_000 })).work).toBeCloseTo(55, 9)
    const out = [{ ...faults[0]!, share: 1, model: 'a' }]
    const two = [...same(50, { model: 'a' }), ...same(100, { model: 'b' })]
    expect(best({ provider: { capacity: () => 10, faults: out }, until: 5 }, ...two).work).toBe(50)
    const onlyOut = same(50, { model: 'a' })
    expect(best({ provider: { capacity: () => 10, faults: out }, until: 5 }, ...onlyOut).work).toBe(
      0,
    )
  })

  test('cannot serve before the arrival, nor after the end', () => {
    const got = best({ slots: 1, until: 5 }, { at: 3_000, serviceMs: 9_000 })
    expect(got.work).toBe(2)
  })

  test('leaves out what its deadline makes impossible', () => {
    const tight = { serviceMs: 2_000, deadlineMs: 1_000 }
    expect(best({}, ...same(3, tight)).requests).toBe(0)
    // One slot, a second each, to be started within two seconds: at 0, 1 and 2.
    const got = best({ slots: 1 }, ...same(10, { serviceMs: 1_000, deadlineMs: 3_000 }))
    expect(got.requests).toBe(3)
  })

  test('a request that comes too late for its deadline takes no place from the next', () => {
    const got = best(
      { slots: 1, until: 6 },
      { serviceMs: 3_000 },
      { serviceMs: 1_000, deadlineMs: 1_500 },
      { serviceMs: 3_000 },
    )
    // Served first or not at all: the six seconds are full.
    expect(got.work).toBeCloseTo(6, 9)
  })

  const quota = (limit: number, burst: number): { limit: () => number; burst: number } => ({
    limit: () => limit,
    burst,
  })
  const many = same(500, { serviceMs: 300, inputTokens: 40, outputTokens: 20 })

  test('of a quota is its burst, and what is refilled in the time', () => {
    const requests = { capacity: () => Infinity, quota: { requests: quota(60, 5), headers: false } }
    expect(best({ provider: requests }, ...many).requests).toBeCloseTo(5 + 10, 6)
    const input = { capacity: () => Infinity, quota: { input: quota(4_800, 400), headers: false } }
    expect(best({ provider: input }, ...many).inputTokens).toBeCloseTo(400 + 800, 6)
    const output = { capacity: () => Infinity, quota: { output: quota(600, 50), headers: false } }
    expect(best({ provider: output }, ...many).outputTokens).toBeCloseTo(50 + 100, 6)
  })

  test('is never below what the provider really gave', () => {
    const provider = {
      capacity: () => Infinity,
      quota: { requests: quota(600, 10), headers: false },
    }
    const real = new ProviderModel(provider, 1)
    let served = 0
    for (let now = 0; now < 10_000; now += 10)
      if (real.start(requestOf(), now).verdict.kind === 'ok') served++
    // Ten at once, and one every tenth of a second.
    expect(served).toBeGreaterThanOrEqual(10 + 98)
    const possible = best({ provider }, ...same(500, { serviceMs: 300 })).requests
    expect(possible).toBeGreaterThanOrEqual(served)
  })

  test('is never below what one slot gives to a call that fits its deadline exactly', () => {
    expect(best({ slots: 1 }, { serviceMs: 5_000, deadlineMs: 5_000 }).work).toBe(5)
  })

  test('is never below what serving the most pressing first gives', () => {
    // One slot: the short one must begin at once; then the long one has all the time it needs.
    const got = best(
      { slots: 1, until: 15 },
      { serviceMs: 10_000 },
      { serviceMs: 5_000, deadlineMs: 5_000 },
    )
    expect(got.work).toBe(15)
  })
})
