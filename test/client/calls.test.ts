/** What leaves and what does not, on a transport that the test moves by hand. */
import { describe, expect, test } from 'vitest'
import { HeadgateClient, type HeadgateOptions, type RelaySink } from '#client'
import { configFile, resolve } from '#contracts/config'
import { handTransport } from '../support/hand-transport.ts'
import { manualClock } from '../support/manual-clock.ts'

const body = '{"model":"m"}'

const streamed = '{"model":"m","stream":true}'

function opened({ connected, ...of }: { connected: boolean } & Partial<HeadgateOptions>) {
  const gate = Promise.withResolvers<void>()
  if (connected) gate.resolve()
  const server = handTransport({ ready: () => gate.promise })
  const clock = manualClock()
  const client = new HeadgateClient({
    tenant: 'acme',
    transport: server.transport,
    system: { after: clock.after, random: () => 0.5 },
    ...of,
  })
  return { client, server, clock, connect: () => gate.resolve() }
}

const settle = () => new Promise((resolve) => setImmediate(resolve))
const sink = (fail: RelaySink['fail']): RelaySink => ({
  answer() {},
  event() {},
  ping() {},
  end() {},
  fail,
})

describe('a call that ends before there is a connection', () => {
  test('rejects at once when it is aborted, and never leaves', async () => {
    const { client, server, connect, clock } = opened({ connected: false })
    const abort = new AbortController()
    const reason = new Error('enough')
    const { signal } = abort
    const asked = [
      client.request(body, { signal }),
      client.stream(streamed, { signal }).final,
      client.submit(body, { signal }),
      client.result('r', { signal }),
      client.aux('models', '', { signal }),
    ]
    abort.abort(reason)
    for (const one of asked) await expect(one).rejects.toBe(reason)
    connect()
    await settle()
    expect(server.sent.all).toEqual([])
    expect(clock.pending()).toBe(0)
  })

  test('does not begin when its signal is aborted already', async () => {
    const { client, clock } = opened({ connected: true })
    const signal = AbortSignal.abort(new Error('too late'))
    await expect(client.request(body, { signal })).rejects.toThrow('too late')
    await expect(client.stream(streamed, { signal }).final).rejects.toThrow('too late')
    expect(clock.pending()).toBe(0)
  })

  test('never leaves when a door leaves it, or a stream has waited long enough', async () => {
    const { client, server, connect, clock } = opened({ connected: false })
    const reading = client.stream(streamed)[Symbol.asyncIterator]()
    const first = reading.next()
    const relayed = client.relay(
      body,
      sink(() => {}),
    )
    relayed.leave()
    clock.advance(15_000)
    await expect(first).rejects.toMatchObject({ code: 'unreachable' })
    connect()
    await settle()
    expect(server.sent.all).toEqual([])
  })

  test('is unreachable when its time passes, since nobody has heard it', async () => {
    const { client, server, connect, clock } = opened({ connected: false })
    const failed = Promise.withResolvers<unknown>()
    client.relay(body, sink(failed.resolve), { deadlineMs: 1_000 })
    const asked = client.request(body, { deadlineMs: 1_000 })
    clock.advance(6_000)
    await expect(asked).rejects.toMatchObject({ code: 'unreachable', retryable: true })
    expect(await failed.promise).toMatchObject({ code: 'unreachable' })
    connect()
    await settle()
    expect(server.sent.all).toEqual([])
  })
})

describe('a call that has left', () => {
  test('is cancelled when it is aborted or its time passes', async () => {
    const { client, server, clock } = opened({ connected: true })
    const abort = new AbortController()
    const asked = [
      client.request(body, { id: 'a', signal: abort.signal }),
      client.request(body, { id: 'b', deadlineMs: 1_000 }),
    ]
    await server.sent.take(2)
    abort.abort(new Error('enough'))
    await expect(asked[0]).rejects.toThrow('enough')
    clock.advance(6_000)
    await expect(asked[1]).rejects.toMatchObject({ code: 'no_answer' })
    const letters = await server.sent.take(4)
    const cancels = letters.slice(2).map(({ subject }) => subject)
    expect(cancels).toEqual(['llm.v1.cancel.acme.a', 'llm.v1.cancel.acme.b'])
  })

  test.each([
    [{ waitMs: 2_000 }, {}, 2_000],
    [{ waitMs: 2_000 }, { deadlineMs: 1_000 }, 1_000],
    [{ waitMs: 2_000 }, { deadlineMs: 3_000 }, 3_000],
  ])(
    'is waited for by its deadline, else as its client says, and 5 s: %j, %j',
    async (client, call, ms) => {
      const world = opened({ connected: true, ...client })
      const ended: string[] = []
      const note = ({ code }: { code: string }) => void ended.push(code)
      world.client.request(body, call).catch(note)
      world.client.relay(body, sink(note), call)
      await world.server.sent.take(2)
      world.clock.advance(ms + 4_999)
      await settle()
      expect(ended).toEqual([])
      world.clock.advance(1)
      await settle()
      expect(ended).toEqual(['no_answer', 'no_answer'])
    },
  )

  test('a question is waited for 2 s', async () => {
    const { client, server, clock } = opened({ connected: true })
    const asked = [client.status('mine'), client.cancel('mine')]
    let over = 0
    for (const one of asked) one.catch(() => over++)
    await server.sent.take(2)
    clock.advance(1_999)
    await settle()
    expect(over).toBe(0)
    clock.advance(1)
    for (const one of asked) await expect(one).rejects.toMatchObject({ code: 'no_answer' })
  })

  test('leaves at once where its transport says that it is ready', () => {
    const { transport, sent } = handTransport()
    const ready = { ...transport, isReady: () => true }
    void new HeadgateClient({ tenant: 'acme', transport: ready }).status('mine').catch(() => {})
    expect(sent.all.length).toBe(1)
  })

  test('a job whose receipt does not come is left alone, for it may be submitted again', async () => {
    const { client, server, clock } = opened({ connected: true })
    const asked = client.submit(body, { id: 'j' })
    await server.sent.take(1)
    let over = false
    asked.catch(() => (over = true))
    clock.advance(9_999)
    await settle()
    expect(over).toBe(false)
    clock.advance(1)
    await expect(asked).rejects.toMatchObject({ code: 'no_answer', retryable: false })
    await settle()
    expect(server.sent.all.map(({ subject }) => subject)).toEqual([
      'llm.v1.submit.acme.interactive',
    ])
  })

  test('a job that is aborted before its receipt is cancelled', async () => {
    const { client, server } = opened({ connected: true })
    const abort = new AbortController()
    const asked = client.submit(body, { id: 'j', lane: 'batch', signal: abort.signal })
    await server.sent.take(1)
    abort.abort(new Error('enough'))
    await expect(asked).rejects.toThrow('enough')
    const [, cancel] = await server.sent.take(2)
    expect(cancel?.subject).toBe('llm.v1.cancel.acme.j')
  })
})

test('a call that names no lane goes to that of its client, where there is none to interactive', async () => {
  const lanesOf = async (of: Partial<HeadgateOptions>, call: { lane?: string }) => {
    const { client, server } = opened({ connected: true, ...of })
    void client.request(body, call).catch(() => {})
    client.stream(streamed, call)
    client.relay(
      body,
      sink(() => {}),
      call,
    )
    void client.submit(body, call).catch(() => {})
    void client
      .as('globex')
      .request(body, call)
      .catch(() => {})
    const letters = await server.sent.take(5)
    await client.close()
    return new Set(letters.map(({ subject }) => subject.split('.').at(-1)))
  }
  expect(await lanesOf({}, {})).toEqual(new Set(['interactive']))
  expect(await lanesOf({ lane: 'nightly' }, {})).toEqual(new Set(['nightly']))
  expect(await lanesOf({ lane: 'nightly' }, { lane: 'batch' })).toEqual(new Set(['batch']))
})

describe('a call without a deadline', () => {
  const MINUTE = 60_000
  const statusOf = (state: string) =>
    JSON.stringify({
      id: 'mine',
      tenant: 'acme',
      lane: 'batch',
      model: 'm',
      state,
      attempts: 0,
      position: 3,
      estimated_wait_ms: null,
      enqueued_at: '2026-01-01T00:00:00Z',
    })
  const asked = (lane: string) => {
    const world = opened({ connected: true })
    const call = world.client.request(body, { id: 'mine', lane })
    let ended: unknown = null
    call.then(
      () => (ended = 'answered'),
      (error: unknown) => (ended = error),
    )
    let questions = 1
    return {
      ...world,
      call,
      ended: () => ended,
      /** Ten minutes pass; the answer to the question for its state, or silence. */
      async check(state: string | null, headers: Record<string, string> = {}) {
        await world.server.sent.take(questions)
        world.clock.advance(10 * MINUTE)
        await settle()
        const letters = await world.server.sent.take(++questions)
        expect(letters.at(-1)?.subject).toBe('llm.v1.status.acme.mine')
        if (state === null) world.clock.advance(2_000)
        else world.server.deliver(letters.at(-1)?.reply ?? '', state, headers)
        await settle()
      },
    }
  }

  test('is waited for as long as Headgate has it, whatever its lane', async () => {
    const { server, call, check, ended } = asked('nightly')
    const [letter] = await server.sent.take(1)
    for (let i = 0; i < 5; i++) await check(statusOf('queued'))
    expect(ended()).toBe(null)
    server.deliver(letter?.reply ?? '', '{"ok":1}', { 'Headgate-Outcome': 'completed' })
    expect((await call).body).toEqual({ ok: 1 })
  })

  test('is given up once Headgate no longer has it', async () => {
    for (const gone of [statusOf('settled'), '{"headgate":{"code":"unknown_id"}}']) {
      const { check, ended } = asked('batch')
      await check(statusOf('running'))
      const headers = gone.includes('unknown_id') ? { 'Nats-Service-Error-Code': '404' } : {}
      await check(gone, headers)
      expect(ended()).toMatchObject({ code: 'no_answer' })
    }
  })

  test('of lane batch is waited for a day where nobody says, of another ten minutes', async () => {
    const batch = asked('batch')
    for (let i = 1; i < 24 * 6; i++) await batch.check(null)
    expect(batch.ended()).toBe(null)
    await batch.check(null)
    expect(batch.ended()).toMatchObject({ code: 'no_answer' })
    const other = asked('interactive')
    await other.check(null)
    expect(other.ended()).toMatchObject({ code: 'no_answer' })
  })

  test('waits by the lanes as they are shipped', () => {
    const { config } = resolve(configFile.parse({}))
    const late = config.lanes.filter(({ timeoutMs }) => timeoutMs > 10 * MINUTE)
    expect(late.map(({ name, timeoutMs }) => [name, timeoutMs])).toEqual([['batch', 86_400_000]])
  })
})

describe('closing', () => {
  test.each([{}, { inboxPrefix: '_INBOX' }])(
    'leaves nothing on a transport that is somebody else’s, and does not close it: %j',
    async (options) => {
      const { client, server } = opened({ connected: true, ...options })
      const other = client.as('globex')
      client.events(() => {})
      other.events(() => {})
      client.events(() => {})()
      expect(server.subjects().filter((subject) => subject.includes('event')).length).toBe(2)
      await client.close()
      expect([server.subjects(), server.faultListeners(), server.closed()]).toEqual([[], 0, 0])
    },
  )

  test('with one inbox for all tenants, ends one of them alone', async () => {
    const { client, server } = opened({ connected: true, inboxPrefix: '_INBOX' })
    const [one, two] = [client.as('one'), client.as('two')]
    one.events(() => {})
    const asked = [one.request(body), two.request(body), client.request(body)]
    await server.sent.take(3)
    const ended = expect(asked[0]).rejects.toMatchObject({ code: 'closed' })
    await one.close()
    await ended
    expect(server.subjects().length).toBe(1)
    await expect(one.request(body)).rejects.toMatchObject({ code: 'closed' })
    const [, letter] = server.sent.all
    server.deliver(letter?.reply ?? '', '{"type":"message"}', { 'Headgate-Outcome': 'completed' })
    expect((await asked[1])?.body).toEqual({ type: 'message' })
    const last = expect(asked[2]).rejects.toMatchObject({ code: 'closed' })
    await client.close()
    await last
    await expect(two.request(body)).rejects.toMatchObject({ code: 'closed' })
  })
})

test.each([{}, { inboxPrefix: '_INBOX' }])(
  'a client that is closed sends no call any more, and says that it is closed: %j',
  async (options) => {
    const { client, server } = opened({ connected: true, ...options })
    await client.close()
    const asked = Promise.race([client.request(body), settle()])
    await expect(asked).rejects.toMatchObject({ code: 'closed' })
    await expect(client.stream(streamed).final).rejects.toMatchObject({ code: 'closed' })
    expect(server.sent.all).toEqual([])
  },
)

describe('wrong arguments', () => {
  const wrong: [string, Partial<HeadgateOptions>, string][] = [
    ['a tenant that is no token', { tenant: 'a.b' }, 'tenant: expected 1 to 64'],
    ['a scheme that NATS does not have', { servers: 'https://x' }, 'expected nats:// or tls://'],
    ['a certificate without its key', { tls: { cert: 'x' } }, 'cert and key belong together'],
  ]
  test.each(wrong)('%s is a TypeError when the client is made', (_what, options, said) => {
    expect(() => new HeadgateClient({ tenant: 'acme', ...options })).toThrow(TypeError)
    expect(() => new HeadgateClient({ tenant: 'acme', ...options })).toThrow(said)
  })

  test('a wait that is no wait, and a lane that is none, never leave', async () => {
    const { client, server } = opened({ connected: true })
    for (const waitMs of [-1, Number.NaN, 604_800_001])
      await expect(client.result('j', { waitMs })).rejects.toThrow('waitMs: expected 0 to')
    expect(() => client.events(() => {}, { lane: 'a.>' })).toThrow('lane: expected')
    expect(server.sent.all).toEqual([])
  })
})
