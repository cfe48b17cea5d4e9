/** What an operator may ask of budgets: how far they are used, and more of one for the present day or month. */
import { z } from 'zod'
import { TOKEN, TOKEN_SHAPE } from './ids.ts'
import { firstIssue } from './messages.ts'
import { only, plainWords } from './plain-words.ts'
import type { BudgetUnit, Span } from './tenant-limits.ts'

const nameShape = { error: `expected ${TOKEN_SHAPE}` }
const tenant = z.string(nameShape).regex(TOKEN, nameShape)
const MOST = { tokens: 1e15, usd: 1e9 } as const
const amount = { error: 'expected a number that is not 0; below 0 takes back' }

const addition = only({
  span: z.enum(['day', 'month']).describe('Of which budget.'),
  unit: z.enum(['tokens', 'usd']),
  amount: z
    .number(amount)
    .refine((of) => of !== 0, amount)
    .describe('Whole tokens up to 1e15, or USD up to 1e9 with six decimals; below 0 takes back.'),
})

export const budgetsBody = only({
  tenant: tenant.optional().describe('Of this one only; needed with `add`.'),
  add: addition.optional().describe('More of one budget, for the present day or month only.'),
})

const budgetsQuery = only({ tenant: tenant.optional() })

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
  const wrong = add === null ? null : unfit(add)
  if (wrong !== null) return `add.amount: ${wrong}`
  return { tenant: whose, add }
}

/** What an address asks: `tenant`, or nothing. More of a budget is given by `budgets` of the administration only. */
export function readBudgetsQuery(query: unknown): BudgetsAsk | string {
  const read = budgetsQuery.safeParse(query, { error: plainWords })
  if (read.success) return { tenant: read.data.tenant ?? null, add: null }
  return firstIssue(read.error).replace(/^body: /, 'query: ')
}

function unfit({ unit, amount: value }: NonNullable<BudgetsAsk['add']>): string | null {
  const most = MOST[unit]
  if (Math.abs(value) > most) return `expected at most ${most.toLocaleString('en')} ${unit}`
  if (unit === 'tokens') return Number.isInteger(value) ? null : 'expected whole tokens'
  const micro = Math.round(value * 1e6)
  return Math.abs(value * 1e6 - micro) < 1e-3 && micro !== 0
    ? null
    : 'expected USD with at most six decimals'
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
