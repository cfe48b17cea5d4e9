/** A stream as its reader finds it: what waits for it, what it may leave unread, and how it ends. */
import { beforeEach, describe, expect, test } from 'vitest'
import { AnswerStream, isHeadgateError } from '#client'

const PING = '{"type":"ping"}'
const BUFFER_BYTES = 100

let stream: AnswerStream
/** Why it was left, each time. */
let left: string[]

beforeEach(() => {
  left = []
  stream = new AnswerStream({
    id: 'x',
    bufferBytesMax: BUFFER_BYTES,
    leave: (why) => void left.push(why),
  })
})

const hear = (text: string, headers: Record<string, string> = {}) =>
  stream.hear({
    subject: '_INBOX_acme.x',
    nobody: false,
    data: new TextEncoder().encode(text),
    header: (name) => headers[name],
  })
const ends = (events: number) =>
  hear('', { 'Headgate-Outcome': 'completed', 'Headgate-Events': String(events) })

async function readAll(options?: { pings: boolean }): Promise<string[]> {
  const all: string[] = []
  for await (const data of stream.chunks(options)) all.push(new TextDecoder().decode(data))
  return all
}
const codeOf = async (promise: Promise<unknown>): Promise<unknown> => {
  const error = await promise.catch((caught: unknown) => caught)
  return isHeadgateError(error) ? error.code : error
}

describe('signs of life', () => {
  test('come between the events where they are asked for', async () => {
    const reading = readAll({ pings: true })
    for (const text of [PING, '{"n":1}', PING]) {
      hear(text)
      await new Promise((resolve) => setImmediate(resolve))
    }
    ends(1)
    expect(await reading).toEqual([PING, '{"n":1}', PING])
  })

  test('are none where they are not, and are not counted', async () => {
    hear(PING)
    hear('{"n":1}')
    ends(1)
    expect(await readAll()).toEqual(['{"n":1}'])
  })

  test('do not pile up for a slow reader, and cost it nothing', async () => {
    for (let i = 0; i < 100; i++) hear(PING)
    hear('{"n":1}')
    for (let i = 0; i < 100; i++) hear(PING)
    ends(1)
    expect(await readAll({ pings: true })).toEqual([PING, '{"n":1}'])
  })
})

describe('what is left unread', () => {
  const event = (bytes: number) => `"${'e'.repeat(bytes - 2)}"`

  test('may be as much as the bound and one event beside it', async () => {
    hear(event(40))
    hear(event(40))
    hear(event(60))
    hear(event(20))
    ends(4)
    expect((await readAll()).length).toBe(4)
    expect(left).toEqual(['done'])
  })

  test('ends the stream with one byte more', async () => {
    for (const bytes of [40, 40, 60, 21]) hear(event(bytes))
    expect(left).toEqual(['abandoned'])
    expect(await codeOf(stream.final)).toBe('reader_too_slow')
    expect(await codeOf(readAll())).toBe('reader_too_slow')
  })

  test('is one event, however large, and bounds nothing once it is read', async () => {
    const reading = stream.chunks()
    for (let i = 0; i < 5; i++) {
      hear(event(10 * BUFFER_BYTES))
      expect((await reading.next()).done).toBe(false)
    }
    hear(event(60))
    hear(event(60))
    hear(event(40))
    expect(left).toEqual([])
    hear(event(2))
    expect(left).toEqual(['abandoned'])
  })
})

describe('its end', () => {
  test('is told once, with its account; nothing is heard after it', async () => {
    ends(0)
    ends(0)
    hear('{"late":1}')
    stream.fail(new Error('late'), 'abandoned')
    expect((await stream.final).events).toBe(0)
    expect(await readAll()).toEqual([])
    expect(left).toEqual(['done'])
  })

  test.each([
    ['fewer events than were sent', () => ends(2), 'gap'],
    ['no account', () => hear(''), 'gap'],
    [
      'a body',
      () => hear('{}', { 'Headgate-Outcome': 'completed', 'Headgate-Events': '1' }),
      'bad_answer',
    ],
    ['an account of a whole answer', () => hear('', { 'Headgate-Outcome': 'completed' }), 'gap'],
  ])('with %s is none', async (_, end, code) => {
    hear('{"n":1}')
    end()
    expect(await codeOf(stream.final)).toBe(code)
    expect(await codeOf(readAll())).toBe(code)
    expect(left).toEqual(['done'])
  })

  test('before it is read to its end is told to Headgate, after it is not', async () => {
    hear('{"n":1}')
    for await (const _ of stream) break
    expect(left).toEqual(['abandoned'])
    expect(await codeOf(stream.final)).toBe('closed')
  })

  test('wakes a reader that waits', async () => {
    const reading = readAll()
    await new Promise((resolve) => setImmediate(resolve))
    stream.fail(new Error('gone'))
    await expect(reading).rejects.toThrow('gone')
    expect(left).toEqual(['done'])
  })
})

test('it is read once', async () => {
  ends(0)
  await readAll()
  await expect(readAll()).rejects.toThrow(TypeError)
})
