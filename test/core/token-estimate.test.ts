import { expect, test } from 'vitest'
import fc from 'fast-check'
import { RATIO_MAX, RATIO_MIN, estimateInput, learnInput, untaught } from '#core/token-estimate'

test('untaught, a token is three and a half characters, and nothing is one', () => {
  expect(estimateInput({ chars: 3_500, correction: untaught })).toBe(1_000)
  expect(estimateInput({ chars: 0, correction: untaught })).toBe(1)
})

test('the estimate comes to where the truth is', () => {
  let correction = untaught
  for (let i = 0; i < 20; i += 1) correction = learnInput({ chars: 700, counted: 300, correction })
  expect(estimateInput({ chars: 1_400, correction })).toBe(600)
})

test('the first answer teaches at once, later ones less and less', () => {
  const first = learnInput({ chars: 350, counted: 200, correction: untaught })
  expect(first).toEqual({ ratio: 2, samples: 1 })
  expect(learnInput({ chars: 350, counted: 100, correction: first }).ratio).toBe(1.5)
})

test('whatever is learned, the correction stays within its bounds', () => {
  const answer = fc.record({ chars: fc.nat(), counted: fc.nat() })
  fc.assert(
    fc.property(fc.array(answer, { maxLength: 80 }), (answers) => {
      const end = answers.reduce(
        (correction, each) => learnInput({ ...each, correction }),
        untaught,
      )
      expect(end.ratio).toBeGreaterThanOrEqual(RATIO_MIN)
      expect(end.ratio).toBeLessThanOrEqual(RATIO_MAX)
    }),
  )
})
