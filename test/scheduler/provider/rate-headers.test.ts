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
