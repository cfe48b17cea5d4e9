/** What a refusal of ours says. */
import { expect, test } from 'vitest'
import { refuse } from '#core/laws/refusal'

test('its retry-after is within 1 s and 60 s, in whole milliseconds, and absent where nobody knows', () => {
  const after = (ms: number) => refuse('SHED', 'm', { retryAfterMs: ms }).retryAfterMs
  expect([0, 1_000.2, 59_999, 60_001, Infinity].map(after)).toEqual([
    1_000, 1_001, 59_999, 60_000, 60_000,
  ])
  expect(refuse('SHED', 'm').retryAfterMs).toBe(null)
})
