/** The wire contract at our doors, over memory and over a real nats-server. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { refusal } from '#contracts/messages'
import {
  caller,
  errorOf,
  instance,
  jsonOf,
  LLM,
  memoryWorld,
  natsWorld,
  REQUEST,
  requestBody as body,
  settle,
  SMALL_MAX_PAYLOAD,
  textOf,
  type World,
} from '../support/doors.ts'
import { accounted } from '../support/fake-scheduler.ts'
import { manualClock } from '../support/manual-clock.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'

let server: NatsServer
beforeAll(async () => {
  server = await natsServer({ jetstream: false, maxPayload: SMALL_MAX_PAYLOAD })
})
afterAll(() => server.stop())

for (const kind of ['memory', 'nats'] as const) {
  describe(`doors over ${kind}`, () => {
    let world: World
    let ours: Awaited<ReturnType<typeof instance>>
    let theirs: Awaited<ReturnType<typeof caller>>
    const clock = manualClock()

    beforeAll(async () => {
      world = kind === 'memory' ? memoryWorld() : natsWorld(server)
      ours = await instance(world, {
        id: 'one',
        clock,
        requestBytes: 150_000,
        async aux({ kind: asked, body: sent }) {
          if (asked === 'models')
            return { status: 200, requestId: 'req_m', body: bytes('{"data":[]}') }
          if (sent?.length === 1) throw new Error('no route to host')
          if (sent?.length === 2) return { refusal: refusal('forbidden', 'not you') }
          return {
            status: 400,
            requestId: 'req_c',
            body: bytes('{"type":"error","error":{"type":"invalid_request_error","message":"m"}}'),
          }
        },
      })
      theirs = await caller(world)
    })
    afterAll(async () => {
      await ours.door.close()
      await world.stop()
    })

    describe('a good request', () => {
      test('arrives parsed, with the body byte for byte', async () => {
        const sent = body({ metadata: { user_id: 'ü' }, stream: true })
        await theirs.ask(REQUEST, sent, [
          ['Headgate-Id', 'good-1'],
          ['Headgate-Deadline-Ms', '8000'],
          ['Headgate-Degrade', 'fallback, cache'],
          ['anthropic-version', '2023-06-01'],
          ['anthropic-beta', 'a,b'],
          ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
        ])
        const request = await ours.scheduler.requests.find(({ id }) => id === 'good-1')
        expect(request).toMatchObject({
          tenant: 'acme',
          lane: 'interactive',
          model: 'claude-x',
          stream: true,
          maxTokens: 10,
          deadlineMs: 8_000,
          degrade: ['fallback', 'cache'],
          headers: {
            version: '2023-06-01',
            beta: 'a,b',
            traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
          },
        })
        expect(Buffer.from(request.body).toString()).toBe(sent)
        expect(request.body.buffer.byteLength).toBe(request.body.length)
        request.reply.end(accounted())
      })

      test('gets an id if it names none, and the lane its deadline', async () => {
        await theirs.ask(LLM.request('acme', 'plain'), body())
        const request = await ours.scheduler.requests.find(({ lane }) => lane === 'plain')
        expect(request.id).toMatch(/^made_/)
        expect(request).toMatchObject({ stream: false, deadlineMs: null, degrade: [], headers: {} })
      })

      test('is answered with one message: the bytes and the accounting', async () => {
        const { messages } = await theirs.ask(REQUEST, body(), [['Headgate-Id', 'single']])
        const request = await ours.scheduler.requests.find(({ id }) => id === 'single')
        request.reply.ping()
        request.reply.answer(bytes('{"type":"message"}'), accounted({ id: 'single' }))
        request.reply.answer(bytes('twice'), accounted())
        const [answer] = await messages.take(1)
        expect(textOf(answer)).toBe('{"type":"message"}')
        const headers = {
          'Headgate-Id': 'single',
          'Headgate-Outcome': 'completed',
          'Headgate-Served-By': 'upstream',
          'Headgate-Model': 'claude-x',
          'Headgate-Attempts': '1',
          'Headgate-Preemptions': '0',
          'Headgate-Queue-Ms': '12',
          'Headgate-Upstream-Ms': '340',
          'Headgate-Total-Ms': '352',
          'Request-Id': 'req_1',
          'Headgate-Input-Tokens': '10',
          'Headgate-Output-Tokens': '20',
        }
        for (const [name, value] of Object.entries(headers))
          expect(answer?.header(name)).toBe(value)
        expect(answer?.header('Nats-Service-Error-Code')).toBeUndefined()
        expect(answer?.header('Headgate-Events')).toBeUndefined()
        await settle(ours, theirs)
        expect(messages.all.length).toBe(1)
      })

      test('that streams is answered event by event, then with one empty end', async () => {
        const { messages } = await theirs.ask(REQUEST, body({ stream: true }), [
          ['Headgate-Id', 'streamed'],
        ])
        const request = await ours.scheduler.requests.find(({ id }) => id === 'streamed')
        for (let n = 0; n < 100; n++) request.reply.event(bytes(`{"n":${n}}`))
        request.reply.end(accounted({ id: 'streamed' }))
        const got = await messages.take(101)
        expect(got.slice(0, 100).map(textOf)).toEqual(
          Array.from({ length: 100 }, (_, n) => `{"n":${n}}`),
        )
        for (const event of got.slice(0, 100)) {
          expect(event.header('Headgate-Id')).toBeUndefined()
        }
        const end = got[100]
        expect(end?.data.length).toBe(0)
        expect(end?.header('Headgate-Events')).toBe('100')
        expect(end?.header('Headgate-Outcome')).toBe('completed')
        expect(end?.nobody ?? false).toBe(false)
        expect(ours.out.open()).toBe(0)
      })

      test('that streams hears a ping at least every 5 s until the end, events permitting', async () => {
        const { messages } = await theirs.ask(REQUEST, body({ stream: true }), [
          ['Headgate-Id', 'pinged'],
        ])
        const request = await ours.scheduler.requests.find(({ id }) => id === 'pinged')
        clock.advance(5_000)
        const [ping] = await messages.take(1)
        expect(textOf(ping)).toBe('{"type":"ping"}')
        for (let n = 0; n < 20; n++) {
          clock.advance(1_000)
          request.reply.event(bytes('{"n":1}'))
        }
        await messages.take(21)
        expect(messages.all.slice(1).every((m) => textOf(m) === '{"n":1}')).toBe(true)
        clock.advance(60_000)
        const pings = messages.all.length
        await messages.take(21 + 12)
        expect(pings).toBeLessThanOrEqual(21 + 20)
        request.reply.end(accounted())
        const end = await messages.find((m) => m.data.length === 0)
        expect(end.header('Headgate-Events')).toBe('20')
        clock.advance(10_000)
        expect(clock.pending()).toBe(0)
      })
    })

    describe('an error', () => {
      const queueFull = refusal('queue_full', 'lane batch is full (20000 queued); retry in 4 s', {
        retryAfterMs: 4_000,
      })

      test('has its headers, accounting and the API error JSON with one more key', async () => {
        const { messages } = await theirs.ask(REQUEST, body(), [['Headgate-Id', 'refused']])
        const request = await ours.scheduler.requests.find(({ id }) => id === 'refused')
        const accounting = accounted({
          id: 'refused',
          outcome: 'refused',
          attempts: 0,
          upstreamRequestId: null,
        })
        request.reply.refuse(queueFull, accounting, null)
        const [answer] = await messages.take(1)
        expect(answer?.header('Nats-Service-Error-Code')).toBe('429')
        expect(answer?.header('Nats-Service-Error')).toContain('lane batch is full')
        expect(answer?.header('Headgate-Outcome')).toBe('refused')
        expect(jsonOf(answer)).toEqual({
          type: 'error',
          error: { type: 'rate_limit_error', message: queueFull.message },
          request_id: 'refused',
          headgate: { code: 'queue_full', retryable: true, retry_after_ms: 4_000, attempts: 0 },
        })
        await settle(ours, theirs)
        expect(messages.all.length).toBe(1)
      })

      test("carries the upstream's own error and request id", async () => {
        const { messages } = await theirs.ask(REQUEST, body(), [['Headgate-Id', 'upstream']])
        const request = await ours.scheduler.requests.find(({ id }) => id === 'upstream')
        const said = { type: 'overloaded_error', message: 'Overloaded', extra: 1 }
        request.reply.refuse(
          refusal('retries_exhausted', 'attempts used up\r\nX: ü', {
            status: 529,
            type: 'overloaded_error',
          }),
          accounted({ outcome: 'failed', attempts: 3 }),
          bytes(JSON.stringify({ type: 'error', error: said })),
        )
        const [answer] = await messages.take(1)
        expect(jsonOf(answer)).toMatchObject({ error: said, request_id: 'req_1' })
        expect(answer?.header('Nats-Service-Error')).toMatch(/^[\x20-\x7e]+$/)
        expect(answer?.header('X')).toBeUndefined()
      })

      test('ends a stream: the error, then the empty end', async () => {
        const { messages } = await theirs.ask(REQUEST, body({ stream: true }), [
          ['Headgate-Id', 'broken'],
        ])
        const request = await ours.scheduler.requests.find(({ id }) => id === 'broken')
        request.reply.event(bytes('{"n":1}'))
        const failed = accounted({ id: 'broken', outcome: 'failed' })
        request.reply.refuse(refusal('stream_broken', 'the upstream broke off'), failed, null)
        const [, error, end] = await messages.take(3)
        expect(errorOf(error)).toMatchObject({ status: '502', headgate: { code: 'stream_broken' } })
        expect(end?.data.length).toBe(0)
        expect(end?.header('Headgate-Events')).toBe('1')
        expect(end?.header('Headgate-Outcome')).toBe('failed')
      })

      test('replaces an answer that the server cannot carry, and names both sizes', async () => {
        const { messages } = await theirs.ask(REQUEST, body(), [['Headgate-Id', 'huge']])
        const request = await ours.scheduler.requests.find(({ id }) => id === 'huge')
        request.reply.answer(new Uint8Array(SMALL_MAX_PAYLOAD + 1), accounted({ id: 'huge' }))
        const [answer] = await messages.take(1)
        const { status, headgate, error } = errorOf(answer)
        expect({ status, ...headgate, ...error }).toMatchObject({
          status: '502',
          code: 'upstream_error',
          type: 'api_error',
        })
        expect(error.message).toContain(String(SMALL_MAX_PAYLOAD))
        expect(answer?.header('Headgate-Outcome')).toBe('failed')
      })

      test('replaces the rest of a stream whose event the server cannot carry', async () => {
        const { messages } = await theirs.ask(REQUEST, body({ stream: true }), [
          ['Headgate-Id', 'huge-event'],
        ])
        const request = await ours.scheduler.requests.find(({ id }) => id === 'huge-event')
        request.reply.event(bytes('{"n":1}'))
        request.reply.event(new Uint8Array(SMALL_MAX_PAYLOAD + 1))
        request.reply.event(bytes('{"n":2}'))
        request.reply.end(accounted())
        const [, error, end] = await messages.take(3)
        expect(errorOf(error).headgate.code).toBe('stream_broken')
        expect(end?.header('Headgate-Events')).toBe('1')
      })
    })

    test('a vanished reader of a stream is noticed at the next word', async () => {
      const { subscription } = await theirs.ask(REQUEST, body({ stream: true }), [
        ['Headgate-Id', 'vanished'],
      ])
      const request = await ours.scheduler.requests.find(({ id }) => id === 'vanished')
      await subscription.drain()
      await theirs.bus.flush()
      const sentAt = performance.now()
      request.reply.event(bytes('{"n":1}'))
      await ours.scheduler.left.find((key) => key === 'acme/vanished')
      expect(performance.now() - sentAt).toBeLessThan(250)
      request.reply.refuse(refusal('cancelled', 'gone'), accounted(), null)
    })

    describe('count_tokens and models', () => {
      test("answer with the upstream's bytes", async () => {
        const { messages } = await theirs.ask(LLM.aux('models', 'acme'), '')
        const [answer] = await messages.take(1)
        expect(textOf(answer)).toBe('{"data":[]}')
        expect(answer?.header('Request-Id')).toBe('req_m')
      })

      test("an upstream's error is an error here too", async () => {
        const { messages } = await theirs.ask(LLM.aux('count_tokens', 'acme'), '{}{}')
        const error = errorOf((await messages.take(1))[0])
        expect(error).toMatchObject({
          status: '400',
          error: { type: 'invalid_request_error', message: 'm' },
          headgate: { code: 'upstream_error' },
          request_id: 'req_c',
        })
      })

      test('a call that fails says so, and not why in its own words', async () => {
        const { messages } = await theirs.ask(LLM.aux('count_tokens', 'acme'), 'x')
        const [answer] = await messages.take(1)
        expect(errorOf(answer)).toMatchObject({
          status: '502',
          headgate: { code: 'upstream_error' },
        })
        expect(textOf(answer)).not.toContain('host')
      })

      test('a refusal of ours is passed on', async () => {
        const { messages } = await theirs.ask(LLM.aux('count_tokens', 'acme'), 'xx')
        expect(errorOf((await messages.take(1))[0]).headgate.code).toBe('forbidden')
      })
    })

    describe('admin', () => {
      const ask = async (op: string, sent: string) => {
        const { messages } = await theirs.ask(`llm.v1.admin.${op}`, sent)
        return (await messages.take(1))[0]
      }
      test('does what it is asked', async () => {
        expect(jsonOf(await ask('emergency', '{"on":true}'))).toEqual({ emergency: true })
        expect(jsonOf(await ask('snapshot', ''))).toEqual({ instance: 'one', emergency: true })
        expect(jsonOf(await ask('lane', '{"lane":"batch","paused":true}'))).toEqual({
          lane: 'batch',
          paused: true,
        })
        expect(jsonOf(await ask('config', '{"yaml":"a: 1"}'))).toEqual({ applied: true })
      })
      test.each([
        ['emergency', '{"on":"yes"}', 'on: expected true or false'],
        ['lane', '{"paused":true}', 'lane: expected'],
        ['config', '{"yaml":"bad"}', 'bad: unknown key'],
        ['config', '{"yaml":3}', 'yaml: expected'],
        ['explode', '{}', 'operation: expected one of snapshot'],
        ['snapshot', 'nonsense', 'body: expected a JSON object'],
      ])('%s with %s says what was expected', async (op, sent, message) => {
        const error = errorOf(await ask(op, sent))
        expect(error.status).toBe('400')
        expect(error.error.message).toContain(message)
        expect(error.request_id).toMatch(/^made_/)
      })
      test('a bug is a 500 and is told to us', async () => {
        expect(errorOf(await ask('drain', '')).status).toBe('500')
        expect(String(await ours.errors.find(() => true))).toContain('a bug')
      })
    })

    describe('discovery', () => {
      const ask = async (subject: string) => {
        const { messages } = await theirs.ask(subject, '')
        return jsonOf((await messages.take(1))[0])
      }
      test.each(['$SRV.PING', '$SRV.PING.headgate', '$SRV.PING.headgate.one'])(
        '%s',
        async (subject) => {
          expect(await ask(subject)).toMatchObject({
            type: 'io.nats.micro.v1.ping_response',
            name: 'headgate',
            id: 'one',
            version: '0.1.0',
            metadata: { 'max-payload': String(SMALL_MAX_PAYLOAD) },
          })
        },
      )
      test('INFO names the endpoints, STATS counts them', async () => {
        await (await theirs.ask(REQUEST, 'nonsense')).messages.take(1)
        const info = (await ask('$SRV.INFO.headgate')) as { endpoints: { subject: string }[] }
        expect(info).toMatchObject({ type: 'io.nats.micro.v1.info_response' })
        expect(info.endpoints.map((of) => of.subject)).toContain('llm.v1.request.*.*')
        const stats = (await ask('$SRV.STATS.headgate.one')) as {
          endpoints: {
            name: string
            num_requests: number
            num_errors: number
            queue_group: string
          }[]
        }
        const request = stats.endpoints.find(({ name }) => name === 'request')
        expect(stats).toMatchObject({ type: 'io.nats.micro.v1.stats_response' })
        expect(request?.num_requests).toBeGreaterThan(8)
        const errors = request?.num_errors ?? 0
        expect(errors).toBeGreaterThan(0)
        // One more that the scheduler refuses, some time after it came.
        const id = 'refused-later'
        const { messages } = await theirs.ask(REQUEST, body(), [['Headgate-Id', id]])
        const taken = await ours.scheduler.requests.find((of) => of.id === id)
        taken.reply.refuse(refusal('queue_full', 'too much'), accounted(), null)
        await messages.take(1)
        const after = (await ask('$SRV.STATS.headgate.one')) as typeof stats
        expect(after.endpoints.find(({ name }) => name === 'request')?.num_errors).toBe(errors + 1)
        expect(request?.queue_group).toBe('headgate')
      })
    })
  })
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
