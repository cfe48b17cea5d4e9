import { expect, test } from 'vitest'
import { Rate } from '#core/estimators/rate'

test('what happens evenly has its rate, from early on', () => {
  for (const every of [10, 200, 3_000]) {
    const rate = new Rate()
    for (let n = 0; n <= 200; n++) {
      rate.add(n * every)
      if (n >= 3) expect(rate.perSecond(n * every)).toBeCloseTo(1_000 / every, -1)
    }
    expect(rate.perSecond(200 * every)! / (1_000 / every)).toBeCloseTo(1, 1)
  }
})

test('it fades when nothing happens any more', () => {
  const rate = new Rate()
  for (let n = 0; n < 600; n++) rate.add(n * 100)
  const before = rate.perSecond(60_000)!
  expect(rate.perSecond(120_000)!).toBeLessThan(before * 0.65)
})

test('of too little nothing is said', () => {
  const rate = new Rate()
  expect(rate.perSecond(0)).toBeNull()
  rate.add(0)
  rate.add(10)
  expect(rate.perSecond(20)).toBeNull()
})
