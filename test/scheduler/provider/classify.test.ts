import { describe, expect, test } from 'vitest'
import { readError, retryAfter } from '../../../services/scheduler/provider/classify.ts'

describe('retry-after', () => {
  const wallMs = Date.parse('2026-01-01T00:00:00Z')
  const maxMs = 300_000
  test.each([
    [null, null],
    ['', null],
    ['0', null],
    ['-5', null],
    ['soon', null],
    ['1e9', null],
    ['2026', 300_000],
    ['7', 7_000],
    [' 7 ', 7_000],
    ['0.5', 500],
    ['300', 300_000],
    ['Thu, 01 Jan 2026 00:01:00 GMT', 60_000],
    ['Wed, 31 Dec 2025 23:59:00 GMT', null],
    ['Mon, rubbish', null],
  ])('%j is %j', (text, ms) => {
    expect(retryAfter({ text, wallMs, maxMs }).ms).toBe(ms)
  })

  test('more than the most is cut and raises an alarm', () => {
    expect(retryAfter({ text: '301', wallMs, maxMs })).toEqual({ ms: maxMs, alarm: true })
    expect(retryAfter({ text: '300', wallMs, maxMs }).alarm).toBe(false)
  })
})

describe("an upstream's error", () => {
  test.each([
    ['', { type: null, code: null, text: '' }],
    ['<html>', { type: null, code: null, text: '<html>' }],
    ['null', { type: null, text: 'null' }],
    ['{"error":"no object"}', { type: null, body: null }],
    ['{"error":{"type":7,"message":[],"details":3}}', { type: null, code: null, text: '' }],
  ])('%j is read without trust', (text, expected) => {
    expect(readError(Buffer.from(text))).toMatchObject(expected)
  })

  test('keeps its bytes for the caller only when it is JSON with an error object', () => {
    const bytes = Buffer.from('{"error":{"type":"t","message":"m","details":{"error_code":"c"}}}')
    expect(readError(bytes)).toEqual({ type: 't', code: 'c', text: 'm', body: bytes })
    expect(readError(Buffer.from('{"fault":{}}')).body).toBeNull()
  })
})
