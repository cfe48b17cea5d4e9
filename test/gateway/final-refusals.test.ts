/** How long a refusal is known, of what, and what ends that before. */
import { beforeEach, expect, test } from 'vitest'
import { HeadgateError, type AnswerAccounting, type HeadgateErrorCode } from '#client'
import { finalRefusals, type FinalRefusals } from '../../services/gateway/final-refusals.ts'
import { sameCall, shownBy } from '../../services/gateway/same-call.ts'
import { manualClock, type ManualClock } from '../support/manual-clock.ts'

let clock: ManualClock
let refusals: FinalRefusals
beforeEach(() => {
  clock = manualClock()
  refusals = finalRefusals({ limits: () => ({ keepMs: 5_000, most: 2 }), system: clock })
})

const call = (text: string, headers: Record<string, string> = {}) =>
  sameCall({ tenant: 'a', shown: shownBy({}), options: { headers }, body: Buffer.from(text) })
const failed = (code: HeadgateErrorCode, totalMs = 13_000, retryAfterMs: number | null = null) => {
  const accounting = { totalMs, attempts: 3, model: 'm' } as AnswerAccounting
  return new HeadgateError({ code, message: 'Overloaded', status: 529, accounting, retryAfterMs })
}
const remember = (text: string, more: { error?: HeadgateError; deadlineMs?: number } = {}) =>
  refusals.remember(call(text), {
    error: failed('retries_exhausted'),
    final: true,
    deadlineMs: 300_000,
    own: false,
    ...more,
  })
const known = (text: string) => refusals.recall(call(text)) !== null

test('it is known for its time, and for no longer than its deadline would have run', () => {
  remember('x')
  clock.advance(4_999)
  expect(known('x')).toBe(true)
  clock.advance(1)
  expect(known('x')).toBe(false)
  remember('x', { deadlineMs: 14_000 })
  clock.advance(1_000)
  expect(known('x')).toBe(false)
})

test('a deadline that has passed is known for the whole time', () => {
  remember('x', { error: failed('deadline_exceeded', 2_000), deadlineMs: 2_000 })
  clock.advance(4_999)
  expect(known('x')).toBe(true)
})

test('what may have run without a word is not run again, and no detail of ours is told', () => {
  const error = new HeadgateError({ code: 'no_answer', message: 'no answer: 2300 ms of ours' })
  remember('x', { error, deadlineMs: 300 })
  clock.advance(4_999)
  const message = expect.stringMatching(/504 timeout_error: no answer in time; it may have run all/)
  const refused = { status: 400, code: 'no_answer', message }
  expect(refusals.recall(call('x'))).toMatchObject({ refused })
  expect(JSON.stringify(refusals.recall(call('x')))).not.toContain('2300')
})

test.each<HeadgateErrorCode>([
  'queue_full',
  'breaker_open',
  'draining',
  'upstream_error',
  'stream_broken',
  'unreachable',
])('%s is never known', (code) => {
  remember('x', { error: failed(code) })
  expect(known('x')).toBe(false)
})

test('of no more than may be', () => {
  for (const text of ['x', 'y', 'z']) remember(text)
  expect(['x', 'y', 'z'].map(known)).toEqual([true, true, false])
  // The same is remembered once.
  for (let i = 0; i < 3; i++) remember('x')
  clock.advance(5_000)
  remember('z')
  expect(known('z')).toBe(true)
})

test('an answer to the same model, or to one that is not known, ends it', () => {
  remember('x')
  refusals.served('other')
  expect(known('x')).toBe(true)
  refusals.served('m')
  expect(known('x')).toBe(false)
  remember('x')
  refusals.served(null)
  expect(known('x')).toBe(false)
})

test('what may go on goes on with what is left, also after the wait that it was told', () => {
  const of = { error: failed('retries_exhausted', 13_000, 20_000), final: false, own: true }
  refusals.remember(call('x'), { ...of, deadlineMs: 60_000 })
  clock.advance(20_000)
  expect(refusals.recall(call('x'))).toEqual({ leftMs: 27_000 })
  // The last word on it counts.
  refusals.remember(call('x'), { ...of, final: true, deadlineMs: 27_000 })
  expect(refusals.recall(call('x'))).toHaveProperty('refused.status', 400)
})

test('headers that say what is asked make another call, a trace does not', () => {
  remember('x')
  expect(refusals.recall(call('x', { traceparent: '00-ab-cd-01' }))).not.toBe(null)
  expect(refusals.recall(call('x', { 'anthropic-beta': 'one' }))).toBe(null)
  expect(known('y')).toBe(false)
})

test('whoever shows another key makes another call, and none is kept', () => {
  const options = { headers: {} }
  const by = (headers: Record<string, string>) =>
    sameCall({ tenant: 'a', shown: shownBy(headers), options, body: Buffer.from('x') }).exact()
  const keys = [{}, { 'x-api-key': 'k1' }, { 'x-api-key': 'k2' }, { authorization: 'Bearer k1' }]
  expect(new Set(keys.map(by)).size).toBe(keys.length)
  expect(by({ 'x-api-key': 'k1', 'user-agent': 'one' })).toBe(by({ 'x-api-key': 'k1' }))
  expect(shownBy({ 'x-api-key': 'planted' })).not.toContain('planted')
})
