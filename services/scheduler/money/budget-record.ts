/** A budget's record as text, read as a stranger's: whoever wrote it may be another version, or an operator's hand. */
import { z } from 'zod'
import type { BudgetRecord } from '#core/laws/budgets'

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
