/** The body of a batch, read as it comes. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BodyFault, RequestReader, type Entry } from '../../services/gateway/batch-reader.ts'

function readAll(body: string | Buffer, pieces: number[] = [], entryBytesMax = 10_000): Entry[] {
  const entries: Entry[] = []
  const reader = new RequestReader({ entryBytesMax, take: (entry) => entries.push(entry) })
  const bytes = Buffer.from(body)
  let from = 0
  for (const length of [...pieces, bytes.length]) {
    // A buffer that is used again: nothing of it may be kept.
    const chunk = Buffer.from(bytes.subarray(from, from + length))
    reader.push(chunk)
    chunk.fill(0)
    from += length
  }
  reader.end()
  return entries
}
const shown = (entries: Entry[]) =>
  entries.map(({ customId, params }) => [customId, params === null ? null : params.toString()])

/** JSON with spaces where they may be, and other members beside ours. */
const space = fc.constantFrom('', ' ', '\n', '\r\n\t ')
const params = fc.json({ maxDepth: 4 }).map((json) => `{"x": ${json} }`)
const other = fc
  .tuple(fc.string(), fc.json({ maxDepth: 3 }))
  .filter(([key]) => !['requests', 'custom_id', 'params'].includes(key))
  .map(([key, json]) => `${JSON.stringify(key)}:${json}`)
const entry = fc.record({ name: fc.string({ maxLength: 40 }), params, other, space })

test('each entry is what JSON.parse finds, byte for byte, however the body is cut', () => {
  fc.assert(
    fc.property(
      fc.array(entry, { maxLength: 6 }),
      fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 200 }),
      other,
      (entries, pieces, beside) => {
        const list = entries.map(
          ({ name, params: body, other: more, space: s }) =>
            `${s}{${s}"custom_id"${s}:${s}${JSON.stringify(name)},${more}${s},"par\\u0061ms":${body}${s}}`,
        )
        const body = `{${beside},"requests":[${list.join(',')}] }\n`
        expect(JSON.parse(body)).toBeDefined()
        expect(shown(readAll(body, pieces))).toEqual(
          entries.map(({ name, params: text }) => [name, text]),
        )
      },
    ),
  )
})

test.each([
  ['nothing', ''],
  ['another kind', '[]'],
  ['two bodies', '{"requests":[]}{}'],
  ['a list twice', '{"requests":[],"requests":[]}'],
  ['no list', '{"requests":{}}'],
  ['a comma too many', '{"requests":[{"params":{}},]}'],
  ['a comma too few', '{"requests":[{"params":{} "a":1}]}'],
  ['a key that is none', '{"requests":[{params:{}}]}'],
  ['a value that is none', '{"requests":[{"a":nil}]}'],
  ['a value that is missing', '{"requests":[{"a":}]}'],
  ['an entry that is none', '{"requests":[1]}'],
  ['a name that is none', '{"requests":[{"custom_id":1}]}'],
  ['a broken name', '{"requests":[{"custom_id":"\\x"}]}'],
  ['params that are none', '{"requests":[{"params":[]}]}'],
  ['half a body', '{"requests":[{"params":{"a":"}'],
])('%s is a fault', (_what, body) => {
  expect(() => readAll(body)).toThrow(BodyFault)
})

test('an entry is as large as it may be, and no larger; what is beside it is not kept', () => {
  const of = (bytes: number) => `{"a":"${'x'.repeat(bytes - 8)}"}`
  const body = (bytes: number) =>
    `{"requests":[{"params":${of(bytes)},"z":"${'y'.repeat(5_000)}"}]}`
  expect(readAll(body(500), [], 500)[0]?.params?.length).toBe(500)
  expect(() => readAll(body(501), [], 500)).toThrow('requests.0.params: expected at most 500 bytes')
})

test('a member of the body that is called as one of an entry belongs to no entry', () => {
  const entries = '"requests":[{"custom_id":"a","params":{"n":1}}]'
  const large = `{"x":"${'y'.repeat(600)}"}`
  for (const beside of [
    '"custom_id":"b"',
    '"custom_id":7',
    '"params":{"n":2}',
    `"params":${large}`,
  ])
    for (const body of [`{${beside},${entries}}`, `{${entries},${beside}}`])
      expect(shown(readAll(body, [], 500))).toEqual([['a', '{"n":1}']])
  expect(() => readAll(`{${entries},"custom_id":nil}`)).toThrow('body: expected JSON')
})
