import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as aimd from '#machines/aimd'
import type { Aimd, LimitSettings } from '#machines/aimd'

const settings: LimitSettings = {
  mode: 'default',
  initial: 60,
  floor: 8,
  ceiling: 128,
  windowMs: 30_000,
}

/** Seconds of traffic: `perSecond` attempts, a share of them throttled, `inflight` in use. */
function live(
  a: Aimd,
  of: {
    from: number
    seconds: number
    perSecond: number
    throttled?: number
    inflight?: number
    roll?: () => number
  },
): { a: Aimd; decreases: number; lowest: number } {
  let [decreases, lowest] = [0, a.limit]
  for (let s = 0; s < of.seconds; s++) {
    const at = of.from + s * 1_000
    for (let i = 0; i < of.perSecond; i++) {
      const inflight = Math.min(of.inflight ?? a.limit, a.limit)
      a = aimd.started(a, inflight)
      const hit = (of.roll?.() ?? (i + 1) / of.perSecond) <= (of.throttled ?? 0)
      const before = a.limit
      a = hit
        ? aimd.throttled(a, { epoch: a.epoch, at: at + i, inflight }, settings).next
        : aimd.ok(a, at + i)
      if (a.limit < before) decreases++
      lowest = Math.min(lowest, a.limit)
    }
    a = aimd.tick(
      a,
      { at: at + 999, inflight: Math.min(of.inflight ?? a.limit, a.limit) },
      settings,
    ).next
  }
  return { a, decreases, lowest }
}
const start = (): Aimd => aimd.begin(settings, 0)

/** Ten minutes of a limit that starts at `initial`, of which so many slots are kept free while work waits for them. */
function keepingFree(kept: (limit: number) => number, initial = 10): number {
  const small = { ...settings, initial, floor: 1 }
  let a = aimd.begin(small, 0)
  for (let at = 0; at < 600_000; at += 1_000) {
    const inflight = a.limit - kept(a.limit)
    for (let i = 0; i < 10; i++) a = aimd.ok(aimd.started(a, inflight), at + i)
    a = aimd.tick(a, { at: at + 999, inflight, wanted: true }, small).next
  }
  return a.limit
}

describe('the concurrency limit', () => {
  test('grows by one per healthy window in which it was used', () => {
    const { a } = live(start(), { from: 0, seconds: 121, perSecond: 10 })
    expect(a.limit).toBe(64)
  })

  test('grows where some of it is kept free and waited for, to the ceiling', () => {
    // A fifth of the limit, which is what is proven and a little, would else be the end.
    expect(keepingFree((limit) => Math.ceil(limit / 6))).toBe(settings.ceiling)
    expect(keepingFree(() => 1)).toBe(settings.ceiling)
    // One slot of two is more than a fifth, and nothing smaller can be kept.
    expect(keepingFree((limit) => Math.min(1, limit - 1), 1)).toBe(settings.ceiling)
  })

  test('but not on what is far from being used', () => {
    expect(keepingFree((limit) => Math.ceil(limit / 2))).toBeLessThan(20)
  })

  test('idleness moves it in neither direction', () => {
    const { a } = live(start(), { from: 0, seconds: 600, perSecond: 2, inflight: 5 })
    expect(a.limit).toBe(60)
  })

  test('never grows beyond 1.2 times what the last 24 hours proved', () => {
    const { a } = live(start(), { from: 0, seconds: 4_000, perSecond: 10 })
    expect(a.limit).toBeLessThanOrEqual(128)
    const small = live(aimd.begin({ ...settings, initial: 10 }, 0), {
      from: 0,
      seconds: 100,
      perSecond: 10,
      inflight: 8,
    })
    expect(small.a.limit).toBeLessThanOrEqual(12)
  })

  test('single errors at 1 % are noise: the limit holds', () => {
    let n = 0
    // One throttle in each hundred, evenly: never two within five.
    const { a, decreases } = live(start(), {
      from: 0,
      seconds: 600,
      perSecond: 10,
      throttled: 0.01,
      roll: () => (++n % 100) / 100 + 0.005,
    })
    expect(decreases).toBe(0)
    expect(a.limit).toBeGreaterThanOrEqual(60)
  })

  test('a burst shrinks it once per epoch, to 0.7 of what was in use', () => {
    let a = start()
    for (let i = 0; i < 20; i++) a = aimd.ok(a, 100 + i)
    const seen: [number, string][] = []
    for (let i = 0; i < 30; i++) {
      const change = aimd.throttled(a, { epoch: 0, at: 200 + i, inflight: 50 }, settings)
      if (change.next.limit !== a.limit || change.reason === 'same_congestion_event')
        seen.push([change.next.limit, change.reason])
      a = change.next
    }
    expect(seen[0]).toEqual([35, 'upstream_overloaded'])
    expect(seen.slice(1).every(([, reason]) => reason === 'same_congestion_event')).toBe(true)
    expect(a.epoch).toBe(1)
  })

  test('after a storm it regains by halving the gap, in seconds rather than by +1 per half minute', () => {
    const stormed = live(start(), { from: 0, seconds: 20, perSecond: 30, throttled: 0.6 })
    expect(stormed.lowest).toBeGreaterThanOrEqual(8)
    expect(stormed.lowest).toBeLessThan(30)
    const after = live(stormed.a, { from: 20_000, seconds: 120, perSecond: 30 })
    expect(after.a.limit).toBeGreaterThanOrEqual(54)
  })

  test('ramp_limit_exceeded holds it, then lets it grow slowly', () => {
    const slow = aimd.slowed(start(), { at: 0, retryAfterMs: 5_000 })
    const during = live(slow, { from: 0, seconds: 60, perSecond: 10 })
    expect(during.a.limit).toBe(60)
    const later = live(during.a, { from: 60_000, seconds: 600, perSecond: 10 })
    expect(later.a.limit).toBeLessThanOrEqual(70)
    expect(later.a.limit).toBeGreaterThanOrEqual(66)
  })

  test('classic is the plain rule: every throttle shrinks, one healthy window regains one', () => {
    const classic = { ...settings, mode: 'classic' as const }
    const once = aimd.throttled(start(), { epoch: 0, at: 1, inflight: 60 }, classic).next
    expect(once.limit).toBe(42)
    expect(aimd.throttled(once, { epoch: 0, at: 2, inflight: 42 }, classic).next.limit).toBe(29)
  })

  test('stays within floor and ceiling, whatever comes (I11)', () => {
    const event = fc.oneof(
      fc.record({ do: fc.constant('ok' as const), dt: fc.nat(2_000) }),
      fc.record({
        do: fc.constant('throttle' as const),
        dt: fc.nat(500),
        inflight: fc.integer({ min: 1, max: 128 }),
        old: fc.boolean(),
      }),
      fc.record({ do: fc.constant('tick' as const), dt: fc.nat(70_000), inflight: fc.nat(128) }),
      fc.record({ do: fc.constant('trip' as const), dt: fc.nat(200_000) }),
      fc.record({ do: fc.constant('ramp' as const), dt: fc.nat(20_000), inflight: fc.nat(50) }),
    )
    fc.assert(
      fc.property(fc.array(event, { maxLength: 200 }), (events) => {
        let a = start()
        let at = 1
        for (const e of events) {
          at += e.dt
          const before = a
          if (e.do === 'ok') a = aimd.ok(a, at)
          else if (e.do === 'throttle')
            a = aimd.throttled(
              a,
              { epoch: a.epoch - (e.old ? 1 : 0), at, inflight: e.inflight },
              settings,
            ).next
          else if (e.do === 'tick') a = aimd.tick(a, { at, inflight: e.inflight }, settings).next
          else if (e.do === 'trip') a = aimd.tripped(a, at)
          else a = aimd.rampStarted(a, { at, inflight: e.inflight }, settings)
          expect(a.limit).toBeGreaterThanOrEqual(8)
          expect(a.limit).toBeLessThanOrEqual(128)
          expect(a.epoch - before.epoch).toBeLessThanOrEqual(1)
          if (e.do === 'throttle' && e.old) expect(a.limit).toBe(before.limit)
          expect(a.ring.length).toBeLessThanOrEqual(20)
          expect(a.peaks.length).toBeLessThanOrEqual(24)
        }
      }),
      { numRuns: 300, seed: 7 },
    )
  })
})

describe('throttles of those who share something', () => {
  const BETA = 'beta context-1m'
  const well = (traits: aimd.Traits[]): Aimd =>
    traits.reduce((a, of, i) => aimd.ok(a, 1_000 + i, of), start())
  const refused = (a: Aimd, traits: aimd.Traits[]): Aimd =>
    traits.reduce(
      (now, of, i) =>
        aimd.throttled(now, { epoch: 0, at: 2_000 + i, inflight: 60, traits: of }, settings).next,
      a,
    )
  const others = ['b', 'c', 'd', 'e', 'f'].map((tenant) => [tenant])

  test.each([
    ['one tenant', [['a'], ['a'], ['a'], ['a']], 60],
    ['several tenants', [['a'], ['b'], ['a'], ['b']], 50],
    [
      'several tenants with one beta',
      [
        ['a', BETA],
        ['g', BETA],
        ['a', BETA],
        ['g', BETA],
      ],
      60,
    ],
    ['one of them without it', [['a', BETA], ['g', BETA], ['a', BETA], ['h']], 50],
  ])('are their own affair while others are well: %s', (_, throttled, limit) => {
    expect(refused(well(others), throttled).limit).toBeLessThanOrEqual(limit)
    expect(refused(well(others), throttled).limit === 60).toBe(limit === 60)
  })

  test("are everybody's where too few others are well", () => {
    const a = refused(well(others.slice(1)), [['a'], ['a'], ['a'], ['a']])
    expect(a.limit).toBeLessThan(60)
  })
})

test('new settings take the limit within them, up as well as down', () => {
  const low = { ...start(), limit: 4, best: 4 }
  expect(aimd.configured(low, settings)).toMatchObject({ limit: 8, best: 8 })
  expect(aimd.configured(start(), { ...settings, ceiling: 20 })).toMatchObject({ limit: 20 })
})
