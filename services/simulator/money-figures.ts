/** What a run would cost, by tenant, and in words. */
import type { MoneyFigures, MoneyRow } from './money-job.ts'
import { nothingSpent, type Spent } from './virtual-money.ts'

/** Tenants that are named, the dearest first. */
const NAMED_MAX = 20

/** Null: the policy has no bill. Several seeds are averaged: each is the same traffic; parts are added up.
 *  @param seeds how many times each part was played. */
export function moneyFigures(
  worlds: readonly (ReadonlyMap<string, Spent> | null)[],
  seeds = 1,
): MoneyFigures | null {
  const all = worlds.filter((one) => one !== null)
  if (all.length === 0) return null
  const sums = new Map<string, Spent>()
  for (const spent of all)
    for (const [name, of] of spent) {
      const sum = sums.get(name) ?? nothingSpent()
      sums.set(name, sum)
      for (const what of COUNTS) sum[what] += of[what] / seeds
    }
  const rows = [...sums].map(([tenant, of]) => ({ tenant, ...shown(of) }))
  rows.sort(
    (a, b) => b.cost_usd - a.cost_usd || b.tokens - a.tokens || (a.tenant < b.tenant ? -1 : 1),
  )
  const total = nothingSpent()
  for (const of of sums.values()) for (const what of COUNTS) total[what] += of[what]
  return {
    ...shown(total),
    tenants: rows.slice(0, NAMED_MAX),
    more: Math.max(0, rows.length - NAMED_MAX),
  }
}

const COUNTS = Object.keys(nothingSpent()) as (keyof Spent)[]

const shown = ({
  calls,
  tokens,
  cost,
  unpriced,
  written,
  read,
  saved,
  savedCost,
}: Spent): MoneyRow => ({
  calls,
  tokens,
  cost_usd: cost / 1e6,
  unpriced_tokens: unpriced,
  cache_written_tokens: written,
  cache_read_tokens: read,
  prefix_saved_tokens: saved,
  prefix_saved_usd: savedCost / 1e6,
})

/** Nothing where no price is known of anything, and nothing was written to the cache. */
export function moneyWords(of: MoneyFigures): string[] {
  const { tokens, cost_usd: cost, unpriced_tokens: unpriced, tenants } = of
  if (cost === 0) return cacheWords(of)
  const dearest = tenants.slice(0, 3).map(({ tenant, cost_usd }) => `${tenant} ${usd(cost_usd)}`)
  return [
    `it would cost ${usd(cost)}, for ${millions(tokens)} tokens; the dearest: ${dearest.join(', ')}`,
    ...(unpriced > 0 ? [`no price is known of the models of ${millions(unpriced)} tokens`] : []),
    ...cacheWords(of),
  ]
}

function cacheWords(of: MoneyFigures): string[] {
  const { cache_written_tokens: written, cache_read_tokens: read, prefix_saved_tokens: saved } = of
  if (written === 0) return []
  const spared =
    of.prefix_saved_usd > 0
      ? `; to write these too would have cost ${usd(of.prefix_saved_usd)} more`
      : ''
  return [
    `the prompt cache: ${millions(written)} tokens were written to it, ${millions(read)} were read from it; ` +
      `${millions(saved)} of these by calls that had waited for another to write them${spared}`,
  ]
}

const usd = (of: number): string => `${of.toFixed(of < 1 ? 4 : 2)} USD`
const millions = (of: number): string =>
  of < 1e6 ? Math.round(of).toLocaleString('en') : `${(of / 1e6).toFixed(1)} million`
