/** What tokens cost: whose price a model has, and what is asked for an answer. */
import { describe, expect, test } from 'vitest'
import { configFile, resolve } from '#contracts/config'
import { pricesInForce } from '#contracts/default-prices'
import { costOfUsage, priceOf, type PaidUsage } from '#contracts/prices'

const prices = pricesInForce(undefined)
const NOTHING: PaidUsage = {
  ...{ inputTokens: 0, cacheCreationTokens: 0, cacheReadTokens: 0, outputTokens: 0 },
}
const MILLION = 1_000_000
const cost = (model: string, usage: Partial<PaidUsage>, how = {}): number =>
  costOfUsage({ ...NOTHING, ...usage }, priceOf(prices, model)!, how) / 1e6

describe('the price of a model', () => {
  test('is that of its own name, whatever date follows it', () => {
    expect(priceOf(prices, 'claude-opus-4-5')?.input).toBe(5)
    expect(priceOf(prices, 'claude-opus-4-5-20251101')?.input).toBe(5)
    expect(priceOf(prices, 'claude-haiku-4-5@20251001')?.input).toBe(1)
    expect(priceOf(prices, 'claude-opus-4-20250514')?.input).toBe(15)
  })

  test('is never that of another version', () => {
    expect(priceOf(prices, 'claude-opus-5')?.input).toBe(5)
    expect(priceOf(prices, 'claude-opus-5-5')?.input).toBe(4)
    expect(priceOf(prices, 'claude-opus-5-9')).toBeNull()
    expect(priceOf(prices, 'claude-opus-5-9-20270101')).toBeNull()
    expect(priceOf(prices, 'claude-opus-45')).toBeNull()
  })

  test('is none where nobody knows one', () => {
    for (const model of ['', 'claude', 'claude-opus', 'gpt-6', 'a-claude-opus-5'])
      expect(priceOf(prices, model)).toBeNull()
  })

  test('is that of the longest name, and the configuration stands over what is shipped', () => {
    const own = configFile.parse({
      prices: {
        'claude-opus': { input: 1, output: 2 },
        'claude-opus-5': { input: 3, output: 4, cache_read: 0 },
      },
    })
    const { config } = resolve(own)
    expect(priceOf(config.prices, 'claude-opus-9')?.input).toBe(1)
    expect(priceOf(config.prices, 'claude-opus-5')).toMatchObject({
      ...{ input: 3, cacheWrite5m: 3.75, cacheWrite1h: 6, cacheRead: 0, batchFactor: 0.5 },
    })
    expect(priceOf(config.prices, 'claude-opus-5-5')?.input).toBe(4)
    expect(priceOf(config.prices, 'claude-sonnet-5')?.input).toBe(2)
  })
})

describe('the cost of an answer', () => {
  test('is that of each kind of token', () => {
    expect(cost('claude-opus-5', { inputTokens: MILLION })).toBeCloseTo(5)
    expect(cost('claude-opus-5', { cacheCreationTokens: MILLION })).toBeCloseTo(6.25)
    const hour = { cacheCreationTokens: MILLION, cacheCreation1hTokens: MILLION }
    expect(cost('claude-opus-5', hour)).toBeCloseTo(10)
    expect(cost('claude-opus-5', { cacheReadTokens: MILLION })).toBeCloseTo(0.5)
    expect(cost('claude-opus-5', { outputTokens: MILLION })).toBeCloseTo(25)
  })

  test('is half of it in a batch, and what a tier, a speed and a place make of it', () => {
    const usage = { inputTokens: MILLION }
    expect(cost('claude-opus-5-5', usage, { batch: true })).toBeCloseTo(2)
    expect(cost('claude-opus-5-5', usage, { speed: 'fast' })).toBeCloseTo(8)
    expect(cost('claude-opus-5-5', usage, { speed: 'fast', place: 'us' })).toBeCloseTo(8.8)
    expect(cost('claude-opus-5-5', usage, { tier: 'standard', place: 'eu' })).toBeCloseTo(4)
  })

  test('rises with a prompt beyond the bound of its model, all of it', () => {
    const short = { inputTokens: 60_000, cacheReadTokens: 40_000, outputTokens: 1_000 }
    expect(cost('claude-haiku-5-5', short)).toBeCloseTo(0.0069)
    const long = { ...short, cacheReadTokens: 40_001 }
    expect(cost('claude-haiku-5-5', long)).toBeCloseTo(0.0345, 5)
  })

  test('is never negative, whatever a proxy says of its caches', () => {
    const odd = { cacheCreationTokens: 10, cacheCreation1hTokens: 1_000_000 }
    expect(cost('claude-opus-5', odd)).toBeCloseTo(0.0001)
  })
})
