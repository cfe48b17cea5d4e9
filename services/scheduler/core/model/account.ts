/** What a tenant may use, and what is left of it: three token buckets of its own, and its budgets as far as they
 *  are granted to this instance (control-laws §21). */
import type { Budget, TenantLimits } from '#contracts/tenant-limits'
import type { MicroUsd, Price } from '#contracts/prices'
import type { Millis, Tokens } from '#contracts/units'
import type { HeapItem } from '#core/estimators/indexed-heap'
import { TokenBucket } from '#core/estimators/token-bucket'

/** What a tenant may save up of its rates, in seconds of them: it has a minute's limit and a sixth of it in any
 *  minute at most. */
export const ACCOUNT_BURST = { seconds: 10, least: 1 } as const

/** Tenants past `limits.accounts_max` share it. */
export const SHARED_ACCOUNT = '*'

/** One budget, as far as it is ours: what the store has granted, less what was taken. */
export interface Allowance {
  budget: Budget
  /** The day or month that the grant is of; null: nothing is granted. */
  window: string | null
  /** Tokens or micro-dollars in hand; below zero: calls took more than they were expected to. */
  left: number
  /** When the window ends. */
  endsAt: Millis
  /** The store has no more of it in this window. */
  exhausted: boolean
  /** More is asked for, and the answer is not here. */
  asked: boolean
  /** What is left for all, as the store last said. */
  overall: number
  /** All that there is in this window, with what operators have added, as the store last said. */
  whole: number
  /** What was last granted. */
  granted: number
  /** Calls that have paid and not yet answered. */
  open: number
}

/** What a tenant at its edge waits for. */
export type AccountWait = 'tenant_limit' | 'tenant_budget' | 'budget_store'

/** `Who`: whoever uses it. */
export class Account<Who = object> implements HeapItem {
  heapAt = -1
  readonly name: string
  limits: TenantLimits
  readonly requests: TokenBucket
  readonly inputTokens: TokenBucket
  readonly outputTokens: TokenBucket
  allowances: Allowance[]
  /** Until then its tenants stand out of every queue; 0: they do not. */
  until: Millis = 0
  /** Why, while they do. */
  waitsFor: AccountWait | null = null
  /** Since when they do, and for how long they did before. */
  heldSince: Millis = 0
  #heldMs: Millis = 0
  /** Our part of its rates: what a fleet divides. */
  part = 1
  /** Who is here now and uses it. */
  readonly members = new Set<Who>()

  constructor(name: string, limits: TenantLimits, now: Millis) {
    this.name = name
    this.limits = limits
    const bucket = (): TokenBucket =>
      new TokenBucket({
        ...{ burstSeconds: ACCOUNT_BURST.seconds, burstLeast: ACCOUNT_BURST.least },
        ...{ ours: true, now },
      })
    this.requests = bucket()
    this.inputTokens = bucket()
    this.outputTokens = bucket()
    this.allowances = limits.budgets.map(noAllowance)
    this.limit(limits, now)
  }

  /** Other numbers: what was granted of a budget that goes on stays in hand. */
  limit(limits: TenantLimits, now: Millis): void {
    this.limits = limits
    this.requests.configure(limits.requests, now)
    this.inputTokens.configure(limits.inputTokens, now)
    this.outputTokens.configure(limits.outputTokens, now)
    const before = this.allowances
    this.allowances = limits.budgets.map((budget) => {
      const known = before.find(
        (one) => one.budget.span === budget.span && one.budget.unit === budget.unit,
      )
      if (known === undefined) return noAllowance(budget)
      const more = budget.most - known.budget.most
      known.whole += more
      known.overall = Math.max(0, known.overall + more)
      known.budget = budget
      // It may be more now than the store knew when it said that there is no more.
      known.exhausted = false
      return known
    })
  }

  hold(until: Millis, waitsFor: AccountWait, now: Millis): void {
    if (this.until === 0) this.heldSince = now
    this.until = until
    this.waitsFor = waitsFor
  }

  letGo(now: Millis): void {
    if (this.until > 0) this.#heldMs += now - this.heldSince
    this.until = 0
    this.waitsFor = null
  }

  /** For how long its tenants have stood out of the queues, in all. */
  heldFor(now: Millis): Millis {
    return this.#heldMs + (this.until > 0 ? now - this.heldSince : 0)
  }

  /** Our part of what a fleet divides. */
  divide(part: number, now: Millis): void {
    this.part = part
    this.requests.divide(part, now)
    this.inputTokens.divide(part, now)
    this.outputTokens.divide(part, now)
  }
}

export const noAllowance = (budget: Budget): Allowance => ({
  budget,
  window: null,
  left: 0,
  endsAt: Infinity,
  exhausted: false,
  asked: false,
  overall: budget.most,
  whole: budget.most,
  granted: 0,
  open: 0,
})

/** What one attempt took, until its answer tells what it used. */
export interface Payment {
  readonly account: Account
  readonly price: Price | null
  readonly inputTokens: Tokens
  readonly outputTokens: Tokens
  readonly usd: MicroUsd
  /** Of which budgets it was taken, in which window. */
  readonly taken: readonly { readonly allowance: Allowance; readonly window: string | null }[]
}

/** What the store says: so much more in this window; null: it did not answer. */
export interface Grant {
  readonly window: string
  readonly granted: number
  readonly endsAt: Millis
  readonly exhausted: boolean
  readonly overall: number
  readonly whole: number
}
