/** What operators ask of budgets: how far they are used, and more of one. */
import type { BudgetRow, BudgetsAnswer, BudgetsAsk } from '#contracts/budget-ask'
import type { Config } from '#contracts/config'
import type { Budget, TenantLimits } from '#contracts/tenant-limits'
import { recordFor, windowAt, type BudgetRecord } from '#core/laws/budgets'
import { OperatorError, type BudgetStore, type Clock } from '#ports'
import { budgetRecord, changeBudget } from './budget-record.ts'
import { keyOf } from './allowances.ts'

/** Rows of one answer. */
export const ROWS_MAX = 1_000
/** A double counts micro-dollars and tokens exactly up to here. */
const ADDED_MOST = 1e15

export class BudgetDesk {
  readonly #store: BudgetStore
  readonly #clock: Pick<Clock, 'wall'>
  readonly #config: () => Config

  constructor(of: { store: BudgetStore; clock: Pick<Clock, 'wall'>; config: () => Config }) {
    this.#store = of.store
    this.#clock = of.clock
    this.#config = of.config
  }

  async answer(ask: BudgetsAsk): Promise<BudgetsAnswer> {
    if (ask.tenant !== null && ask.add !== null)
      return { budgets: [await this.#add(ask.tenant, ask.add)], more: false }
    const names = ask.tenant === null ? await this.#names() : [ask.tenant]
    const rows: BudgetRow[] = []
    for (const tenant of names)
      for (const budget of this.#limits(tenant)?.budgets ?? []) {
        if (rows.length >= ROWS_MAX) return { budgets: rows, more: true }
        rows.push(await this.#row(tenant, budget))
      }
    return { budgets: rows, more: false }
  }

  #limits(tenant: string): TenantLimits | null {
    const { tenants } = this.#config()
    return (tenants.named.get(tenant) ?? tenants.default).limits
  }

  /** Those with a name in the configuration, and those who have used something. */
  async #names(): Promise<string[]> {
    const { named } = this.#config().tenants
    const stored = await this.#asked(this.#store.keys())
    const used = stored.map((key) => key.slice(0, key.indexOf('.'))).filter((name) => name !== '=')
    return [...new Set([...named.keys(), ...used])].toSorted()
  }

  async #row(tenant: string, budget: Budget): Promise<BudgetRow> {
    const found = await this.#asked(this.#store.read(this.#key(tenant, budget)))
    return this.#rowOf(tenant, budget, found === null ? null : budgetRecord(found.text))
  }

  #rowOf(tenant: string, budget: Budget, known: BudgetRecord | null): BudgetRow {
    const { span, unit } = budget
    const window = this.#window(tenant, budget)
    const { drawn, added } = recordFor(window.name, known)
    const shown = (units: number): number =>
      unit === 'usd' ? Math.ceil(units) / 1e6 : Math.ceil(units)
    return {
      ...{ tenant, span, unit, window: window.name },
      ...{ most: shown(budget.most), added: shown(added), drawn: shown(drawn) },
      left: Math.max(0, shown(budget.most + added - Math.ceil(drawn))),
      ends_at: window.endsAt,
    }
  }

  #window(tenant: string, { span }: Budget) {
    const { timeZone = 'UTC', resetDay = 1 } = this.#limits(tenant) ?? {}
    return windowAt(this.#clock.wall(), { span, timeZone, resetDay })
  }

  #key = (account: string, { span, unit }: Budget): string => keyOf({ account, span, unit })

  async #add(tenant: string, add: NonNullable<BudgetsAsk['add']>): Promise<BudgetRow> {
    const budgets = this.#limits(tenant)?.budgets ?? []
    const budget = budgets.find(({ span, unit }) => span === add.span && unit === add.unit)
    if (budget === undefined) {
      const there = budgets.map(({ span, unit }) => `${unit} by ${span}`).join(', ')
      const otherwise =
        there === ''
          ? `expected one in the configuration: tenants.${tenant}.limits.budget.${add.span}.${add.unit}`
          : `there is ${there}`
      throw new OperatorError(
        `add: ${tenant} has no budget of ${add.unit} by ${add.span}; ${otherwise}`,
      )
    }
    const units = add.unit === 'usd' ? Math.round(add.amount * 1e6) : add.amount
    const key = this.#key(tenant, budget)
    const { name } = this.#window(tenant, budget)
    const record = await this.#asked(
      changeBudget(this.#store, key, (known) => {
        const before = recordFor(name, known)
        const added = before.added + units
        if (budget.most + added < 0 || added > ADDED_MOST)
          throw new OperatorError(
            `add: ${added < 0 ? 'that would take back more than there is' : 'that is more than can be counted'}`,
          )
        // Its owner should hear again when that ends too.
        const next: BudgetRecord = { ...before, added, told: 'nothing' }
        return { record: next, value: next }
      }),
    )
    return this.#rowOf(tenant, budget, record)
  }

  async #asked<T>(asked: Promise<T>): Promise<T> {
    return asked.catch((error: unknown) => {
      if (error instanceof OperatorError) throw error
      const why = error instanceof Error ? error.message : 'no reason given'
      throw new OperatorError(`the store of budgets: ${why}`)
    })
  }
}
