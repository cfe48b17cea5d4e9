/** What tokens cost. Money is counted in micro-dollars: a price of 1 USD per million tokens is one for each token. */
import type { Tokens } from './units.ts'

/** Micro-dollars. */
export type MicroUsd = number

/** USD per million tokens, which is micro-dollars per token. */
export interface Price {
  readonly input: number
  readonly output: number
  readonly cacheWrite5m: number
  readonly cacheWrite1h: number
  readonly cacheRead: number
  /** Of a call in the provider's batches. */
  readonly batchFactor: number
  /** Factor by service tier, as the answer names it. */
  readonly tiers: ReadonlyMap<string, number>
}

/** By a model, or by what the names of a family begin with. */
export type Prices = ReadonlyMap<string, Price>

/** What is paid for. */
export interface PaidUsage {
  readonly inputTokens: Tokens
  /** Written into a cache, altogether. */
  readonly cacheCreationTokens: Tokens
  /** Of them, those that live for an hour; absent: none. */
  readonly cacheCreation1hTokens?: Tokens
  readonly cacheReadTokens: Tokens
  readonly outputTokens: Tokens
}

/** The price of the longest name that the model begins with; null: none is known, and none is made up. */
export function priceOf(prices: Prices, model: string): Price | null {
  for (let end = model.length; end > 0; end--) {
    const price = prices.get(model.slice(0, end))
    // A family's name ends where a part of the model's does.
    if (price !== undefined && (end === model.length || /[-@:.]/.test(model[end] ?? '')))
      return price
  }
  return null
}

/** @param of.tier as the answer names it; a tier without a factor costs what the price says. */
export function costOfUsage(
  usage: PaidUsage,
  price: Price,
  of: { batch?: boolean; tier?: string | null } = {},
): MicroUsd {
  const hour = usage.cacheCreation1hTokens ?? 0
  const plain =
    usage.inputTokens * price.input +
    (usage.cacheCreationTokens - hour) * price.cacheWrite5m +
    hour * price.cacheWrite1h +
    usage.cacheReadTokens * price.cacheRead +
    usage.outputTokens * price.output
  const tier = (of.tier != null ? price.tiers.get(of.tier) : undefined) ?? 1
  return plain * tier * (of.batch === true ? price.batchFactor : 1)
}
