/** A batch on its way in: what of it is handed over, and when. */
import { beforeEach, expect, test } from 'vitest'
import type { Headgate } from '#client'
import { receive } from '../../services/gateway/receive-batch.ts'

/** What was asked for the batch, in order, and how many chunks of its body had been read by then. */
let asked: [op: string, data: string, read: number][]
/** How many chunks of the body were read. */
let read: number

beforeEach(() => {
  asked = []
  read = 0
})

const opened = { id: 'b_1', entry_bytes: 100, page_bytes: 60, entries_max: 3 }
const entry = (name: string, params = '{"n":1}') => `{"custom_id":"${name}","params":${params}}`

async function received(chunks: string[], bytesMax = 1_000): Promise<string> {
  const client = {
    async batch(op: string, data: string | Uint8Array) {
      asked.push([op, Buffer.from(data as Uint8Array).toString(), read])
      return Buffer.from('kept')
    },
  }
  async function* body() {
    for (const chunk of chunks) {
      read += 1
      yield Buffer.from(chunk)
    }
  }
  const kept = receive({ client: client as unknown as Headgate, opened, body: body(), bytesMax })
  return Buffer.from(await kept).toString()
}

test('entries are handed over page by page while the body is read, and it is kept when all of it was', async () => {
  const body = [`{"requests":[${entry('a')},`, `${entry('b')},`, `${entry('c', '{"n":23}')}]`, '}']
  expect(await received(body)).toBe('kept')
  expect(asked).toEqual([
    ['page', '{"id":"b_1","page":0,"entries":[["a",7],["b",7]]}\n{"n":1}{"n":1}', 3],
    ['page', '{"id":"b_1","page":1,"entries":[["c",8]]}\n{"n":23}', 4],
    ['commit', '{"id":"b_1","pages":2,"entries":3}', 4],
  ])
})

test.each<[string, string[], string]>([
  ['no JSON', ['{"requests":[x', ']}'], 'requests.0: expected an object'],
  ['an end too early', ['{"requests":[', entry('a')], 'body: expected JSON; it ends too early'],
  ['no entries', ['{"requests":[', ']}'], 'requests: expected at least one entry'],
  ['a name twice', [`{"requests":[${entry('a')},`, `${entry('a')}]}`], 'requests.1.custom_id'],
  ['a name that is none', [`{"requests":[${entry('a b')}`, ']}'], 'requests.0.custom_id'],
  [
    'more entries than may be',
    [`{"requests":[${['a', 'b', 'c', 'd'].map((name) => entry(name)).join(',')}`, ']}'],
    'requests: expected at most 3 entries (batches.entries_max)',
  ],
])('of a batch with %s nothing is kept, and it is read to its end', async (_what, body, says) => {
  await expect(received(body)).rejects.toThrow(says)
  expect(asked.filter(([op]) => op === 'commit')).toEqual([])
  expect(read).toBe(body.length)
})

test('a body over its bound is read no further', async () => {
  const body = [`{"requests":[${entry('a')}`, ' '.repeat(100), ']}']
  await expect(received(body, 100)).rejects.toMatchObject({
    tooLarge: true,
    message: 'the body is over 100 bytes (gateway.batch_bytes)',
  })
  expect([read, asked]).toEqual([2, []])
})
