import { expect, test } from 'vitest'
import { hasRateHeaders, rateHeaders } from '../../../services/scheduler/provider/rate-headers.ts'

test('three families are read, the combined one and the resets are not', () => {
  const headers = {
    'anthropic-ratelimit-requests-limit': '1000',
    'anthropic-ratelimit-requests-remaining': '999',
    'anthropic-ratelimit-requests-reset': '2026-01-01T00:00:00Z',
    'anthropic-ratelimit-input-tokens-limit': '2000000',
    'anthropic-ratelimit-output-tokens-remaining': ['400000', '1'],
    'anthropic-ratelimit-tokens-limit': '9',
  }
  expect(rateHeaders(headers)).toEqual({
    requests: { limit: 1_000, remaining: 999 },
    inputTokens: { limit: 2_000_000, remaining: null },
    outputTokens: { limit: null, remaining: 400_000 },
  })
})

test('nothing readable is nothing', () => {
  expect(rateHeaders({})).toBeNull()
  expect(rateHeaders({ 'anthropic-ratelimit-requests-limit': 'many' })).toBeNull()
  expect(rateHeaders({ 'anthropic-ratelimit-requests-limit': '-1' })).toBeNull()
  expect(rateHeaders({ 'anthropic-ratelimit-tokens-limit': '5' })).toBeNull()
})

test('any family explains a refusal', () => {
  expect(hasRateHeaders({ 'anthropic-ratelimit-tokens-limit': '5' })).toBe(true)
  expect(hasRateHeaders({ 'anthropic-organization-id': 'x' })).toBe(false)
})

test('of a call in fast mode those of fast mode are read, and no others', () => {
  const headers = {
    'anthropic-ratelimit-input-tokens-limit': '2000000',
    'anthropic-fast-input-tokens-limit': '300000',
    'anthropic-fast-input-tokens-remaining': '299000',
    'anthropic-fast-output-tokens-limit': '60000',
  }
  const none = { limit: null, remaining: null }
  expect(rateHeaders(headers, true)).toEqual({
    requests: none,
    inputTokens: { limit: 300_000, remaining: 299_000 },
    outputTokens: { limit: 60_000, remaining: null },
  })
  expect(rateHeaders(headers)?.inputTokens).toEqual({ limit: 2_000_000, remaining: null })
})

test('committed capacity is read beside the usual limits, and may stand alone', () => {
  const priority = {
    'anthropic-priority-input-tokens-limit': '10000',
    'anthropic-priority-input-tokens-remaining': '9618',
    'anthropic-priority-output-tokens-limit': '10000',
    'anthropic-priority-output-tokens-remaining': '6000',
  }
  expect(rateHeaders(priority)?.priority).toEqual({
    inputTokens: { limit: 10_000, remaining: 9_618 },
    outputTokens: { limit: 10_000, remaining: 6_000 },
  })
  expect(hasRateHeaders(priority)).toBe(true)
})
