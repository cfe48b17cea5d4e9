import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ANSWER, EVENTS } from '../../conformance/provider.ts'
import { listener } from '../../support/listener.ts'
import { JSON_TYPE, PING, SSE_TYPE, bench, frame, type Bench } from './far-side.ts'

let at: Bench
beforeEach(async () => {
  at = await bench()
})
afterEach(() => at.stop())

describe('what is sent', () => {
  test("the caller's body, byte for byte, with the caller's headers and our key", async () => {
    const body = Buffer.from('{ "model":"x",\n "temperature":0.70, "text":"Größe \\u00e9" }  ')
    const running = at.send({
      body,
      headers: { version: '2023-01-01', beta: 'a,b', traceparent: '00-1-2-01', tracestate: 'k=v' },
    })
    const turn = await at.upstream.next()
    expect(turn.method).toBe('POST')
    expect(turn.path).toBe('/v1/messages')
    expect(turn.body.equals(body)).toBe(true)
    expect(turn.headers).toMatchObject({
      authorization: 'Bearer key',
      'anthropic-version': '2023-01-01',
      'anthropic-beta': 'a,b',
      traceparent: '00-1-2-01',
      tracestate: 'k=v',
      'content-type': 'application/json',
      'content-length': String(body.length),
    })
    expect(turn.headers).not.toHaveProperty('accept-encoding')
    expect(turn.headers).not.toHaveProperty('x-api-key')
    turn.reply({ status: 200, headers: JSON_TYPE, body: ANSWER })
    await running.verdict
  })

  test('the configured version where the caller names none, and each upstream its own key', async () => {
    for (const apiKey of ['one', 'two', null]) {
      const running = at.send({
        upstream: { name: 'u', baseUrl: `${at.upstream.url}/base`, apiKey, version: '2023-06-01' },
      })
      const turn = await at.upstream.next()
      expect(turn.path).toBe('/base/v1/messages')
      expect(turn.headers['anthropic-version']).toBe('2023-06-01')
      expect(turn.headers['authorization']).toBe(apiKey === null ? undefined : `Bearer ${apiKey}`)
      turn.reply({ status: 200, headers: JSON_TYPE, body: ANSWER })
      await running.verdict
    }
    // One pool for all three; a second connection where the first was not yet handed back.
    expect(at.upstream.sockets()).toBeLessThanOrEqual(2)
  })
})

describe('letting go', () => {
  test('an abort before the head closes the socket', async () => {
    const running = at.send()
    const turn = await at.upstream.next()
    running.abort('deadline')
    await turn.closed
    expect(await running.verdict).toMatchObject({
      kind: 'ended',
      cause: 'deadline',
      status: null,
      mayHaveRun: true,
    })
  })

  test('an abort in the middle of a body closes the socket', async () => {
    const running = at.send({ stream: true }, listener())
    const turn = await at.upstream.next()
    turn.head({ status: 200, headers: SSE_TYPE })
    running.abort('cancel')
    await turn.closed
    expect(await running.verdict).toMatchObject({ kind: 'ended', cause: 'cancel' })
  })

  test('an abort in the same breath sends nothing', async () => {
    const running = at.send()
    running.abort('cancel')
    expect(await running.verdict).toMatchObject({ kind: 'ended', mayHaveRun: false })
    const other = at.send({ body: Buffer.from('the other') })
    const turn = await at.upstream.next()
    expect(String(turn.body)).toBe('the other')
    turn.reply({ status: 200, headers: JSON_TYPE, body: ANSWER })
    await other.verdict
  })

  test('a call that waits for a connection can be aborted, and is never sent', async () => {
    await at.stop()
    at = await bench({ connections: 1 })
    const first = at.send()
    const turn = await at.upstream.next()
    const waiting = at.send({ body: Buffer.from('waiting') })
    await Promise.resolve()
    waiting.abort('preempt')
    expect(await waiting.verdict).toMatchObject({ kind: 'ended', mayHaveRun: false })
    const last = at.send({ body: Buffer.from('last') })
    turn.reply({ status: 200, headers: JSON_TYPE, body: ANSWER })
    expect(await first.verdict).toMatchObject({ kind: 'ok' })
    const next = await at.upstream.next()
    expect(String(next.body)).toBe('last')
    next.reply({ status: 200, headers: JSON_TYPE, body: ANSWER })
    await last.verdict
  })

  test('both watchdogs close the socket', async () => {
    const silent = at.send({ firstByteMs: 1_000 })
    const first = await at.upstream.next()
    at.clock.advance(1_000)
    await first.closed
    expect(await silent.verdict).toMatchObject({ kind: 'hang', mayHaveRun: true })

    const sink = listener()
    const stalled = at.send({ stream: true, idleMs: 1_000 }, sink)
    const second = await at.upstream.next()
    second.head({ status: 200, headers: SSE_TYPE })
    second.chunk(frame(EVENTS[0] ?? ''))
    await sink.events.take(1)
    at.clock.advance(1_000)
    await second.closed
    expect(await stalled.verdict).toMatchObject({ kind: 'cut', cause: 'idle' })
  })

  test('bytes of any kind feed the idle watchdog, pings too', async () => {
    const sink = listener()
    const running = at.send({ stream: true, idleMs: 1_000 }, sink)
    const turn = await at.upstream.next()
    turn.head({ status: 200, headers: SSE_TYPE })
    for (const [index, data] of EVENTS.entries()) {
      turn.chunk(PING + frame(data))
      await sink.events.take(index + 1)
      at.clock.advance(900)
    }
    turn.finish()
    expect(await running.verdict).toMatchObject({ kind: 'ok' })
  })

  test('time to first token is counted to the first real event', async () => {
    const sink = listener()
    const running = at.send({ stream: true }, sink)
    const turn = await at.upstream.next()
    at.clock.advance(250)
    turn.head({ status: 200, headers: SSE_TYPE })
    turn.chunk(EVENTS.map(frame).join(''))
    turn.finish()
    expect(await running.verdict).toMatchObject({ kind: 'ok', ttftMs: 250 })
  })

  test('an answer that is complete stays so: abort, silence and reset come too late', async () => {
    for (const late of ['abort', 'linger', 'reset'] as const) {
      const sink = listener()
      const running = at.send({ stream: true }, sink)
      const turn = await at.upstream.next()
      turn.head({ status: 200, headers: SSE_TYPE })
      turn.chunk(EVENTS.map(frame).join(''))
      await sink.events.take(EVENTS.length)
      if (late === 'abort') running.abort('cancel')
      if (late === 'linger') at.clock.advance(1_000)
      if (late === 'reset') turn.reset()
      await turn.closed
      expect(await running.verdict).toMatchObject({ kind: 'ok', usage: { outputTokens: 20 } })
    }
  })

  test('an error event ends the attempt at once, whether the upstream hangs up or not', async () => {
    const running = at.send({ stream: true })
    const turn = await at.upstream.next()
    turn.head({ status: 200, headers: SSE_TYPE })
    turn.chunk('event: error\ndata: {"error":{"type":"overloaded_error"}}\n\n')
    expect(await running.verdict).toMatchObject({ kind: 'overloaded' })
    await turn.closed
  })

  test('what a cut stream delivered is guessed where it was not counted', async () => {
    const sink = listener()
    const running = at.send({ stream: true }, sink)
    const turn = await at.upstream.next()
    const text = 'a'.repeat(700)
    turn.head({ status: 200, headers: SSE_TYPE })
    turn.chunk(frame(EVENTS[0] ?? ''))
    turn.chunk(
      frame(
        JSON.stringify({
          type: 'content_block_delta',
          index: 0,
          delta: { type: 'text_delta', text },
        }),
      ),
    )
    await sink.events.take(2)
    running.abort('cancel')
    const { usage } = await running.verdict
    expect(usage?.inputTokens).toBe(10)
    expect(usage?.outputTokens).toBeGreaterThanOrEqual(200)
    expect(usage?.outputTokens).toBeLessThan(210)
  })
})

describe('limits', () => {
  test('an event or a body beyond the limit breaks the attempt', async () => {
    await at.stop()
    at = await bench({ eventBytesMax: 1_000, bodyBytesMax: 1_000 })
    const running = at.send({ stream: true })
    const turn = await at.upstream.next()
    turn.head({ status: 200, headers: SSE_TYPE })
    turn.chunk(`data: ${'x'.repeat(2_000)}`)
    await turn.closed
    expect(await running.verdict).toMatchObject({ kind: 'broken', cause: 'too_large' })

    const whole = at.send()
    const other = await at.upstream.next()
    other.reply({ status: 200, headers: JSON_TYPE, body: `"${'x'.repeat(2_000)}"` })
    expect(await whole.verdict).toMatchObject({ kind: 'broken', cause: 'too_large', body: null })
  })

  test('an endless error page is left alone, its status counts', async () => {
    const running = at.send()
    const turn = await at.upstream.next()
    turn.head({ status: 503, headers: { 'content-type': 'text/html' } })
    turn.chunk('x'.repeat(1_000_001))
    await turn.closed
    expect(await running.verdict).toMatchObject({ kind: 'overloaded', status: 503, body: null })
  })

  test('nothing is left after 500 calls that ended in every manner', async () => {
    at.upstream.always((turn) => {
      const way = Number(turn.headers['anthropic-beta']) % 4
      if (way === 0) turn.reply({ status: 200, headers: JSON_TYPE, body: ANSWER })
      if (way === 1) turn.reply({ status: 529, headers: JSON_TYPE, body: '{}' })
      if (way === 2) turn.reset()
      // Three: silence, until the caller aborts.
    })
    const listenersBefore = process
      .eventNames()
      .reduce((sum, name) => sum + process.listenerCount(name), 0)
    const kinds = new Map<string, number>()
    let next = 0
    const worker = async (): Promise<void> => {
      while (next < 500) {
        const index = next++
        const running = at.send({ headers: { beta: String(index) } })
        if (index % 4 === 3) queueMicrotask(() => running.abort('cancel'))
        const { kind } = await running.verdict
        kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
      }
    }
    await Promise.all(Array.from({ length: 8 }, worker))
    expect(Object.fromEntries(kinds)).toEqual({ ok: 125, overloaded: 125, fault: 125, ended: 125 })
    expect(at.clock.pending()).toBe(0)
    expect(at.upstream.sockets()).toBeLessThanOrEqual(8)
    const listeners = process
      .eventNames()
      .reduce((sum, name) => sum + process.listenerCount(name), 0)
    expect(listeners).toBe(listenersBefore)
  })
})

describe('side calls', () => {
  const upstreamOf = (): { name: string; baseUrl: string; apiKey: string; version: string } => ({
    name: 'main',
    baseUrl: at.upstream.url,
    apiKey: 'key',
    version: '2023-06-01',
  })

  test("counting tokens and listing models pass the upstream's own answer on", async () => {
    const body = Buffer.from('{"model":"x"}')
    const counted = at.provider.aux({
      upstream: upstreamOf(),
      headers: {},
      kind: 'count_tokens',
      body,
      timeoutMs: 1_000,
    })
    const turn = await at.upstream.next()
    expect([turn.method, turn.path, String(turn.body)]).toEqual([
      'POST',
      '/v1/messages/count_tokens',
      '{"model":"x"}',
    ])
    turn.reply({ status: 429, headers: { ...JSON_TYPE, 'request-id': 'req_9' }, body: '{"no":1}' })
    const answer = await counted
    expect(answer).toMatchObject({ status: 429, requestId: 'req_9' })
    expect(String(answer.body)).toBe('{"no":1}')

    const listed = at.provider.aux({
      upstream: upstreamOf(),
      headers: { beta: 'b' },
      kind: 'models',
      body: null,
      timeoutMs: 1_000,
    })
    const other = await at.upstream.next()
    expect([other.method, other.path]).toEqual(['GET', '/v1/models'])
    expect(other.headers).toMatchObject({ authorization: 'Bearer key', 'anthropic-beta': 'b' })
    other.reply({ status: 200, headers: JSON_TYPE, body: '{"data":[]}' })
    expect(String((await listed).body)).toBe('{"data":[]}')
    expect(at.clock.pending()).toBe(0)
  })

  test('without an answer in time the answer is ours, and the socket is closed', async () => {
    const call = {
      upstream: upstreamOf(),
      headers: {},
      kind: 'models' as const,
      body: null,
      timeoutMs: 1_000,
    }
    const late = at.provider.aux(call)
    const turn = await at.upstream.next()
    at.clock.advance(1_000)
    expect(await late).toMatchObject({ status: 504 })
    await turn.closed
    const gone = at.provider.aux(call)
    ;(await at.upstream.next()).reset()
    const answer = await gone
    expect(answer.status).toBe(502)
    expect(JSON.parse(String(answer.body))).toMatchObject({ error: { type: 'api_error' } })
  })
})

test('after close every call ends at once and opens nothing', async () => {
  await at.provider.close()
  expect(await at.send().verdict).toMatchObject({ kind: 'ended', cause: 'closed' })
  expect(at.upstream.sockets()).toBe(0)
})
