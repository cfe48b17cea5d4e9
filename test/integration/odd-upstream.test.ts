/** The unmodified SDK through the door, where the upstream is not the API but something that stands before it. */
import Anthropic from '@anthropic-ai/sdk'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import zlib from 'node:zlib'
import type { HeadgateEvent } from '#ports'
import { openDoor, params, type Door } from '../support/door.ts'
import { scriptedUpstream, type ScriptedUpstream, type Turn } from '../support/scripted-upstream.ts'

const WORDS = 'the planted words of an upstream'
const MESSAGE = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'claude-haiku-4-5',
  content: [
    { type: 'text', text: 'Wasser — water' },
    { type: 'tool_use', id: 'toolu_1', name: 'measure', input: { depth: 7 } },
  ],
  stop_reason: 'tool_use',
  stop_sequence: null,
  usage: { input_tokens: 11, output_tokens: 22 },
}

let upstream: ScriptedUpstream
let door: Door
let asked = 0

beforeEach(async () => {
  upstream = await scriptedUpstream()
  asked = 0
})
afterEach(async () => {
  await door.close()
  await upstream.close()
})

const answers = (answer: (turn: Turn) => void): void =>
  upstream.always((turn) => {
    asked += 1
    answer(turn)
  })
const open = async (yaml = ''): Promise<Door> =>
  (door = await openDoor({ yaml, upstreamUrl: upstream.url }))
const failure = async (
  call: Promise<unknown>,
): Promise<InstanceType<typeof Anthropic.APIError>> => {
  const error: unknown = await call.then(
    () => null,
    (reason: unknown) => reason,
  )
  if (!(error instanceof Anthropic.APIError)) throw new Error('it did not fail as the API fails')
  return error
}

test('a whole message, packed and mislabelled, is streamed to whoever asked for a stream', async () => {
  await open()
  answers((turn) =>
    turn.reply({
      status: 200,
      headers: { 'content-type': 'text/plain', 'content-encoding': 'gzip' },
      body: zlib.gzipSync(JSON.stringify(MESSAGE)),
    }),
  )
  const streamed = await door.sdk().messages.stream(params()).finalMessage()
  expect(streamed).toMatchObject(MESSAGE)
  expect(await door.sdk().messages.create(params())).toMatchObject(MESSAGE)
  expect(asked).toBe(2)
  await door.rest()
})

describe('the words of an error', () => {
  test.each([
    [400, JSON.stringify({ message: WORDS }), 'invalid_request_error'],
    [422, JSON.stringify({ detail: [{ loc: ['body'], msg: WORDS }] }), 'invalid_request_error'],
    [413, `<html><head><title>${WORDS}</title></head></html>`, 'request_too_large'],
    [500, JSON.stringify({ error: WORDS }), 'api_error'],
    [529, `data: ${JSON.stringify({ error: { message: WORDS } })}\n\n`, 'overloaded_error'],
    [503, WORDS, 'api_error'],
  ])('of a %s reach the caller and nobody else', async (status, body, type) => {
    await open('lanes: { interactive: { max_attempts: 2, timeout_ms: 1500 } }')
    const listener = door.scheduler.recording.listen({ queueMax: 10_000 })
    answers((turn) => turn.reply({ status, body }))
    for (const stream of [false, true]) {
      const error = await failure(door.sdk().messages.create(params({ stream })))
      expect(error).toMatchObject({ status, type })
      expect(error.message).toContain(WORDS)
    }
    const counted = await failure(door.sdk().messages.countTokens(params()))
    expect(counted).toMatchObject({ status, type })
    expect(counted.message).toContain(WORDS)
    await door.rest()
    listener.close()
    const events = []
    for (let event = await listener.next(); event !== null; event = await listener.next())
      events.push(event)
    const told = JSON.stringify([door.logged, events, door.scheduler.operator.snapshot()])
    expect(told).not.toContain(WORDS)
    expect(door.logged.length).toBeGreaterThan(0)
  })
})

test.each([
  ['30', '30'],
  ['120', '120'],
  ['124633', '124633'],
  ['2, 7', '7'],
])('retry-after %s is told to callers of messages and count_tokens', async (said, told) => {
  await open('lanes: { interactive: { max_attempts: 1 } }')
  answers((turn) => turn.reply({ status: 429, headers: { 'retry-after': said }, body: '{}' }))
  for (const call of [
    () => door.sdk().messages.create(params()),
    () => door.sdk().messages.countTokens(params()),
  ]) {
    const { status, headers } = await failure(call())
    expect([status, headers?.get('retry-after')]).toEqual([429, told])
  }
})

describe('asking again', () => {
  test('is not done where the upstream says that it is in vain', async () => {
    await open()
    answers((turn) =>
      turn.reply({ status: 529, headers: { 'x-should-retry': 'false' }, body: '{}' }),
    )
    const { headers } = await failure(door.sdk({ maxRetries: 2 }).messages.create(params()))
    expect([asked, headers?.get('x-should-retry')]).toEqual([1, 'false'])
  })

  test.each([500, 529, 429])(
    'is left to a caller whose own deadline has time that Headgate did not use: of a %d',
    async (status) => {
      await open()
      answers((turn) => turn.reply({ status, headers: { 'retry-after': '1' }, body: '{}' }))
      const said = async (headers: Record<string, string>) => {
        const once = { ...headers, 'headgate-max-attempts': '1' }
        const sent = { method: 'POST', body: JSON.stringify(params()), headers: once }
        const answer = await fetch(`${door.url}/v1/messages`, sent)
        // A deadline that is shorter than the pause of a 429 is none to try in.
        expect(await answer.text()).toMatch(/"code":"(retries_exhausted|deadline_\w+)"/)
        return answer.headers.get('x-should-retry')
      }
      expect(await said({})).toBe('false')
      expect(await said({ 'headgate-deadline-ms': '60000' })).toBe(null)
      // Less than the wait that it is told.
      expect(await said({ 'headgate-deadline-ms': '900' })).toBe('false')
      const last = { status: 500, headers: { 'x-should-retry': 'false' }, body: '{}' }
      answers((turn) => turn.reply(last))
      expect(await said({ 'headgate-deadline-ms': '60000' })).toBe('false')
    },
  )

  test('is done of a 409', async () => {
    await open()
    answers((turn) =>
      asked === 1
        ? turn.reply({ status: 409, body: '{"message":"busy"}' })
        : turn.reply({ status: 200, body: JSON.stringify(MESSAGE) }),
    )
    expect(await door.sdk().messages.create(params())).toMatchObject({ id: 'msg_1' })
    expect(asked).toBe(2)
  })

  test('is done by one of two Headgates in a row', async () => {
    await open('lanes: { interactive: { max_attempts: 2, timeout_ms: 1500 } }')
    const outer = await openDoor({ upstreamUrl: door.url })
    try {
      answers((turn) => turn.reply({ status: 500, body: '{"message":"no"}' }))
      const error = await failure(outer.sdk().messages.create(params()))
      expect([asked, error.status]).toEqual([2, 500])
      expect(error.message).toContain('no')
    } finally {
      await outer.close()
    }
  })
})

test.each(['cancelled', 'expired'])('what a %s stream has used is in its account', async (how) => {
  await open()
  const listener = door.scheduler.recording.listen({ queueMax: 10_000 })
  answers((turn) => {
    turn.head({
      status: 200,
      headers: { 'content-type': 'text/event-stream', 'request-id': 'req_7' },
    })
    const message = {
      ...MESSAGE,
      content: [],
      stop_reason: null,
      usage: { input_tokens: 11, output_tokens: 1 },
    }
    turn.chunk(`data: ${JSON.stringify({ type: 'message_start', message })}\n\n`)
  })
  const headers = how === 'expired' ? { 'headgate-deadline-ms': '1500' } : {}
  const stream = await door.sdk().messages.create({ ...params(), stream: true }, { headers })
  const read = (async () => {
    for await (const event of stream) {
      expect(event.type).toBe('message_start')
      if (how === 'cancelled') stream.controller.abort()
    }
  })()
  await read.catch(() => {})
  let settled: HeadgateEvent | undefined
  while (settled === undefined)
    settled = (await listener.next())?.events
      .map(({ event }) => event)
      .find(({ name }) => name === 'request.settled')
  expect(settled.data).toMatchObject({ outcome: how, input_tokens: 11, output_tokens: 1 })
  listener.close()
  await door.rest()
})
