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
  /** Factor by service tier, speed or place of inference, as the answer names it. */
  readonly tiers: ReadonlyMap<string, number>
  /** Of a call whose prompt has more tokens than this, its caches included: all its tokens cost so much more. */
  readonly longPrompt?: { readonly over: Tokens; readonly factor: number }
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
    // A family's name ends where a part of the model's does.
    if (end < model.length && !SEPARATORS.includes(model.charAt(end))) continue
    const name = model.slice(0, end)
    const price = prices.get(name)
    if (price !== undefined && !isOtherVersion(name, model.slice(end))) return price
  }
  return null
}

const SEPARATORS = '-@:.'

/** After a number another one goes on with the version: `claude-opus-4` is no family of `claude-opus-4-5`, which costs a
 *  third of it. What is longer is a date. */
const isOtherVersion = (name: string, rest: string): boolean =>
  /\d$/.test(name) && /^[-.]\d{1,3}(?!\d)/.test(rest)

/** What the answer says of how it was served: each is a name that a price may have a factor for. */
export interface ServedHow {
  readonly batch?: boolean
  readonly tier?: string | null
  readonly speed?: string | null
  readonly place?: string | null
}

/** A tier, speed or place without a factor costs what the price says. */
export function costOfUsage(usage: PaidUsage, price: Price, of: ServedHow = {}): MicroUsd {
  const hour = Math.min(usage.cacheCreation1hTokens ?? 0, usage.cacheCreationTokens)
  const plain =
    usage.inputTokens * price.input +
    (usage.cacheCreationTokens - hour) * price.cacheWrite5m +
    hour * price.cacheWrite1h +
    usage.cacheReadTokens * price.cacheRead +
    usage.outputTokens * price.output
  const prompt = usage.inputTokens + usage.cacheCreationTokens + usage.cacheReadTokens
  let factor = of.batch === true ? price.batchFactor : 1
  for (const said of [of.tier, of.speed, of.place])
    if (said != null) factor *= price.tiers.get(said) ?? 1
  if (price.longPrompt !== undefined && prompt > price.longPrompt.over)
    factor *= price.longPrompt.factor
  return plain * factor
}
