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
