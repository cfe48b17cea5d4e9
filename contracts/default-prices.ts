/** The prices that are shipped, and those in force. */
import type { PriceFile } from './config-money.ts'
import type { Price, Prices } from './prices.ts'

/** Writes to a cache and reads from it, in prices of input, unless the price list says otherwise. */
const CACHE = { write5m: 1.25, write1h: 2, read: 0.1 } as const
const BATCH = 0.5
const US = ['us', 1.1] as const
const FAST = ['fast', 2] as const

interface Row {
  names: readonly string[]
  input: number
  output: number
  /** Absent: as `CACHE` says. */
  cacheWrite5m?: number
  cacheRead?: number
  factors?: readonly (readonly [said: string, factor: number])[]
  longPrompt?: Price['longPrompt']
}

/** USD per million tokens. */
const TABLE: readonly Row[] = [
  { names: ['claude-fable-5-2'], input: 8, output: 40, cacheRead: 0.2, factors: [US, FAST] },
  {
    names: ['claude-fable-5-1', 'claude-mythos-5-1'],
    ...{ input: 10, output: 50, cacheRead: 0.25, factors: [US] },
  },
  { names: ['claude-fable-5', 'claude-mythos-5'], input: 10, output: 50, factors: [US] },
  { names: ['claude-opus-5-5'], input: 4, output: 20, cacheRead: 0.2, factors: [US, FAST] },
  { names: ['claude-opus-5'], input: 5, output: 25, factors: [US, FAST] },
  {
    names: ['claude-opus-4-8', 'claude-opus-4-7', 'claude-opus-4-6'],
    ...{ input: 5, output: 25, factors: [US] },
  },
  { names: ['claude-opus-4-5'], input: 5, output: 25 },
  {
    names: ['claude-opus-4-1', 'claude-opus-4', 'claude-opus-4-0', 'claude-3-opus'],
    ...{ input: 15, output: 75 },
  },
  { names: ['claude-sonnet-5-5'], input: 2, output: 10, cacheRead: 0.1, factors: [US] },
  { names: ['claude-sonnet-5'], input: 2, output: 10, factors: [US] },
  { names: ['claude-sonnet-4-6'], input: 3, output: 15, factors: [US] },
  {
    names: ['claude-sonnet-4-5', 'claude-sonnet-4', 'claude-sonnet-4-0', 'claude-3-7-sonnet'],
    ...{ input: 3, output: 15 },
  },
  {
    names: ['claude-haiku-5-5'],
    ...{ input: 0.1, output: 0.5, factors: [US] },
    longPrompt: { over: 100_000, factor: 5 },
  },
  { names: ['claude-haiku-4-5'], input: 1, output: 5 },
  { names: ['claude-3-5-haiku'], input: 0.8, output: 4 },
  {
    names: ['claude-3-haiku'],
    ...{ input: 0.25, output: 1.25, cacheWrite5m: 0.3, cacheRead: 0.03 },
  },
]

const shipped: readonly (readonly [name: string, price: Price])[] = TABLE.flatMap((row) => {
  const price: Price = {
    input: row.input,
    output: row.output,
    cacheWrite5m: row.cacheWrite5m ?? CACHE.write5m * row.input,
    cacheWrite1h: CACHE.write1h * row.input,
    cacheRead: row.cacheRead ?? CACHE.read * row.input,
    batchFactor: BATCH,
    tiers: new Map(row.factors),
    ...(row.longPrompt === undefined ? {} : { longPrompt: row.longPrompt }),
  }
  return row.names.map((name) => [name, price] as const)
})

const priceFromFile = (of: PriceFile): Price => ({
  input: of.input,
  output: of.output,
  cacheWrite5m: of.cache_write_5m ?? CACHE.write5m * of.input,
  cacheWrite1h: of.cache_write_1h ?? CACHE.write1h * of.input,
  cacheRead: of.cache_read ?? CACHE.read * of.input,
  batchFactor: of.batch_factor,
  tiers: new Map(Object.entries(of.service_tiers)),
})

/** The shipped ones, and over them those of the file. */
export function pricesInForce(file: Readonly<Record<string, PriceFile>> | undefined): Prices {
  const prices = new Map(shipped)
  for (const [name, price] of Object.entries(file ?? {})) prices.set(name, priceFromFile(price))
  return prices
}
