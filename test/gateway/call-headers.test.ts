/** What a caller says of its own time. */
import { expect, test } from 'vitest'
import { DEADLINE_MAX_MS } from '#contracts/messages'
import { deadlineOf, ownDeadlineOf } from '../../services/gateway/call-headers.ts'

const said = (text: string) => ({ 'headgate-deadline-ms': text })

test.each([
  ['1', 1],
  ['60000', 60_000],
  [String(DEADLINE_MAX_MS), DEADLINE_MAX_MS],
  [String(DEADLINE_MAX_MS + 1), null],
  ['0', null],
  ['-1', null],
  ['1.5', null],
  ['soon', null],
])('a deadline of %s is %j ms', (text, ms) => {
  expect(ownDeadlineOf(said(text))).toBe(ms)
})

test('who says none, or none that fits, has its lane’s, else the longest', () => {
  for (const headers of [{}, said('soon')]) {
    expect(deadlineOf(headers, 5_000)).toBe(5_000)
    expect(deadlineOf(headers, null)).toBe(DEADLINE_MAX_MS)
  }
  expect(deadlineOf(said('1000'), 5_000)).toBe(1_000)
})
