import { expect, test } from 'vitest'
import fc from 'fast-check'
import { JsonSkim } from '../../../services/scheduler/provider/json-skim.ts'

function skim(
  text: string | Buffer,
  places: readonly number[] = [],
): Record<string, unknown> | null {
  const bytes = Buffer.from(text)
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b)
  const skimmed = new JsonSkim(['type', 'usage', 'error', 'content'])
  for (const [index, start] of [0, ...at].entries()) skimmed.push(bytes.subarray(start, at[index]))
  return skimmed.whole() ? skimmed.values() : null
}

test('it finds what a parser finds, wherever the bytes are cut', () => {
  const object = fc.dictionary(
    fc.oneof(fc.constantFrom('type', 'usage', 'error', 'content', 'x"\\'), fc.string()),
    fc.jsonValue(),
  )
  fc.assert(
    fc.property(
      object,
      fc.constantFrom(undefined, 1, '\t'),
      fc.array(fc.nat(), { maxLength: 20 }),
      (value, space, places) => {
        const text = JSON.stringify(value, null, space)
        const parsed = JSON.parse(text) as Record<string, unknown>
        const wanted = ['type', 'usage', 'error', 'content'].filter((key) =>
          Object.hasOwn(parsed, key),
        )
        expect(skim(` ${text}\n`, places)).toEqual(
          Object.fromEntries(wanted.map((key) => [key, parsed[key]])),
        )
      },
    ),
  )
})

test.each(['', '[]', '"x"', '7', '{', '{"a":1', '{"a":"', '{}}', '{} x', '{}{}', ']', '{"a":[1}'])(
  '%j is no whole object',
  (text) => {
    expect(skim(text)).toBeNull()
  },
)

test('a value that is too large to be read is there, and null', () => {
  expect(skim(`{"content":"${'x'.repeat(70_000)}","type":"message"}`)).toEqual({
    content: null,
    type: 'message',
  })
})
