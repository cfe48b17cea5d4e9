/** What an SDK is told about asking again. */
import { describe, expect, test } from 'vitest'
import { refusal, unattempted, type Refusal } from '#contracts/messages'
import { HeadgateError, type AnswerAccounting } from '#client'
import { accountingHeaders, errorAnswer, trailersOf } from '../../services/gateway/answer.ts'

const toldOf = (said: Refusal, deadlineMs: number | null, accounting?: AnswerAccounting) =>
  errorAnswer(new HeadgateError({ ...said, ...(accounting && { accounting }) }), 'r_1', deadlineMs)
    .headers['x-should-retry']

describe('deadline_unreachable', () => {
  const behind = refusal('deadline_unreachable', 'm', { retryAfterMs: 31_000 })

  test('is asked again where the wait is shorter than the deadline of its caller', () => {
    expect(toldOf(behind, 60_000)).toBeUndefined()
    expect(toldOf(behind, null)).toBeUndefined()
  })
  test('is not where that wait is longer', () => {
    expect(toldOf(behind, 10_000)).toBe('false')
  })
  test('is not where the call alone takes longer than its deadline', () => {
    const inVain = refusal('deadline_unreachable', 'm', { inVain: true })
    expect(inVain).toMatchObject({ status: 429, retryable: false, retryAfterMs: null })
    expect(toldOf(inVain, 60_000)).toBe('false')
  })
})

describe('retries_exhausted', () => {
  const tried = refusal('retries_exhausted', 'm', { retryAfterMs: 2_000 })
  const rest = { requestId: null, servedBy: 'none', ambiguous: 0, events: null } as const
  const after = (totalMs: number) => ({ ...unattempted('r_1', 'm'), ...rest, totalMs })

  test('is asked again where its caller has more time than Headgate used and the wait takes', () => {
    expect(toldOf(tried, 60_000, after(57_999))).toBeUndefined()
    expect(toldOf(tried, 60_000, after(58_000))).toBe('false')
    expect(toldOf(tried, 1_000, after(0))).toBe('false')
  })
  test('is not where nobody said a deadline, nor where nobody says what was used', () => {
    expect(toldOf(tried, null, after(1_000))).toBe('false')
    expect(toldOf(tried, 60_000)).toBe('false')
  })
})

test('a call that may have run twice is told so, in its headers and its trailers', () => {
  const rest = { requestId: null, servedBy: 'upstream', events: null } as const
  const told = { ...unattempted('r_1', 'm'), ...rest }
  for (const headersOf of [accountingHeaders, trailersOf]) {
    expect(headersOf({ ...told, ambiguous: 1 })['headgate-ambiguous']).toBe('1')
    expect(headersOf({ ...told, ambiguous: 0 })).not.toHaveProperty('headgate-ambiguous')
  }
})

test('what the upstream says not again of keeps the wait that it told', () => {
  const said = { status: 529, retryAfterMs: 7_000, inVain: true }
  const refused = refusal('retries_exhausted', 'm', said)
  expect(refused).toMatchObject({ retryable: false, retryAfterMs: 7_000 })
  expect(toldOf(refused, 600_000)).toBe('false')
})

test('what may stand in a header is cut to 256 characters of printable ASCII', () => {
  const id = `\u0000a\r\nb é ${'c'.repeat(300)}`
  const told = errorAnswer(new HeadgateError({ code: 'no_answer', message: 'm' }), id)
  const { 'headgate-id': said = '' } = told.headers
  expect(said.length).toBe(256)
  expect(said).toMatch(/^[\x20-\x7e]+$/)
})

test('an error keeps its status where that is one of an error, from 400 to 599, else it is 502', () => {
  const statusOf = (status: number) =>
    errorAnswer(
      new HeadgateError({ code: 'upstream_error', message: 'm', status, bytes: Buffer.from('{}') }),
      'r_1',
    ).status
  expect([400, 529, 599].map(statusOf)).toEqual([400, 529, 599])
  expect([200, 399, 600, 400.5, Number.NaN].map(statusOf)).toEqual([502, 502, 502, 502, 502])
})

test('a wait is told in whole seconds, rounded up, one of none too; one that is no wait is not', () => {
  const waitOf = (retryAfterMs: number | null) =>
    errorAnswer(new HeadgateError({ code: 'queue_full', message: 'm', retryAfterMs }), 'r_1')
      .headers['retry-after']
  expect([0, 1, 1_000, 1_001].map(waitOf)).toEqual(['0', '1', '1', '2'])
  expect([null, -1_000, Infinity].map(waitOf)).toEqual([undefined, undefined, undefined])
})
