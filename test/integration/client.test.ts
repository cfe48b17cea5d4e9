/** The publishers' library against our doors, over memory and over a real nats-server. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectHeadgate, HeadgateError, type Headgate } from '#client'
import { refusal } from '#contracts/messages'
import type { BusMessage } from '#ports'
import { instance, LLM, memoryWorld, natsWorld, type World } from '../support/doors.ts'
import { accounted } from '../support/fake-scheduler.ts'
import { heard } from '../support/heard.ts'
import { manualClock } from '../support/manual-clock.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'

let server: NatsServer
beforeAll(async () => {
  server = await natsServer({ jetstream: false, maxPayload: 200_000 })
})
afterAll(() => server.stop())

const params = {
  model: 'claude-x',
  max_tokens: 10,
  messages: [{ role: 'user' as const, content: 'hello' }],
}
const bytes = (text: string) => new TextEncoder().encode(text)

for (const kind of ['memory', 'nats'] as const) {
  describe(`client over ${kind}`, () => {
    let world: World
    let ours: Awaited<ReturnType<typeof instance>>
    let client: Headgate
    const connect = async (more: Partial<Parameters<typeof connectHeadgate>[0]> = {}) => {
      const way = kind === 'nats' ? { servers: server.url } : { bus: ours.bus }
      return connectHeadgate({ tenant: 'acme', ...way, ...more })
    }

    beforeAll(async () => {
      world = kind === 'memory' ? memoryWorld() : natsWorld(server)
      ours = await instance(world, {
        id: 'one',
        async aux({ kind: asked, body }) {
          const text = JSON.stringify({ asked, bytes: body?.length ?? 0 })
          return { status: 200, requestId: 'req_a', body: bytes(text) }
        },
      })
      client = await connect()
    })
    afterAll(async () => {
      await client.close()
      await world.stop()
    })
    const taken = (id: string) => ours.scheduler.requests.find((of) => of.id === id)

    test('request gives the message, its bytes and the accounting', async () => {
      const asked = client.request(params, {
        id: 'c-1',
        lane: 'premium',
        deadlineMs: 8_000,
        degrade: ['fallback', 'cache'],
        headers: { 'anthropic-beta': 'b' },
      })
      const request = await taken('c-1')
      expect(request).toMatchObject({
        tenant: 'acme',
        lane: 'premium',
        deadlineMs: 8_000,
        degrade: ['fallback', 'cache'],
        headers: { beta: 'b' },
        stream: false,
      })
      request.reply.answer(bytes('{"type":"message","id":"msg_1"}'), accounted({ id: 'c-1' }))
      const answer = await asked
      expect(answer.body.id).toBe('msg_1')
      expect(Buffer.from(answer.bytes).toString()).toBe('{"type":"message","id":"msg_1"}')
      expect(answer.accounting).toMatchObject({
        id: 'c-1',
        outcome: 'completed',
        servedBy: 'upstream',
        queueMs: 12,
        totalMs: 352,
        requestId: 'req_1',
        outputTokens: 20,
      })
    })

    test('a raw body goes out as it is', async () => {
      const raw = `{"messages":[{"role":"user","content":"x"}],  "model":"m", "max_tokens":1}`
      const asked = client.request(bytes(raw), { id: 'c-raw' })
      const request = await taken('c-raw')
      expect(Buffer.from(request.body).toString()).toBe(raw)
      request.reply.answer(bytes('{}'), accounted())
      await asked
    })

    test('a refusal is a HeadgateError with its code', async () => {
      const asked = client.request(params, { id: 'c-2' })
      const request = await taken('c-2')
      request.reply.refuse(
        refusal('queue_full', 'lane is full', { retryAfterMs: 4_000 }),
        accounted({ id: 'c-2', outcome: 'refused', attempts: 0, upstreamRequestId: null }),
        null,
      )
      const error = await asked.catch((error: unknown) => error)
      expect(error).toBeInstanceOf(HeadgateError)
      expect(error).toMatchObject({
        code: 'queue_full',
        message: 'lane is full',
        status: 429,
        type: 'rate_limit_error',
        retryable: true,
        retryAfterMs: 4_000,
        accounting: { id: 'c-2', outcome: 'refused' },
      })
    })

    test('a stream gives events in order, without pings, then the final accounting', async () => {
      const stream = client.stream(params, { id: 's-1' })
      const request = await taken('s-1')
      expect(request.stream).toBe(true)
      request.reply.ping()
      for (let n = 0; n < 50; n++) request.reply.event(bytes(JSON.stringify({ type: 'x', n })))
      request.reply.ping()
      request.reply.end(accounted({ id: 's-1' }))
      const got: unknown[] = []
      for await (const event of stream) got.push(event)
      expect(got).toEqual(Array.from({ length: 50 }, (_, n) => ({ type: 'x', n })))
      expect(await stream.final).toMatchObject({ id: 's-1', outcome: 'completed', events: 50 })
    })

    test('a stream that is refused or breaks throws at the reader', async () => {
      const stream = client.stream(params, { id: 's-2' })
      const request = await taken('s-2')
      request.reply.event(bytes('{"type":"message_start"}'))
      request.reply.refuse(
        refusal('stream_broken', 'it broke'),
        accounted({ outcome: 'failed' }),
        null,
      )
      const got: unknown[] = []
      const reading = (async () => {
        for await (const event of stream) got.push(event)
      })()
      await expect(reading).rejects.toMatchObject({ code: 'stream_broken', status: 502 })
      expect(got.length).toBe(1)
      await expect(stream.final).rejects.toMatchObject({ code: 'stream_broken' })
    })

    test('lost events are noticed', async () => {
      const stream = client.stream(params, { id: 's-gap' })
      await taken('s-gap')
      const address = await replyAddress('s-gap')
      ours.bus.publish(address, '{"n":1}')
      ours.bus.publish(address, '', { headers: [['Headgate-Events', '2']] })
      await expect(stream.final).rejects.toMatchObject({ code: 'gap' })
    })

    test('a reader who leaves early cancels', async () => {
      const stream = client.stream(params, { id: 's-3' })
      const request = await taken('s-3')
      request.reply.event(bytes('{"n":1}'))
      for await (const _ of stream) break
      await ours.scheduler.cancelled.find((key) => key === 'acme/s-3')
      request.reply.end(accounted())
    })

    test('abort rejects with the reason and cancels, for requests and streams', async () => {
      const abort = new AbortController()
      const reason = new Error('enough')
      const asked = client.request(params, { id: 'a-1', signal: abort.signal })
      const stream = client.stream(params, { id: 'a-2', signal: abort.signal })
      await Promise.all([taken('a-1'), taken('a-2')])
      abort.abort(reason)
      await expect(asked).rejects.toBe(reason)
      await expect(stream.final).rejects.toBe(reason)
      await ours.scheduler.cancelled.find((key) => key === 'acme/a-1')
      await ours.scheduler.cancelled.find((key) => key === 'acme/a-2')
      await expect(client.request(params, { signal: abort.signal })).rejects.toBe(reason)
    })

    test('a reader who lets too much pile up loses the stream', async () => {
      const small = await connect({ bufferBytesMax: 1_000 })
      const stream = small.stream(params, { id: 's-slow' })
      const request = await taken('s-slow')
      for (let n = 0; n < 20; n++) request.reply.event(new Uint8Array(100))
      await expect(stream.final).rejects.toMatchObject({ code: 'reader_too_slow' })
      await ours.scheduler.cancelled.find((key) => key === 'acme/s-slow')
      request.reply.end(accounted())
      await small.close()
    })

    test('cancel, status and their unknown ids', async () => {
      const status = {
        id: 'k',
        tenant: 'acme',
        lane: 'batch',
        model: 'claude-x',
        state: 'queued',
        attempts: 0,
        position: 3,
        estimated_wait_ms: 900,
        enqueued_at: '2026-01-01T00:00:00Z',
      }
      const cancel = { cancelled: true, state: 'queued' } as const
      ours.scheduler.known.set('acme/k', { cancel, status })
      expect(await client.cancel('k')).toEqual(cancel)
      expect(await client.status('k')).toEqual({ ...status, instance: 'one' })
      expect(await client.cancel('nope')).toEqual({ cancelled: false, reason: 'unknown_id' })
      await expect(client.status('nope')).rejects.toMatchObject({ code: 'unknown_id', status: 404 })
      await expect(client.status('no.pe')).rejects.toThrow('expected 1 to 64')
    })

    test('aux and admin', async () => {
      const count = await client.aux('count_tokens', { model: 'm' })
      expect(count.body).toEqual({ asked: 'count_tokens', bytes: 13 })
      expect((await client.aux('models')).accounting.requestId).toBe('req_a')
      expect(await client.admin('emergency', { on: true })).toEqual({ emergency: true })
      await expect(client.admin('lane', {})).rejects.toMatchObject({ code: 'invalid_request' })
    })

    test('events of the tenant are heard until one stops listening', async () => {
      const events = heard<string>()
      const stop = client.events((event) => events.add(`${event.type} ${event.subject}`))
      await client.cancel('nope')
      ours.bus.publish(LLM.requestEvent('acme', 'batch'), '{"id":"k"}', {
        headers: [
          ['ce-type', 'dev.headgate.request.queued'],
          ['ce-subject', 'acme/k'],
        ],
      })
      expect(await events.take(1)).toEqual(['dev.headgate.request.queued acme/k'])
      stop()
    })

    test('one connection serves several tenants', async () => {
      const other = client.as('globex')
      const asked = other.request(params, { id: 't-1' })
      const request = await taken('t-1')
      expect(request.tenant).toBe('globex')
      request.reply.answer(bytes('{}'), accounted())
      await asked
      await other.close()
    })

    test('what nobody listens to is unreachable, at once', async () => {
      const lost = await connect({ subjectPrefix: 'nowhere' })
      await expect(lost.request(params)).rejects.toMatchObject({
        code: 'unreachable',
        retryable: true,
      })
      await expect(lost.stream(params).final).rejects.toMatchObject({ code: 'unreachable' })
      await lost.close()
    })

    test('waits no longer than its bounds: deadline, silence, calls', async () => {
      const clock = manualClock()
      const system = { after: clock.after, random: Math.random }
      const bounded = await connect({ system, silenceMs: 15_000, callsMax: 2 })
      const asked = bounded.request(params, { id: 'b-1', deadlineMs: 1_000 })
      const stream = bounded.stream(params, { id: 'b-2' })
      await Promise.all([taken('b-1'), taken('b-2')])
      await expect(bounded.request(params)).rejects.toMatchObject({ code: 'client_full' })
      clock.advance(6_000)
      await expect(asked).rejects.toMatchObject({ code: 'no_answer' })
      const { reply } = await taken('b-2')
      reply.ping()
      clock.advance(24_000)
      await expect(stream.final).rejects.toMatchObject({ code: 'no_answer' })
      await bounded.close()
    })

    test('close fails whoever waits', async () => {
      const closing = await connect()
      const asked = closing.request(params, { id: 'x-1' })
      const stream = closing.stream(params, { id: 'x-2' })
      await Promise.all([taken('x-1'), taken('x-2')])
      const failed = expect(asked).rejects.toMatchObject({ code: 'closed' })
      await closing.close()
      await failed
      await expect(stream.final).rejects.toMatchObject({ code: 'closed' })
      await expect(closing.request(params)).rejects.toMatchObject({ code: 'closed' })
    })

    /** Where a stream is heard, from a second ping of ours that the test overhears. */
    async function replyAddress(id: string): Promise<string> {
      const spy = heard<BusMessage>()
      const subscription = ours.bus.subscribe('_INBOX_acme.>', (message) => spy.add(message))
      await ours.bus.flush()
      const request = await taken(id)
      request.reply.ping()
      const { subject } = await spy.find((m) => m.data.length > 0)
      await subscription.drain()
      return subject
    }
  })
}

test('a tenant whom NATS does not permit a subject is told so', async () => {
  const guarded = await natsServer({
    jetstream: false,
    config: `authorization { users: [ { user: acme, password: pw, permissions: {
      publish: ["llm.v1.request.acme.*"], subscribe: ["_INBOX_acme.>"] } } ] }`,
  })
  const servers = `nats://acme:pw@127.0.0.1:${guarded.port}`
  const client = await connectHeadgate({ tenant: 'acme', servers })
  await expect(client.as('globex').request(params)).rejects.toMatchObject({
    code: 'forbidden',
    status: 403,
    retryable: false,
  })
  await expect(client.request(params)).rejects.toThrow('no Headgate listens')
  await client.close()
  await guarded.stop()
})
