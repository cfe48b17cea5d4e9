import { expect, test } from 'vitest'
import { better, worse, type Kept } from './measured.ts'

const written: Kept = { wrong: '', calls: 3, ms: 12_000, type: 'OverloadedError', words: true }

test('as good as it is written down is neither worse nor better, however long it took', () => {
  const now = { ...written, ms: 90_000 }
  expect([worse(now, written), better(now, written)]).toEqual([null, null])
})

const WORSE: [string, Partial<Kept>, string][] = [
  ['it does not work any more', { wrong: 'held after 5000 ms' }, 'held after 5000 ms'],
  ['more calls', { calls: 9 }, '9 calls upstream, not 3'],
  ['another exception', { type: 'APIError' }, 'APIError is raised, not OverloadedError'],
  ['the words are lost', { words: false }, "the upstream's words are lost"],
]
for (const [name, change, said] of WORSE)
  test(`worse: ${name}`, () => {
    expect(worse({ ...written, ...change }, written)).toBe(said)
    expect(better({ ...written, ...change }, written)).toBeNull()
  })

test('fewer calls and words that are heard are better, and not worse', () => {
  const then = { ...written, calls: 9, words: false }
  expect(worse(written, then)).toBeNull()
  expect(better(written, then)).toBe('3 calls upstream instead of 9')
  expect(better({ ...written, calls: 9 }, then)).toBe("the upstream's words are heard")
})

test('what was never written down is worse: it must be', () => {
  expect(worse(written, undefined)).toBe('nothing is written down for it')
})
