/** Keeps the core's allowances: draws portions of budgets from the store when they are wanted, gives back what lies
 *  idle, and looks again where there was nothing left. */
import { SOFT_MARK, type BudgetUnit, type Span, type TenantLimits } from '#contracts/tenant-limits'
import { SHARED_ACCOUNT, type Account, type Allowance, type Grant } from '#core/model/account'
import { draw, grantOf, putBack, recordFor, windowAt, type Window } from '#core/laws/budgets'
import { hours } from '#contracts/units'
import { changeBudget, Unread } from './budget-record.ts'
import type { BudgetStore, Clock, Millis } from '#ports'

/** In hand and not touched for so long, it goes back. */
export const IDLE: Millis = 10_000
/** Where nothing was left somebody may have given back, or an operator more. */
export const LOOK_AGAIN: Millis = 5_000
const TICK: Millis = 1_000

/** What is to be told of a tenant's budget. */
export interface BudgetNews {
  readonly tenant: string
  readonly span: Span
  readonly unit: BudgetUnit
  readonly window: string
  readonly what: 'mark' | 'end'
  readonly most: number
}

export interface AllowancesOptions {
  store: BudgetStore
  clock: Clock
  /** A grant for the core; null: the store did not answer. */
  grant(of: { account: string; span: Span; unit: BudgetUnit; grant: Grant | null }): void
  /** Takes from the core what it has in hand; null: nothing is open. */
  takeBack(allowance: Allowance): { window: string; left: number } | null
  tell(news: BudgetNews): void
}

interface Held {
  readonly account: Account
  readonly allowance: Allowance
  /** What was in hand when last looked at, and since when. */
  left: number
  since: Millis
  lookedAt: Millis
  /** Draws under way: what is granted by them must not be given back before it is here. */
  drawing: number
}

export class Allowances {
  readonly #of: AllowancesOptions
  readonly #held = new Map<Allowance, Held>()
  readonly #windows = new Map<string, Window>()
  readonly #pending = new Set<Promise<unknown>>()
  /** Wait for a store that can be read; one for each budget that was in hand. */
  readonly #returns: Returned[] = []
  #stop = (): void => {}
  #closed = false

  constructor(of: AllowancesOptions) {
    this.#of = of
    this.#tickLater()
  }

  /** The core wants more of it: at least what is short. */
  wanted(account: Account, allowance: Allowance, short: number): void {
    const now = this.#of.clock.now()
    let held = this.#held.get(allowance)
    if (held === undefined) {
      held = { account, allowance, left: 0, since: now, lookedAt: now, drawing: 0 }
      this.#held.set(allowance, held)
    }
    this.#await(this.#draw(held, short))
  }

  /** Everything in hand goes back. */
  async close(): Promise<void> {
    this.#closed = true
    this.#stop()
    await Promise.all(this.#pending)
    await Promise.all([
      ...this.#returns.splice(0).map((one) => this.#putBack(one)),
      ...[...this.#held.values()].map((held) => this.#return(held)),
    ])
    await this.#of.store.close()
  }

  #await(work: Promise<unknown>): void {
    this.#pending.add(work)
    void work.finally(() => this.#pending.delete(work))
  }

  async #draw(held: Held, short: number): Promise<void> {
    const { account, allowance } = held
    const { budget } = allowance
    const at = { account: account.name, span: budget.span, unit: budget.unit }
    const owes = Math.max(0, -allowance.left)
    held.drawing++
    try {
      const window = this.#windowOf(account.limits, budget.span)
      const key = keyOf(at)
      const drawn = await changeBudget(this.#of.store, key, (known) => {
        const now = draw(recordFor(window.name, known), {
          ...{ most: budget.most, owes, short, softMark: SOFT_MARK },
        })
        return { record: now.record, value: now }
      })
      this.#of.grant({ ...at, grant: grantOf(drawn, window, this.#of.clock) })
      const { tell } = drawn
      if (tell === null) return
      const { span, unit, most } = budget
      this.#of.tell({ tenant: account.name, span, unit, window: window.name, what: tell, most })
    } catch {
      this.#of.grant({ ...at, grant: null })
    } finally {
      held.drawing--
    }
  }

  #windowOf(limits: TenantLimits, span: Span): Window {
    const { timeZone, resetDay } = limits
    const wall = this.#of.clock.wall()
    const key = `${span} ${timeZone} ${resetDay}`
    const known = this.#windows.get(key)
    if (known !== undefined && wall < known.endsAt && wall >= known.endsAt - LONGEST) return known
    const window = windowAt(wall, { span, timeZone, resetDay })
    this.#windows.set(key, window)
    return window
  }

  #tickLater(): void {
    this.#stop = this.#of.clock.after(TICK, () => {
      const now = this.#of.clock.now()
      for (const one of this.#returns.splice(0)) this.#await(this.#putBack(one))
      for (const held of [...this.#held.values()]) this.#review(held, now)
      if (!this.#closed) this.#tickLater()
    })
  }

  #review(held: Held, now: Millis): void {
    const { account, allowance } = held
    if (allowance.asked || held.drawing > 0) return
    const dropped = !account.allowances.includes(allowance)
    if (allowance.left !== held.left) {
      held.left = allowance.left
      held.since = now
    }
    if (dropped || (allowance.window !== null && now - held.since >= IDLE)) {
      held.since = now
      return this.#await(this.#return(held))
    }
    if (allowance.window === null) return void this.#held.delete(allowance)
    if (!allowance.exhausted || now - held.lookedAt < LOOK_AGAIN) return
    // Somebody waits, or was refused.
    held.lookedAt = now
    this.#await(this.#draw(held, Math.max(0, -allowance.left)))
  }

  async #return(held: Held): Promise<void> {
    const { account, allowance } = held
    const back = this.#of.takeBack(allowance)
    if (allowance.window === null) this.#held.delete(allowance)
    if (back === null || back.left === 0) return
    const { span, unit } = allowance.budget
    await this.#putBack({ key: keyOf({ account: account.name, span, unit }), ...back })
  }

  /** A store that cannot be read is asked again later. After a write that was not answered nobody knows whether it was
   *  done: then the units stay drawn, so that nobody can use them twice. */
  async #putBack(of: Returned): Promise<void> {
    const { key, window, left } = of
    try {
      await changeBudget(this.#of.store, key, (known) => {
        // Another window has begun since: what was of the old one is nobody's.
        const later = known !== null && known.window !== window
        return { record: later ? known : putBack(recordFor(window, known), left), value: null }
      })
    } catch (error) {
      if (error instanceof Unread) this.#returns.push(of)
    }
  }
}

interface Returned {
  readonly key: string
  readonly window: string
  readonly left: number
}

/** A window that is known is looked for anew where the clock was put back behind it. */
const LONGEST: Millis = hours(32 * 24)

export const keyOf = (of: { account: string; span: Span; unit: BudgetUnit }): string =>
  `${of.account === SHARED_ACCOUNT ? '=' : of.account}.${of.span}.${of.unit}`
