/** What an operator may ask of budgets: how far they are used, and more of one for the present day or month. */
import { z } from 'zod'
import { TOKEN, TOKEN_SHAPE } from './ids.ts'
import { firstIssue } from './messages.ts'
import { only, plainWords } from './plain-words.ts'
import type { BudgetUnit, Span } from './tenant-limits.ts'

const nameShape = { error: `expected ${TOKEN_SHAPE}` }
const tenant = z.string(nameShape).regex(TOKEN, nameShape)
const amount = { error: 'expected a number above 0, or below 0 to take back' }

const addition = only({
  span: z.enum(['day', 'month']).describe('Of which budget.'),
  unit: z.enum(['tokens', 'usd']),
  amount: z
    .number(amount)
    .min(-1e15, amount)
    .max(1e15, amount)
    .refine((of) => of !== 0, amount)
    .describe('Tokens, or USD; below 0 takes back.'),
})

export const budgetsBody = only({
  tenant: tenant.optional().describe('Of this one only; needed with `add`.'),
  add: addition.optional().describe('More of one budget, for the present day or month only.'),
})

export interface BudgetsAsk {
  /** Null: everybody. */
  tenant: string | null
  add: { span: Span; unit: BudgetUnit; amount: number } | null
}

/** What is wrong and what is expected, or the question. */
export function readBudgetsAsk(json: unknown): BudgetsAsk | string {
  const read = budgetsBody.safeParse(json, { error: plainWords })
  if (!read.success) return firstIssue(read.error)
  const { tenant: whose = null, add = null } = read.data
  if (add !== null && whose === null) return 'tenant: expected whose budget is added to'
  return { tenant: whose, add }
}

export const budgetRow = z.object({
  tenant: z.string(),
  span: z.enum(['day', 'month']),
  unit: z.enum(['tokens', 'usd']),
  window: z.string().describe("The day or month, by the tenant's clock."),
  most: z.number().describe('As configured: tokens, or USD.'),
  added: z.number().describe('By operators, for this window.'),
  drawn: z.number().describe('Used, or in the hands of instances.'),
  left: z.number(),
  ends_at: z.int().describe('Wall time, ms since 1970.'),
})
export type BudgetRow = z.infer<typeof budgetRow>

export const budgetsAnswer = z.object({
  budgets: z.array(budgetRow),
  more: z.boolean().describe('There are more than are listed: ask by tenant.'),
})
export type BudgetsAnswer = z.infer<typeof budgetsAnswer>
