/** What binds a tenant's account now, until when, and how that is said (control-laws §21). */
import type { Edge } from '#contracts/config-money'
import type { BudgetUnit } from '#contracts/tenant-limits'
import type { Millis } from '#contracts/units'
import type { Estimate } from '#core/estimators/cost'
import type { TokenBucket } from '#core/estimators/token-bucket'
import { SHARED_ACCOUNT, type Account, type AccountWait, type Allowance } from '#core/model/account'
import type { Refused } from '#core/model/effects'
import type { Route } from '#core/model/state'
import { refuse } from './refusal.ts'

/** A store that has not granted by then is asked again. */
export const ASK_AGAIN: Millis = 1_000

export interface Bound {
  /** When it may be otherwise. */
  readonly until: Millis
  readonly edge: Edge
  /** The store is asked for more, and has not said no. */
  readonly pending: boolean
  readonly allowance: Allowance | null
  /** What is needed beyond what is in hand, of a budget. */
  readonly short: number
  readonly waitsFor: AccountWait
  /** `until`: when enough will have come, for this one. */
  readonly refused: (until: Millis) => Refused
}

interface Asked {
  readonly route: Route
  readonly need: Estimate
  readonly now: Millis
  /** Its first try: it counts as a request. */
  readonly first: boolean
}

/** The last of the bounds to go; null: none binds. */
export function atEdge(account: Account, of: Asked): Bound | null {
  let last = atRate(account, of)
  for (const allowance of account.allowances) {
    const bound = atBudget(account, allowance, of)
    if (
      bound !== null &&
      (last === null || (last.pending && !bound.pending) || bound.until > last.until)
    )
      last = bound
  }
  return last
}

const RATES = [
  ['requests', 'requests per minute'],
  ['inputTokens', 'input tokens per minute'],
  ['outputTokens', 'output tokens per minute'],
] as const

function atRate(account: Account, { need, now, first }: Asked): Bound | null {
  let last: { bucket: TokenBucket; what: string; need: number } | null = null
  let until = now
  for (const [name, what] of RATES) {
    const units = name === 'requests' ? (first ? 1 : 0) : need[name]
    const at = units === 0 ? now : account[name].readyAt(units, now)
    if (at <= until) continue
    until = at
    last = { bucket: account[name], what, need: units }
  }
  if (last === null) return null
  const { bucket, what, need: units } = last
  const left = Math.max(0, Math.floor(bucket.levelAt(now)))
  return {
    ...{ until, edge: account.limits.edge, pending: false, allowance: null, short: 0 },
    waitsFor: 'tenant_limit',
    refused: (ready) =>
      refuse(
        account.limits.edge === 'degrade' ? 'TENANT_LIMIT' : 'TENANT_LIMIT_FIRM',
        `${nameOf(account)} has used its ${what}: ${left} of ${bucket.limit} left${here(account)}, ${Math.ceil(units)} needed; enough will have come in ${seconds(ready - now)}`,
        { retryAfterMs: ready - now },
      ),
  }
}

function atBudget(account: Account, allowance: Allowance, of: Asked): Bound | null {
  const { need, now, route } = of
  const { budget } = allowance
  if (now >= allowance.endsAt) endWindow(allowance)
  const { price } = route
  if (budget.unit === 'usd' && price === null) return unpriced(account, allowance, of)
  const units =
    budget.unit === 'usd' && price !== null
      ? need.inputTokens * price.input + need.outputTokens * price.output
      : need.inputTokens + need.outputTokens
  if (allowance.window !== null && allowance.left >= units) return null
  const what = `the budget of the ${budget.span}`
  const short = units - allowance.left
  const common = { edge: budget.edge, allowance, short }
  const refused = (): Refused =>
    refuse(
      budget.edge === 'degrade' ? 'BUDGET' : 'BUDGET_FIRM',
      `${nameOf(account)} has used ${what}: ${amount(Math.max(0, allowance.left), budget.unit)} of ${amount(budget.most, budget.unit)} left, ${amount(units, budget.unit)} needed; it begins anew in ${seconds(allowance.endsAt - now)}`,
      { retryAfterMs: allowance.endsAt - now },
    )
  if (allowance.exhausted)
    return {
      ...{ ...common, until: allowance.endsAt, pending: false, refused },
      waitsFor: 'tenant_budget',
    }
  return {
    ...{ ...common, until: now + ASK_AGAIN, pending: true, refused },
    waitsFor: 'budget_store',
  }
}

function unpriced(account: Account, allowance: Allowance, { route }: Asked): Bound {
  const { model } = route.config
  return {
    ...{ until: Infinity, edge: 'refuse', pending: false, allowance, short: 0 },
    waitsFor: 'tenant_budget',
    refused: () =>
      refuse(
        'BUDGET_FIRM',
        `${nameOf(account)} has a budget in USD, and no price is known of ${model}: expected one in prices`,
        { inVain: true },
      ),
  }
}

/** A new day or month: nothing is granted of it yet. */
function endWindow(allowance: Allowance): void {
  allowance.window = null
  allowance.left = 0
  allowance.granted = 0
  allowance.endsAt = Infinity
  allowance.exhausted = false
}

/** Of a limit that a fleet divides. */
const here = ({ part }: Account): string =>
  part < 1 ? ` on this instance, which has ${(100 * part).toFixed(0)} % of it` : ''

const nameOf = ({ name }: Account): string =>
  name === SHARED_ACCOUNT ? 'the tenant' : `tenant ${name}`

const amount = (units: number, unit: BudgetUnit): string =>
  unit === 'usd' ? `${(units / 1e6).toFixed(6)} USD` : `${Math.ceil(units)} tokens`

function seconds(ms: Millis): string {
  if (!Number.isFinite(ms)) return 'no time'
  const s = Math.max(1, Math.ceil(ms / 1_000))
  if (s < 120) return `${s} s`
  return s < 7_200 ? `${Math.ceil(s / 60)} min` : `${Math.ceil(s / 3_600)} h`
}
