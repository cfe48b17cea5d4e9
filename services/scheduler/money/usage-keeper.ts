/** Writes what the ledger has counted into the store: what changed, at most once a second, and at the end.
 *  Bound: a process that is killed loses the last second of its report, and what a store that is away has not taken yet;
 *  a bill is the provider's. What cannot be written waits, one text for each place, and is tried again. */
import type { Day, UsageRow } from '#contracts/usage-report'
import type { Clock, Millis, UsageStore } from '#ports'
import { UsageLedger, type LedgerPart, type UsageLedgerOptions } from './usage-ledger.ts'

export const WRITE_EVERY_MS: Millis = 1_000
/** After a write that failed. */
export const AGAIN_MS: Millis = 5_000

export interface UsageKeeperOptions extends Omit<UsageLedgerOptions, 'wall' | 'onChange'> {
  store: UsageStore
  clock: Clock
  /** Of this process, from its start to its end. */
  life: string
  /** The store did not take it; told once, until it does again. */
  onError: (error: unknown) => void
}

export class UsageKeeper {
  readonly ledger: UsageLedger
  readonly #of: UsageKeeperOptions
  readonly #waiting = new Map<number, LedgerPart>()
  readonly #reading = new Map<Day, Promise<readonly UsageRow[]>>()
  #stopTimer: (() => void) | null = null
  #writing: Promise<void> | null = null
  #away = false
  #closed = false

  constructor(options: UsageKeeperOptions) {
    this.#of = options
    this.ledger = new UsageLedger({
      ...options,
      wall: () => options.clock.wall(),
      onChange: () => this.#soon(WRITE_EVERY_MS),
    })
  }

  /** Everybody's rows, day by day, with all that was counted here. */
  async *read(days: Iterable<Day>): AsyncGenerator<readonly UsageRow[]> {
    await this.flush()
    for (const day of days) yield await this.#readDay(day)
  }

  /** Who asks for a day while it is being read gets the same: a page asks for several sums at once. */
  #readDay(day: Day): Promise<readonly UsageRow[]> {
    const reading = this.#reading.get(day)
    if (reading !== undefined) return reading
    const rows = this.#of.store.read(day).finally(() => this.#reading.delete(day))
    this.#reading.set(day, rows)
    return rows
  }

  /** Resolves when what was counted so far is written, or was tried. */
  async flush(): Promise<void> {
    await this.#writing
    await this.#write()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#stopTimer?.()
    await this.flush()
    await this.#of.store.close()
  }

  #soon(ms: Millis): void {
    if (this.#closed || this.#stopTimer !== null) return
    this.#stopTimer = this.#of.clock.after(ms, () => {
      this.#stopTimer = null
      void this.#write()
    })
  }

  #write(): Promise<void> {
    this.#writing ??= this.#writeAll().finally(() => (this.#writing = null))
    return this.#writing
  }

  async #writeAll(): Promise<void> {
    for (const part of this.ledger.changed()) this.#waiting.set(part.part, part)
    const { store, life, onError } = this.#of
    for (const { day, part, rows } of this.#waiting.values()) {
      try {
        await store.put({ day, life, part }, rows)
        this.#away = false
        this.#waiting.delete(part)
      } catch (error) {
        if (!this.#away) onError(error)
        this.#away = true
        return this.#soon(AGAIN_MS)
      }
    }
  }
}
