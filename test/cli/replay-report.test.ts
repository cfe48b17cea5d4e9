/** What a replay says at its end. */
import { describe, expect, test } from 'vitest'
import { HeadgateError, type AnswerAccounting } from '#client'
import { comparisonOf, holds, reportOf, tableOf } from '../../services/cli/replay-report.ts'
import type { RunResult } from '../../services/cli/replay-run.ts'
import { createTally, percentile, type Tally } from '../../services/cli/replay-tally.ts'

const accounting = (more: Partial<AnswerAccounting> = {}): AnswerAccounting => ({
  id: 'r',
  outcome: 'completed',
  servedBy: 'upstream',
  model: 'claude-x',
  attempts: 1,
  preemptions: 0,
  ambiguous: 0,
  queueMs: 10,
  upstreamMs: 100,
  totalMs: 110,
  requestId: null,
  inputTokens: 1,
  outputTokens: 1,
  events: null,
  ...more,
})

function someTally(): Tally {
  const tally = createTally(['premium', 'batch'])
  for (const row of ['premium', 'premium', 'batch', 'batch']) tally.offer(row)
  tally.completed('premium', accounting(), 120)
  tally.completed('premium', accounting({ attempts: 2, queueMs: 30 }), 220)
  const full = accounting({ outcome: 'refused', attempts: 0 })
  tally.failed('batch', new HeadgateError({ code: 'queue_full', message: '', accounting: full }))
  const broken = accounting({ outcome: 'failed', attempts: 1 })
  tally.failed(
    'batch',
    new HeadgateError({ code: 'stream_broken', message: '', accounting: broken }),
  )
  return tally
}

const run = (tally: Tally, more: Partial<RunResult> = {}): RunResult => ({
  tally,
  answers: { missing: 0, extra: 0 },
  snapshot: {
    instance: 'i',
    version: '0',
    at: '',
    uptime_ms: 1,
    draining: false,
    emergency: false,
    config_refused: false,
    bus: { kind: 'nats', connected: true },
    global: { limit: 60, inflight: 0, queued: 0, backoff: 0, level: 0 },
    lanes: [],
    routes: [],
    tenants: [],
    requests_by_state: {},
    waiting: [],
    conditions: [],
    jobs: null,
    fleet: null,
    budgets: [],
    doors: {},
    guardrails: [
      { name: 'ratio_429', value: 0.25, bound: 0.02, met: false },
      { name: 'p95_e2e_ms', value: 300, bound: 8_000, met: true },
      { name: 'retry_amplification', value: null, bound: 1.3, met: true },
    ],
    held: { requests: 0, slots: 0, probes: 0, timers: 0, replies: 0 },
  },
  counters: { attemptsByStatus: { '200': 3, '429': 1 }, preemptions: 0 },
  ledger: {
    calls: 4,
    byStatus: { '200': 3, '429': 1 },
    undelivered: { calls: 1, inputTokens: 5, outputTokens: 5 },
    deliveredTokens: 90,
    deliveredTwice: 0,
    dropped: 0,
  },
  wastedSlotMs: 1_500,
  lateness: { p99Ms: 2, maxMs: 3 },
  inflightMean: 48.04,
  limitLowest: 60,
  cancelledAtEnd: 0,
  tookMs: 10_000,
  ...more,
})

const report = (result: RunResult, label = 'lane') =>
  reportOf(result, { label, settings: { seed: 1 }, demand: 48 })

describe('the report of a replay', () => {
  test('adds up', () => {
    const found = report(run(someTally()))
    expect(found.totals).toMatchObject({
      offered: 4,
      completed: 2,
      refused: 1,
      failed: 1,
      retry_amplification: 1.333,
      ratio_429: { provider: 0.25, scheduler: 0.25 },
      wasted_slot_seconds: 1.5,
      wasted_tokens_share: 0.1,
    })
    expect(found.rows[1]).toMatchObject({
      refused: { queue_full: 1 },
      failed: { stream_broken: 1 },
    })
    expect(holds(found)).toBe(true)
  })

  test('as a table says codes, guardrails and checks', () => {
    const text = tableOf(report(run(someTally())), 30)
    expect(text).toMatch(/premium.*2.*2.*0.*0.*10 \/ 30 \/ 30.*120 \/ 220 \/ 220/)
    expect(text).toContain('1 queue_full')
    expect(text).toContain('ratio_429 0.25 (below 0.02): missed')
    expect(text).toContain('p95_e2e_ms 300 (below 8000): met, at speed 1 it would be 9000: missed')
    expect(text).toContain('retry_amplification unknown')
    expect(text).toContain('ok   offered = completed + refused + failed: 4 = 2 + 1 + 1')
  })

  test.each([
    ['a request without an answer', { answers: { missing: 1, extra: 0 } }],
    ['a second answer', { answers: { missing: 0, extra: 1 } }],
  ])('fails on %s', (_, more) => {
    expect(holds(report(run(someTally(), more)))).toBe(false)
  })

  test('fails on a request that never ended, and on a slot still held', () => {
    const open = someTally()
    open.offer('batch')
    expect(holds(report(run(open)))).toBe(false)
    const held = run(someTally())
    held.snapshot.held.slots = 1
    expect(holds(report(held))).toBe(false)
  })

  test('puts two runs side by side', () => {
    const text = comparisonOf(report(run(someTally())), report(run(someTally())))
    expect(text).toMatch(/premium.*30.*30.*220.*220.*100 %.*100 %/)
  })
})

describe('a percentile', () => {
  test('is the nearest rank', () => {
    const values = [5, 1, 4, 2, 3]
    expect([0.01, 0.5, 0.95, 1].map((share) => percentile(values, share))).toEqual([1, 3, 5, 5])
    expect(percentile([], 0.5)).toBeNull()
  })
})
