/** What the page says, without a browser: numbers, answers, findings, and how the pool divides. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Frame } from '#contracts/dashboard'
import {
  retriesControlled,
  waitInflating,
  whose429,
} from '../../services/dashboard/page/answers.ts'
import { findings } from '../../services/dashboard/page/findings.ts'
import { allot } from '../../services/dashboard/page/slot-pool.ts'
import { waitTrend } from '../../services/dashboard/page/wait-trend.ts'
import {
  duration,
  elapsed,
  number,
  percent,
  shortened,
} from '../../services/dashboard/page/words.ts'
import { frameOf, routeOf } from '../support/fake-dashboard.ts'

describe('numbers', () => {
  test.each([
    [0, '0'],
    [0.4567, '0.46'],
    [7.25, '7.25'],
    [48.26, '48.3'],
    [1_250, '1,250'],
    [18_400, '18.4 k'],
    [2_500_000, '2.5 M'],
    [null, '–'],
  ])('%s is said as %s', (value, said) => expect(number(value)).toBe(said))

  test.each([
    [0, '0 ms'],
    [840, '840 ms'],
    [2_440, '2.4 s'],
    [48_200, '48 s'],
    [180_000, '3 min'],
    [7_500_000, '2 h 5 min'],
    [273_600_000, '3 d 4 h'],
    [-1_500, '-1.5 s'],
    [null, '–'],
  ])('%s ms is %s', (ms, said) => expect(duration(ms)).toBe(said))

  test('time that runs is told by the second', () => {
    expect([elapsed(-5), elapsed(48_900), elapsed(60_000), elapsed(185_000)]).toEqual([
      '0 s',
      '48 s',
      '1 min',
      '3 min 5 s',
    ])
    expect([percent(0), percent(0.0123), percent(0.92)]).toEqual(['0 %', '1.2 %', '92 %'])
  })

  test('a long name keeps its beginning and its end', () => {
    expect(shortened('a'.repeat(30) + 'z'.repeat(30), 11)).toBe('aaaaaa…zzzz')
    expect(shortened('short', 11)).toBe('short')
  })
})

describe('the three answers', () => {
  const of = (routes: [string, number][], tenants: [string, number][]): Frame =>
    frameOf({
      concentration_429: {
        count: 50,
        routes: routes.map(([name, part]) => ({ name, part })),
        tenants: tenants.map(([name, part]) => ({ name, part })),
      },
    })

  test('429s are in one model, in one tenant, in both, or spread', () => {
    const opus = 'anthropic-claude-opus-4-1'
    expect(whose429(of([[opus, 0.9]], [['a', 0.1]])).text).toMatch(
      /^Yes, in one model: claude-opus/,
    )
    expect(whose429(of([[opus, 0.5]], [['a', 0.8]])).text).toMatch(/^Yes, in one tenant: tenant a/)
    expect(whose429(of([[opus, 0.9]], [['a', 0.8]])).text).toMatch(/^Yes, in both/)
    expect(whose429(of([[opus, 0.5]], [['a', 0.1]])).text).toMatch(/^No: about 50 spread/)
  })

  const waits = (p95: number): Frame['lanes'] =>
    frameOf().lanes.map((lane) => ({ ...lane, wait_p95_ms: lane.name === 'batch' ? p95 : 10 }))

  test('a wait that grew to many times what it was is inflating, and one that a person never notices is not', () => {
    const trend = waitTrend()
    for (let at = 0; at < 600; at++) trend.note(frameOf({ lanes: waits(400) }))
    const answer = (p95: number): string => {
      const frame = frameOf({ lanes: waits(p95) })
      return waitInflating(frame, trend.lanes(frame)).text
    }
    expect(answer(4_000)).toBe('Yes: batch waits 4 s (P95, 10 times as before).')
    expect(answer(500)).toMatch(/^No: at most 500 ms/)
    expect(answer(90)).toMatch(/^No, it falls: batch 90 ms/)
  })

  test('a queue in which nothing moves inflates, although no start tells of it', () => {
    const lanes = frameOf().lanes.map((lane) => ({ ...lane, oldest_ms: 9_000, queued: 5 }))
    const frame = frameOf({ lanes })
    expect(waitInflating(frame, waitTrend().lanes(frame)).text).toMatch(
      /^Yes: in premium, interactive and batch somebody has waited 9 s/,
    )
  })

  test('too few samples over the budget are no verdict', () => {
    const guardrails = frameOf().guardrails.map((one) => ({ ...one, value: one.bound * 2 }))
    expect(retriesControlled(frameOf({ guardrails })).text).toMatch(/^Too early to say/)
  })
})

describe('what is wrong', () => {
  const said = (of: Partial<Frame>): string[] => {
    const frame = frameOf(of)
    return findings({ frame, now: frame.at, seenSince: () => frame.at }).map(({ what }) => what)
  }

  test('nothing, in a calm house', () => expect(said({})).toEqual([]))

  test('the worst stands first, and routes in one state are one matter', () => {
    const broken = (model: string) =>
      routeOf(model, { breaker_machine: { state: 'open', since: 0, counts: [] } })
    expect(
      said({ emergency: true, routes: [broken('a'), broken('b'), broken('c'), routeOf('d')] }),
    ).toEqual([
      'Too many failures, breaker open: a, b and 1 route more',
      'The emergency block is on',
    ])
  })

  test('each kind of trouble has a sentence with all its parts', () => {
    const frame = frameOf({
      draining: true,
      bus: { kind: 'nats', connected: false },
      global: { limit: 60, inflight: 60, queued: 9, backoff: 0, level: 3 },
      lanes: frameOf().lanes.map((lane) => ({
        ...lane,
        paused: lane.name === 'batch',
        oldest_ms: 9_000,
      })),
      routes: [
        routeOf('held', { limit_machine: { state: 'held', since: 0, counts: [] } }),
        routeOf('paused', { paused_ms: 900 }),
        routeOf('blocked', { blocked_ms: 900 }),
        routeOf('paced', {
          queued: 4,
          buckets: {
            requests: { limit_per_minute: 60, rate_per_minute: 50, level: 0, burst: 60 },
            input_tokens: null,
            output_tokens: null,
          },
        }),
      ],
      guardrails: frameOf().guardrails.map((one) => ({ ...one, met: false })),
      faults: [{ kind: 'hang', model: null, until_at: 0 }],
    })
    const found = findings({ frame, now: frame.at, seenSince: () => 0 })
    expect(found).toHaveLength(13)
    for (const one of found) expect([one.whom, one.doing]).not.toContain('')
  })
})

test('the squares of the pool are its slots: none is drawn twice, none is missing', () => {
  const lane = fc.record({ guarantee: fc.nat(20), inflight: fc.nat(20) })
  fc.assert(
    fc.property(fc.array(lane, { minLength: 1, maxLength: 5 }), fc.nat(60), (lanes, spare) => {
      const [calm] = frameOf().lanes
      const inflight = lanes.reduce((sum, one) => sum + one.inflight, 0)
      const limit = inflight + spare
      const pool = allot({
        global: { limit, inflight, queued: 0, backoff: 0, level: 0 },
        lanes: lanes.map((one, at) => ({ ...calm!, ...one, name: `lane-${at}` })),
      })
      const used = pool.lanes.reduce((sum, one) => sum + one.own + one.borrowed, 0)
      const kept = pool.lanes.reduce((sum, one) => sum + one.kept, 0)
      expect(used).toBe(inflight)
      expect(used + kept + pool.headroom).toBe(limit)
      for (const one of pool.lanes) expect(one.own + one.kept + one.lent).toBe(one.guarantee)
    }),
  )
})
