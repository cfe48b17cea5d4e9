/** A day of mixed work, an eighth of it: cheaper with batches, and no deadline is missed for it. */
import { expect, test } from 'vitest'
import { halfPriceDay } from '../../support/half-price-day.ts'

const ALL = 1_601
const day = (batchHours: number) =>
  halfPriceDay({ seed: 3, scale: 1 / 8, batches: true, batchHours })

test('what may wait goes at half the price, each once and in time, and who may not wait does not', async () => {
  const { full, half, cost, missed, twice, latency } = await day(1)
  expect(full + half).toBe(ALL)
  expect({ missed, twice }).toEqual({ missed: 0, twice: 0 })
  expect(cost).toBeLessThan(0.85 * ALL)
  expect(latency.urgent.max).toBeLessThan(600_000)
  expect(latency.interactive.max).toBeLessThan(300_000)
}, 120_000)

test('where no batch ends, all are cancelled in time, and no deadline is missed', async () => {
  const { full, half, missed, twice } = await day(200)
  expect(full + half).toBe(ALL)
  expect({ missed, twice }).toEqual({ missed: 0, twice: 0 })
}, 120_000)
