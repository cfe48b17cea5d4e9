/** Errors that say their code. */
import { expect, test } from 'vitest'
import { HeadgateError, isHeadgateError } from '#client'

const full: unknown = new HeadgateError({ code: 'queue_full', message: 'full' })

test('the guard narrows to the codes that are named', () => {
  const said: string[] = []
  if (isHeadgateError(full, 'queue_full')) {
    const code: 'queue_full' = full.code
    said.push(code)
  }
  if (isHeadgateError(full, 'breaker_open', 'queue_full')) {
    const code: 'breaker_open' | 'queue_full' = full.code
    said.push(code)
  }
  // @ts-expect-error: no such code
  if (isHeadgateError(full, 'full_queue')) said.push('never')
  expect(said).toEqual(['queue_full', 'queue_full'])
})

test('with no code named it knows any HeadgateError, and nothing else', () => {
  expect(isHeadgateError(full)).toBe(true)
  expect(isHeadgateError(full, 'pending')).toBe(false)
  const others = [new Error('queue_full'), { code: 'queue_full' }, null, undefined, 'queue_full']
  for (const other of others) expect(isHeadgateError(other)).toBe(false)
})
