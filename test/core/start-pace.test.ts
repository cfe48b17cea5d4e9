/** How fast to start where the provider says only that it is too fast. */
import { describe, expect, test } from 'vitest'
import { StartPace } from '../../services/scheduler/core/estimators/start-pace.ts'

/** A provider that takes `perSecond` starts and a burst of ten, and callers who always want more. */
function drive(perSecond: (at: number) => number, seconds: number) {
  const pace = new StartPace()
  const perS: number[] = []
  let [refused, level, at, pausedUntil] = [0, 10, 0, 0]
  for (let now = 0; now < seconds * 1_000; now += 20) {
    if (now % 1_000 === 0) {
      pace.grow(now, now < pausedUntil)
      perS.push(0)
    }
    level = Math.min(10, level + ((now - at) / 1_000) * perSecond(now))
    at = now
    if (now < pausedUntil) continue
    if (pace.readyAt(now) > now) {
      pace.delayed()
      continue
    }
    pace.started(now)
    if (level >= 1) {
      level -= 1
      perS[perS.length - 1]! += 1
      continue
    }
    refused++
    pausedUntil = now + 1_000
    pace.refused(now, pausedUntil, now)
  }
  const mean = (from: number, until: number): number =>
    perS.slice(from, until).reduce((sum, n) => sum + n, 0) / (until - from)
  return { pace, refused, mean }
}

describe('the pace of starts', () => {
  test('is not there before a refusal, nor after a single one', () => {
    const pace = new StartPace()
    for (let i = 0; i < 100; i++) pace.started(0)
    expect(pace.readyAt(0)).toBe(0)
    pace.refused(0, 2_000, 0)
    expect(pace.readyAt(2_000)).toBe(2_000)
    expect(pace.rate).toBeNull()
  })

  test.each([2, 10, 24, 40])('settles a little below %d a second, with few refusals', (rate) => {
    const { mean, refused } = drive(() => rate, 120)
    expect(mean(30, 120)).toBeGreaterThan(0.8 * rate)
    expect(mean(30, 120)).toBeLessThanOrEqual(rate + 0.1)
    expect(refused).toBeLessThan(25)
  })

  test('comes back to what is asked for soon after a cut, and is gone then', () => {
    const { pace, mean } = drive((at) => (at < 40_000 ? 10 : 1_000), 100)
    expect(mean(56, 60)).toBeGreaterThan(45)
    expect(pace.rate === null || pace.rate > 50).toBe(true)
  })

  test('refusals of starts that were made before the last cut are the same news', () => {
    const pace = new StartPace()
    for (let i = 0; i < 40; i++) pace.started(0)
    pace.refused(0, 1_000, 0)
    for (let i = 0; i < 40; i++) pace.started(1_000)
    pace.refused(1_000, 2_000, 1_005)
    const { rate } = pace
    expect(rate).not.toBeNull()
    for (let i = 0; i < 30; i++) pace.refused(1_000, 2_000, 1_010)
    expect(pace.rate).toBe(rate)
  })
})
