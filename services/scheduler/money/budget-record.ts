/** A budget's record as text, read as a stranger's: whoever wrote it may be another version, or an operator's hand. */
import { z } from 'zod'
import type { BudgetRecord } from '#core/laws/budgets'
import type { BudgetStore } from '#ports'

const shape = z.object({
  v: z.literal(1),
  window: z.string(),
  drawn: z.number().min(0),
  added: z.number(),
  told: z.enum(['nothing', 'mark', 'end']),
})

/** Throws where it cannot be read: an unread record must not be begun anew. */
export function budgetRecord(text: string): BudgetRecord {
  const read = shape.safeParse(JSON.parse(text))
  if (!read.success) throw new Error('a budget record that this version cannot read')
  return read.data
}

/** Writes that lost a race, in a row, before it is given up. */
const TRIES = 20

/** Nothing was written. */
export class Unread extends Error {}

/** A compare-and-set, tried again where another instance was first. Rejects with `Unread` where nothing was written; any
 *  other rejection leaves open whether it was. What `change` throws is passed on. */
export async function changeBudget<T>(
  store: BudgetStore,
  key: string,
  change: (known: BudgetRecord | null) => { record: BudgetRecord; value: T },
): Promise<T> {
  for (let tries = 0; tries < TRIES; tries++) {
    const found = await store.read(key).catch((cause: unknown) => {
      const why = cause instanceof Error ? cause.message : 'no reason given'
      throw new Unread(why, { cause })
    })
    const { record, value } = change(found === null ? null : budgetRecord(found.text))
    const written = await store.write(key, JSON.stringify(record), found?.revision ?? 0)
    if (written !== null) return value
  }
  throw new Unread('other instances were first each time')
}
