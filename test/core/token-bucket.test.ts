/** One dimension of a quota, law by law (control-laws §9, I13). */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { TokenBucket } from '#core/estimators/token-bucket'

/** A bucket of whole units: `perSecond` is what is used of the limit, 95 % of it. */
function bucketOf(of: {
  perSecond: number
  burstSeconds?: number
  burstLeast?: number
}): TokenBucket {
  const { perSecond, burstSeconds = 30, burstLeast = 1 } = of
  const bucket = new TokenBucket({ burstSeconds, burstLeast, now: 0 })
  bucket.configure((perSecond * 60) / 0.95, 0)
  return bucket
}

/** Grows on every tick from `from` to `until`, in seconds, while always keeping somebody waiting. */
function growing(
  bucket: TokenBucket,
  of: { from: number; until: number; lastThrottle: number; slowly?: boolean; held?: boolean },
): number[] {
  const rates: number[] = []
  const { lastThrottle, slowly = false, held = false } = of
  for (let second = of.from; second <= of.until; second++) {
    bucket.delayed = true
    const before = bucket.rate
    bucket.grow({ lastThrottle: lastThrottle * 1_000, slowly, held, now: second * 1_000 })
    if (bucket.rate !== before) rates.push(second)
  }
  return rates
}

describe('a token bucket', () => {
  test('without a limit paces nothing', () => {
    const bucket = new TokenBucket({ burstSeconds: 30, burstLeast: 1, now: 0 })
    for (let i = 0; i < 100; i++) bucket.reserve(1e9, 0)
    expect(bucket.readyAt(1e9, 0)).toBe(0)
  })

  test('uses 95 % of the limit, spread over the minute', () => {
    const bucket = new TokenBucket({ burstSeconds: 5, burstLeast: 1, now: 0 })
    bucket.configure(600, 0)
    expect([bucket.limit, bucket.rate, bucket.full]).toEqual([600, 9.5, 9.5])
    expect(bucket.burst).toBe(47.5)
  })

  test('starts full, gives its burst at once, and then its rate', () => {
    const bucket = bucketOf({ perSecond: 2, burstSeconds: 5 })
    let given = 0
    for (let now = 0; now <= 10_000; now += 10)
      while (bucket.readyAt(1, now) <= now) {
        bucket.reserve(1, now)
        given++
        if (now === 0) expect(given).toBeLessThanOrEqual(10)
      }
    // Ten at once, twenty in ten seconds.
    expect(given).toBe(30)
  })

  test('of few requests a minute still holds one', () => {
    const bucket = bucketOf({ perSecond: 0.1, burstSeconds: 5 })
    expect(bucket.burst).toBe(1)
    bucket.reserve(1, 0)
    expect(bucket.readyAt(1, 0)).toBe(10_000)
    expect(bucket.readyAt(1, 10_000)).toBe(10_000)
  })

  test('says to the millisecond when a need will fit, and asking changes nothing', () => {
    const bucket = bucketOf({ perSecond: 3 })
    bucket.reserve(90, 0)
    const ready = bucket.readyAt(10, 0)
    expect(ready).toBe(3_334)
    expect(bucket.readyAt(10, ready - 1)).toBeGreaterThan(ready - 1)
    expect(bucket.readyAt(10, ready)).toBe(ready)
    expect(bucket.level).toBe(0)
  })

  test('a need larger than the burst starts on a full bucket and leaves a debt', () => {
    const bucket = bucketOf({ perSecond: 100 })
    bucket.reserve(1, 0)
    // The burst is 3,000, and one is missing.
    expect(bucket.readyAt(50_000, 0)).toBe(10)
    bucket.reserve(50_000, 10)
    expect(bucket.level).toBeCloseTo(-47_000, 6)
    expect(bucket.readyAt(1, 10)).toBe(10 + 470_010)
  })

  test('saves up no more than its burst, however long it rests', () => {
    const bucket = bucketOf({ perSecond: 10 })
    bucket.reserve(300, 0)
    expect(bucket.levelAt(29_000)).toBe(290)
    expect(bucket.levelAt(3_600_000)).toBe(300)
  })

  test('is settled both ways, and a refund does not overfill it', () => {
    const bucket = bucketOf({ perSecond: 10 })
    bucket.reserve(100, 0)
    bucket.settle(50, 0, 0)
    expect(bucket.level).toBe(150)
    bucket.settle(-120, 0, 0)
    expect(bucket.level).toBe(270)
    bucket.settle(-100, 0, 0)
    expect(bucket.level).toBe(300)
  })

  test('of the configured and the learned limit the smaller holds, and a change resets the rate', () => {
    const bucket = new TokenBucket({ burstSeconds: 30, burstLeast: 1, now: 0 })
    bucket.configure(600, 0)
    bucket.learn(1_200, 0)
    expect(bucket.limit).toBe(600)
    bucket.learn(300, 0)
    expect([bucket.limit, bucket.rate]).toEqual([300, 4.75])
    // What it held of the larger burst is not kept.
    expect(bucket.level).toBe(142.5)
    bucket.slow(0)
    expect(bucket.rate).toBeCloseTo(4.275, 9)
    bucket.learn(240, 0)
    expect(bucket.rate).toBeCloseTo(3.8, 9)
    bucket.configure(null, 0)
    expect(bucket.limit).toBe(240)
  })

  test('the same word again resets nothing, and a limit of nothing is no limit', () => {
    const bucket = new TokenBucket({ burstSeconds: 30, burstLeast: 1, now: 0 })
    bucket.learn(0, 0)
    expect(bucket.limit).toBe(null)
    bucket.learn(600, 0)
    bucket.slow(0)
    bucket.learn(600, 1_000)
    expect(bucket.rate).toBeCloseTo(0.9 * 9.5, 9)
  })

  test('a larger limit gives rate, not tokens', () => {
    const bucket = bucketOf({ perSecond: 10 })
    bucket.reserve(300, 0)
    bucket.configure(1_200_000, 0)
    expect(bucket.level).toBe(0)
  })

  const told = (bucket: TokenBucket, remaining: number, at: number, accepted = 0, own = 0) =>
    bucket.told({ remaining, startedAt: 0, accepted, own }, at)

  test('is capped at what the provider says is left, refilled since, and not raised by it', () => {
    const bucket = bucketOf({ perSecond: 10 })
    const accepted = bucket.reserve(50, 0)
    told(bucket, 100, 2_000, accepted)
    expect(bucket.level).toBe(120)
    told(bucket, 5_000, 2_000, accepted)
    expect(bucket.level).toBe(120)
  })

  test('of what was taken since, only what it turned out to be is taken off what is left', () => {
    const bucket = bucketOf({ perSecond: 10 })
    const accepted = bucket.reserve(10, 0)
    for (const at of [1_500, 2_500, 3_500]) bucket.reserve(60, at)
    for (const at of [1_500, 2_500, 3_500]) bucket.settle(-59, at, 4_000)
    told(bucket, 200, 4_000, accepted)
    expect(bucket.level).toBe(200 - 3 + 40)
  })

  test('its own correction is not what came since', () => {
    const bucket = bucketOf({ perSecond: 10 })
    const accepted = bucket.reserve(100, 0)
    bucket.settle(40, 0, 1_000)
    told(bucket, 150, 1_000, accepted, 40)
    expect(bucket.level).toBe(160)
  })

  test('a word older than what is remembered is not heard', () => {
    const bucket = bucketOf({ perSecond: 10 })
    bucket.reserve(50, 0)
    told(bucket, 0, 30_000)
    expect(bucket.levelAt(30_000)).toBe(300)
  })

  test.each([
    ['is none where the provider has all of its limit left', 600, null, 300],
    ['stays where it has not', 600, null, -1_690],
    ['stays where our own limit is lower', 6_000, 600, -1_690],
    ['stays during a pause', 600, null, -1_700],
  ])('a debt %s', (which, learned, configured, level) => {
    const bucket = new TokenBucket({ burstSeconds: 30, burstLeast: 1, now: 0 })
    if (configured !== null) bucket.configure(Math.round(configured / 0.95), 0)
    bucket.learn(Math.round(learned / 0.95), 0)
    const accepted = bucket.reserve(2_000, 0)
    if (which.includes('pause')) bucket.pause(5_000, 0)
    told(bucket, which.includes('has not') ? 500 : 630, 1_000, accepted)
    expect(Math.round(bucket.level / 10) * 10).toBe(level)
  })
})

describe('a pause', () => {
  test('takes what is left, and the refill begins at its end', () => {
    const bucket = bucketOf({ perSecond: 10 })
    bucket.pause(10_000, 1_000)
    expect(bucket.level).toBe(0)
    expect(bucket.levelAt(9_999)).toBe(0)
    expect(bucket.readyAt(20, 1_000)).toBe(12_000)
    expect(bucket.levelAt(12_000)).toBe(20)
    expect(bucket.readyAt(20, 12_000)).toBe(12_000)
  })

  test('forgives no debt', () => {
    const bucket = bucketOf({ perSecond: 10 })
    bucket.reserve(400, 0)
    bucket.pause(10_000, 0)
    expect(bucket.readyAt(10, 0)).toBe(10_000 + 11_000)
  })

  test('a shorter one does not shorten it', () => {
    const bucket = bucketOf({ perSecond: 10 })
    bucket.pause(10_000, 0)
    bucket.pause(5_000, 1_000)
    expect(bucket.readyAt(1, 1_000)).toBe(10_100)
  })

  test('lets nothing start before its end, not even nothing', () => {
    const bucket = bucketOf({ perSecond: 10 })
    bucket.pause(10_000, 0)
    expect(bucket.readyAt(0, 5_000)).toBe(10_000)
  })
})

describe('a cut', () => {
  /** Accepts `perSecond` for `seconds`. */
  const accepting = (bucket: TokenBucket, perSecond: number, seconds: number): void => {
    for (let second = 0; second < seconds; second++) bucket.reserve(perSecond, second * 1_000)
  }

  test('goes to what was accepted in the last 20 s', () => {
    const bucket = bucketOf({ perSecond: 10 })
    accepting(bucket, 6, 40)
    bucket.cut(39_999)
    expect(bucket.rate).toBeCloseTo(6, 9)
  })

  test('goes down by a tenth at least', () => {
    const bucket = bucketOf({ perSecond: 10 })
    accepting(bucket, 10, 20)
    bucket.cut(19_999)
    expect(bucket.rate).toBeCloseTo(9, 9)
  })

  test('leaves three tenths, and never less than a twentieth of the full rate', () => {
    const bucket = bucketOf({ perSecond: 10 })
    const seen = [20, 30, 40, 50].map((second) => {
      bucket.cut(second * 1_000)
      return bucket.rate
    })
    // 3, 0.9, then 0.5 instead of 0.27.
    for (const [i, rate] of [3, 0.9, 0.5, 0.5].entries()) expect(seen[i]).toBeCloseTo(rate, 9)
  })

  test('comes at most once per 10 s', () => {
    const bucket = bucketOf({ perSecond: 10 })
    bucket.slow(20_000)
    bucket.slow(29_999)
    bucket.cut(29_999)
    expect(bucket.rate).toBeCloseTo(9, 9)
    bucket.slow(30_000)
    expect(bucket.rate).toBeCloseTo(8.1, 9)
  })

  test('counts what was refused as not accepted', () => {
    const bucket = bucketOf({ perSecond: 10 })
    accepting(bucket, 8, 40)
    for (let second = 20; second < 40; second++)
      for (let i = 0; i < 2; i++) bucket.refused(second * 1_000, 39_999)
    bucket.cut(39_999)
    expect(bucket.rate).toBeCloseTo(6, 9)
  })

  test('counts settled tokens in the second of their start, and no older than 20 s', () => {
    const bucket = bucketOf({ perSecond: 1_000 })
    accepting(bucket, 400, 40)
    bucket.settle(100 * 20, 25_000, 39_999)
    bucket.cut(39_999)
    expect(bucket.rate).toBeCloseTo(500, 9)
    bucket.settle(1e6, 25_000, 50_000)
    bucket.cut(50_000)
    // Of the last 20 s, 9 with 400 were left; three tenths are more.
    expect(bucket.rate).toBeCloseTo(180, 9)
  })

  test('in a young bucket, averages over what it has lived', () => {
    const bucket = bucketOf({ perSecond: 10 })
    accepting(bucket, 5, 4)
    bucket.cut(4_000)
    expect(bucket.rate).toBeCloseTo(5, 9)
  })

  test('shrinks the burst with the rate, and what is held with the burst', () => {
    const bucket = bucketOf({ perSecond: 10 })
    bucket.slow(20_000)
    expect([bucket.burst, bucket.level]).toEqual([270, 270])
  })
})

/** Seconds without a 429 before a rate grows. */
const QUIET = 30

describe('growing back', () => {
  const cutAt20 = (): TokenBucket => {
    const bucket = bucketOf({ perSecond: 1_000 })
    // To 300, and to 90.
    bucket.cut(10_000)
    bucket.cut(20_000)
    expect(bucket.rate).toBeCloseTo(90, 9)
    return bucket
  }

  test('begins after the quiet and goes on every 10 s, by 5, 10, 20, 40, 80 and 100 %', () => {
    const bucket = cutAt20()
    const seen: number[] = []
    for (let second = 21; second <= 20 + QUIET + 50; second++) {
      const before = bucket.rate
      growing(bucket, { from: second, until: second, lastThrottle: 20 })
      if (bucket.rate !== before) seen.push(second, Math.round((bucket.rate / before - 1) * 100))
    }
    expect(seen.filter((_, i) => i % 2 === 0)).toEqual(
      [0, 10, 20, 30, 40, 50].map((later) => 20 + QUIET + later),
    )
    expect(seen.filter((_, i) => i % 2 === 1)).toEqual([5, 10, 20, 40, 80, 100])
    expect(bucket.rate).toBeCloseTo(90 * 1.05 * 1.1 * 1.2 * 1.4 * 1.8 * 2, 6)
  })

  test('ends at the full rate', () => {
    const bucket = cutAt20()
    growing(bucket, { from: 21, until: 300, lastThrottle: 20 })
    expect(bucket.rate).toBe(1_000)
  })

  test('a bucket that kept nobody waiting stays where it is', () => {
    const bucket = cutAt20()
    for (let second = 21; second < 300; second++)
      bucket.grow({ lastThrottle: 20_000, slowly: false, held: false, now: second * 1_000 })
    expect(bucket.rate).toBeCloseTo(90, 9)
  })

  test('one that kept somebody waiting once grows once', () => {
    const bucket = cutAt20()
    bucket.delayed = true
    for (let second = 21; second < 300; second++)
      bucket.grow({ lastThrottle: 20_000, slowly: false, held: false, now: second * 1_000 })
    expect(bucket.rate).toBeCloseTo(94.5, 9)
  })

  test('a 429 starts the quiet anew, and a cut the steps', () => {
    const bucket = cutAt20()
    growing(bucket, { from: 21, until: 20 + QUIET + 20, lastThrottle: 20 })
    const before = bucket.rate
    expect(before).toBeCloseTo(90 * 1.05 * 1.1 * 1.2, 9)
    const again = 20 + QUIET + 15
    expect(growing(bucket, { from: again + 6, until: again + QUIET - 1, lastThrottle: again })).toEqual([]) // prettier-ignore
    const cut = again + QUIET - 1
    bucket.slow(cut * 1_000)
    expect(growing(bucket, { from: cut + 1, until: cut + QUIET - 1, lastThrottle: cut })).toEqual([]) // prettier-ignore
    growing(bucket, { from: cut + QUIET, until: cut + QUIET, lastThrottle: cut })
    expect(bucket.rate).toBeCloseTo(before * 0.9 * 1.05, 9)
  })

  test('goes by 2.5 % while a slower ramp was asked for, and not at all while it is held', () => {
    const bucket = cutAt20()
    expect(growing(bucket, { from: 80, until: 200, lastThrottle: 20, held: true })).toEqual([])
    const at = growing(bucket, { from: 201, until: 221, lastThrottle: 20, slowly: true })
    expect(at).toEqual([201, 211, 221])
    expect(bucket.rate).toBeCloseTo(90 * 1.025 ** 3, 9)
  })

  test('gives rate, not tokens', () => {
    const bucket = cutAt20()
    bucket.reserve(10_000, 80_000)
    const { level } = bucket
    growing(bucket, { from: 80, until: 80, lastThrottle: 20 })
    expect(bucket.level).toBeCloseTo(level, 9)
  })
})

test('whatever is reserved, settled, paused, cut and learned, spending stays within rate, burst, one need and corrections (I13)', () => {
  const act = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('take'), by: fc.integer({ min: 1, max: 900 }) }) }, // prettier-ignore
    { weight: 2, arbitrary: fc.record({ do: fc.constant('settle'), by: fc.integer({ min: -400, max: 400 }) }) }, // prettier-ignore
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('pause', 'cap'), by: fc.integer({ min: 0, max: 20_000 }) }) }, // prettier-ignore
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('cut', 'slow', 'grow', 'refused'), by: fc.constant(0) }) }, // prettier-ignore
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('learn', 'configure'), by: fc.integer({ min: 60, max: 6_000 }) }) }, // prettier-ignore
  )
  const steps = fc.array(fc.tuple(act, fc.nat({ max: 8_000 })), { maxLength: 80, size: 'max' })
  const start = fc.record({
    limit: fc.integer({ min: 60, max: 6_000 }),
    seconds: fc.constantFrom(5, 30),
  })
  fc.assert(
    fc.property(start, steps, ({ limit, seconds }, acts) => {
      const bucket = new TokenBucket({ burstSeconds: seconds, burstLeast: 1, now: 0 })
      bucket.configure(limit, 0)
      let [now, resumes] = [0, 0]
      /** Running sums at each spending: what was refilled at most, given back, and spent. */
      const spends: { burst: number; gained: number; back: number; before: number; after: number }[] = [] // prettier-ignore
      let [gained, back, spent, largest] = [0, 0, 0, 0]
      for (const [{ do: what, by }, later] of acts) {
        now += later
        gained += (bucket.rate * later) / 1_000
        if (what === 'take') {
          const burst = bucket.burst
          if (bucket.readyAt(by, now) > now) continue
          expect(now).toBeGreaterThanOrEqual(resumes)
          bucket.reserve(by, now)
          spends.push({ burst, gained, back, before: spent, after: spent + by })
          spent += by
          largest = Math.max(largest, by)
        } else if (what === 'settle') {
          bucket.settle(by, Math.max(0, now - 3_000), now)
          back += Math.max(0, -by)
        } else if (what === 'pause') {
          bucket.pause(now + by, now)
          resumes = Math.max(resumes, now + by)
        } else if (what === 'cap') {
          const before = bucket.levelAt(now)
          const startedAt = Math.max(0, now - 1_000)
          bucket.told({ remaining: by - 500, startedAt, accepted: 0, own: 0 }, now)
          // What the provider knows to be no debt.
          back += Math.max(0, bucket.level - before)
        } else if (what === 'cut') bucket.cut(now)
        else if (what === 'slow') bucket.slow(now)
        else if (what === 'refused') bucket.refused(now, now)
        else if (what === 'learn') bucket.learn(by, now)
        else if (what === 'configure') bucket.configure(by, now)
        else {
          bucket.delayed = true
          bucket.grow({ lastThrottle: -Infinity, slowly: false, held: false, now })
        }
        expect(bucket.level).toBeLessThanOrEqual(bucket.burst + 1e-6)
        expect(bucket.rate).toBeLessThanOrEqual(bucket.full + 1e-9)
      }
      for (const [i, first] of spends.entries())
        for (const last of spends.slice(i)) {
          const allowed =
            first.burst + (last.gained - first.gained) + (last.back - first.back) + largest
          expect(last.after - first.before).toBeLessThanOrEqual(allowed + 1e-6)
        }
    }),
    { numRuns: 200 },
  )
})

describe('a limit that is divided', () => {
  const waitWith = (part: number): number => {
    const bucket = bucketOf({ perSecond: 10, burstSeconds: 1 })
    bucket.divide(part, 0)
    bucket.reserve(bucket.burst, 0)
    return bucket.comesIn(10, 0)
  }

  test('a wait is predicted by the part that is ours', () => {
    expect(waitWith(1)).toBeCloseTo(1_000, 6)
    expect(waitWith(0.25)).toBeCloseTo(4_000, 6)
  })

  test('and never as if next to nothing were all that we shall have', () => {
    expect(waitWith(0.001)).toBeCloseTo(waitWith(0.05), 6)
  })
})
