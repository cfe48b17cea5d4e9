/** What is kept and shared by instances. */
import type { Account, Allowance } from '#core/model/account'

/** Small durable settings that outlive a restart and reach every instance. An act that the store cannot carry
 *  out rejects with the reason, in bounded time; it is no bug, and the next one may succeed. */
export interface Settings {
  get(key: string): Promise<string | null>
  put(key: string, value: string): Promise<void>
  /** Hears every change, its own puts included; never rejects. */
  watch(on: (key: string, value: string) => void): Promise<void>
}

/** Settings that say whether they outlive a restart, and why not if not. */
export interface KeptSettings extends Settings {
  /** As of the last act. */
  readonly durable: boolean
  readonly reason: string | null
  /** Others may write it too. */
  readonly shared: boolean
  close(): Promise<void>
}

/** Draws more of a tenant's budget when the core wants it; what comes of it is an input. */
export interface BudgetKeeper {
  /** `short`: what is lacking, in the budget's unit. */
  wanted(account: Account, allowance: Allowance, short: number): void
}

/** What is used of budgets: a text under each name, every write a compare-and-set. Each act rejects with a reason, in
 *  time. */
export interface BudgetStore {
  read(key: string): Promise<{ text: string; revision: number } | null>
  /** Over that revision, 0: there is none. Gives its own; null: another was first. */
  write(key: string, text: string, over: number): Promise<number | null>
  keys(): Promise<readonly string[]>
  close(): Promise<void>
}

/** Where the members of a fleet keep their record: one value under compare-and-set. Each act rejects with a reason, in
 *  bounded time. */
export interface FleetStore {
  read(): Promise<{ text: string; revision: number } | null>
  /** Over the value of a revision, 0 for none. Its own revision, or null: somebody was faster. */
  write(text: string, over: number): Promise<number | null>
  /** Hears the value that there is, and every later one; never rejects. */
  watch(on: (found: { text: string; revision: number }) => void): Promise<void>
  close(): Promise<void>
}
