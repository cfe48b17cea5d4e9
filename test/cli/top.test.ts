/** The page of `headgate top`. */
import { describe, expect, test } from 'vitest'
import type { Snapshot } from '#contracts/snapshot'
import { pageOf } from '../../services/cli/top.ts'

const bucket = (level: number, burst = 10_000) => ({
  limit_per_minute: 40_000,
  rate_per_minute: 38_000,
  level,
  burst,
})

/** Every text as long as it gets. */
const route: Snapshot['routes'][number] = {
  id: 'default-claude-haiku-4-5-20251001',
  model: 'claude-haiku-4-5-20251001',
  upstream: 'default',
  limit: 120,
  limit_state: 'recovering',
  breaker: 'half_open',
  breaker_cap: 12,
  inflight: 120,
  queued: 20_000,
  paused_ms: 59_999,
  blocked_ms: 899_999,
  inflight_by_lane: {},
  quota: 'family',
  buckets: { requests: bucket(4, 5), input_tokens: bucket(9_000), output_tokens: bucket(-9_940) },
  reserve: 20,
  peak: 120,
}

const snapshot = (of: Partial<Snapshot> = {}): Snapshot => ({
  instance: '3f9a2b1c4d5e',
  version: '0.1.0',
  at: '2026-01-01T00:00:00Z',
  uptime_ms: 12_345_000,
  draining: false,
  emergency: false,
  bus: { kind: 'nats', connected: true },
  global: { limit: 128, inflight: 120, queued: 20_000, backoff: 100, level: 3 },
  lanes: [],
  routes: [route],
  tenants: [],
  requests_by_state: {},
  guardrails: [],
  held: { requests: 0, slots: 0, probes: 0, timers: 0, replies: 0 },
  ...of,
})

const rowOf = (buckets: typeof route.buckets): string =>
  pageOf(snapshot({ routes: [{ ...route, buckets }] }))
    .split('\n')
    .at(-2) ?? ''

describe('headgate top', () => {
  test('says the level of degradation and stays within 100 columns', () => {
    const page = pageOf(snapshot())
    expect(page).toContain('level 3')
    expect(page).toContain('…claude-haiku-4-5-20251001')
    expect(page.split('\n').filter((line) => line.length > 100)).toEqual([])
  })

  test('says of each route what is scarcest', () => {
    expect(rowOf(route.buckets)).toContain('otpm -99%')
    expect(rowOf({ ...route.buckets, output_tokens: null })).toContain('rpm 80%')
    expect(rowOf({ ...route.buckets, requests: null, output_tokens: null })).toContain('itpm 90%')
  })

  test('says nothing of quota where no limit is known', () => {
    const none = { requests: null, input_tokens: null, output_tokens: null }
    expect(rowOf(none)).not.toMatch(/rpm|tpm|%/)
  })
})
