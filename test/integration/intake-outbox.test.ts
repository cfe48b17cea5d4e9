/** The wire contract at our doors, over memory and over a real nats-server. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { refusal } from '#contracts/messages'
import type { BusMessage } from '#ports'
import {
  caller,
  instance,
  jsonOf,
  LLM,
  memoryWorld,
  natsWorld,
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

const REQUEST = LLM.request('acme', 'interactive')
const good = {
  model: 'claude-x',
  max_tokens: 10,
  messages: [{ role: 'user', content: 'the secret prompt' }],
}
const body = (more: object = {}) => JSON.stringify({ ...good, ...more })
const errorOf = (message: BusMessage | undefined) => {
  const json = jsonOf(message) as {
    error: { type: string; message: string }
    headgate: { code: string; retryable: boolean; retry_after_ms: number | null; attempts: number }
    request_id: string
    type: string
  }
  return { ...json, status: message?.header('Nats-Service-Error-Code') }
}

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

    describe('bad input', () => {
      const cases: [string, Uint8Array | string, [string, string][], number, string][] = [
        ['not JSON', 'the secret prompt', [], 400, 'body: expected JSON'],
        ['nothing', '', [], 400, 'body: expected JSON'],
        ['not UTF-8', new Uint8Array([0x7b, 0xff, 0x7d]), [], 400, 'body: expected JSON'],
        ['a list', '[]', [], 400, 'body:'],
        ['null', 'null', [], 400, 'body:'],
        ['no model', body({ model: undefined }), [], 400, 'model: '],
        ['model of a wrong type', body({ model: 7 }), [], 400, 'model: '],
        ['model with odd characters', body({ model: 'the secret prompt' }), [], 400, 'model: '],
        ['max_tokens as text', body({ max_tokens: '10' }), [], 400, 'max_tokens: '],
        ['max_tokens 0', body({ max_tokens: 0 }), [], 400, 'max_tokens: '],
        ['max_tokens 1.5', body({ max_tokens: 1.5 }), [], 400, 'max_tokens: '],
        ['messages as text', body({ messages: 'the secret prompt' }), [], 400, 'messages: '],
        ['no messages', body({ messages: [] }), [], 400, 'messages: '],
        [
          'a message without role',
          body({ messages: [{ content: 'x' }] }),
          [],
          400,
          'messages.0.role',
        ],
        ['stream as text', body({ stream: 'true' }), [], 400, 'stream: '],
        ['a bad id', body(), [['Headgate-Id', 'the secret.prompt']], 400, 'Headgate-Id: '],
        ['an empty id', body(), [['Headgate-Id', '']], 400, 'Headgate-Id: '],
        ['an id too long', body(), [['Headgate-Id', 'x'.repeat(65)]], 400, 'Headgate-Id: '],
        ['deadline 0', body(), [['Headgate-Deadline-Ms', '0']], 400, 'Headgate-Deadline-Ms: '],
        ['deadline -5', body(), [['Headgate-Deadline-Ms', '-5']], 400, 'Headgate-Deadline-Ms: '],
        ['deadline 1e3', body(), [['Headgate-Deadline-Ms', '1e3']], 400, 'Headgate-Deadline-Ms: '],
        [
          'deadline soon',
          body(),
          [['Headgate-Deadline-Ms', 'soon']],
          400,
          'Headgate-Deadline-Ms: ',
        ],
        ['8 days', body(), [['Headgate-Deadline-Ms', '691200000']], 400, 'Headgate-Deadline-Ms: '],
        [
          'absurd',
          body(),
          [['Headgate-Deadline-Ms', '9'.repeat(40)]],
          400,
          'Headgate-Deadline-Ms: ',
        ],
        ['degrade', body(), [['Headgate-Degrade', 'fallback,secret']], 400, 'Headgate-Degrade: '],
        ['no degrade', body(), [['Headgate-Degrade', '']], 400, 'Headgate-Degrade: '],
        ['beta', body(), [['anthropic-beta', 'x'.repeat(2_000)]], 400, 'anthropic-beta: '],
        ['too large', body({ pad: 'x'.repeat(150_000) }), [], 413, 'at most 150000'],
      ]

      test.each(cases)('%s is refused, and says what was expected', async (...of) => {
        const [, sent, headers, status, message] = of
        const { messages } = await theirs.ask(REQUEST, sent, headers)
        const [answer] = await messages.take(1)
        const { error, headgate, request_id, ...said } = errorOf(answer)
        expect(said).toEqual({ type: 'error', status: String(status) })
        expect(error.message).toContain(message)
        expect(headgate).toEqual({
          code: status === 413 ? 'payload_too_large' : 'invalid_request',
          retryable: false,
          retry_after_ms: null,
          attempts: 0,
        })
        expect(textOf(answer)).not.toContain('secret')
        expect(answer?.header('Nats-Service-Error')).not.toContain('secret')
        expect(answer?.header('Headgate-Id')).toBe(request_id)
        expect(answer?.header('Headgate-Outcome')).toBe('refused')
        expect(request_id).toMatch(/^made_/)
      })

      test('keeps the good id of a bad request', async () => {
        const { messages } = await theirs.ask(REQUEST, '{', [
          ['Headgate-Id', 'mine'],
          ['Headgate-Deadline-Ms', '-1'],
        ])
        expect((await messages.take(1))[0]?.header('Headgate-Id')).toBe('mine')
      })

      test('that asked for a stream gets the empty end too', async () => {
        for (const sent of [
          body({ stream: true, max_tokens: 0 }),
          '{"stream": true, "model',
          body({ stream: true, pad: 'x'.repeat(150_000) }),
        ]) {
          const { messages } = await theirs.ask(REQUEST, sent)
          const [error, end] = await messages.take(2)
          expect(errorOf(error).headgate.attempts).toBe(0)
          expect(end?.data.length).toBe(0)
          expect(end?.header('Headgate-Events')).toBe('0')
        }
      })

      test('a lane or tenant that is no token is refused and counted', async () => {
        const { messages } = await theirs.ask('llm.v1.request.acme.br$oken', body())
        expect(errorOf((await messages.take(1))[0]).headgate.code).toBe('invalid_request')
        const drop = await ours.scheduler.drops.find(({ reason }) => reason === 'bad_subject')
        expect(drop).toEqual({ tenant: 'acme', lane: 'br_oken', reason: 'bad_subject' })
      })

      test('without a reply subject it is dropped and counted', async () => {
        theirs.bus.publish(LLM.request('acme', 'silent'), body())
        const drop = await ours.scheduler.drops.find(({ lane }) => lane === 'silent')
        expect(drop.reason).toBe('no_reply')
      })

      const forged = [
        '$JS.API.STREAM.DELETE.HEADGATE_JOBS',
        'llm.v1.admin.drain',
        'llm.v1.request.acme.interactive',
        '_INBOX_other.x.1',
        '_INBOX_.x',
        '_INBOX',
        '_INBOX.',
        '_INBOX..x',
        '_INBOX.*',
        '_INBOX.>',
        `_INBOX.${'x'.repeat(520)}`,
        'orders.new',
      ]
      test.each(forged)('a reply to %s is never sent', async (reply) => {
        const lane = `forged${forged.indexOf(reply)}`
        for (const subject of [LLM.request('acme', lane), LLM.status('acme', lane)]) {
          theirs.bus.publish(subject, body(), { reply })
        }
        const before = ours.scheduler.requests.all.length
        const drop = await ours.scheduler.drops.find((of) => of.lane === lane)
        expect(drop.reason).toBe('reply_not_allowed')
        expect(ours.scheduler.requests.all.length).toBe(before)
      })

      // `_R_.` is what a server makes of a reply across accounts; it lets no client say so itself.
      const own = ['_INBOX.a.b', '_INBOX_acme.a', ...(kind === 'memory' ? ['_R_.x.y'] : [])]
      test.each(own)('a reply to %s is fine', async (reply) => {
        const id = `fine-${reply.replaceAll('.', '-')}`
        theirs.bus.publish(REQUEST, body(), { reply, headers: [['Headgate-Id', id]] })
        const request = await ours.scheduler.requests.find((of) => of.id === id)
        request.reply.answer(bytes('{}'), accounted())
      })

      test('of any bytes and headers ends in one request, refusal or drop', async () => {
        await fc.assert(
          fc.asyncProperty(
            fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.json(), fc.constant(body())),
            fc.array(
              fc.tuple(
                fc.constantFrom(
                  'Headgate-Id',
                  'Headgate-Deadline-Ms',
                  'Headgate-Degrade',
                  'traceparent',
                ),
                fc.string({ maxLength: 20 }).map((s) => s.replace(/[\r\n]/g, ' ')),
              ),
              { maxLength: 3 },
            ),
            async (sent, headers) => {
              const { scheduler } = ours
              const counted = () => scheduler.requests.all.length + scheduler.refused.all.length
              const before = counted()
              const { messages, subscription } = await theirs.ask(
                LLM.request('acme', 'fuzz'),
                sent,
                headers,
              )
              await settle(ours, theirs)
              expect(counted()).toBe(before + 1)
              expect(messages.all.length).toBeLessThanOrEqual(2)
              await subscription.drain()
            },
          ),
          { numRuns: 60 },
        )
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
        expect(request?.num_requests).toBeGreaterThan(10)
        expect(request?.num_errors).toBeGreaterThan(10)
        expect(request?.queue_group).toBe('headgate')
      })
    })
  })

  describe(`two instances over ${kind}`, () => {
    let world: World
    let one: Awaited<ReturnType<typeof instance>>
    let two: Awaited<ReturnType<typeof instance>>
    let theirs: Awaited<ReturnType<typeof caller>>
    beforeAll(async () => {
      world = kind === 'memory' ? memoryWorld() : natsWorld(server)
      one = await instance(world, { id: 'one' })
      two = await instance(world, { id: 'two' })
      theirs = await caller(world)
    })
    afterAll(() => world.stop())
    const status = {
      id: 'x',
      tenant: 'acme',
      lane: 'batch',
      model: 'claude-x',
      state: 'queued',
      attempts: 0,
      position: 0,
      estimated_wait_ms: null,
      enqueued_at: '2026-01-01T00:00:00Z',
    }

    test('each request goes to one of them', async () => {
      for (let n = 0; n < 20; n++) await theirs.ask(REQUEST, body(), [['Headgate-Id', `q-${n}`]])
      await settle(one, theirs)
      await settle(two, theirs)
      const taken = [one, two].flatMap(({ scheduler }) => scheduler.requests.all)
      expect(taken.length).toBe(20)
    })

    test('the owner of an id answers cancel and status first', async () => {
      two.scheduler.known.set('acme/x', { cancel: { cancelled: true, state: 'queued' }, status })
      const cancel = await theirs.ask(LLM.cancel('acme', 'x'), '')
      expect(jsonOf((await cancel.messages.take(1))[0])).toEqual({
        cancelled: true,
        state: 'queued',
      })
      const asked = await theirs.ask(LLM.status('acme', 'x'), '')
      expect(jsonOf((await asked.messages.take(1))[0])).toEqual(status)
      expect(one.scheduler.cancelled.all).toContain('acme/x')
    })

    test('an id that nobody knows is said to be unknown within 500 ms', async () => {
      const askedAt = performance.now()
      const asked = await Promise.all(
        (['cancel', 'status', 'fetch'] as const).map((name) =>
          theirs.ask(LLM[name]('acme', 'nope'), ''),
        ),
      )
      const [cancel, state, fetch] = await Promise.all(
        asked.map(async ({ messages }) => (await messages.take(1))[0]),
      )
      expect(performance.now() - askedAt).toBeLessThan(500)
      expect(jsonOf(cancel)).toEqual({ cancelled: false, reason: 'unknown_id' })
      for (const answer of [state, fetch]) {
        expect(errorOf(answer)).toMatchObject({ status: '404', headgate: { code: 'unknown_id' } })
      }
    })

    test('an id that is no token is refused at once', async () => {
      for (const name of ['cancel', 'status', 'fetch']) {
        const { messages } = await theirs.ask(`llm.v1.${name}.acme.b$d`, '')
        expect(errorOf((await messages.take(1))[0])).toMatchObject({
          status: '400',
          headgate: { code: 'invalid_request' },
        })
      }
    })

    test('admin reaches both, or the one that is named', async () => {
      const all = await theirs.ask('llm.v1.admin.snapshot', '')
      const both = await all.messages.take(2)
      expect(both.map((m) => jsonOf(m)['instance']).toSorted()).toEqual(['one', 'two'])
      const named = await theirs.ask('llm.v1.admin.snapshot', '{"instance":"two"}')
      expect(jsonOf((await named.messages.take(1))[0])['instance']).toBe('two')
    })

    test('a drained instance takes no more requests and still answers for its own', async () => {
      await two.door.drainRequests()
      const before = two.scheduler.requests.all.length
      for (let n = 0; n < 10; n++) await theirs.ask(REQUEST, body(), [['Headgate-Id', `d-${n}`]])
      await one.scheduler.requests.find(({ id }) => id === 'd-9')
      expect(two.scheduler.requests.all.length).toBe(before)
      const asked = await theirs.ask(LLM.status('acme', 'x'), '')
      expect(jsonOf((await asked.messages.take(1))[0])).toEqual(status)
    })
  })
}

test('at most so many aux calls are under way, the next is queue_full', async () => {
  const world = memoryWorld()
  const release = Promise.withResolvers<void>()
  await instance(world, {
    id: 'one',
    auxInflightMax: 2,
    async aux() {
      await release.promise
      return { status: 200, requestId: null, body: bytes('{}') }
    },
  })
  const theirs = await caller(world)
  const asked = []
  for (let n = 0; n < 3; n++) asked.push(await theirs.ask(LLM.aux('models', 'acme'), ''))
  const [full] = (await asked[2]?.messages.take(1)) ?? []
  expect(errorOf(full)).toMatchObject({ status: '429', headgate: { code: 'queue_full' } })
  release.resolve()
  expect(textOf((await asked[0]?.messages.take(1))?.[0])).toBe('{}')
  await world.stop()
})

test('after the server was killed and is back, requests arrive and answers leave', async () => {
  const own = await natsServer({ jetstream: false, maxPayload: SMALL_MAX_PAYLOAD })
  const world = natsWorld(own)
  const ours = await instance(world, { id: 'one' })
  const theirs = await caller(world)
  const before = await theirs.ask(REQUEST, body(), [['Headgate-Id', 'before']])
  const kept = await ours.scheduler.requests.find(({ id }) => id === 'before')
  await own.kill()
  await world.away()
  kept.reply.answer(bytes('{"kept":true}'), accounted({ id: 'before' }))
  await own.restart()
  expect(textOf((await before.messages.take(1))[0])).toBe('{"kept":true}')
  await until(() => ours.bus.connected() && theirs.bus.connected())
  await ours.bus.flush()
  await theirs.ask(REQUEST, body(), [['Headgate-Id', 'after']])
  await ours.scheduler.requests.find(({ id }) => id === 'after')
  await world.stop()
  await own.stop()
})

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** Everything published so far has been handled on both sides, and what that published too. */
async function settle(
  ours: { bus: { flush(): Promise<void> } },
  theirs: { bus: { flush(): Promise<void> } },
) {
  for (const { bus } of [theirs, ours, theirs]) await bus.flush()
}

async function until(is: () => boolean): Promise<void> {
  while (!is()) await new Promise((resolve) => setImmediate(resolve))
}
