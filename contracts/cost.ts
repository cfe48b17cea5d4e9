/** What an answer is paid with, model by model. */
import { costOfUsage, priceOf, type MicroUsd, type Prices, type ServedHow } from './prices.ts'
import type { TokenCounts, Usage } from './verdict.ts'

export interface Paid extends TokenCounts {
  model: string
  /** Null: no price of the model is known, and its tokens are all that is. */
  cost: MicroUsd | null
}

/** What is paid for: hop by hop where the answer lists them, else as one.
 *  @param of.model that was asked; @param of.batch in a batch of the provider's. */
export function paidFor(
  usage: Usage,
  of: { model: string; prices: Prices; batch?: boolean },
): Paid[] {
  const { tier, speed, place, hops } = usage
  const how: ServedHow = {
    batch: of.batch === true || tier === 'batch',
    tier: tier ?? null,
    speed: speed ?? null,
    place: place ?? null,
  }
  return (hops ?? [{ ...usage, model: null }]).map((hop) => {
    const model = hop.model ?? of.model
    const price = priceOf(of.prices, model)
    return { ...countsOf(hop), model, cost: price === null ? null : costOfUsage(hop, price, how) }
  })
}

/** Null: of a part of it no price is known. */
export function costOfAnswer(
  usage: Usage,
  of: { model: string; prices: Prices; batch?: boolean },
): MicroUsd | null {
  let sum: MicroUsd = 0
  for (const { cost } of paidFor(usage, of)) {
    if (cost === null) return null
    sum += cost
  }
  return sum
}

const countsOf = (of: TokenCounts): TokenCounts => ({
  inputTokens: of.inputTokens,
  cacheCreationTokens: of.cacheCreationTokens,
  cacheCreation1hTokens: of.cacheCreation1hTokens ?? 0,
  cacheReadTokens: of.cacheReadTokens,
  outputTokens: of.outputTokens,
})
