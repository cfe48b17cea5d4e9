import { describe, expect, test } from 'vitest'
import { retryAfter } from '../../../services/scheduler/provider/retry-after.ts'

const wallMs = Date.parse('2026-01-01T00:00:00Z')
const maxMs = 300_000
const read = (headers: Record<string, string | string[]>) => retryAfter(headers, { wallMs, maxMs })

describe('retry-after', () => {
  test.each([
    ['', null],
    ['0', null],
    ['-5', null],
    ['soon', null],
    ['1e9', null],
    ['NaN', null],
    ['Infinity', null],
    ['2026', 300_000],
    ['7', 7_000],
    [' 7 ', 7_000],
    ['0.5', 500],
    ['300', 300_000],
    ['2, 2', 2_000],
    ['2, 5', 5_000],
    ['5,0', 5_000],
    [['2', '9'], 9_000],
    ['Thu, 01 Jan 2026 00:01:00 GMT', 60_000],
    ['Thursday, 01-Jan-26 00:01:00 GMT', 60_000],
    ['Thu Jan  1 00:00:03 2026', 3_000],
    ['2026-01-01T00:00:20Z', 20_000],
    ['2026-01-01T01:00:20.5+01:00', 20_500],
    ['Thu, 01 Jan 2026 00:01:00 GMT, Thu, 01 Jan 2026 00:02:00 GMT', 120_000],
    ['Wed, 31 Dec 2025 23:59:00 GMT', null],
    ['Mon, rubbish', null],
  ])('%j is %j ms', (text, ms) => {
    expect(read({ 'retry-after': text }).ms).toBe(ms)
  })

  test('nothing said is nothing', () => {
    expect(read({})).toEqual({ ms: null, told: null, alarm: false })
  })

  test('milliseconds are finer than seconds', () => {
    expect(read({ 'retry-after-ms': '1500', 'retry-after': '2' }).ms).toBe(1_500)
    expect(read({ 'retry-after-ms': '0.5' }).ms).toBe(1)
    expect(read({ 'retry-after-ms': 'soon', 'retry-after': '2' }).ms).toBe(2_000)
    expect(read({ 'retry-after-ms': '0', 'retry-after': '2' }).ms).toBe(2_000)
  })

  test("a date is against the answer's own date, where it says one", () => {
    const date = 'Thu, 01 Jan 2026 00:10:00 GMT'
    const until = 'Thu, 01 Jan 2026 00:10:30 GMT'
    expect(read({ 'retry-after': until, date }).ms).toBe(30_000)
    expect(read({ 'retry-after': until, date: 'yesterday' }).ms).toBe(300_000)
    expect(read({ 'retry-after': '30', date }).ms).toBe(30_000)
  })

  test('more than the most is cut, told uncut, and raises an alarm', () => {
    expect(read({ 'retry-after': '301' })).toEqual({ ms: maxMs, told: 301_000, alarm: true })
    expect(read({ 'retry-after': '300' }).alarm).toBe(false)
    expect(read({ 'retry-after': '124633' }).told).toBe(124_633_000)
    expect(read({ 'retry-after': '9'.repeat(400) }).told).toBe(315_360_000_000)
  })
})
