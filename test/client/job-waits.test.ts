/** Waiting for a job's result: it is heard or found, and whatever goes away comes back. */
import { describe, expect, test } from 'vitest'
import { HeadgateClient, type Headgate, type HeadgateOptions } from '#client'
import { handTransport } from '../support/hand-transport.ts'
import { manualClock } from '../support/manual-clock.ts'

const RESULT = 'llm.v1.result.acme.j'
const FETCH = 'llm.v1.fetch.acme.j'
const DONE = { 'Headgate-Outcome': 'completed', 'Headgate-Attempts': '1' }
const answer = '{"id":"msg_1"}'

const settle = () => new Promise((resolve) => setImmediate(resolve))

function world(of: { ready?: () => Promise<void> } & Partial<HeadgateOptions> = {}) {
  const { ready, ...options } = of
  const server = handTransport(ready === undefined ? {} : { ready })
  const clock = manualClock()
  const client = new HeadgateClient({
    tenant: 'acme',
    transport: server.transport,
    system: { after: clock.after, random: () => 0.5 },
    ...options,
  })
  const fetches = () => server.sent.all.filter(({ subject }) => subject === FETCH)
  return {
    ...{ server, clock, client, fetches },
    /** The last question is answered, once there are so many. */
    async says(count: number, text: string, headers: Record<string, string>) {
      await settle()
      expect(fetches().length).toBe(count)
      server.deliver(fetches().at(-1)?.reply ?? '', text, headers)
      await settle()
    },
  }
}

const code = (of: string, status = '404'): [string, Record<string, string>] => [
  JSON.stringify({ error: { message: of }, headgate: { code: of, retryable: false } }),
  { 'Nats-Service-Error-Code': status },
]
const PENDING = code('pending', '202')

/** Nothing of a wait is left. */
function expectGone({ server, clock }: ReturnType<typeof world>): void {
  expect(server.subjects()).not.toContain(RESULT)
  expect([server.returnListeners(), clock.pending()]).toEqual([0, 0])
}

describe('a wait', () => {
  test('listens before it asks, so that no result comes between', async () => {
    const { server, client } = world()
    void client.jobs.wait('j')
    await settle()
    const [heard, asked] = [`subscribe ${RESULT}`, `publish ${FETCH}`]
    expect(server.log.indexOf(heard)).toBeGreaterThan(-1)
    expect(server.log.indexOf(asked)).toBeGreaterThan(server.log.indexOf(heard))
  })

  test('is answered by what is stored already', async () => {
    const one = world()
    const asked = one.client.jobs.wait({ id: 'j' })
    await one.says(1, answer, DONE)
    const { body, accounting } = await asked
    expect([body.id, accounting.outcome]).toEqual(['msg_1', 'completed'])
    expectGone(one)
  })

  test('is answered by what is published while it waits', async () => {
    const one = world()
    const asked = one.client.jobs.wait('j')
    await one.says(1, ...PENDING)
    one.server.deliver(RESULT, answer, DONE)
    expect((await asked).body.id).toBe('msg_1')
    expectGone(one)
  })

  test.each(['published', 'stored'])(
    'ends with the error that the job ended with, %s',
    async (how) => {
      const one = world()
      const asked = expect(one.client.jobs.wait('j')).rejects.toMatchObject({
        code: 'deadline_exceeded',
        status: 504,
      })
      if (how === 'stored') await one.says(1, ...code('deadline_exceeded', '504'))
      else {
        await one.says(1, ...PENDING)
        one.server.deliver(RESULT, ...code('deadline_exceeded', '504'))
      }
      await asked
      expectGone(one)
    },
  )

  test('asks again after a reconnect, for what came while the connection was away', async () => {
    const one = world()
    const asked = one.client.jobs.wait('j')
    await one.says(1, ...PENDING)
    one.server.returned()
    one.clock.advance(1)
    await one.says(2, answer, DONE)
    expect((await asked).body.id).toBe('msg_1')
    expectGone(one)
  })

  test('of many asks after a reconnect at a bounded rate', async () => {
    const { server, clock, client } = world()
    for (let n = 0; n < 400; n++) client.jobs.wait(`j${n}`).catch(() => {})
    await settle()
    expect(server.sent.all.length).toBe(400)
    server.returned()
    // The dice of this world give the middle: half of the 400 ms that so many take.
    clock.advance(199)
    await settle()
    expect(server.sent.all.length).toBe(400)
    clock.advance(1)
    await settle()
    expect(server.sent.all.length).toBe(800)
    await client.close()
  })

  test('asks again now and then, further and further apart, up to a minute', async () => {
    const { server, clock, client } = world()
    client.jobs.wait('j').catch(() => {})
    const apart: number[] = []
    for (let n = 1, last = 0; n < 9; n++) {
      await settle()
      const { length } = server.sent.all
      server.deliver(server.sent.all.at(-1)?.reply ?? '', ...PENDING)
      await settle()
      while (server.sent.all.length === length) {
        clock.advance(1_000)
        await settle()
      }
      apart.push((clock.now() - last) / 1_000)
      last = clock.now()
    }
    expect(apart).toEqual([2, 4, 8, 16, 32, 60, 60, 60])
    await client.close()
  })

  test('outlasts that nobody listens, and that nothing answers', async () => {
    const one = world()
    const asked = one.client.jobs.wait('j')
    await settle()
    // No Headgate is there just now.
    one.server.nobody(one.fetches().at(-1)?.reply ?? '')
    await settle()
    one.clock.advance(2_000)
    await settle()
    expect(one.fetches().length).toBe(2)
    // One is, and says nothing.
    one.clock.advance(5_000 + 4_000)
    await settle()
    one.clock.advance(4_000)
    await one.says(3, answer, DONE)
    expect((await asked).body.id).toBe('msg_1')
    expectGone(one)
  })

  test('of a job that nobody knows says so', async () => {
    const one = world()
    const asked = expect(one.client.jobs.wait('j')).rejects.toMatchObject({ code: 'unknown_id' })
    await one.says(1, ...code('unknown_id'))
    await asked
    expectGone(one)
  })

  test('without a connection to begin with is unreachable', async () => {
    const one = world({ ready: () => Promise.reject(new Error('nobody there')) })
    await expect(one.client.jobs.wait('j')).rejects.toMatchObject({
      code: 'unreachable',
      message: 'nobody there',
    })
    expectGone(one)
  })

  test('ends with `pending` when its time is over, and the job goes on', async () => {
    const one = world()
    const asked = expect(one.client.jobs.wait('j', { timeoutMs: 1_500 })).rejects.toMatchObject({
      code: 'pending',
      retryable: true,
    })
    await one.says(1, ...PENDING)
    one.clock.advance(1_500)
    await asked
    expectGone(one)
    expect(one.server.sent.all.filter(({ subject }) => subject.includes('cancel'))).toEqual([])
  })

  test('ends with the reason of its signal, and the job goes on', async () => {
    const one = world()
    const abort = new AbortController()
    const asked = expect(one.client.jobs.wait('j', { signal: abort.signal })).rejects.toThrow(
      'enough',
    )
    await one.says(1, ...PENDING)
    abort.abort(new Error('enough'))
    await asked
    expectGone(one)
    expect(one.server.sent.all.filter(({ subject }) => subject.includes('cancel'))).toEqual([])
    const never = one.client.jobs.wait('j', { signal: AbortSignal.abort(new Error('before')) })
    await expect(never).rejects.toThrow('before')
    expect(one.fetches().length).toBe(1)
  })

  test('ends with its client, and counts among its calls', async () => {
    const one = world({ callsMax: 2 })
    const asked = expect(one.client.jobs.wait('j')).rejects.toMatchObject({ code: 'closed' })
    await one.says(1, ...PENDING)
    const other = expect(one.client.jobs.wait('k')).rejects.toMatchObject({ code: 'closed' })
    await settle()
    await expect(one.client.jobs.wait('l')).rejects.toMatchObject({ code: 'client_full' })
    await one.client.close()
    await asked
    await other
    expectGone(one)
  })

  test('that the server does not carry is forbidden', async () => {
    const one = world()
    const asked = expect(one.client.jobs.wait('j')).rejects.toMatchObject({ code: 'forbidden' })
    await one.says(1, ...PENDING)
    one.server.refuse({ subject: RESULT, detail: 'no permission' })
    await asked
    expectGone(one)
  })

  test('that cannot be one is a TypeError, and nothing is sent', async () => {
    const { client, server } = world()
    const wrong: [Parameters<Headgate['jobs']['wait']>, RegExp][] = [
      [['a.b'], /^id: expected/],
      [[undefined as never], /^id: expected/],
      [['j', { timeoutMs: 0 }], /^timeoutMs: expected a number from 1/],
      [['j', { timeoutMs: 604_800_001 }], /^timeoutMs/],
      [['j', { signal: 'x' as never }], /^signal: expected an AbortSignal/],
      [['j', { timeout: 1 } as never], /^jobs\.wait: no option timeout; did you mean timeoutMs\?$/],
    ]
    for (const [args, says] of wrong) await expect(client.jobs.wait(...args)).rejects.toThrow(says)
    expect(server.sent.all).toEqual([])
  })
})

describe('submit', () => {
  test('says when the job may start, and refuses what cannot be', async () => {
    const { client, server } = world()
    const asked = client.submit('{}', { id: 'j', notBeforeMs: 1_500.5 }).catch(() => {})
    const [letter] = await server.sent.take(1)
    expect(letter?.headers).toContainEqual(['Headgate-Not-Before-Ms', '1501'])
    for (const notBeforeMs of [-1, Number.NaN, 604_800_001])
      await expect(client.submit('{}', { notBeforeMs })).rejects.toThrow(/^notBeforeMs: expected/)
    await expect(client.request('{}', { notBeforeMs: 1 } as never)).rejects.toThrow(
      /^request: no option notBeforeMs/,
    )
    await client.close()
    await asked
  })
})
