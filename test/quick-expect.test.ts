/** The quick `expect` of long loops says no wherever the real one does, in the real one's words. */
import { expect, test } from 'vitest'
import { expect as quick } from './support/quick-expect.ts'

const VALUES = [
  0,
  -0,
  1,
  NaN,
  '',
  'ab',
  'b',
  null,
  undefined,
  true,
  [],
  ['b'],
  [1],
  { a: 1 },
] as const
const WANTED = [...VALUES, { a: 1, b: undefined }, expect.anything()]
const MATCHERS = [
  'toBe',
  'toEqual',
  'toBeDefined',
  'toHaveLength',
  'toBeLessThan',
  'toBeLessThanOrEqual',
  'toBeGreaterThan',
  'toBeGreaterThanOrEqual',
  'toMatch',
  'toContain',
] as const

const wantedOf = (name: string): readonly unknown[] =>
  name === 'toMatch' ? [/b/, /^$/] : /Than|Length/.test(name) ? [0, 1, -1, NaN] : WANTED

type Asking = Record<string, (wanted: unknown) => void>

const said = (ask: () => void): string | null => {
  try {
    ask()
    return null
  } catch (error) {
    return error instanceof Error ? error.message : 'thrown'
  }
}

test.each(MATCHERS)('%s', (name) => {
  for (const got of VALUES)
    for (const wanted of wantedOf(name))
      expect(said(() => (quick(got) as unknown as Asking)[name]?.(wanted))).toBe(
        said(() => (expect(got) as unknown as Asking)[name]?.(wanted)),
      )
})

test.each(['toBe', 'toContain'] as const)('not.%s', (name) => {
  for (const got of VALUES)
    for (const wanted of WANTED)
      expect(said(() => (quick(got).not as unknown as Asking)[name]?.(wanted))).toBe(
        said(() => (expect(got).not as unknown as Asking)[name]?.(wanted)),
      )
})
