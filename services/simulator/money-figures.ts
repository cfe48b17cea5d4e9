/** What a run would cost, by tenant, and in words. */
import type { MoneyFigures } from './job.ts'
import type { Spent } from './virtual-money.ts'

/** Tenants that are named, the dearest first. */
const NAMED_MAX = 20

/** Null: the policy has no bill. Several seeds are averaged: each is the same traffic. */
export function moneyFigures(
  worlds: readonly (ReadonlyMap<string, Spent> | null)[],
): MoneyFigures | null {
  const all = worlds.filter((one) => one !== null)
  if (all.length === 0) return null
  const sums = new Map<string, Spent>()
  for (const spent of all)
    for (const [name, of] of spent) {
      const sum = sums.get(name) ?? { calls: 0, tokens: 0, cost: 0, unpriced: 0 }
      sums.set(name, sum)
      for (const what of ['calls', 'tokens', 'cost', 'unpriced'] as const)
        sum[what] += of[what] / all.length
    }
  const rows = [...sums].map(([tenant, of]) => ({ tenant, ...shown(of) }))
  rows.sort(
    (a, b) => b.cost_usd - a.cost_usd || b.tokens - a.tokens || (a.tenant < b.tenant ? -1 : 1),
  )
  const total = { calls: 0, tokens: 0, cost: 0, unpriced: 0 }
  for (const of of sums.values())
    for (const what of ['calls', 'tokens', 'cost', 'unpriced'] as const) total[what] += of[what]
  return {
    ...shown(total),
    tenants: rows.slice(0, NAMED_MAX),
    more: Math.max(0, rows.length - NAMED_MAX),
  }
}

const shown = ({ calls, tokens, cost, unpriced }: Spent) => ({
  calls,
  tokens,
  cost_usd: cost / 1e6,
  unpriced_tokens: unpriced,
})

/** Nothing where no price is known of anything. */
export function moneyWords(of: MoneyFigures): string[] {
  const { tokens, cost_usd: cost, unpriced_tokens: unpriced, tenants } = of
  if (cost === 0) return []
  const dearest = tenants.slice(0, 3).map(({ tenant, cost_usd }) => `${tenant} ${usd(cost_usd)}`)
  return [
    `it would cost ${usd(cost)}, for ${millions(tokens)} tokens; the dearest: ${dearest.join(', ')}`,
    ...(unpriced > 0 ? [`no price is known of the models of ${millions(unpriced)} tokens`] : []),
  ]
}

const usd = (of: number): string => `${of.toFixed(of < 1 ? 4 : 2)} USD`
const millions = (of: number): string =>
  of < 1e6 ? Math.round(of).toLocaleString('en') : `${(of / 1e6).toFixed(1)} million`
