/** What was used and what it costs: by day, tenant, model and lane, as it is kept and as it is reported. */
import { z } from 'zod'
import { TOKEN, TOKEN_SHAPE } from './ids.ts'
import { firstIssue } from './messages.ts'
import { only, plainWords } from './plain-words.ts'
import type { MicroUsd } from './prices.ts'
import type { Millis, Tokens } from './units.ts'

/** How a call ended, as a bill sees it. `aborted`: by its caller or its deadline; `preempted`: by us, for work that
 *  was more urgent, and nobody is billed for it; `batch`: answered in a batch of the provider's. */
export const USAGE_KINDS = ['answered', 'failed', 'aborted', 'preempted', 'batch'] as const
export type UsageKind = (typeof USAGE_KINDS)[number]

/** A day in UTC, `2026-11-30`. */
export type Day = string

export const dayOf = (wall: Millis): Day => new Date(wall).toISOString().slice(0, 10)

export const isDay = (text: string): boolean => {
  const at = DAY.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN
  return !Number.isNaN(at) && dayOf(at) === text
}
const DAY = /^\d{4}-\d\d-\d\d$/

/** Every day of a span, its ends included. */
export function* daysOf(from: Day, to: Day): Generator<Day> {
  const end = Date.parse(`${to}T00:00:00Z`)
  for (let at = Date.parse(`${from}T00:00:00Z`); at <= end; at += DAY_MS) yield dayOf(at)
}
export const DAY_MS: Millis = 86_400_000

/** Whose usage. */
export interface UsageName {
  readonly day: Day
  readonly tenant: string
  readonly model: string
  readonly lane: string
  readonly kind: UsageKind
}

export interface UsageCounts {
  calls: number
  input: Tokens
  cacheWrite5m: Tokens
  cacheWrite1h: Tokens
  cacheRead: Tokens
  output: Tokens
  /** Of the output, what was guessed from what was delivered. */
  guessed: Tokens
  /** Of the input, what was guessed from the size of the prompt. */
  guessedInput: Tokens
  webSearches: number
  /** Of the tokens that have a price. */
  cost: MicroUsd
  /** Tokens of all kinds that have none. */
  unpriced: Tokens
}
export type UsageRow = UsageName & UsageCounts

export const noCounts = (): UsageCounts => ({
  ...{ calls: 0, input: 0, cacheWrite5m: 0, cacheWrite1h: 0, cacheRead: 0, output: 0 },
  ...{ guessed: 0, guessedInput: 0, webSearches: 0, cost: 0, unpriced: 0 },
})

export function addCounts(to: UsageCounts, more: UsageCounts): void {
  to.calls += more.calls
  to.input += more.input
  to.cacheWrite5m += more.cacheWrite5m
  to.cacheWrite1h += more.cacheWrite1h
  to.cacheRead += more.cacheRead
  to.output += more.output
  to.guessed += more.guessed
  to.guessedInput += more.guessedInput
  to.webSearches += more.webSearches
  to.cost += more.cost
  to.unpriced += more.unpriced
}

// ---- as it is kept ----

const counted = z.number().min(0)
const kept = z.object({
  version: z.literal(1),
  rows: z.array(
    z.object({
      ...{ day: z.string(), tenant: z.string(), model: z.string(), lane: z.string() },
      kind: z.enum(USAGE_KINDS),
      /** Counts that are zero are left out. */
      calls: counted.default(0),
      input: counted.default(0),
      cacheWrite5m: counted.default(0),
      cacheWrite1h: counted.default(0),
      cacheRead: counted.default(0),
      output: counted.default(0),
      guessed: counted.default(0),
      guessedInput: counted.default(0),
      webSearches: counted.default(0),
      cost: counted.default(0),
      unpriced: counted.default(0),
    }),
  ),
})

export function usageText(rows: readonly UsageRow[]): string {
  const said = rows.map((row) =>
    Object.fromEntries(Object.entries(row).filter(([, of]) => of !== 0)),
  )
  return JSON.stringify({ version: 1, rows: said })
}

/** Empty where no version that we know wrote it. */
export function readUsageRows(text: string): UsageRow[] {
  try {
    const read = kept.safeParse(JSON.parse(text))
    return read.success ? read.data.rows : []
  } catch {
    return []
  }
}

// ---- what is asked ----

export const USAGE_BY = ['tenant', 'model', 'lane', 'day'] as const
export type UsageBy = (typeof USAGE_BY)[number]

const dayShape = { error: 'expected a day, as 2026-11-30' }
const day = z.string(dayShape).refine(isDay, dayShape)
const name = { error: `expected ${TOKEN_SHAPE}` }

export const usageBody = only({
  from: day.optional().describe('The first day, in UTC; default `to`.'),
  to: day.optional().describe('The last day, in UTC; default today.'),
  by: z.array(z.enum(USAGE_BY)).optional().describe('A row for each; default `tenant`.'),
  tenant: z.string(name).regex(TOKEN, name).optional().describe('Of this one only.'),
})

export interface UsageAsk {
  /** Null: `to`. */
  from: Day | null
  /** Null: today. */
  to: Day | null
  by: readonly UsageBy[]
  /** Null: everybody. */
  tenant: string | null
}

/** What was asked, or what is wrong with it. */
export function readUsageAsk(json: unknown): UsageAsk | string {
  const read = usageBody.safeParse(json, { error: plainWords })
  if (!read.success) return firstIssue(read.error)
  const { from = null, to = null, by = ['tenant'], tenant = null } = read.data
  if (from !== null && to !== null && from > to)
    return `from: expected a day no later than to, ${to}`
  return { from, to, by, tenant }
}

/** What an address asks: `from`, `to`, `tenant`, and `by` as a list with commas. */
export function usageQuery(query: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { by, ...more } = query
  const names = typeof by === 'string' ? by.split(',').map((one) => one.trim()) : by
  return by === undefined ? more : { ...more, by: names }
}

// ---- what is answered ----

const tokens = z.number().min(0)
const one = (what: string) =>
  z.string().nullable().describe(`The ${what}; null: all of them, or nobody's.`)

const reportRow = z.object({
  tenant: one('tenant'),
  model: one('model'),
  lane: one('lane'),
  day: one('day, in UTC'),
  billed: z
    .boolean()
    .describe('False: work that we ended for what was more urgent; nobody is billed for it.'),
  calls: z.number().min(0).describe('Calls that ended, however they did.'),
  input_tokens: tokens.describe('That no cache had.'),
  cache_write_5m_tokens: tokens,
  cache_write_1h_tokens: tokens,
  cache_read_tokens: tokens,
  output_tokens: tokens,
  guessed_output_tokens: tokens.describe(
    'Of the output, what the upstream did not count: guessed from what was delivered of answers that broke.',
  ),
  guessed_input_tokens: tokens.describe(
    'Of the input, what the upstream did not count: guessed from the prompts of calls that ended without a word of it.',
  ),
  web_searches: z.number().min(0).describe('Counted; their price is in no cost.'),
  cost_usd: z
    .number()
    .min(0)
    .nullable()
    .describe('Of the tokens that have a price; null: none of them has.'),
  unpriced_tokens: tokens.describe('Of all kinds, of models whose price nobody knows.'),
})
export type UsageReportRow = z.infer<typeof reportRow>

export const usageReport = z.object({
  from: z.string().describe('The first day, in UTC.'),
  to: z.string().describe('The last day, in UTC.'),
  by: z.array(z.enum(USAGE_BY)),
  rows: z.array(reportRow).describe('The dearest first.'),
  folded: z.number().min(0).describe('Rows that stand together as the last one, `other`.'),
  shared: z
    .boolean()
    .describe('Of all instances, and kept. False: of this one, since it was started.'),
  reason: z.string().nullable().describe('Why it is not shared.'),
})
export type UsageReport = z.infer<typeof usageReport>
