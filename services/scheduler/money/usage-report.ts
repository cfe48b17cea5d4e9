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

/** A report that would have more is folded while it is made. */
export const GROUPS_MAX = 50_000

/** Adds rows up as they come, so that a long span need not be in memory at once. */
export class UsageSum {
  readonly #by: readonly UsageBy[]
  readonly #tenant: string | null
  readonly #groups = new Map<string, Group>()

  constructor({ by, tenant }: Pick<UsageAsk, 'by' | 'tenant'>) {
    this.#by = by
    this.#tenant = tenant
  }

  add(rows: Iterable<UsageRow>): void {
    for (const row of rows)
      if (this.#tenant === null || row.tenant === this.#tenant) addCounts(this.#countsOf(row), row)
  }

  rows(): { rows: UsageReportRow[]; folded: number } {
    const sorted = [...this.#groups.values()].sort(dearestFirst)
    const rest = sorted.splice(REPORT_ROWS_MAX)
    const folds = [true, false].flatMap((billed) => {
      const those = rest.filter((one) => one.billed === billed)
      return those.length === 0 ? [] : [foldedInto(those, this.#by, billed)]
    })
    return { rows: [...sorted, ...folds].map(shown), folded: rest.length }
  }

  #countsOf(row: UsageRow): UsageCounts {
    const billed = row.kind !== 'preempted'
    const name = nameOf(this.#by, billed, (part) => row[part])
    const key = JSON.stringify([billed, name])
    let group = this.#groups.get(key)
    if (group === undefined) {
      const full = this.#groups.size >= GROUPS_MAX
      group = { name: full ? otherName(this.#by, billed) : name, billed, counts: noCounts() }
      const own = full ? JSON.stringify([billed, group.name]) : key
      group = this.#groups.get(own) ?? group
      this.#groups.set(own, group)
    }
    return group.counts
  }
}

/** What is not asked for is not named, and of what nobody pays no tenant is. */
function nameOf(
  by: readonly UsageBy[],
  billed: boolean,
  of: (part: UsageBy) => string,
): Group['name'] {
  const part = (name: UsageBy): string | null => (by.includes(name) ? of(name) : null)
  return {
    tenant: billed ? part('tenant') : null,
    ...{ model: part('model'), lane: part('lane'), day: part('day') },
  }
}

const otherName = (by: readonly UsageBy[], billed: boolean): Group['name'] =>
  nameOf(by, billed, () => OTHER)

const dearestFirst = (a: Group, b: Group): number =>
  Number(b.billed) - Number(a.billed) ||
  b.counts.cost - a.counts.cost ||
  b.counts.input + b.counts.output - a.counts.input - a.counts.output

function foldedInto(rest: readonly Group[], by: readonly UsageBy[], billed: boolean): Group {
  const counts = noCounts()
  for (const one of rest) addCounts(counts, one.counts)
  return { name: otherName(by, billed), billed, counts }
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
  guessed_input_tokens: counts.guessedInput,
  web_searches: counts.webSearches,
  cost_usd: counts.unpriced > 0 && counts.cost === 0 ? null : usdOf(counts.cost),
  unpriced_tokens: counts.unpriced,
})

/** To a billionth, so that sums of fractions show no dust. */
export const usdOf = (cost: number): number => Math.round(cost * 1e3) / 1e9
