/** The client that connects at its first call, over memory and over a real nats-server. */
import type { RawMessageStreamEvent } from '@anthropic-ai/sdk/resources/messages'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectHeadgate, HeadgateClient, type Headgate, type HeadgateOptions } from '#client'
import type { Bus } from '#ports'
import { dialNats } from '../../services/client/nats-dial.ts'
import { instance, LLM, memoryWorld, natsWorld, type World } from '../support/doors.ts'
import { fakeJobs } from '../support/fake-jobs.ts'
import { accounted } from '../support/fake-scheduler.ts'
import { heard } from '../support/heard.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { silentServer } from '../support/silent-server.ts'

let server: NatsServer
beforeAll(async () => {
  server = await natsServer({ jetstream: false, monitoring: true, maxPayload: 200_000 })
})
afterAll(() => server.stop())

const params = {
  model: 'claude-x',
  max_tokens: 10,
  messages: [{ role: 'user' as const, content: 'hello' }],
}
const bytes = (text: string) => new TextEncoder().encode(text)
const settle = () => new Promise((resolve) => setImmediate(resolve))
const sink = { answer() {}, event() {}, ping() {}, end() {} }

for (const kind of ['memory', 'nats'] as const) {
  describe(`HeadgateClient over ${kind}`, () => {
    let world: World
    let ours: Awaited<ReturnType<typeof instance>>
    const make = (more: Partial<HeadgateOptions> = {}) => {
      const way = kind === 'nats' ? { servers: server.url } : { bus: ours.bus }
      return new HeadgateClient({ tenant: 'acme', ...way, ...more })
    }
    const taken = (id: string) => ours.scheduler.requests.find((of) => of.id === id)

    beforeAll(async () => {
      world = kind === 'memory' ? memoryWorld() : natsWorld(server)
      ours = await instance(world, {
        id: 'one',
        async aux({ kind: asked, body }) {
          const counted = { input_tokens: body?.length ?? 0 }
          const listed = { data: [{ id: 'claude-x' }], has_more: false }
          const answer = JSON.stringify(asked === 'models' ? listed : counted)
          return { status: 200, requestId: 'req_a', body: bytes(answer) }
        },
      })
    })
    afterAll(() => world.stop())

    test('the first call connects, whichever it is', async () => {
      const client = make()
      const asked = client.request(params, { id: 'first' })
      const request = await taken('first')
      request.reply.answer(bytes('{"id":"msg_1"}'), accounted({ id: 'first' }))
      expect((await asked).body.id).toBe('msg_1')
      await client.close()

      const streaming = make()
      const stream = streaming.stream(params, { id: 'first-stream' })
      const { reply } = await taken('first-stream')
      reply.event(bytes('{"type":"message_stop"}'))
      reply.end(accounted({ id: 'first-stream' }))
      const events: RawMessageStreamEvent[] = []
      for await (const event of stream) events.push(event)
      expect(events).toEqual([{ type: 'message_stop' }])
      await streaming.close()

      const asking = make()
      expect(await asking.cancel('nobody')).toEqual({ cancelled: false, reason: 'unknown_id' })
      await asking.close()
    })

    test('countTokens and models give the upstream’s own answers', async () => {
      const client = make()
      const { model, messages } = params
      const counted = await client.countTokens({ model, messages })
      expect(counted.body).toEqual({ input_tokens: JSON.stringify({ model, messages }).length })
      const { body, accounting } = await client.models()
      expect(body.data.map(({ id }) => id)).toEqual(['claude-x'])
      expect(accounting.requestId).toBe('req_a')
      await client.close()
    })

    test('a listener begins with the connection, which it asks for itself', async () => {
      const client = make()
      const events = heard<string>()
      client.events((event) => events.add(event.type), { lane: 'batch' })
      await client.ready()
      await client.cancel('nobody')
      ours.bus.publish(LLM.requestEvent('acme', 'batch'), '{}', {
        headers: [['ce-type', 'dev.headgate.request.queued']],
      })
      expect(await events.take(1)).toEqual(['dev.headgate.request.queued'])
      await client.close()
    })

    const doors: [string, (client: Headgate) => unknown][] = [
      ['ready', (client) => client.ready()],
      ['request', (client) => client.request(params)],
      ['stream', (client) => client.stream(params).final],
      [
        'relay',
        (client) => new Promise((_, fail) => client.relay('{}', { ...sink, fail }) as unknown),
      ],
      ['submit', (client) => client.submit(params)],
      ['result', (client) => client.result('j')],
      ['cancel', (client) => client.cancel('j')],
      ['status', (client) => client.status('j')],
      ['aux', (client) => client.aux('models')],
      ['countTokens', (client) => client.countTokens(params)],
      ['models', (client) => client.models()],
      ['events', (client) => client.events(() => {})],
      ['admin', (client) => client.admin('snapshot')],
      ['as', (client) => client.as('globex')],
    ]

    test.each(doors)('after close, %s fails with closed', async (name, call) => {
      const never = make()
      await never.close()
      const used = make({ tenant: 'globex' })
      const sharing = make({ inboxPrefix: '_INBOX' })
      const [child, sharer] = [used.as('acme'), sharing.as('acme')]
      await Promise.all([used.ready(), sharing.ready()])
      await Promise.all([used.close(), sharing.close(), used.close()])
      for (const client of [never, used, child, sharing, sharer]) {
        const called = (async () => call(client))()
        await expect(called, name).rejects.toMatchObject({ name: 'HeadgateError', code: 'closed' })
      }
    })

    test('close fails whoever waits, connected or not', async () => {
      const [fresh, used] = [make(), make()]
      await used.ready()
      const waits = [fresh, used].flatMap((client, at) => [
        client.request(params, { id: `x-${at}` }),
        client.stream(params, { id: `x-stream-${at}` }).final,
      ])
      await Promise.all([taken('x-1'), taken('x-stream-1')])
      const failed = Promise.all(
        waits.map((one) => expect(one).rejects.toMatchObject({ code: 'closed' })),
      )
      await Promise.all([fresh.close(), used.close()])
      await failed
    })

    test('what is aborted, or left by its reader, just before close is cancelled all the same', async () => {
      const client = make()
      const abort = new AbortController()
      const asked = client.request(params, { id: 'y-1', signal: abort.signal }).catch(() => {})
      const stream = client.stream(params, { id: 'y-2' })
      const { reply } = await taken('y-2')
      await taken('y-1')
      reply.event(bytes('{"type":"message_start"}'))
      for await (const _ of stream) break
      abort.abort()
      await client.close()
      await asked
      await ours.scheduler.cancelled.find((key) => key === 'acme/y-1')
      await ours.scheduler.cancelled.find((key) => key === 'acme/y-2')
      reply.end(accounted())
    })

    describe('durable jobs', () => {
      let jobs: ReturnType<typeof fakeJobs>
      let bus: Bus
      let client: HeadgateClient
      beforeAll(async () => {
        bus = await world.connect()
        jobs = fakeJobs(bus, 'jobs')
        await bus.flush()
        client = make({ subjectPrefix: 'jobs' })
      })
      afterAll(async () => {
        await client.close()
        await jobs.stop()
      })

      test('submit hands a job over and gives its receipt', async () => {
        const receipt = await client.submit(params, {
          id: 'j-1',
          lane: 'batch',
          deadlineMs: 60_000,
          headers: { 'anthropic-beta': 'b' },
        })
        expect(receipt).toEqual({
          id: 'j-1',
          accepted: true,
          duplicate: false,
          result_subject: 'jobs.v1.result.acme.j-1',
          position: 3,
          estimated_wait_ms: null,
        })
        const message = await jobs.submitted.find((of) => of.header('Headgate-Id') === 'j-1')
        expect(message.subject).toBe('jobs.v1.submit.acme.batch')
        expect(Buffer.from(message.data).toString()).toBe(JSON.stringify(params))
        expect(message.header('Headgate-Deadline-Ms')).toBe('60000')
        expect(message.header('anthropic-beta')).toBe('b')
      })

      test('the same again is a duplicate, another body under its id is refused', async () => {
        await client.submit(params, { id: 'j-2' })
        const again = await client.submit(params, { id: 'j-2' })
        expect(again).toMatchObject({ duplicate: true, position: null })
        await expect(client.submit('{}', { id: 'j-2' })).rejects.toMatchObject({
          code: 'duplicate_id',
          status: 409,
        })
      })

      test('result is pending until it is there, then the answer', async () => {
        const { id } = await client.submit(params)
        await expect(client.result(id)).rejects.toMatchObject({
          code: 'pending',
          status: 202,
          retryable: true,
          retryAfterMs: 1_000,
        })
        jobs.settle(`acme/${id}`, '{"id":"msg_7"}')
        const answer = await client.result(id, { waitMs: 1_500.2 })
        expect(answer.body.id).toBe('msg_7')
        expect(answer.accounting).toMatchObject({ outcome: 'completed', attempts: 1 })
        const asked = jobs.fetched.all.map((message) => message.header('Headgate-Wait-Ms'))
        expect(asked.slice(-2)).toEqual(['0', '1501'])
      })

      test('result of a job that failed is its error, of an unknown one unknown_id', async () => {
        await client.submit(params, { id: 'j-3' })
        jobs.fail('acme/j-3', 'deadline_exceeded')
        await expect(client.result('j-3')).rejects.toMatchObject({ code: 'deadline_exceeded' })
        await expect(client.result('j-4')).rejects.toMatchObject({ code: 'unknown_id' })
        await expect(client.result('j.4')).rejects.toThrow('id: expected 1 to 64')
      })

      test('a receipt that does not fit the contract is a bad answer', async () => {
        const strange = bus.subscribe('strange.v1.submit.acme.interactive', ({ reply = '' }) =>
          bus.publish(reply, '{"id":"j","accepted":"yes"}'),
        )
        await bus.flush()
        const other = make({ subjectPrefix: 'strange' })
        await expect(other.submit(params)).rejects.toMatchObject({
          code: 'bad_answer',
          message: expect.stringContaining('accepted'),
        })
        await other.close()
        await strange.drain()
      })

      test('where nobody keeps jobs, submit is unreachable and says so', async () => {
        const other = make()
        await expect(other.submit(params, { lane: 'batch' })).rejects.toMatchObject({
          code: 'unreachable',
          message: expect.stringMatching(
            /llm\.v1\.submit\.acme\.batch: no Headgate runs there, or none that keeps durable jobs$/,
          ),
        })
        await other.close()
      })
    })
  })
}

describe('HeadgateClient and its connection', () => {
  test('calls that begin together share one connection, with other tenants too', async () => {
    const client = new HeadgateClient({ tenant: 'acme', servers: server.url, name: 'shared' })
    const others = [client, client.as('globex'), client.as('initech')]
    const asked = others.flatMap((one) => [one.request(params), one.stream(params).final])
    for (const one of asked) await expect(one).rejects.toMatchObject({ code: 'unreachable' })
    const answer = await fetch(`${server.monitoringUrl}/connz`)
    const { connections } = (await answer.json()) as { connections: { name?: string }[] }
    expect(connections.filter(({ name }) => name === 'shared').length).toBe(1)
    await client.close()
  })

  test('a connect that failed is tried again by the next call, and listeners begin then', async () => {
    const own = await natsServer({ jetstream: false })
    const world = natsWorld(own)
    await own.kill()
    const client = new HeadgateClient({ tenant: 'acme', servers: own.url })
    const failures = heard<string>()
    const events = heard<string>()
    client.events((event) => events.add(event.subject), {
      failed: (error) => failures.add(error.code),
    })
    expect(await failures.take(1)).toEqual(['unreachable'])
    await expect(client.request(params)).rejects.toMatchObject({
      code: 'unreachable',
      retryable: true,
      message: expect.stringContaining(`cannot connect to NATS at ${own.url}`),
    })
    await expect(client.ready()).rejects.toMatchObject({ code: 'unreachable' })

    await own.restart()
    const ours = await instance(world, { id: 'one' })
    const asked = client.request(params, { id: 'late' })
    const { reply } = await ours.scheduler.requests.find(({ id }) => id === 'late')
    reply.answer(bytes('{}'), accounted())
    await asked
    ours.bus.publish(LLM.requestEvent('acme', 'batch'), '{}', {
      headers: [['ce-subject', 'acme/late']],
    })
    expect(await events.take(1)).toEqual(['acme/late'])
    await client.close()
    await world.stop()
    await own.stop()
  })

  test('the same client goes on after the server was killed and is back', async () => {
    const own = await natsServer({ jetstream: false })
    const world = natsWorld(own)
    const ours = await instance(world, { id: 'one' })
    const client = new HeadgateClient({ tenant: 'acme', servers: own.url })
    await client.cancel('nobody')
    await own.kill()
    await world.away()
    const back = client.ready()
    await own.restart()
    await back
    // Whoever asks before the scheduler is back is told that nobody listens.
    await until(() => ours.bus.connected())
    await ours.bus.flush()
    const asked = client.request(params, { id: 'again' })
    const { reply } = await ours.scheduler.requests.find(({ id }) => id === 'again')
    reply.answer(bytes('{"id":"msg_2"}'), accounted())
    expect((await asked).body.id).toBe('msg_2')
    await client.close()
    await world.stop()
    await own.stop()
  })

  test('a listener whom NATS does not permit the subject is told', async () => {
    const guarded = await natsServer({
      jetstream: false,
      config: `authorization { users: [ { user: acme, password: pw, permissions: {
        subscribe: ["_INBOX_acme.>"] } } ] }`,
    })
    const servers = `nats://acme:pw@127.0.0.1:${guarded.port}`
    const client = new HeadgateClient({ tenant: 'acme', servers })
    const failures = heard<string>()
    client.events(() => {}, { failed: (error) => failures.add(error.message) })
    const [said] = await failures.take(1)
    expect(said).toMatch(/permission/i)
    await client.close()
    await guarded.stop()
  })

  test('connectHeadgate connects first and fails first', async () => {
    const lost = connectHeadgate({ tenant: 'acme', servers: 'nats://me:secret@127.0.0.1:1' })
    await expect(lost).rejects.toMatchObject({
      name: 'HeadgateError',
      code: 'unreachable',
      message: expect.stringMatching(/^cannot connect to NATS at nats:\/\/127\.0\.0\.1:1: /),
    })
  })
})

describe('a server that takes the connection and says nothing', () => {
  test('is not asked anything before the first call', async () => {
    const silent = await silentServer()
    const client = new HeadgateClient({ tenant: 'acme', servers: silent.url })
    const other = new HeadgateClient({ tenant: 'acme', servers: silent.url })
    const asked = expect(other.request(params)).rejects.toMatchObject({ code: 'closed' })
    await silent.taken.take(1)
    await settle()
    expect(silent.taken.all.length).toBe(1)
    await Promise.all([client.close(), other.close()])
    await asked
    await silent.stop()
  })

  test('keeps nobody waiting who aborts, nor a client that closes, and its socket is given back', async () => {
    const silent = await silentServer()
    const client = new HeadgateClient({ tenant: 'acme', servers: silent.url })
    const abort = new AbortController()
    const reason = new Error('enough')
    const asked = client.request(params, { signal: abort.signal })
    const stream = client.stream(params, { signal: abort.signal })
    const ready = client.ready()
    await silent.taken.take(1)
    abort.abort(reason)
    await expect(asked).rejects.toBe(reason)
    await expect(stream.final).rejects.toBe(reason)
    const failed = expect(ready).rejects.toMatchObject({ code: 'closed' })
    await client.close()
    await failed
    await silent.given.take(1)
    expect(silent.taken.all.length).toBe(1)
    await silent.stop()
  })

  test('does not keep a client that closes while it tries to come back', async () => {
    const own = await natsServer({ jetstream: false })
    const client = new HeadgateClient({ tenant: 'acme', servers: own.url })
    await client.ready()
    await own.kill()
    const silent = await silentServer({ port: own.port })
    await silent.taken.take(1)
    const ready = expect(client.ready()).rejects.toMatchObject({ code: 'closed' })
    await client.close()
    await ready
    await silent.given.take(1)
    await silent.stop()
    await own.stop()
  })

  test('is given up after its time, and its socket given back', async () => {
    const silent = await silentServer()
    await expect(dialNats({ servers: [silent.url], timeout: 50 })).rejects.toThrow('timeout')
    await silent.given.take(1)
    await silent.stop()
  })
})

async function until(is: () => boolean): Promise<void> {
  while (!is()) await settle()
}
