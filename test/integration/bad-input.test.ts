/** Whatever arrives at our doors ends in a request, a refusal that says what was expected, or a drop. */
import { once } from 'node:events'
import { connect } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  caller,
  errorOf,
  instance,
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
  describe(`bad input over ${kind}`, () => {
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
      })
      theirs = await caller(world)
    })
    afterAll(async () => {
      await ours.door.close()
      await world.stop()
    })

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
      ['max_tokens -1', body({ max_tokens: -1 }), [], 400, 'max_tokens: '],
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
      ['deadline soon', body(), [['Headgate-Deadline-Ms', 'soon']], 400, 'Headgate-Deadline-Ms: '],
      ['8 days', body(), [['Headgate-Deadline-Ms', '691200000']], 400, 'Headgate-Deadline-Ms: '],
      ['absurd', body(), [['Headgate-Deadline-Ms', '9'.repeat(40)]], 400, 'Headgate-Deadline-Ms: '],
      ['prefix', body(), [['Headgate-Prefix', 'my secret']], 400, 'Headgate-Prefix: '],
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
        body({ stream: true, max_tokens: -1 }),
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
      // What follows on the same connection comes after it.
      theirs.bus.publish(LLM.request('acme', `after-${lane}`), body(), { reply: 'orders.new' })
      const before = ours.scheduler.requests.all.length
      await ours.scheduler.drops.find((of) => of.lane === `after-${lane}`)
      const reasons = ours.scheduler.drops.all.filter((of) => of.lane === lane)
      // Since 2.15 the NATS server itself lets nobody answer into JetStream.
      expect(reasons.length).toBeGreaterThanOrEqual(reply.startsWith('$JS.') ? 0 : 1)
      for (const { reason } of reasons) expect(reason).toBe('reply_not_allowed')
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

    test.runIf(kind === 'nats')(
      'headers that no client library would send do no harm',
      async () => {
        const socket = connect(server.port, '127.0.0.1')
        await once(socket, 'data')
        // Reading each of so many names against all others would take seconds; they are not read at all.
        const many = Array.from({ length: 9_000 }, (_, i) => `X-${i}: ${i}\r\n`).join('')
        const headers = `NATS/1.0\r\nBad Name: x\r\n${many}\r\n`
        const send = (subject: string, reply: string, sent: string) => {
          const size = headers.length + sent.length
          socket.write(
            `HPUB ${subject} ${reply} ${headers.length} ${size}\r\n${headers}${sent}\r\n`,
          )
        }
        const requested = await theirs.ask('t.quiet', '')
        const counted = await theirs.ask('t.quiet', '')
        socket.write('CONNECT {"headers":true,"verbose":false}\r\n')
        send(REQUEST, requested.reply, body())
        send(LLM.aux('models', 'acme'), counted.reply, '')
        for (const { messages } of [requested, counted]) {
          const answer = await messages.find((message) => message.data.length > 0)
          expect(errorOf(answer).error.message).toContain('headers: expected')
        }
        socket.destroy()
      },
    )
  })
}

test('at most so many aux calls are under way, so many wait, and the next is queue_full', async () => {
  const world = memoryWorld()
  const release = Promise.withResolvers<void>()
  await instance(world, {
    id: 'one',
    auxLimits: { inflightMax: 1, queuedMax: 2 },
    async aux() {
      await release.promise
      return { status: 200, requestId: null, body: bytes('{}') }
    },
  })
  const theirs = await caller(world)
  const asked = []
  for (let n = 0; n < 3; n++) asked.push(await theirs.ask(LLM.aux('models', 'acme'), ''))
  const [full] = (await asked[2]?.messages.take(1)) ?? []
  const { request_id, ...error } = errorOf(full)
  expect(error).toMatchObject({ status: '429', headgate: { code: 'queue_full' } })
  expect(request_id).toMatch(/^made_/)
  release.resolve()
  for (const { messages } of asked.slice(0, 2))
    expect(textOf((await messages.take(1))[0])).toBe('{}')
  await world.stop()
})

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
