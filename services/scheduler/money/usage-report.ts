/** Rows of usage as an operator asks for them: added up, the dearest first. */
import {
  addCounts,
  noCounts,
  type UsageAsk,
  type UsageBy,
  type UsageCounts,
  type UsageReportRow,
  type UsageRow,
} from '#contracts/usage-report'
import { OTHER } from './usage-ledger.ts'

/** More rows than these are no page, and might not fit a message: the cheapest stand together. */
export const REPORT_ROWS_MAX = 2_000

interface Group {
  name: Readonly<Record<UsageBy, string | null>>
  billed: boolean
  counts: UsageCounts
}

export function reportRows(
  rows: Iterable<UsageRow>,
  { by, tenant }: Pick<UsageAsk, 'by' | 'tenant'>,
): { rows: UsageReportRow[]; folded: number } {
  const groups = new Map<string, Group>()
  for (const row of rows) {
    if (tenant !== null && row.tenant !== tenant) continue
    const billed = row.kind !== 'preempted'
    const part = (name: UsageBy): string | null => (by.includes(name) ? row[name] : null)
    const whose = billed ? part('tenant') : null
    const name = { tenant: whose, model: part('model'), lane: part('lane'), day: part('day') }
    const key = JSON.stringify([billed, name])
    const group = groups.get(key) ?? { name, billed, counts: noCounts() }
    groups.set(key, group)
    addCounts(group.counts, row)
  }
  const sorted = [...groups.values()].sort(dearestFirst)
  const rest = sorted.splice(sorted.length > REPORT_ROWS_MAX ? REPORT_ROWS_MAX : sorted.length)
  const folds = [true, false].flatMap((billed) => {
    const those = rest.filter((one) => one.billed === billed)
    return those.length === 0 ? [] : [foldedInto(those, by, billed)]
  })
  return { rows: [...sorted, ...folds].map(shown), folded: rest.length }
}

const dearestFirst = (a: Group, b: Group): number =>
  Number(b.billed) - Number(a.billed) ||
  b.counts.cost - a.counts.cost ||
  b.counts.input + b.counts.output - a.counts.input - a.counts.output

function foldedInto(rest: readonly Group[], by: readonly UsageBy[], billed: boolean): Group {
  const part = (name: UsageBy): string | null => (by.includes(name) ? OTHER : null)
  const name = {
    ...{
      tenant: billed ? part('tenant') : null,
      model: part('model'),
      lane: part('lane'),
      day: part('day'),
    },
  }
  const counts = noCounts()
  for (const one of rest) addCounts(counts, one.counts)
  return { name, billed, counts }
}

const shown = ({ name, billed, counts }: Group): UsageReportRow => ({
  ...name,
  billed,
  calls: counts.calls,
  input_tokens: counts.input,
  cache_write_5m_tokens: counts.cacheWrite5m,
  cache_write_1h_tokens: counts.cacheWrite1h,
  cache_read_tokens: counts.cacheRead,
  output_tokens: counts.output,
  guessed_output_tokens: counts.guessed,
  web_searches: counts.webSearches,
  cost_usd: counts.unpriced > 0 && counts.cost === 0 ? null : usdOf(counts.cost),
  unpriced_tokens: counts.unpriced,
})

/** To a billionth, so that sums of fractions show no dust. */
export const usdOf = (cost: number): number => Math.round(cost * 1e3) / 1e9
