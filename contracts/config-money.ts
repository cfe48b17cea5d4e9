/** What a tenant may use: rates a minute, and budgets of tokens or money by day and month; and what money is asked for
 *  a model. */
import { z } from 'zod'
import { int, knob, model } from './config-knob.ts'

const SOURCE = 'operations: limits and budgets'

export const EDGES = ['queue', 'degrade', 'refuse'] as const
export type Edge = (typeof EDGES)[number]

const edge = (fallback: Edge) =>
  knob(z.enum(EDGES).default(fallback), {
    why: 'at the edge: wait for the window, take what the request itself allows instead (Headgate-Degrade), or refuse',
    source: SOURCE,
  })

const perMinute = (why: string) =>
  knob(z.int().min(1).max(1_000_000_000).optional(), { unit: 'per minute', why, source: SOURCE })

/** More than any bill; micro-dollars of it are exact in a double. */
const USD_MAX = 1_000_000_000

const budgetFile = z
  .strictObject({
    tokens: knob(z.int().min(1).max(1e15).optional(), {
      unit: 'tokens',
      why: 'input, cache writes, cache reads and output together',
      source: SOURCE,
    }),
    usd: knob(z.number().min(0.000_001).max(USD_MAX).optional(), {
      unit: 'USD',
      why: 'by the prices of the configuration; models without a price are refused under it',
      source: SOURCE,
    }),
    edge: edge('refuse'),
  })
  .refine((of) => of.tokens !== undefined || of.usd !== undefined, {
    error: 'expected tokens, usd or both',
  })

const isTimeZone = (name: string): boolean => {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}

export const tenantLimitsFile = z.strictObject({
  rpm: perMinute('calls that start'),
  itpm: perMinute('input tokens, cache reads excluded'),
  otpm: perMinute('output tokens'),
  edge: edge('queue'),
  budget: z
    .strictObject({
      day: budgetFile.optional(),
      month: budgetFile.optional(),
      time_zone: knob(
        z.string().refine(isTimeZone, { error: 'expected an IANA time zone' }).default('UTC'),
        {
          why: 'where a day begins at midnight',
          source: SOURCE,
        },
      ),
      reset_day: knob(z.int().min(1).max(28).default(1), {
        unit: 'day of the month',
        why: 'when a month begins',
        source: SOURCE,
      }),
    })
    .refine((of) => of.day !== undefined || of.month !== undefined, {
      error: 'expected day, month or both',
    })
    .optional(),
})
export type TenantLimitsFile = z.output<typeof tenantLimitsFile>

const usdPerMillion = (why: string) =>
  knob(z.number().min(0).max(1_000_000), { unit: 'USD per million tokens', why, source: SOURCE })

const factor = (why: string, fallback: number) =>
  knob(z.number().min(0).max(1_000).default(fallback), { why, source: SOURCE })

export const priceFile = z.strictObject({
  input: usdPerMillion('input tokens that no cache had'),
  output: usdPerMillion('output tokens'),
  cache_write_5m: usdPerMillion('absent: 1.25 x input').optional(),
  cache_write_1h: usdPerMillion('absent: 2 x input').optional(),
  cache_read: usdPerMillion('absent: 0.1 x input').optional(),
  batch_factor: factor("of a call in the provider's batches", 0.5),
  service_tiers: knob(
    z.record(z.string().min(1).max(64), z.number().min(0).max(1_000)).default({}),
    {
      why: 'factor of a service tier, a speed or a place of inference, by the name that the answer tells (priority, fast, us); absent: 1',
      source: SOURCE,
    },
  ),
})
export type PriceFile = z.output<typeof priceFile>

/** By a model, or by what the names of a family begin with. */
export const pricesFile = knob(z.record(model, priceFile).optional(), {
  why: 'beside the shipped ones, and instead of one of the same name; the longest name that a model begins with counts, but claude-opus-4 is none of claude-opus-4-5',
  source: SOURCE,
})

export const usageFile = z
  .strictObject({
    keep_days: int({
      default: 100,
      min: 1,
      max: 1_000,
      unit: 'days',
      why: 'how long what was used, and what it cost, is kept for reports; then it is gone',
      source: 'operations: what it costs',
      takes: 'restart',
    }),
    rows_max: int({
      default: 5_000,
      min: 10,
      max: 100_000,
      unit: 'rows',
      why: 'of one day on one instance, one for each tenant, model, lane and kind of end; past it they stand together as `other`',
      source: 'architecture: nothing grows without a bound',
    }),
  })
  .prefault({})
