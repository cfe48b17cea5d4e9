/** The prices that are shipped, and those in force. */
import type { PriceFile } from './config-money.ts'
import type { Price, Prices } from './prices.ts'

/** Where they stand, and when they were read. */
export const PRICES_SOURCE = { page: '', date: '' } as const

const shipped: readonly (readonly [name: string, price: Price])[] = []

const priceFromFile = (of: PriceFile): Price => ({
  input: of.input,
  output: of.output,
  cacheWrite5m: of.cache_write_5m ?? 1.25 * of.input,
  cacheWrite1h: of.cache_write_1h ?? 2 * of.input,
  cacheRead: of.cache_read ?? 0.1 * of.input,
  batchFactor: of.batch_factor,
  tiers: new Map(Object.entries(of.service_tiers)),
})

/** The shipped ones, and over them those of the file. */
export function pricesInForce(file: Readonly<Record<string, PriceFile>> | undefined): Prices {
  const prices = new Map(shipped)
  for (const [name, price] of Object.entries(file ?? {})) prices.set(name, priceFromFile(price))
  return prices
}
