import { describe, expect, test } from 'vitest'
import { NOBODY, type JobClaim } from '#contracts/jobs'
import { IDLE_DEATHS, isPoison, suspicion, SUSPECTS_AT_ONCE, takenOver } from '#core/laws/jobs'

const fresh: JobClaim = { by: 'one', claims: 1, attempts: 0, calling: false, ambiguous: 0 }
/** The claim after so many owners died. */
const after = (deaths: number, calling: boolean): JobClaim => {
  let claim = fresh
  for (let n = 0; n < deaths; n++) claim = takenOver({ ...claim, calling }, `i${n}`).claim
  return claim
}

describe('a job is put aside', () => {
  test('when so many owners died in a call of it, and not before', () => {
    expect([1, 2, 4, 5, 6].map((deaths) => isPoison(after(deaths, true), 5))).toEqual([
      ...[false, false, false, true, true],
    ])
  })

  test('not by owners that died of something else, unless there is no end of them', () => {
    expect(isPoison(after(99, false), 5)).toBe(false)
    expect(isPoison(after(IDLE_DEATHS * 5, false), 5)).toBe(true)
  })
})

test('a job is a suspect after two deaths in its calls, and alone after three, or one before the last', () => {
  const takes = (most: number): number[] =>
    [0, 1, 2, 3, 4].map((deaths) => suspicion(after(deaths, true), most))
  const alone = SUSPECTS_AT_ONCE
  expect(takes(5)).toEqual([0, 0, 1, alone, alone])
  expect(takes(3)).toEqual([0, 0, alone, alone, alone])
  expect(takes(2)).toEqual([0, alone, alone, alone, alone])
  expect(suspicion(after(40, false), 5)).toBe(0)
})

test('given back, or taken again by the same, nobody died', () => {
  for (const by of [NOBODY, 'one']) {
    const { claim, died } = takenOver({ ...fresh, by }, 'one')
    expect([died, claim.claims, claim.ambiguous]).toEqual([false, 1, 0])
  }
})
