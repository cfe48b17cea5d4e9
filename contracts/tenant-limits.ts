/** A tenant's limits as they are in force. */
import type { Edge, TenantLimitsFile } from './config-money.ts'

export type Span = 'day' | 'month'
/** What a budget counts: tokens, or micro-dollars. */
export type BudgetUnit = 'tokens' | 'usd'

export interface Budget {
  readonly span: Span
  readonly unit: BudgetUnit
  /** Tokens or micro-dollars in one day or month. */
  readonly most: number
  readonly edge: Edge
}

export interface TenantLimits {
  /** Per minute; null: none. */
  readonly requests: number | null
  readonly inputTokens: number | null
  readonly outputTokens: number | null
  /** At the edge of those. */
  readonly edge: Edge
  readonly budgets: readonly Budget[]
  /** IANA name: where days and months begin. */
  readonly timeZone: string
  /** Of the month, from 1 to 28. */
  readonly resetDay: number
}

/** Of a budget, where its owner hears of it before it ends. */
export const SOFT_MARK = 0.8

export function tenantLimits(file: TenantLimitsFile): TenantLimits {
  const { budget } = file
  const budgets: Budget[] = []
  for (const span of ['day', 'month'] as const) {
    const of = budget?.[span]
    if (of?.tokens !== undefined)
      budgets.push({ span, unit: 'tokens', most: of.tokens, edge: of.edge })
    if (of?.usd !== undefined)
      budgets.push({ span, unit: 'usd', most: of.usd * 1e6, edge: of.edge })
  }
  return {
    requests: file.rpm ?? null,
    inputTokens: file.itpm ?? null,
    outputTokens: file.otpm ?? null,
    edge: file.edge,
    budgets,
    timeZone: budget?.time_zone ?? 'UTC',
    resetDay: budget?.reset_day ?? 1,
  }
}
