/** Answers in other forms and under other labels than the API's, and answers that are not well-behaved. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { AttemptCall, Verdict } from '#ports'
import { ANSWER, ERROR, EVENTS, USAGE } from '../../conformance/provider.ts'
import { listener, type Listener } from '../../support/listener.ts'
import type { Turn } from '../../support/scripted-upstream.ts'
import { bench, frame, JSON_TYPE, PING, SSE_TYPE, type Bench } from './far-side.ts'

let at: Bench
beforeEach(async () => {
  at = await bench()
})
afterEach(() => at.stop())

const OVERLOADED = '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
const STREAM = EVENTS.map(frame).join('')
const TYPES = ['application/json', 'text/event-stream', 'text/plain', 'text/html', '', 'nonsense']

const textOf = ({ body }: Verdict): string | null =>
  body === null ? null : Buffer.from(body).toString()

async function played(
  play: (turn: Turn) => void,
  call: Partial<AttemptCall> = {},
): Promise<{ verdict: Verdict; sink: Listener }> {
  const sink = listener()
  const running = at.send(call, sink)
  play(await at.upstream.next())
  return { verdict: await running.verdict, sink }
}

const whole =
  (body: string | Buffer, type = 'application/json', status = 200) =>
  (turn: Turn) =>
    turn.reply({ status, headers: type === '' ? {} : { 'content-type': type }, body })

const streamed =
  (text: string, size = 10_000) =>
  (turn: Turn) => {
    turn.head({ status: 200, headers: SSE_TYPE })
    const bytes = Buffer.from(text)
    for (let from = 0; from < bytes.length; from += size)
      turn.chunk(bytes.subarray(from, from + size))
    turn.finish()
  }

describe.each(TYPES)('labelled %j', (type) => {
  test('a stream is a stream', async () => {
    const { verdict, sink } = await played(whole(STREAM, type), { stream: true })
    expect(verdict).toMatchObject({ kind: 'ok', usage: USAGE })
    expect(sink.events.all).toEqual(EVENTS)
  })

  test('a whole answer is one', async () => {
    const { verdict } = await played(whole(ANSWER, type))
    expect(verdict).toMatchObject({ kind: 'ok', usage: USAGE })
    expect(textOf(verdict)).toBe(ANSWER)
  })

  test('an error under 200 is known by its type, streamed or not', async () => {
    for (const stream of [true, false]) {
      const { verdict } = await played(whole(OVERLOADED, type), { stream })
      expect(verdict).toMatchObject({ kind: 'overloaded', errorType: 'overloaded_error' })
      expect(textOf(verdict)).toBe(OVERLOADED)
    }
  })

  test('a whole answer to a streamed call is told as a stream', async () => {
    const { verdict, sink } = await played(whole(ANSWER, type), { stream: true })
    expect(verdict).toMatchObject({ kind: 'ok', usage: USAGE, body: null })
    const events = sink.events.all.map((event) => JSON.parse(event) as Record<string, unknown>)
    expect(events.map((event) => event['type'])).toEqual([
      'message_start',
      'content_block_start',
      'content_block_delta',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ])
    expect(events[2]).toMatchObject({ delta: { text: 'Wasser — water' } })
  })

  test('a stream as the answer to a call that is not streamed is told whole', async () => {
    const { verdict, sink } = await played(whole(STREAM, type))
    expect(verdict).toMatchObject({ kind: 'ok', usage: USAGE })
    expect(sink.events.all).toEqual([])
    expect(JSON.parse(textOf(verdict) ?? '')).toMatchObject({
      content: [{ type: 'text', text: 'Wasser — water' }],
      stop_reason: 'end_turn',
      usage: { input_tokens: 10, output_tokens: 20 },
    })
  })

  test('a page is none', async () => {
    for (const stream of [true, false]) {
      const { verdict } = await played(whole('<html><title>Log in</title>', type), { stream })
      expect(verdict).toMatchObject({ kind: 'broken', cause: 'content_type' })
      expect(textOf(verdict)).toContain('Log in')
    }
  })
})

describe('errors under 200', () => {
  test.each([
    ['{"type":"error","error":{"type":"rate_limit_error","message":"m"}}', 'throttled'],
    ['{"type":"error","error":{"type":"api_error","message":"m"}}', 'broken'],
    ['{"type":"error","error":{"type":"invalid_request_error","message":"m"}}', 'rejected'],
    ['{"error":{"message":"m"}}', 'rejected'],
    ['{"error":"m"}', 'rejected'],
    ['{"message":"m"}', 'rejected'],
    ['{"detail":"m"}', 'rejected'],
    ['data: {"error":{"type":"overloaded_error","message":"m"}}\n\n', 'overloaded'],
    [
      'event: message\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n',
      'overloaded',
    ],
    ['event: error\ndata: no room\n\n', 'rejected'],
    ['event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}', 'overloaded'],
    ['\uFEFF{"type":"error","error":{"type":"overloaded_error","message":"m"}}', 'overloaded'],
  ])('%j is %s', async (body, kind) => {
    for (const stream of [true, false]) {
      const { verdict } = await played(whole(body, 'text/event-stream'), { stream })
      expect(verdict.kind).toBe(kind)
      expect(JSON.parse(textOf(verdict)?.replace(/^\uFEFF/, '') ?? '')).toMatchObject({
        error: { type: expect.any(String) as string },
      })
    }
  })

  test('an object that is neither is no answer to a streamed call', async () => {
    const { verdict } = await played(whole('{}'), { stream: true })
    expect(verdict).toMatchObject({ kind: 'broken', cause: 'no_message' })
  })

  test('a stream that cannot be told whole is not asked for three times', async () => {
    const odd = '{"type":"content_block_delta","index":0,"delta":{"type":"tide_delta"}}'
    const { verdict } = await played(whole(frame(EVENTS[0] ?? '') + frame(odd), 'text/plain'))
    expect(verdict).toMatchObject({ kind: 'rejected', cause: 'wrong_form', alarm: true })
  })
})

describe('the grammar of a stream', () => {
  const unnamed = EVENTS.map((data) => `data: ${data}\n\n`).join('')
  const spellings: [string, string][] = [
    ['events named message', unnamed.replaceAll('data:', 'event: message\ndata:')],
    ['events without a name', unnamed],
    ['events named otherwise', unnamed.replaceAll('data:', 'event: content_block_stop\ndata:')],
    ['a bare CR', STREAM.replaceAll('\n', '\r')],
    ['CRLF', STREAM.replaceAll('\n', '\r\n')],
    ['a byte order mark', `\uFEFF${STREAM}`],
    ['blank lines first', `\n\r\n\n${STREAM}`],
    ['comments', STREAM.replaceAll('event:', ': hello\n: \n:\nevent:')],
    ['no space', STREAM.replaceAll(': {', ':{').replaceAll('event: ', 'event:')],
    ['ids and delays', STREAM.replaceAll('event:', 'id: 7\nretry: 1000\nfield\nevent:')],
    ['data in several lines', STREAM.replaceAll('data: {', 'data: {\ndata: ')],
    ['empty data first', `data:\n\n${STREAM}`],
    ['empty data between', STREAM.replaceAll('event:', 'data:\n\ndata\n\nevent:')],
    [
      'empty data under a name',
      STREAM.replaceAll('event:', 'event: message_stop\ndata: \n\nevent:'),
    ],
    ['pings without a name', STREAM.replaceAll('event:', 'data: {"type":"ping"}\n\nevent:')],
    ['pings under another name', `event: message_start\ndata: {"type": "ping"}\n\n${STREAM}`],
    ['the end mark of another API', `${STREAM}data: [DONE]\n\n`],
    ['words that are no JSON', `data: hello\n\nevent: note\ndata: x\n\n${STREAM}`],
    ['no blank line at the end', STREAM.trimEnd()],
    ['no line end at the end', `${STREAM.trimEnd()}`],
  ]

  test.each(spellings)('%s', async (name, text) => {
    for (const size of [10_000, 1]) {
      const { verdict, sink } = await played(streamed(text, size), { stream: true })
      expect(verdict).toMatchObject({ kind: 'ok', usage: USAGE })
      const strip = (list: readonly string[]) => list.map((data) => data.replace('\n', ''))
      expect(name === 'data in several lines' ? strip(sink.events.all) : sink.events.all).toEqual(
        EVENTS,
      )
    }
  })

  test('a stream whose last event breaks off is not complete', async () => {
    const { verdict } = await played(streamed(STREAM.slice(0, -6)), { stream: true })
    expect(verdict).toMatchObject({ kind: 'cut' })
  })
})

describe('transports that are not well-behaved', () => {
  test('1xx come before the answer', async () => {
    const { verdict } = await played((turn) => {
      turn.raw('HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n')
      turn.reply({ status: 200, headers: JSON_TYPE, body: ANSWER })
    })
    expect(verdict).toMatchObject({ kind: 'ok', status: 200 })
  })

  test('101 is no answer', async () => {
    const { verdict } = await played((turn) =>
      turn.raw('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
    )
    expect(verdict.kind).toBe('fault')
  })

  test.each([204, 205, 304])('%s without a body is no answer', async (status) => {
    const { verdict } = await played((turn) =>
      turn.raw(`HTTP/1.1 ${status} No\r\n${status === 205 ? 'content-length: 0\r\n' : ''}\r\n`),
    )
    expect(verdict.kind).toBe(status === 304 ? 'rejected' : 'broken')
  })

  test('trailers, chunk extensions, and a length that nobody said', async () => {
    const size = Buffer.byteLength(ANSWER).toString(16)
    const { verdict } = await played((turn) =>
      turn.raw(
        'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n' +
          `${size};why=not\r\n${ANSWER}\r\n0\r\nx-trailer: 1\r\n\r\n`,
      ),
    )
    expect(textOf(verdict)).toBe(ANSWER)
    const open = at.send()
    const turn = await at.upstream.next()
    turn.raw(`HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n${ANSWER}`)
    turn.end()
    expect(await open.verdict).toMatchObject({ kind: 'ok' })
  })

  test.each([
    ['longer than the body', Buffer.byteLength(ANSWER) + 10],
    ['shorter than the body', 10],
    ['nonsense', 'ten'],
  ])('a length that is %s', async (_name, length) => {
    const running = at.send()
    const turn = await at.upstream.next()
    turn.raw(`HTTP/1.1 200 OK\r\ncontent-length: ${length}\r\n\r\n${ANSWER}`)
    turn.end()
    expect(['broken', 'fault']).toContain((await running.verdict).kind)
    const next = at.send()
    ;(await at.upstream.next()).reply({ status: 200, headers: JSON_TYPE, body: ANSWER })
    expect(await next.verdict).toMatchObject({ kind: 'ok' })
  })
})

describe('bounds', () => {
  test('a large answer is passed on and its usage found, and none of it parsed', async () => {
    const parse = vi.spyOn(JSON, 'parse')
    try {
      const usage = '"usage":{"input_tokens":5,"output_tokens":6}'
      const body = Buffer.from(`{"a":[${'{},'.repeat(5_000_000)}{}],${usage},"content":[]}`)
      const running = at.send()
      const turn = await at.upstream.next()
      turn.head({ status: 200, headers: JSON_TYPE })
      for (let from = 0; from < body.length; from += 1_000_000)
        turn.chunk(body.subarray(from, from + 1_000_000))
      turn.finish()
      const verdict = await running.verdict
      expect(verdict).toMatchObject({ kind: 'ok', usage: { inputTokens: 5, outputTokens: 6 } })
      expect(body.equals(verdict.body ?? new Uint8Array())).toBe(true)
      const sizes = parse.mock.calls.map(([text]) => text.length)
      expect(Math.max(0, ...sizes)).toBeLessThan(100_000)
    } finally {
      parse.mockRestore()
    }
  })

  test('a large one that is not closed is broken, and an error in it is found', async () => {
    const filler = `"a":[${'{},'.repeat(400_000)}{}]`
    for (const [body, cause] of [
      [`{${filler}`, 'not_json'],
      [
        `{"type":"error","error":{"type":"overloaded_error","message":"m"},${filler}}`,
        'overloaded_event',
      ],
    ] as const) {
      const { verdict } = await played(whole(body))
      expect(verdict.cause).toBe(cause)
    }
  })

  test.each(['data\n', 'data:\r', ': hello\n', 'event: x\n', 'x'])(
    'lines of %j for ever are an event that is too large',
    async (line) => {
      await at.stop()
      at = await bench({ eventBytesMax: 100_000 })
      const running = at.send({ stream: true })
      const turn = await at.upstream.next()
      turn.head({ status: 200, headers: SSE_TYPE })
      turn.chunk(line.repeat(100_001))
      await turn.closed
      expect(await running.verdict).toMatchObject({ kind: 'broken', cause: 'too_large' })
    },
  )

  test('a stream has a bound as a whole, whatever it says', async () => {
    await at.stop()
    at = await bench({ streamBytesMax: 100_000 })
    const running = at.send({ stream: true })
    const turn = await at.upstream.next()
    turn.head({ status: 200, headers: SSE_TYPE })
    turn.chunk(PING.repeat(5_000))
    await turn.closed
    expect(await running.verdict).toMatchObject({ kind: 'broken', cause: 'too_large' })
  })
})

test('an error whose body does not end is told by what came of it', async () => {
  const sink = listener()
  const running = at.send({}, sink)
  const turn = await at.upstream.next()
  turn.head({ status: 529, headers: JSON_TYPE })
  turn.chunk(OVERLOADED)
  await sink.firstBytes.take(1)
  // The rest of what was written is read before time moves on.
  const other = at.send()
  ;(await at.upstream.next()).reply({ status: 200, headers: JSON_TYPE, body: ANSWER })
  await other.verdict
  at.clock.advance(5_000)
  const verdict = await running.verdict
  expect(verdict).toMatchObject({ kind: 'overloaded', cause: 'overloaded' })
  expect(textOf(verdict)).toBe(OVERLOADED)
  await turn.closed
})

describe('what is asked of whoever asks again', () => {
  const says = async (status: number, header: string | null, body = ERROR): Promise<Verdict> => {
    const asked = header === null ? {} : { 'x-should-retry': header }
    const { verdict } = await played((turn) =>
      turn.reply({ status, headers: { ...JSON_TYPE, ...asked }, body }),
    )
    return verdict
  }

  test('x-should-retry: false is kept, and true only where it makes sense', async () => {
    expect(await says(529, 'false')).toMatchObject({ kind: 'overloaded', notAgain: true })
    expect((await says(529, 'true')).notAgain).toBeUndefined()
    expect((await says(529, 'perhaps')).notAgain).toBeUndefined()
    expect(await says(404, 'true')).toMatchObject({ kind: 'conflict', cause: 'asked_to_retry' })
    expect(await says(401, 'true')).toMatchObject({ kind: 'rejected' })
    expect(await says(409, null)).toMatchObject({ kind: 'conflict', cause: 'conflict' })
  })

  test('another Headgate that has tried has tried', async () => {
    const of = (attempts: number): string =>
      JSON.stringify({
        type: 'error',
        error: { type: 'overloaded_error', message: 'm' },
        headgate: { code: 'retries_exhausted', retryable: true, retry_after_ms: 1, attempts },
      })
    expect(await says(529, null, of(3))).toMatchObject({ notAgain: true })
    expect((await says(529, null, of(0))).notAgain).toBeUndefined()
  })

  test('what was said of the time reaches the verdict uncut', async () => {
    const { verdict } = await played((turn) =>
      turn.reply({ status: 429, headers: { ...JSON_TYPE, 'retry-after': '124633' }, body: ERROR }),
    )
    expect(verdict).toMatchObject({
      kind: 'throttled',
      retryAfterMs: 300_000,
      toldRetryAfterMs: 124_633_000,
      alarm: true,
    })
  })
})

describe('what was used before an end of ours', () => {
  test.each(['cancel', 'deadline', 'preempt', 'drain'] as const)('%s', async (why) => {
    const sink = listener()
    const running = at.send({ stream: true }, sink)
    const turn = await at.upstream.next()
    turn.head({ status: 200, headers: { ...SSE_TYPE, 'request-id': 'req_7' } })
    turn.chunk(EVENTS.slice(0, 3).map(frame).join(''))
    await sink.events.take(3)
    expect(running.seen?.()).toMatchObject({ usage: { inputTokens: 10 }, requestId: 'req_7' })
    running.abort(why)
    const { usage, requestId } = await running.verdict
    expect(usage).toMatchObject({ inputTokens: 10, cacheReadTokens: 3 })
    expect(requestId).toBe('req_7')
  })
})

describe('side calls', () => {
  const ask = async (
    kind: 'count_tokens' | 'models',
    play: (turn: Turn) => void,
  ): Promise<{ status: number; said: unknown; retryAfterMs: number | null }> => {
    const asked = at.provider.aux({
      upstream: { name: 'main', baseUrl: at.upstream.url, apiKey: 'key', version: 'v' },
      headers: {},
      kind,
      body: kind === 'models' ? null : Buffer.from('{}'),
      timeoutMs: 1_000,
    })
    play(await at.upstream.next())
    const { status, body, retryAfterMs = null } = await asked
    return { status, said: JSON.parse(Buffer.from(body).toString()), retryAfterMs }
  }
  const api = (type: string) => ({ type: 'error', error: { type } })

  describe.each(['count_tokens', 'models'] as const)('%s', (kind) => {
    test.each<[string, (turn: Turn) => void]>([
      ['a redirect', (turn) => turn.reply({ status: 307, headers: { location: '/x' } })],
      ['a page', whole('<html>')],
      ['nothing', whole('')],
      ['half an object', whole('{"input_tokens":')],
      ['a list', whole('[1]')],
      ['204', (turn) => turn.raw('HTTP/1.1 204 No Content\r\n\r\n')],
      ['a stream', streamed(STREAM)],
      ['too much', whole(`{"input_tokens":1,"x":"${'x'.repeat(1_000_000)}"}`)],
      ['a reset', (turn) => turn.reset()],
      [
        'half an answer',
        (turn) => {
          turn.raw('HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"input_tokens":7}')
          turn.reset()
        },
      ],
    ])('%s is none of the API', async (_name, play) => {
      const { status, said } = await ask(kind, play)
      expect(status).toBe(502)
      expect(said).toMatchObject(api('api_error'))
    })

    test('an error under 200 has the status of its type', async () => {
      const { status, said } = await ask(kind, whole(OVERLOADED))
      expect([status, said]).toEqual([529, JSON.parse(OVERLOADED)])
      const flat = await ask(kind, whole('{"message":"no room"}'))
      expect(flat).toMatchObject({ status: 502, said: { error: { message: 'no room' } } })
    })

    test('a refusal keeps its words, and what it said of the time', async () => {
      for (const [text, ms] of [
        ['30', 30_000],
        ['120', 120_000],
        ['124633', 124_633_000],
        ['Thu, 01 Jan 2026 00:00:20 GMT', 20_000],
      ] as const) {
        const answer = await ask(kind, (turn) =>
          turn.reply({ status: 429, headers: { 'retry-after': text }, body: '{"detail":"slow"}' }),
        )
        expect(answer).toMatchObject({ status: 429, retryAfterMs: ms })
        expect(answer.said).toEqual({
          type: 'error',
          error: { type: 'rate_limit_error', message: 'slow' },
        })
      }
    })
  })

  test('a byte order mark is taken off', async () => {
    expect((await ask('count_tokens', whole('\uFEFF{"input_tokens":7}'))).said).toEqual({
      input_tokens: 7,
    })
  })
})
