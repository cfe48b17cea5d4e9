/** What is drawn of a budget, over all instances (control-laws §21): pure.
 *
 *  An instance works with a portion in hand, drawn before it is used. What is drawn never passes what there is, but
 *  for debts: calls that used more than they were expected to. So nobody is over its budget by more than that, and an
 *  instance that dies takes at most its portion with it. */
import type { Span } from '#contracts/tenant-limits'
import type { Grant } from '#core/model/account'
import { hours, type Millis } from '#contracts/units'

/** Of what is left, the most that one instance draws at once beyond its need. */
export const PORTION = 1 / 16

/** One budget's record in the store. */
export interface BudgetRecord {
  readonly v: 1
  /** The day or month it counts. */
  readonly window: string
  /** Drawn by all instances, less what they gave back. */
  readonly drawn: number
  /** Given on top, by an operator, for this window. */
  readonly added: number
  /** The owner has heard of the soft mark, and of the end. */
  readonly told: 'nothing' | 'mark' | 'end'
}

/** A record for the window: as it is, or anew where another one has begun. */
export const recordFor = (window: string, known: BudgetRecord | null): BudgetRecord =>
  known !== null && known.window === window
    ? known
    : { v: 1, window, drawn: 0, added: 0, told: 'nothing' }

export interface Drawn {
  readonly record: BudgetRecord
  readonly granted: number
  readonly exhausted: boolean
  /** What is left for all. */
  readonly overall: number
  /** All that there is in this window. */
  readonly whole: number
  /** What its owner should hear, once. */
  readonly tell: 'mark' | 'end' | null
}

/** @param of.owes used already, whatever there is
 *  @param of.short needed now, debts included */
export function draw(
  known: BudgetRecord,
  of: { most: number; owes: number; short: number; softMark: number },
): Drawn {
  const whole = of.most + known.added
  const left = Math.max(0, whole - known.drawn)
  const wanted = Math.max(of.short, left * PORTION)
  const granted = Math.max(of.owes, Math.min(left, wanted))
  const drawn = known.drawn + granted
  const overall = Math.max(0, whole - drawn)
  const reached = overall === 0 ? 'end' : drawn >= of.softMark * whole ? 'mark' : 'nothing'
  const news = rank[reached] > rank[known.told] ? reached : null
  return {
    record: { ...known, drawn, told: news ?? known.told },
    ...{ granted, overall, whole, exhausted: overall === 0 },
    tell: news === 'nothing' ? null : news,
  }
}
const rank = { nothing: 0, mark: 1, end: 2 } as const

/** What an instance may use of it, until the window ends on its own clock. */
export const grantOf = (
  { granted, exhausted, overall, whole }: Drawn,
  window: Window,
  clock: { now(): Millis; wall(): Millis },
): Grant => ({
  ...{ window: window.name, granted, exhausted, overall, whole },
  endsAt: clock.now() + window.endsAt - clock.wall(),
})

/** What was drawn and not used; below zero: used and not drawn. */
export const putBack = (known: BudgetRecord, units: number): BudgetRecord => ({
  ...known,
  drawn: Math.max(0, known.drawn - units),
})

// ---- days and months ----

export interface Window {
  readonly name: string
  /** Wall time, ms. */
  readonly endsAt: Millis
}

/** The day or month that this instant is in, where the tenant's clock stands.
 *  @param of.resetDay the day on which a month begins, from 1 to 28 */
export function windowAt(
  wall: Millis,
  of: { span: Span; timeZone: string; resetDay: number },
): Window {
  const name = nameAt(wall, of)
  // Clocks are put forward and back, so that the end is looked for and not reckoned.
  let from = wall
  let to = wall + hours(of.span === 'day' ? 27 : 32 * 24)
  while (to - from > 1) {
    const middle = Math.floor((from + to) / 2)
    if (nameAt(middle, of) === name) from = middle
    else to = middle
  }
  return { name, endsAt: to }
}

function nameAt(wall: Millis, of: { span: Span; timeZone: string; resetDay: number }): string {
  const day = dayIn(of.timeZone).format(wall)
  if (of.span === 'day') return day
  const [year = 0, month = 0, date = 0] = day.split('-').map(Number)
  const months = year * 12 + month - 1 - (date < of.resetDay ? 1 : 0)
  return `${Math.floor(months / 12)}-${String((months % 12) + 1).padStart(2, '0')}`
}

const formats = new Map<string, Intl.DateTimeFormat>()
/** Time zones of a configuration: as many as it names. */
function dayIn(timeZone: string): Intl.DateTimeFormat {
  let format = formats.get(timeZone)
  if (format === undefined) {
    // Swedish writes 2026-11-30.
    format = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short' })
    formats.set(timeZone, format)
  }
  return format
}
