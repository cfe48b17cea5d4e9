/** What calls use and cost, as a simulation answers it. */

export interface MoneyRow {
  calls: number
  tokens: number
  /** Of models whose price is known. */
  cost_usd: number
  /** Of the others. */
  unpriced_tokens: number
  /** Into the provider's prompt cache, and from it. */
  cache_written_tokens: number
  cache_read_tokens: number
  /** Read by calls that had waited for another to write it (`scheduling.prefix_wait_ms`), and what writing it once more
   *  would have cost over that. */
  prefix_saved_tokens: number
  prefix_saved_usd: number
}

/** What was used and would be paid; over several seeds the mean. */
export interface MoneyFigures extends MoneyRow {
  /** The dearest. */
  tenants: (MoneyRow & { tenant: string })[]
  /** Tenants that are not listed. */
  more: number
}

/** The bill of a tenant, in the order and with the words of every report. */
export const MONEY_FIGURES: readonly { name: keyof MoneyRow; said: string }[] = [
  { name: 'calls', said: 'calls' },
  { name: 'tokens', said: 'tokens' },
  { name: 'cache_written_tokens', said: 'cache written' },
  { name: 'cache_read_tokens', said: 'cache read' },
  { name: 'prefix_saved_tokens', said: 'saved tokens' },
  { name: 'cost_usd', said: 'cost USD' },
  { name: 'prefix_saved_usd', said: 'saved USD' },
]
/** Tenants of it that a report shows. */
export const MONEY_ROWS = 10
/** Reports show it where there is something to tell: a price, or a cache. */
export const hasBill = (of: MoneyFigures | null): of is MoneyFigures =>
  of !== null && of.cost_usd + of.cache_written_tokens > 0
