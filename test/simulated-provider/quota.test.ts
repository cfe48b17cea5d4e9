/** Rate limits: what fits, how long to wait, what the headers tell. */
import { afterEach, describe, expect, test } from 'vitest'
import { quotaHeaders } from '../../services/simulated-provider/quota-headers.ts'
import { createQuota, type Draw } from '../../services/simulated-provider/quota.ts'
import type { Limits } from '../../services/simulated-provider/options.ts'
import { modelClass } from '../../services/simulated-provider/models.ts'
import { AT_ONCE, callerOf, heldClock, type Caller } from './caller.ts'

const T0 = 1_767_225_600_000
const drawAt = (now: number, organization: Limits, estimatedInput = 10): Draw => ({
  quotaClass: 'c',
  key: 'k',
  estimatedInput,
  limits: { organization, workspace: {} },
  now: T0 + now,
})

describe('retry-after is the first whole second at which the request fits', () => {
  test.each<[string, Limits, number, number]>([
    ['requests', { rpm: 7 }, 10, 0],
    ['requests, one per second', { rpm: 60, burstSeconds: 1 }, 10, 0],
    ['input', { itpm: 1_000 }, 300, 0],
    ['output, in debt', { otpm: 600 }, 10, 777],
    ['an input larger than the bucket', { itpm: 1_000 }, 5_000, 0],
  ])('%s', (_, limits, input, output) => {
    const quota = createQuota()
    let now = 0
    let refused = 0
    for (let step = 0; step < 40; step++) {
      const admission = quota.admit(drawAt(now, limits, input))
      if (admission.ok) {
        quota.charge(drawAt(now, limits, input), { input: 0, output })
        continue
      }
      refused++
      const { retryAfterS } = admission
      expect(Number.isInteger(retryAfterS) && retryAfterS >= 1).toBe(true)
      const early = now + (retryAfterS - 1) * 1_000
      if (retryAfterS > 1) expect(quota.admit(drawAt(early, limits, input)).ok).toBe(false)
      now += retryAfterS * 1_000
      expect(quota.admit(drawAt(now, limits, input)).ok).toBe(true)
      quota.charge(drawAt(now, limits, input), { input: 0, output })
    }
    expect(refused).toBeGreaterThan(5)
  })
})

test('any window admits at most its burst and its rate', () => {
  const quota = createQuota()
  const limits = { rpm: 60, burstSeconds: 10 }
  let admitted = 0
  for (let now = 0; now < 30_000; now += 50) if (quota.admit(drawAt(now, limits)).ok) admitted++
  expect(admitted).toBeLessThanOrEqual(10 + 30)
  expect(admitted).toBeGreaterThanOrEqual(10 + 29)
})

test('tokens left are told in thousands, and reset is when the bucket is full', () => {
  const quota = createQuota()
  const limits = { rpm: 60, itpm: 60_000, otpm: 60_000 }
  const admission = quota.admit(drawAt(0, limits, 1_700))
  const told = new Map<string, string>()
  const headers = quotaHeaders(admission.standing)
  for (let i = 0; i < headers.length; i += 2) told.set(headers[i] ?? '', headers[i + 1] ?? '')
  expect(told.get('anthropic-ratelimit-input-tokens-remaining')).toBe('58000')
  expect(told.get('anthropic-ratelimit-tokens-remaining')).toBe('118000')
  expect(told.get('anthropic-ratelimit-tokens-limit')).toBe('120000')
  expect(told.get('anthropic-ratelimit-requests-remaining')).toBe('59')
  // 1,700 tokens at 1,000 per second, rounded up
  expect(told.get('anthropic-ratelimit-input-tokens-reset')).toBe('2026-01-01T00:00:02Z')
  expect(told.get('anthropic-ratelimit-requests-reset')).toBe('2026-01-01T00:00:01Z')
})

test('versions of one line share a bucket, others do not', () => {
  expect(modelClass('claude-opus-4-5-20251101')).toBe(modelClass('claude-opus-4-8'))
  expect(modelClass('claude-sonnet-4-5')).toBe(modelClass('claude-sonnet-4-6'))
  expect(modelClass('claude-opus-4-8')).not.toBe(modelClass('claude-sonnet-4-6'))
  expect(modelClass('claude-opus-4-1')).not.toBe(modelClass('claude-opus-4-8'))
})

describe('over HTTP', () => {
  let caller: Caller
  afterEach(() => caller.close())
  const held = heldClock()
  const start = async (extra: object) =>
    (caller = await callerOf({ ...AT_ONCE, clock: held.clock, ...extra }))

  test('a request over the limit is refused with its limiter named, and fits after retry-after', async () => {
    await start({ limits: { rpm: 2 } })
    await caller.post()
    await caller.post()
    const refused = await caller.post()
    expect(refused).toMatchObject({
      status: 429,
      headers: { 'retry-after': '30', 'anthropic-ratelimit-requests-remaining': '0' },
    })
    expect(refused.text).toMatch(/rate limit of 2 requests per minute/)
    expect(caller.provider.ledger().entries.at(-1)).toMatchObject({
      accepted: false,
      executed: false,
    })
    held.advance(30_000)
    expect(await caller.post()).toMatchObject({ status: 200 })
  })

  test('another model has a bucket of its own, and a fast one too', async () => {
    await start({ limits: { rpm: 1 } })
    expect(await caller.post()).toMatchObject({ status: 200 })
    expect(await caller.post()).toMatchObject({ status: 429 })
    expect(await caller.post({ model: 'claude-opus-4-8' })).toMatchObject({ status: 200 })
    const fast = await caller.post({ speed: 'fast' })
    expect(fast).toMatchObject({ status: 200 })
    expect(fast.headers).toHaveProperty('anthropic-fast-input-tokens-limit')
    const path = '/v1/messages/count_tokens'
    expect(await caller.post({}, { path })).toMatchObject({ status: 200 })
    expect(await caller.post({}, { path })).toMatchObject({ status: 429 })
  })

  test('output is charged as produced, whatever max_tokens says, and debt delays the next', async () => {
    await start({ limits: { otpm: 60 } })
    const metadata = { simulated_output_tokens: 90 }
    expect(await caller.post({ max_tokens: 50_000, metadata })).toMatchObject({ status: 200 })
    // 60 - 90 is 31 short of one token, at one token per second
    expect(await caller.post()).toMatchObject({ status: 429, headers: { 'retry-after': '31' } })
  })

  test('cache reads are free', async () => {
    await start({ limits: { itpm: 1_000 } })
    const metadata = { simulated_input_tokens: 900, simulated_cache_read_tokens: 900 }
    for (let i = 0; i < 3; i++)
      expect(await caller.post({ metadata })).toMatchObject({ status: 200 })
    await caller.post({ metadata: { simulated_input_tokens: 900 } })
    expect(await caller.post({ metadata })).toMatchObject({ status: 429 })
  })

  test('a key has limits of its own within the organisation', async () => {
    await start({ limits: { rpm: 100 }, workspaceLimits: { rpm: 1 } })
    expect(await caller.post()).toMatchObject({ status: 200 })
    expect(await caller.post()).toMatchObject({ status: 429 })
    const headers = {
      'x-api-key': 'key-2',
      'anthropic-version': '2023-06-01',
      'content-type': 'application/json',
    }
    expect(await caller.post({}, { headers })).toMatchObject({ status: 200 })
  })
})
