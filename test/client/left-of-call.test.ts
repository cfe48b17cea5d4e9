/** What is left to a call that is asked again. */
import { expect, test } from 'vitest'
import { HEADER } from '#contracts/messages'
import { leftOf } from '../../services/client/left-of-call.ts'

const left = (
  said: Record<string, string>,
  of: Partial<Parameters<typeof leftOf>[1]> = {},
): Record<string, string> | null => {
  const headers = Object.entries({ [HEADER.id]: 'mine', ...said })
  const found = leftOf(headers, { elapsedMs: 1_000.5, laneMs: null, attempts: null, ...of })
  return found === null ? null : Object.fromEntries(found)
}
const id = { [HEADER.id]: 'mine' }

test('of its time: what its caller said, or its lane, less what has passed', () => {
  expect(left({ [HEADER.deadline]: '5000' })).toEqual({ ...id, [HEADER.deadline]: '3999' })
  expect(left({ 'headgate-deadline-ms': '5000' }, { laneMs: 9_000 })).toEqual({
    ...id,
    [HEADER.deadline]: '3999',
  })
  expect(left({}, { laneMs: 9_000 })).toEqual({ ...id, [HEADER.deadline]: '7999' })
  expect(left({})).toEqual(id)
  expect(left({ [HEADER.deadline]: 'soon' })).toEqual({ ...id, [HEADER.deadline]: 'soon' })
  expect(left({ [HEADER.deadline]: '1001' })).toBe(null)
  expect(left({ [HEADER.deadline]: '1002' })).toEqual({ ...id, [HEADER.deadline]: '1' })
})

test.each([
  [3, null, '3'],
  [3, 0, '2'],
  [3, 1, '2'],
  [3, 2, '1'],
  [3, 3, null],
  [1, 0, null],
])('of %i tries, where %j are known of: %j', (tries, attempts, rest) => {
  const found = left({ [HEADER.maxAttempts]: String(tries) }, { attempts })
  expect(found).toEqual(rest === null ? null : { ...id, [HEADER.maxAttempts]: rest })
})
