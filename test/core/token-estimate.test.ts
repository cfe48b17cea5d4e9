import { expect, test } from 'vitest'
import fc from 'fast-check'
import {
  RATIO_MAX,
  RATIO_MIN,
  estimateInput,
  learnInput,
  untaughtInput,
} from '#core/estimators/token-estimate'

test('untaught, a token is three and a half characters, and nothing is one', () => {
  expect(estimateInput({ bytes: 3_500 }, untaughtInput)).toBe(1_000)
  expect(estimateInput({ bytes: 0 }, untaughtInput)).toBe(1)
  // No context window is larger.
  expect(estimateInput({ bytes: 30_000_000 }, untaughtInput)).toBe(1_000_000)
})

test('the estimate comes to where the truth is', () => {
  let correction = untaughtInput
  for (let i = 0; i < 20; i += 1) correction = learnInput({ bytes: 700 }, 300, correction)
  expect(estimateInput({ bytes: 1_400 }, correction)).toBe(600)
})

test('the first answer teaches at once, later ones less and less', () => {
  const first = learnInput({ bytes: 350 }, 200, untaughtInput)
  expect(first.text).toEqual({ ratio: 2, samples: 1 })
  expect(learnInput({ bytes: 350 }, 100, first).text.ratio).toBe(1.5)
})

test('pictures are what their kind and size suggest, then what was counted, and text is not judged by them', () => {
  const prompt = { bytes: 1_003_500, mediaBytes: 1_000_000, mediaTokens: 1_600 }
  expect(estimateInput(prompt, untaughtInput)).toBe(2_600)
  let correction = untaughtInput
  for (let i = 0; i < 20; i += 1) correction = learnInput(prompt, 1_800, correction)
  expect(estimateInput(prompt, correction)).toBe(1_800)
  expect(estimateInput({ bytes: 3_500 }, correction)).toBe(1_000)
})

test('whatever is learned, the corrections stay within their bounds', () => {
  const answer = fc.record({
    bytes: fc.nat(),
    mediaBytes: fc.nat(),
    mediaTokens: fc.nat(),
    counted: fc.nat(),
  })
  fc.assert(
    fc.property(fc.array(answer, { maxLength: 80 }), (answers) => {
      const end = answers.reduce(
        (correction, { counted, ...size }) => learnInput(size, counted, correction),
        untaughtInput,
      )
      for (const { ratio } of [end.text, end.media]) {
        expect(ratio).toBeGreaterThanOrEqual(RATIO_MIN)
        expect(ratio).toBeLessThanOrEqual(RATIO_MAX)
      }
    }),
  )
})
