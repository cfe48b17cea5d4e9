/** The sliding windows against a list of everything that ever happened. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { defaultConfig } from '#contracts/config'
import {
  guardrails,
  GUARDRAIL_CHECK_MS,
  watchGuardrails,
  type GuardrailReading,
  type Guardrails,
} from '../../../services/scheduler/observability/guardrails.ts'
import {
  quantileWindow,
  ratioWindow,
  SLOTS,
} from '../../../services/scheduler/observability/quantile-window.ts'
import { manualClock } from '../../support/manual-clock.ts'
import { event } from './events.ts'

const WINDOW_MS = 60_000
const SLOT_MS = WINDOW_MS / SLOTS
/** One bin. */
const ERROR = 2 ** (1 / 16)

/** Samples still seen at `now`: their slot is one of the last `SLOTS`. */
const alive = <T extends { at: number }>(all: readonly T[], now: number): T[] =>
  all.filter((one) => Math.floor(one.at / SLOT_MS) > Math.floor(now / SLOT_MS) - SLOTS)

const steps = fc.array(
  fc.record({
    wait: fc.oneof(fc.integer({ min: 0, max: 2_000 }), fc.integer({ min: 0, max: 150_000 })),
    value: fc.oneof(fc.integer({ min: 0, max: 20_000 }), fc.integer({ min: 0, max: 604_800_000 })),
    part: fc.boolean(),
  }),
  { maxLength: 200 },
)

describe('the windows equal brute force', () => {
  test('ratios exactly', () => {
    fc.assert(
      fc.property(steps, (given) => {
        const window = ratioWindow(WINDOW_MS)
        const all: { at: number; part: number }[] = []
        let now = 0
        for (const { wait, part } of given) {
          now += wait
          all.push({ at: now, part: part ? 1 : 0 })
          window.add({ part: part ? 1 : 0, whole: 1 }, now)
          const seen = alive(all, now)
          expect(window.read(now)).toEqual({
            part: seen.filter((one) => one.part === 1).length,
            whole: seen.length,
          })
        }
      }),
      { numRuns: 60 },
    )
  })

  test('quantiles within one bin', () => {
    fc.assert(
      fc.property(steps, fc.constantFrom(0.5, 0.95, 0.99), (given, p) => {
        const window = quantileWindow(WINDOW_MS)
        const all: { at: number; value: number }[] = []
        let now = 0
        for (const { wait, value } of given) {
          now += wait
          all.push({ at: now, value })
          window.add(value, now)
          const seen = alive(all, now)
          const sorted = seen.map((one) => one.value).toSorted((a, b) => a - b)
          const exact = sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)] ?? 0
          expect(window.count(now)).toBe(seen.length)
          const told = window.quantile(p, now) ?? -1
          expect(told).toBeLessThanOrEqual(Math.max(ERROR, exact * ERROR))
          expect(told).toBeGreaterThanOrEqual(exact < 1 ? 0 : exact / ERROR)
        }
      }),
      { numRuns: 60 },
    )
  })

  test('a clock that stands still or goes back loses nothing', () => {
    const window = ratioWindow(WINDOW_MS)
    window.add({ part: 1, whole: 1 }, 10 * WINDOW_MS)
    window.add({ part: 1, whole: 1 }, 9 * WINDOW_MS)
    expect(window.read(10 * WINDOW_MS)).toEqual({ part: 2, whole: 2 })
  })
})

const settings = { ...defaultConfig().file.guardrails, min_samples: 10 }
const monitor = (): Guardrails => guardrails({ settings, lanes: defaultConfig().lanes })
const reading = (of: readonly GuardrailReading[], name: string): GuardrailReading | undefined =>
  of.find((one) => one.name === name)
const times = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i))

describe('what each guardrail counts', () => {
  test.each([
    [
      'ratio_429: 429 answers per attempt',
      'ratio_429',
      times(100, (i) => event('attempt.ended', { status: i < 5 ? 429 : 200 })),
      { value: 0.05, samples: 100, met: false },
    ],
    [
      'ratio_429: an attempt without an answer is one without a 429',
      'ratio_429',
      times(100, (i) => event('attempt.ended', { status: i < 1 ? 429 : null })),
      { value: 0.01, samples: 100, met: true },
    ],
    [
      'retry_amplification: attempts per request that had one',
      'retry_amplification',
      [
        ...times(10, () => event('request.settled', { attempts: 3 })),
        ...times(10, () => event('request.settled', { attempts: 1 })),
        ...times(50, () => event('request.settled', { attempts: 0, outcome: 'refused' })),
      ],
      { value: 2, samples: 20, met: false },
    ],
    [
      'retry_amplification: a restart after preemption is no retry',
      'retry_amplification',
      times(20, () => [
        event('request.dispatched', { lane: 'batch' }),
        event('request.preempted'),
        event('request.dispatched', { lane: 'batch' }),
        event('request.settled', { lane: 'batch', attempts: 1, preemptions: 1 }),
      ]).flat(),
      { value: 1, samples: 20, met: true },
    ],
    [
      'p95_e2e_ms: batch may be slow',
      'p95_e2e_ms',
      times(20, () => event('request.settled', { lane: 'batch', total_ms: 90_000 })),
      { value: 0, samples: 0, met: true },
    ],
    [
      'p95_e2e_ms: what was refused at the door, cancelled or deferred was not served slowly',
      'p95_e2e_ms',
      [
        event('request.settled', { outcome: 'refused', attempts: 0, queue_ms: 0 }),
        event('request.settled', { outcome: 'cancelled' }),
        event('request.settled', { outcome: 'deferred' }),
      ],
      { samples: 0 },
    ],
    [
      'p95_e2e_ms: what was given up in the queue was waited for',
      'p95_e2e_ms',
      [
        event('request.settled', { outcome: 'expired', attempts: 0, queue_ms: 9_000 }),
        event('request.settled', { outcome: 'refused', attempts: 0, queue_ms: 9_000 }),
        event('request.settled', { outcome: 'failed' }),
      ],
      { samples: 3 },
    ],
    [
      'fewer than min_samples say nothing',
      'ratio_429',
      times(9, () => event('attempt.ended', { status: 429 })),
      { value: 1, samples: 9, met: true },
    ],
  ])('%s', (_law, name, given, expected) => {
    const own = monitor()
    for (const one of given) own.note(one, 1_000)
    expect(reading(own.readings(1_000), name)).toMatchObject(expected)
  })

  test('queue wait is told per lane, over five minutes, and forgotten after', () => {
    const own = monitor()
    for (const one of times(100, (i) => event('request.dispatched', { queue_ms: i * 10 })))
      own.note(one, 0)
    own.note(event('request.dispatched', { lane: 'no-such-lane' }), 0)
    const waits = own.queueWaitP95(0)
    expect([...waits.keys()]).toEqual(['interactive'])
    expect(waits.get('interactive')).toBeGreaterThan(940 / ERROR)
    expect(waits.get('interactive')).toBeLessThan(940 * ERROR)
    expect(own.queueWaitP95(300_001).size).toBe(0)
  })
})

test('a breach is told once, and its end once', () => {
  const clock = manualClock()
  const own = monitor()
  const told: unknown[] = []
  const watching = watchGuardrails({
    monitor: () => own,
    emit: { record: (one) => told.push(one.data) },
    clock,
  })
  for (let i = 0; i < 20; i++) watching.record(event('attempt.ended', { status: 429 }))
  clock.advance(GUARDRAIL_CHECK_MS * 60)
  expect(told).toEqual([{ name: 'ratio_429', met: false, value: 1, bound: 0.02 }])
  clock.advance(300_000)
  expect(told).toHaveLength(2)
  expect(told[1]).toEqual({ name: 'ratio_429', met: true, value: 0, bound: 0.02 })
  watching.close()
  expect(clock.pending()).toBe(0)
})
