/** Budgets that are nearly or quite used up, as far as this instance has heard of the store (control-laws §21). Pure.
 *  Bound: `NAMED_MOST` rows; one look at each account. */
import { SOFT_MARK, type BudgetUnit, type Span } from '#contracts/tenant-limits'
import type { Millis } from '#contracts/units'
import type { Allowance } from '#core/model/account'
import type { State } from '#core/model/state'

/** Of all tenants, the fullest. */
export const NAMED_MOST = 20

export interface NearlyUsed {
  readonly tenant: string
  readonly span: Span
  readonly unit: BudgetUnit
  /** Tokens or micro-dollars: all that there is in this window, and what nobody has drawn of it. */
  readonly whole: number
  readonly left: number
  readonly endsAt: Millis
}

/** Those of which four fifths are drawn, the fullest first. */
export function nearlyUsed(state: State, now: Millis): NearlyUsed[] {
  const found: NearlyUsed[] = []
  for (const { name, allowances } of state.accounts.values())
    for (const one of allowances)
      if (isLow(one, now)) {
        const { budget, whole, overall: left, endsAt } = one
        found.push({ tenant: name, span: budget.span, unit: budget.unit, whole, left, endsAt })
      }
  return found.toSorted((a, b) => partOf(a) - partOf(b)).slice(0, NAMED_MOST)
}

/** What was heard of a day or month that is over says nothing of the next. */
const isLow = ({ whole, overall, endsAt }: Allowance, now: Millis): boolean =>
  Number.isFinite(endsAt) && now < endsAt && whole - overall >= SOFT_MARK * whole

const partOf = ({ left, whole }: NearlyUsed): number => (whole <= 0 ? 0 : left / whole)
