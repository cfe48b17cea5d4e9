/** Quota pacing over the three dimensions, law by law (control-laws §2, §9). */
import { describe, expect, test } from 'vitest'
import type { RateHeaders, Verdict } from '#contracts/verdict'
import { seededDice } from '#core/estimators/dice'
import type { Quota, Request, Reservation } from '#core/model/state'
import { emptyState, newQuota } from '#core/model/make'
import {
  explained,
  learnQuota,
  limitsOf,
  noteDelay,
  readyAt,
  reserve,
} from '#core/laws/token-buckets'
import { configOf, CoreWorld, verdictOf } from '../support/core-world.ts'

/** Seconds without a 429 before a rate grows. */
const QUIET = 30

const need = { duration: 1, inputTokens: 100, outputTokens: 50, evidence: false, own: false }

function quotaOf(of: { rpm?: number; itpm?: number; otpm?: number }): Quota {
  const quota = newQuota('q', 0)
  quota.requests.configure(of.rpm ?? null, 0)
  quota.inputTokens.configure(of.itpm ?? null, 0)
  quota.outputTokens.configure(of.otpm ?? null, 0)
  return quota
}

/** An attempt of a request of no interest. */
const learn = (
  quota: Quota,
  verdict: Verdict,
  of: { reserved: Reservation; startedAt?: number; now?: number },
): boolean =>
  learnQuota(emptyState(configOf(), 0), quota, {
    verdict,
    request: {
      attempts: 1,
      asked: { tenant: 'a', bytes: 0 },
      route: { quota, config: { quota: null } },
      lane: { config: { retryBaseMs: 250, retryCapMs: 2_500 } },
    } as unknown as Request,
    limits: limitsOf(verdict.rate),
    attempt: { reserved: of.reserved, startedAt: of.startedAt ?? 0 } as never,
    now: of.now ?? 0,
    dice: seededDice(1),
  })

const family = (limit: number | null, remaining: number | null) => ({ limit, remaining })
const headers = (of: Partial<RateHeaders>): RateHeaders => ({
  requests: family(null, null),
  inputTokens: family(null, null),
  outputTokens: family(null, null),
  ...of,
})
const usage = (inputTokens: number, outputTokens: number, cached = 0) => ({
  inputTokens,
  cacheCreationTokens: 10,
  cacheReadTokens: cached,
  outputTokens,
})
const throttled = (more: Partial<Verdict> = {}): Verdict =>
  verdictOf('throttled', { status: 429, retryAfterMs: 5_000, ...more })

describe('a quota', () => {
  test('bursts of requests last 5 s, those of tokens 30 s', () => {
    const quota = quotaOf({ rpm: 600, itpm: 600, otpm: 600 })
    expect(quota.requests.burst).toBe(47.5)
    expect([quota.inputTokens.burst, quota.outputTokens.burst]).toEqual([285, 285])
  })

  test('lets a request start when all three do, and takes from all three', () => {
    // A request each second, 10 input and 5 output tokens, by rate.
    const quota = quotaOf({ rpm: 60 / 0.95, itpm: 600 / 0.95, otpm: 300 / 0.95 })
    expect(readyAt(quota, need, 0)).toBe(0)
    for (let i = 0; i < 3; i++) reserve(quota, need, 0)
    expect([quota.requests.level, quota.inputTokens.level, quota.outputTokens.level]).toEqual([
      2, 0, 0,
    ])
    // 100 input tokens come in 10 s, and 50 output tokens too; 60 of these in 12 s.
    expect(readyAt(quota, need, 0)).toBe(10_000)
    expect(readyAt(quota, { ...need, outputTokens: 60 }, 0)).toBe(12_000)
  })

  test('notes a delay in the buckets that cause it, and in no other', () => {
    const quota = quotaOf({ rpm: 600, itpm: 600, otpm: 60_000 })
    for (let i = 0; i < 3; i++) reserve(quota, need, 0)
    noteDelay(quota, need, 0)
    const { requests, inputTokens, outputTokens } = quota
    expect([requests.delayed, inputTokens.delayed, outputTokens.delayed]).toEqual([
      false,
      true,
      false,
    ])
  })

  test('is settled with what was used, cache writes counted and cache reads not', () => {
    const quota = quotaOf({ itpm: 60_000, otpm: 60_000 })
    const full = quota.inputTokens.level
    const reserved = reserve(quota, need, 0)
    learn(quota, verdictOf('ok', { usage: usage(20, 400, 5_000) }), { reserved })
    expect(full - quota.inputTokens.level).toBe(30)
    expect(full - quota.outputTokens.level).toBe(400)
  })

  test.each([
    ['no headers came: tokens are given back', verdictOf('fault', { status: null, mayHaveRun: true }), 0], // prettier-ignore
    ['it was refused: tokens are given back', verdictOf('overloaded'), 0],
    ['it broke after its headers: nobody knows, so they stay spent', verdictOf('broken', { status: 200, mayHaveRun: true }), 100], // prettier-ignore
  ])('%s, the request itself stays spent', (_, verdict, spent) => {
    const quota = quotaOf({ rpm: 600, itpm: 60_000 })
    const [requests, input] = [quota.requests.level, quota.inputTokens.level]
    learn(quota, verdict, { reserved: reserve(quota, need, 0) })
    expect(input - quota.inputTokens.level).toBe(spent)
    expect(requests - quota.requests.level).toBe(1)
  })
})

describe('headers', () => {
  test('teach limits, and what is left as of the attempt’s admission', () => {
    const quota = quotaOf({})
    const reserved = reserve(quota, need, 0)
    // Three more start before the answer comes, after 2 s.
    for (let i = 0; i < 3; i++) reserve(quota, need, 1_000)
    const rate = headers({
      requests: family(600, 40),
      inputTokens: family(60_000, 20_000),
      outputTokens: family(6_000, 2_000),
    })
    const used = usage(90, 50)
    learn(quota, verdictOf('ok', { rate, usage: used }), { reserved, now: 2_000 })
    const { requests, inputTokens, outputTokens } = quota
    expect([requests.limit, inputTokens.limit, outputTokens.limit]).toEqual([600, 60_000, 6_000])
    // 40, less 3 started later, and 9.5 a second for 2 s are no more than its burst of 47.5.
    expect(requests.level).toBeCloseTo(47.5, 9)
    // 20,000 less 500 of rounding, less 300 reserved later, and 950 a second for 2 s.
    expect(inputTokens.level).toBeCloseTo(20_000 - 500 - 300 + 1_900, 6)
    // 2,000 less 500, less 150, and 95 a second for 2 s.
    expect(outputTokens.level).toBeCloseTo(2_000 - 500 - 150 + 190, 6)
  })

  test('take off for requests what came later, without a margin', () => {
    const quota = quotaOf({ rpm: 600 })
    const reserved = reserve(quota, need, 0)
    for (let i = 0; i < 4; i++) reserve(quota, need, 0)
    learn(quota, verdictOf('ok', { rate: headers({ requests: family(600, 10) }) }), { reserved })
    expect(quota.requests.level).toBe(6)
  })

  test('never raise a level, and say nothing where they are absent', () => {
    const quota = quotaOf({ rpm: 600, itpm: 60_000 })
    const reserved = reserve(quota, { ...need, inputTokens: 28_000 }, 0)
    const rate = headers({ requests: family(600, 500), inputTokens: family(60_000, null) })
    learn(quota, verdictOf('ok', { rate, usage: usage(27_990, 50) }), { reserved })
    expect(quota.requests.level).toBe(46.5)
    expect(quota.inputTokens.level).toBe(500)
    expect(quota.outputTokens.limit).toBe(null)
  })
})

describe('a 429', () => {
  test('pauses the whole quota, empties all levels, and work resumes at the rates', () => {
    const quota = quotaOf({ rpm: 60 / 0.95, itpm: 60_000 })
    const reserved = reserve(quota, need, 0)
    expect(learn(quota, throttled({ retryAfterMs: 5_000 }), { reserved, now: 150 })).toBe(true)
    expect(quota.pausedUntil).toBe(5_150)
    expect([quota.requests.level, quota.inputTokens.level]).toEqual([0, 0])
    // The rate of requests was cut: one in a second was accepted and then refused; three tenths stay.
    expect(quota.requests.rate).toBeCloseTo(0.3, 9)
    expect(readyAt(quota, need, 150)).toBe(5_150 + 3_334)
  })

  test('a shorter pause than the present one changes nothing', () => {
    const quota = quotaOf({})
    const reserved = reserve(quota, need, 0)
    learn(quota, throttled({ retryAfterMs: 60_000 }), { reserved })
    expect(learn(quota, throttled({ retryAfterMs: 1_000 }), { reserved })).toBe(false)
    expect(quota.pausedUntil).toBe(60_000)
  })

  test('that names no time pauses for a full jitter of the request', () => {
    const quota = quotaOf({})
    const rate = headers({ requests: family(600, 0) })
    const reserved = reserve(quota, need, 0)
    learn(quota, throttled({ retryAfterMs: null, rate }), { reserved })
    // The first attempt's ceiling is its lane's base.
    expect(quota.pausedUntil).toBe(seededDice(1).next() * 250)
  })

  test.each([
    ['requests', { requests: family(100, 1), inputTokens: family(100, 50) }],
    ['inputTokens', { requests: family(100, 60), inputTokens: family(1_000, 0), outputTokens: family(9, 8) }], // prettier-ignore
    ['outputTokens', { inputTokens: family(1_000_000, 9_000), outputTokens: family(1_000, 0) }],
    ['requests', null],
    ['requests', {}],
  ] as const)('cuts the scarcest dimension: %s, of %j', (name, told) => {
    const quota = quotaOf({ rpm: 100, itpm: 100, otpm: 100 })
    const reserved = reserve(quota, need, 0)
    const rate = told === null ? null : headers(told)
    learn(quota, throttled({ rate }), { reserved, startedAt: 20_000, now: 20_000 })
    const slower = (['requests', 'inputTokens', 'outputTokens'] as const).filter(
      (one) => quota[one].rate < quota[one].full,
    )
    expect(slower).toEqual([name])
  })

  test('for growing too fast pauses and cuts nothing', () => {
    const quota = quotaOf({ rpm: 600 })
    const reserved = reserve(quota, need, 0)
    const verdict = verdictOf('ramp_limited', { status: 429, retryAfterMs: 5_000 })
    expect(learn(quota, verdict, { reserved, now: 20_000 })).toBe(true)
    expect(quota.requests.rate).toBe(9.5)
    expect(quota.pausedUntil).toBe(25_000)
  })

  test('without a word slows requests by a tenth, at most once per 10 s, and pauses nothing', () => {
    const quota = quotaOf({ rpm: 600 / 0.95 })
    const reserved = reserve(quota, need, 0)
    const verdict = verdictOf('unexplained', { status: 429 })
    const rates = [20, 29, 30].map((second) => {
      expect(learn(quota, verdict, { reserved, now: second * 1_000 })).toBe(false)
      return quota.requests.rate
    })
    for (const [i, rate] of [9, 9, 8.1].entries()) expect(rates[i]).toBeCloseTo(rate, 9)
    expect([quota.pausedUntil, quota.throttledAt]).toEqual([0, 30_000])
  })

  test('about concurrent connections slows nothing', () => {
    const quota = quotaOf({ rpm: 600 })
    const reserved = reserve(quota, need, 0)
    const verdict = verdictOf('unexplained', { status: 429, namesConcurrency: true })
    learn(quota, verdict, { reserved, now: 20_000 })
    expect(quota.requests.rate).toBe(9.5)
  })
})

describe('a 429 that says nothing', () => {
  const silent = verdictOf('unexplained', { status: 429 })
  /** A burst of 285 tokens, of which so many are left. */
  const left = (tokens: number): Quota => {
    const quota = quotaOf({ rpm: 600, otpm: 600 })
    quota.outputTokens.reserve(285 - tokens, 0)
    return quota
  }

  test('is explained by a bucket that stands below 30 % of its burst', () => {
    // 30 % of 285 are 85.5.
    expect(explained(left(85), silent, 0)).toEqual({ ...silent, kind: 'throttled' })
    expect(explained(left(86), silent, 0)).toBe(silent)
    expect(explained(left(-5), silent, 0).kind).toBe('throttled')
  })

  test('is not explained by a dimension that is not paced', () => {
    expect(explained(quotaOf({}), silent, 0)).toBe(silent)
  })

  test('about concurrent connections is never explained, whatever the buckets say', () => {
    const named = { ...silent, namesConcurrency: true }
    expect(explained(left(0), named, 0)).toBe(named)
  })

  test('no other verdict is touched', () => {
    const verdict = verdictOf('overloaded')
    expect(explained(left(0), verdict, 0)).toBe(verdict)
  })
})

describe('in the core', () => {
  const starts = (world: CoreWorld): number => world.started().length

  test('a burst starts at once and the rest is paced at the rate', () => {
    // 1 a second is used, with a burst of 5.
    const world = new CoreWorld({ routes: [{ model: 'm', rpm: 63 }] })
    for (let i = 0; i < 20; i++) world.submit({ tenant: `t${i}` })
    // 0.9975 a second: 4.9875 at first, and one each 1,003 ms.
    expect(starts(world)).toBe(4)
    world.advance(20)
    expect(starts(world)).toBe(5)
    world.advance(10_030)
    expect(starts(world)).toBe(15)
  })

  test('nothing starts on any route of the quota before the pause ends', () => {
    const world = new CoreWorld({
      routes: [{ model: 'a', quota: 'both' }, { model: 'b', quota: 'both' }, { model: 'c' }],
    })
    world.submit({ id: 'first', model: 'a' })
    world.end('a/first', throttled({ retryAfterMs: 4_000 }))
    for (const model of ['a', 'b', 'c']) world.submit({ id: `then-${model}`, model })
    expect(world.started()).toEqual(['a/first', 'a/then-c'])
    world.advance(3_999)
    expect(world.started()).toEqual(['a/first', 'a/then-c'])
    world.advance(1)
    expect(world.started().slice(2).toSorted()).toEqual(['a/then-a', 'a/then-b'])
  })

  test('routes of one quota share its buckets, under the least that any of them names', () => {
    const world = new CoreWorld({
      routes: [
        { model: 'a', quota: 'both', rpm: 600 },
        { model: 'b', quota: 'both', rpm: 60 },
        { model: 'c', rpm: 600 },
      ],
    })
    // A burst of 4.75: the level goes to 0.75 over both models.
    for (let i = 0; i < 5; i++)
      for (const model of ['b', 'a']) world.submit({ tenant: `t${i}`, model })
    expect(starts(world)).toBe(4)
    for (let i = 0; i < 5; i++) world.submit({ tenant: `t${i}`, model: 'c' })
    expect(starts(world)).toBe(9)
  })

  test('no smaller request passes one that waits for tokens', () => {
    const world = new CoreWorld({ routes: [{ model: 'm', itpm: 60_000 }] })
    // The burst is 28,500 tokens; 3.5 characters are one.
    world.submit({ id: 'half', bytes: 3.5 * 20_000 })
    world.submit({ id: 'large', bytes: 3.5 * 20_000 })
    world.submit({ id: 'small', bytes: 350 })
    expect(world.started()).toEqual(['a/half'])
    // 11,500 are missing, at 950 a second.
    world.advance(12_105)
    expect(world.started()).toEqual(['a/half'])
    world.advance(1_000)
    expect(world.started()).toEqual(['a/half', 'a/large', 'a/small'])
  })

  test('a rate that was cut grows back while requests wait for it', () => {
    const world = new CoreWorld({ routes: [{ model: 'm', rpm: 600 }] })
    world.submit({ id: 'first', deadlineMs: 3_600_000 })
    const quota = [...world.state.quotas.values()][0]!
    world.advance(20_000)
    world.end('a/first', throttled({ retryAfterMs: 1_000 }))
    // 0.3 x 9.5, since nothing was accepted.
    expect(quota.requests.rate).toBeCloseTo(2.85, 9)
    for (let second = 0; second < QUIET; second++) {
      for (let i = 0; i < 10; i++) world.submit({ tenant: `t${i}`, deadlineMs: 600_000 })
      for (const key of world.running()) world.end(key)
      world.advance(1_000)
      world.tick()
    }
    expect(quota.requests.rate).toBeCloseTo(2.85 * 1.05, 9)
  })
})
