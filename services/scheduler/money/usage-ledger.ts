/** Counts what was used, as each call ends: by day, tenant, model, lane and kind of end. What one call used stands in
 *  rows of its hops' models, itself as a call in the first of them.
 *  Bound: `rowsMax` rows a day and instance, and one of each kind for what comes after, in the name of `other`; days
 *  that are written are forgotten when another begins. */
import { paidFor, type Paid } from '#contracts/cost'
import type { Prices } from '#contracts/prices'
import {
  addCounts,
  DAY_MS,
  dayOf,
  noCounts,
  type Day,
  type UsageCounts,
  type UsageName,
  type UsageRow,
} from '#contracts/usage-report'
import type { Meter, Millis, Used } from '#ports'

export const OTHER = 'other'

/** Rows that are written together: as many as fit the smallest message that a server may allow us. */
export const PART_ROWS = 250

/** Rows of a day that are written together, under a place of their own. */
export interface LedgerPart {
  readonly day: Day
  readonly part: number
  readonly rows: readonly UsageRow[]
}

export interface UsageLedgerOptions {
  wall: () => Millis
  prices: () => Prices
  rowsMax: () => number
  /** Something is there that `changed` has not given yet; told once, until it has. */
  onChange: () => void
}

interface OneDay {
  readonly byName: Map<string, { row: UsageRow; part: Part }>
  readonly parts: Part[]
}

interface Part {
  /** Never given twice in the life of a ledger: whatever a wall clock does, no part is written over another. */
  readonly place: number
  readonly rows: UsageRow[]
  /** It changed since it was given. */
  fresh: boolean
}

export class UsageLedger implements Meter {
  readonly #of: UsageLedgerOptions
  readonly #days = new Map<Day, OneDay>()
  #told = false
  #places = 0
  /** The last day that was asked for: its text is not made for each call. */
  #day: { number: number; text: Day } = { number: Number.NaN, text: '' }

  constructor(options: UsageLedgerOptions) {
    this.#of = options
  }

  count(used: Used): void {
    const day = this.#today()
    const { usage, model, tenant, lane, kind } = used
    const paid = usage === null ? [] : paidFor(usage, { ...used, prices: this.#of.prices() })
    const first: UsageCounts = {
      ...(paid[0] === undefined ? noCounts() : countsOf(paid[0])),
      calls: 1,
      guessed: usage?.guessedTokens ?? 0,
      guessedInput: usage?.guessedInputTokens ?? 0,
      webSearches: usage?.webSearches ?? 0,
    }
    this.#add({ day, tenant, lane, kind, model: paid[0]?.model ?? model }, first)
    for (const hop of paid.slice(1))
      this.#add({ day, tenant, lane, kind, model: hop.model }, countsOf(hop))
    if (this.#told) return
    this.#told = true
    this.#of.onChange()
  }

  /** What has changed since it was last asked. */
  changed(): LedgerPart[] {
    this.#told = false
    const today = this.#today()
    const found: LedgerPart[] = []
    for (const [day, { parts }] of this.#days) {
      for (const part of parts) {
        if (!part.fresh) continue
        part.fresh = false
        found.push({ day, part: part.place, rows: part.rows.map((row) => ({ ...row })) })
      }
      if (day !== today) this.#days.delete(day)
    }
    return found
  }

  #today(): Day {
    const number = Math.floor(this.#of.wall() / DAY_MS)
    if (number !== this.#day.number) this.#day = { number, text: dayOf(number * DAY_MS) }
    return this.#day.text
  }

  #add(name: UsageName, counts: UsageCounts): void {
    let day = this.#days.get(name.day)
    if (day === undefined) {
      day = { byName: new Map(), parts: [] }
      this.#days.set(name.day, day)
    }
    addCounts(this.#rowOf(day, name), counts)
  }

  /** The row of a name, or that of `other` when there are as many as may be. */
  #rowOf(day: OneDay, name: UsageName): UsageRow {
    const key = keyOf(name)
    const there = day.byName.get(key)
    if (there !== undefined) {
      there.part.fresh = true
      return there.row
    }
    const folded = { ...name, tenant: OTHER, model: OTHER, lane: OTHER }
    if (day.byName.size >= this.#of.rowsMax() && key !== keyOf(folded))
      return this.#rowOf(day, folded)
    let part = day.parts.at(-1)
    if (part === undefined || part.rows.length >= PART_ROWS) {
      part = { place: this.#places++, rows: [], fresh: true }
      day.parts.push(part)
    }
    const row = { ...name, ...noCounts() }
    part.rows.push(row)
    part.fresh = true
    day.byName.set(key, { row, part })
    return row
  }
}

const keyOf = ({ tenant, model, lane, kind }: UsageName): string =>
  `${tenant}\n${model}\n${lane}\n${kind}`

function countsOf(paid: Paid): UsageCounts {
  const hour = Math.min(paid.cacheCreation1hTokens ?? 0, paid.cacheCreationTokens)
  const counts: UsageCounts = {
    ...noCounts(),
    input: paid.inputTokens,
    cacheWrite5m: paid.cacheCreationTokens - hour,
    cacheWrite1h: hour,
    cacheRead: paid.cacheReadTokens,
    output: paid.outputTokens,
    cost: paid.cost ?? 0,
  }
  const all = paid.inputTokens + paid.cacheCreationTokens + paid.cacheReadTokens + paid.outputTokens
  return paid.cost === null ? { ...counts, unpriced: all } : counts
}
