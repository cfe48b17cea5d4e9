/** What a caller says of its own time. */
import { expect, test } from 'vitest'
import { DEADLINE_MAX_MS } from '#contracts/messages'
import { deadlineOf, ownDeadlineOf, readCall } from '../../services/gateway/call-headers.ts'

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

test('headgate-again is for the door itself, and says never or nothing', () => {
  const read = readCall({ 'headgate-again': 'never', 'headgate-max-attempts': '2' })
  const headers = { 'Headgate-Max-Attempts': '2' }
  expect(read).toMatchObject({ ok: true, options: { again: false, headers } })
  expect(readCall({})).toMatchObject({
    ok: true,
    options: expect.not.objectContaining({ again: false }),
  })
  expect(readCall({ 'headgate-again': 'yes' })).toMatchObject({
    ok: false,
    refusal: { code: 'invalid_request', message: 'Headgate-Again: expected never' },
  })
})

test('headgate-prefix is the scheduler’s to read', () => {
  expect(readCall({ 'headgate-prefix': 'mine' })).toMatchObject({
    ok: true,
    options: { headers: { 'Headgate-Prefix': 'mine' } },
  })
})
