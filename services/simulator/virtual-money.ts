/** Money in virtual time: budgets, granted at once by the same law as over a real store, and what all calls used and
 *  cost, by tenant. What an instance had in hand goes with it when it dies. */
import type { Config } from '#contracts/config'
import { paidFor, type Paid } from '#contracts/cost'
import { priceOf, type MicroUsd } from '#contracts/prices'
import { SOFT_MARK } from '#contracts/tenant-limits'
import type { Tokens } from '#contracts/units'
import type { Account, Allowance } from '#core/model/account'
import { draw, grantOf, recordFor, windowAt, type BudgetRecord } from '#core/laws/budgets'
import type { BudgetKeeper, Clock, Meter, Used } from '#ports'
import { keyOf } from '#scheduler/money/allowances'
import type { Loop } from '#scheduler/loop/loop'

/** Tenants past it are counted together. */
const TENANTS_MAX = 100_000
const OTHER = 'other'

export interface Spent {
  calls: number
  tokens: Tokens
  /** Of models whose price is known. */
  cost: MicroUsd
  /** Tokens of the others. */
  unpriced: Tokens
  /** Into the provider's prompt cache, and from it. */
  written: Tokens
  read: Tokens
  /** Read by calls that had waited for another to write it, and what they would have paid more to write it too. */
  saved: Tokens
  savedCost: MicroUsd
}

export const nothingSpent = (): Spent => ({
  ...{ calls: 0, tokens: 0, cost: 0, unpriced: 0 },
  ...{ written: 0, read: 0, saved: 0, savedCost: 0 },
})

export class VirtualMoney {
  readonly spent = new Map<string, Spent>()
  readonly #records = new Map<string, BudgetRecord>()
  readonly #clock: Clock
  readonly #config: () => Config

  constructor(of: { clock: Clock; config: () => Config }) {
    this.#clock = of.clock
    this.#config = of.config
  }

  readonly meter: Meter = { count: (used) => this.#count(used) }

  keeper(loop: () => Loop): BudgetKeeper {
    return { wanted: (account, allowance, short) => this.#draw(loop(), account, allowance, short) }
  }

  #draw(loop: Loop, { name, limits }: Account, allowance: Allowance, short: number): void {
    const clock = this.#clock
    const { span, unit, most } = allowance.budget
    const { timeZone, resetDay } = limits
    const window = windowAt(clock.wall(), { span, timeZone, resetDay })
    const key = keyOf({ account: name, span, unit })
    const known = recordFor(window.name, this.#records.get(key) ?? null)
    const owes = Math.max(0, -allowance.left)
    const drawn = draw(known, { most, owes, short, softMark: SOFT_MARK })
    this.#records.set(key, drawn.record)
    const grant = grantOf(drawn, window, clock)
    loop.grant({ account: name, span, unit, grant })
  }

  #count({ tenant, model, kind, usage, batch = false, waitedForPrefix = false }: Used): void {
    if (usage === null || kind === 'preempted') return
    const name = this.spent.has(tenant) || this.spent.size < TENANTS_MAX ? tenant : OTHER
    const of = this.spent.get(name) ?? nothingSpent()
    this.spent.set(name, of)
    of.calls++
    for (const hop of paidFor(usage, { model, prices: this.#config().prices, batch })) {
      const tokens =
        hop.inputTokens + hop.cacheCreationTokens + hop.cacheReadTokens + hop.outputTokens
      of.tokens += tokens
      if (hop.cost === null) of.unpriced += tokens
      else of.cost += hop.cost
      of.written += hop.cacheCreationTokens
      of.read += hop.cacheReadTokens
      if (waitedForPrefix) this.#save(of, hop)
    }
  }

  #save(of: Spent, { model, cacheReadTokens: read }: Paid): void {
    const price = priceOf(this.#config().prices, model)
    of.saved += read
    if (price !== null) of.savedCost += read * (price.cacheWrite5m - price.cacheRead)
  }
}
