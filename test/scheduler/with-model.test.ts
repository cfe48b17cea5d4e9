import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { withModel } from '../../services/scheduler/loop/with-model.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (of: Uint8Array): string => new TextDecoder().decode(of)
const swapped = (body: string): string => text(withModel(bytes(body), 'other'))

describe('a body for another model', () => {
  test('keeps every other byte: numbers, spaces, escapes', () => {
    expect(
      swapped('{ "max_tokens":1e1 , "model" : "claude" ,"n":12345678901234567890,"s":"\\u00e9"}'),
    ).toBe('{ "max_tokens":1e1 , "model" : "other" ,"n":12345678901234567890,"s":"\\u00e9"}')
  })

  test('leaves a model alone that is not at the top', () => {
    const body =
      '{"a":{"model":"x"},"l":[{"model":"y"},"model"],"model":"claude","s":"\\"model\\":"}'
    expect(swapped(body)).toBe(body.replace('"claude"', '"other"'))
  })

  test('takes a key that is written with escapes, and each of two', () => {
    expect(swapped('{"\\u006dodel":"a"}')).toBe('{"\\u006dodel":"other"}')
    const all = Array.from('model', (one) => `\\u00${one.charCodeAt(0).toString(16)}`).join('')
    expect(swapped(`{"${all}":"a"}`)).toBe(`{"${all}":"other"}`)
    expect(swapped('{"model":"a","model":"b"}')).toBe('{"model":"other","model":"other"}')
    expect(swapped('{"model":{"model":1},"model":"b"}')).toBe(
      '{"model":{"model":1},"model":"other"}',
    )
  })

  test('any JSON reads as before but for its model', () => {
    const value = fc.jsonValue({ maxDepth: 4 })
    const key = fc.oneof(fc.string(), fc.constantFrom('model', 'a"b', '\\', 'mod\u00e9l'))
    fc.assert(
      fc.property(
        fc.dictionary(key, value),
        fc.constantFrom(undefined, 1, '\t'),
        fc.string(),
        (rest, space, model) => {
          const body = { ...rest, model }
          const got: unknown = JSON.parse(
            text(withModel(bytes(JSON.stringify(body, null, space)), 'other')),
          )
          expect(got).toEqual(JSON.parse(JSON.stringify({ ...body, model: 'other' })))
        },
      ),
      { numRuns: 500 },
    )
  })
})
