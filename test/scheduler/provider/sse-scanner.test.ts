import { expect, test } from 'vitest'
import fc from 'fast-check'
import { SseScanner } from '../../../services/scheduler/provider/sse-scanner.ts'

type Seen = [name: string, data: string]

function scan(chunks: readonly Buffer[], eventBytesMax = 1_000_000): { seen: Seen[]; ok: boolean } {
  const seen: Seen[] = []
  const scanner = new SseScanner({
    on: (name, data) => seen.push([name, data.toString()]),
    eventBytesMax,
  })
  return { ok: chunks.every((chunk) => scanner.push(chunk)), seen }
}

/** Cuts bytes at the given places, wherever those fall. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b)
  return [0, ...at].map((start, index) => bytes.subarray(start, at[index] ?? bytes.length))
}

const events = fc.array(
  fc.record({
    name: fc.constantFrom('', 'ping', 'message_start', 'content_block_delta', 'error'),
    lines: fc.array(
      fc.string({ unit: 'grapheme', maxLength: 20 }).map((line) => line.replace(/[\r\n]/g, '~')),
      { minLength: 1, maxLength: 3 },
    ),
    comment: fc.boolean(),
    space: fc.boolean(),
  }),
  { maxLength: 8 },
)

test('any chunking of a stream gives the same events, whatever its line ends', () => {
  fc.assert(
    fc.property(
      events,
      fc.constantFrom('\n', '\r\n'),
      fc.array(fc.nat(), { maxLength: 30 }),
      (list, eol, places) => {
        const text = list
          .map(({ name, lines, comment, space }) =>
            [
              ...(comment ? [': a comment', 'id: 7'] : []),
              ...(name === '' ? [] : [`event:${space ? ' ' : ''}${name}`]),
              // A leading space belongs to the framing, so one is always given where the text has one.
              ...lines.map((line) => `data:${space || line.startsWith(' ') ? ' ' : ''}${line}`),
              '',
              '',
            ].join(eol),
          )
          .join('')
        const expected = list.map(({ name, lines }): Seen => [name, lines.join('\n')])
        expect(scan(cut(Buffer.from(text), places))).toEqual({ ok: true, seen: expected })
      },
    ),
  )
})

/** The grammar of the standard, said as plainly as it can be, on the whole text. */
function reference(text: string): Seen[] {
  const seen: Seen[] = []
  let [name, data] = ['', '']
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/)
  // What stands behind the last line end is no line.
  for (const line of lines.slice(0, -1)) {
    if (line === '') {
      if (data !== '') seen.push([name, data.slice(0, -1)])
      ;[name, data] = ['', '']
      continue
    }
    const colon = line.indexOf(':')
    const field = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (field === 'event') name = value
    if (field === 'data') data += `${value}\n`
  }
  return seen
}

test('whatever comes, in whatever pieces, is read as the standard reads it', () => {
  const piece = fc.constantFrom(
    ...[
      'data',
      'event',
      'id',
      'retry',
      'dat',
      ':',
      ' ',
      '\n',
      '\r',
      '\r\n',
      '\n\n',
      '\r\r',
      '\r\n\r\n',
    ],
    ...[
      '{"type":"ping"}',
      'data: x',
      'data:x\n',
      'event: message\n',
      ': hi\n',
      'é🌊',
      '\u0000',
      '\uFEFF',
    ],
  )
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.array(piece, { maxLength: 40 }),
      fc.array(fc.nat(), { maxLength: 30 }),
      (marked, pieces, places) => {
        const text = (marked ? '\uFEFF' : '') + pieces.join('')
        expect(scan(cut(Buffer.from(text), places)).seen).toEqual(reference(text))
      },
    ),
    { numRuns: 1_000 },
  )
})

test('what begins like a byte order mark and is none is a line', () => {
  const bytes = Buffer.concat([Buffer.from([0xef, 0xbb]), Buffer.from('\ndata: x\n\n')])
  const single = Array.from(bytes, (_, index) => bytes.subarray(index, index + 1))
  expect(scan(single).seen).toEqual([['', 'x']])
  expect(scan([bytes]).seen).toEqual([['', 'x']])
})

test('at the end, what has no blank line is told', () => {
  const seen: Seen[] = []
  const scanner = new SseScanner({
    on: (name, data) => seen.push([name, data.toString()]),
    eventBytesMax: 100,
  })
  scanner.push(Buffer.from('data: a\n\nevent: b\ndata: c'))
  expect(seen).toEqual([['', 'a']])
  scanner.end()
  scanner.end()
  expect(seen).toEqual([
    ['', 'a'],
    ['b', 'c'],
  ])
})

test('every byte counts: lines of data that say nothing, names, comments, one byte at a time', () => {
  for (const line of ['data\n', 'data:\r', 'event: x\n', ':\n', 'id\n', 'x'])
    for (const size of [1, 7, 1_000]) {
      const bytes = Buffer.from(line.repeat(200))
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.subarray(i * size, (i + 1) * size),
      )
      expect(scan(chunks, 199).ok).toBe(false)
    }
})

test('a megabyte in pieces of a byte costs a few times its size', () => {
  const scanner = new SseScanner({ on: () => {}, eventBytesMax: 16_000_000 })
  const whole = Buffer.from(`data: ${'x'.repeat(1_000_000)}`)
  for (let at = 0; at < whole.length; at += 1)
    if (!scanner.push(whole.subarray(at, at + 1))) throw new Error('too large')
  scanner.end()
})

test('byte by byte, too', () => {
  const text = 'event: a\r\ndata: {"x":"Größe 🌊"}\r\n\r\n\n\ndata: two\ndata\ndata:  three\n\n'
  const bytes = Buffer.from(text)
  const single = Array.from(bytes, (_, index) => bytes.subarray(index, index + 1))
  expect(scan(single).seen).toEqual([
    ['a', '{"x":"Größe 🌊"}'],
    ['', 'two\n\n three'],
  ])
})

test('what only looks like a field is none, and a name alone is no event', () => {
  const text =
    'dataset: 1\ndat: 2\nevents: x\neven: y\ndata: real\n\nevent: lonely\n\ndata: next\n\n'
  expect(scan([Buffer.from(text)]).seen).toEqual([
    ['', 'real'],
    ['', 'next'],
  ])
})

test('an event that has not ended is no event', () => {
  expect(scan([Buffer.from('event: message_stop\ndata: {}\n')]).seen).toEqual([])
})

test('one event may grow to the limit and no further, in one line, many lines or comments', () => {
  const within = `data: ${'x'.repeat(90)}\n\n`
  expect(scan([Buffer.from(within.repeat(100))], 100).ok).toBe(true)
  expect(scan([Buffer.from('data: '), Buffer.from('x'.repeat(101))], 100).ok).toBe(false)
  expect(scan([Buffer.from(`data: ${'x'.repeat(30)}\n`.repeat(4))], 100).ok).toBe(false)
  expect(
    scan(
      Array.from({ length: 200 }, () => Buffer.from(':')),
      100,
    ).ok,
  ).toBe(false)
})
