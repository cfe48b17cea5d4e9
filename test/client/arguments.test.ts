/** What cannot be a call is told to who made it, at once, and nothing of it is left anywhere. */
import { describe, expect, test } from 'vitest'
import { connectHeadgate, HeadgateClient, natsTransport, type CallOptions } from '#client'
import { handTransport } from '../support/hand-transport.ts'

const body = '{"model":"m"}'
const streamed = '{"model":"m","stream":true}'

function opened() {
  const server = handTransport()
  return { server, client: new HeadgateClient({ tenant: 'acme', transport: server.transport }) }
}

describe('a call that cannot be one', () => {
  test.each<[string, object, RegExp]>([
    ['a numeric id', { id: 42 }, /^id: expected/],
    ['a signal that is none', { signal: 'x' }, /^signal: expected an AbortSignal/],
    ['a deadline of 0', { deadlineMs: 0 }, /^deadlineMs: expected a number from 1 to/],
    ['a deadline that is no number', { deadlineMs: Number.NaN }, /^deadlineMs/],
    ['a ladder that is text', { degrade: 'cache' }, /^degrade: expected a list/],
    ['a prefix that is no name', { prefix: 'my prompt' }, /^prefix: expected 1 to 64 characters/],
    ['an again that is a word', { again: 'never' }, /^again: expected true or false/],
    ['another again', { headers: { 'Headgate-Again': 'often' } }, /expected never$/],
    ['a header that is no text', { headers: { traceparent: 7 } }, /^headers\.traceparent/],
  ])('%s is a TypeError, and the client closes all the same', async (_, options, says) => {
    const { client, server } = opened()
    const error = expect.objectContaining({
      name: 'TypeError',
      message: expect.stringMatching(says) as string,
    }) as Error
    await expect(client.request(body, options as CallOptions)).rejects.toEqual(error)
    expect(() => client.stream(streamed, options as CallOptions)).toThrow(error)
    expect(server.sent.all).toEqual([])
    await client.close()
  })

  test('a job is taken over by itself: whether it is asked again nobody can say', async () => {
    const { client, server } = opened()
    const options = { headers: { 'headgate-again': 'never' } }
    await expect(client.submit(body, options)).rejects.toThrow('headgate-again: expected none')
    expect(server.sent.all).toEqual([])
    await client.close()
  })

  test('the prefix that a call shares is said in a header', async () => {
    const { client, server } = opened()
    void client.request(body, { prefix: 'mine' }).catch(() => {})
    await new Promise(setImmediate)
    expect(server.sent.all.map(({ headers }) => Object.fromEntries(headers ?? []))).toMatchObject([
      { 'Headgate-Prefix': 'mine' },
    ])
    await client.close()
  })

  test('the ladder that a call may be sent down is said in a header, in its order; an empty one is not', async () => {
    const { client, server } = opened()
    for (const degrade of [['fallback', 'cache'], []] as const)
      void client.request(body, { degrade: [...degrade] }).catch(() => {})
    const letters = await server.sent.take(2)
    const said = letters.map(({ headers }) => new Map(headers).get('Headgate-Degrade'))
    expect(said).toEqual(['fallback,cache', undefined])
    await client.close()
  })

  test('a body that is none is a TypeError', async () => {
    const { client } = opened()
    await expect(client.request(undefined as never)).rejects.toThrow(/^body: expected an object/)
    await client.close()
  })

  test.each<[string, string, RegExp]>([
    ['a misspelt option', 'deadline', /^request: no option deadline; did you mean deadlineMs\?$/],
    ['one of another case', 'deadlinems', /did you mean deadlineMs\?/],
    ['one that is like none', 'temperature', /no option temperature; there are lane, id, /],
  ])('%s is told, with what was meant, and nothing is sent', async (_, name, says) => {
    const { client, server } = opened()
    await expect(client.request(body, { [name]: 1 } as CallOptions)).rejects.toThrow(says)
    expect(server.sent.all).toEqual([])
    await client.close()
  })

  test('every function tells of an option that it does not have', async () => {
    const { client, server } = opened()
    const wrong = { sginal: undefined, waitms: 1 } as never
    const sink = {} as never
    for (const call of [
      () => client.stream('{"stream":true}', wrong),
      () => client.relay(body, sink, wrong),
      () => client.submit(body, wrong),
      () => client.result('mine', wrong),
      () => client.aux('models', '', wrong),
      () => client.countTokens({ model: 'm', messages: [] }, wrong),
      () => client.models(wrong),
      () => client.events(() => {}, wrong),
      () => client.request(body, 'batch' as never),
      () => new HeadgateClient({ tenant: 'acme', server: 'nats://127.0.0.1:9' } as never),
      () => new HeadgateClient({ tenant: 'acme', tls: { certificate: '' } } as never),
      () => connectHeadgate({ tenant: 'acme', lanes: [] } as never),
      () => natsTransport({ server: 'nats://127.0.0.1:9' } as never),
    ])
      await expect((async () => call())()).rejects.toThrow(
        /^\S+: (tls: )?(no option \w+; (did you mean|there are)|options: expected an object)/,
      )
    expect(server.sent.all).toEqual([])
    await client.close()
  })

  test.each<[string, object, RegExp]>([
    [
      'servers that are none',
      { servers: 4222 },
      /^servers: expected an address as text, or a list/,
    ],
    ['a lane that is none', { lane: 'a.b' }, /^lane: expected 1 to 64 characters/],
    ['a time that is text', { waitMs: '5s' }, /^waitMs: expected a number above 0$/],
    ['a bound of 0', { callsMax: 0 }, /^callsMax: expected a number above 0$/],
  ])('%s: told when the client is made', (_, more, says) => {
    expect(() => new HeadgateClient({ tenant: 'acme', ...more } as never)).toThrow(says)
  })

  test('what contradicts itself, or cannot be written, is told before it is sent', async () => {
    const { client, server } = opened()
    expect(() => client.stream({ model: 'm', stream: false } as never)).toThrow(
      /^stream: body: it says "stream": false; expected none, or use request\(\)$/,
    )
    await expect(client.request({ model: 5n } as never)).rejects.toThrow(
      /^body: it cannot be written as JSON: /,
    )
    expect(() => client.events('x' as never)).toThrow(/^events: listener: expected a function$/)
    expect(server.sent.all).toEqual([])
    await client.close()
  })

  test('a header for Headgate that there is none of is told, and one that there is goes out', async () => {
    const { client, server } = opened()
    const headers = { 'headgate-dealine-ms': '1000' }
    await expect(client.request(body, { headers })).rejects.toThrow(
      /^headers: no header headgate-dealine-ms; did you mean Headgate-Deadline-Ms\?$/,
    )
    const asked = client.request(body, { headers: { 'headgate-deadline-ms': '1000' } })
    const [letter] = await server.sent.take(1)
    expect(letter?.headers).toContainEqual(['headgate-deadline-ms', '1000'])
    server.deliver(letter?.reply ?? '', '{}', { 'Headgate-Outcome': 'completed' })
    await asked
    await client.close()
  })

  test.each<[string, object | string | Uint8Array]>([
    ['an object', { model: 'm', stream: true }],
    ['text', '{"model":"m", "stream" : true}'],
    ['bytes', new TextEncoder().encode('{"stream":true}')],
    ['text that hides it', '{"\\u0073tream":true}'],
  ])(
    'a body that asks for a stream is refused where none is given, before it is sent: %s',
    async (_, asking) => {
      const { client, server } = opened()
      await expect(client.request(asking as never)).rejects.toThrow(
        /^request: body: it says "stream": true; expected none, or use stream\(\)$/,
      )
      await expect(client.submit(asking as never)).rejects.toThrow(/^submit: body/)
      expect(server.sent.all).toEqual([])
      await client.close()
    },
  )

  test('a raw body that asks for no stream is refused where one is given', async () => {
    const { client, server } = opened()
    for (const raw of [body, '{"stream":false}', '{"messages":[{"content":"\\"stream\\":true"}]}'])
      expect(() => client.stream(raw)).toThrow(/^stream: body: a raw body must say "stream": true/)
    expect(server.sent.all).toEqual([])
    await client.close()
  })

  test('a word of a stream in what is not one is bad, and the call is taken back', async () => {
    const { client, server } = opened()
    const asked = expect(client.request(body, { id: 'mine' })).rejects.toMatchObject({
      code: 'bad_answer',
    })
    const [letter] = await server.sent.take(1)
    server.deliver(letter?.reply ?? '', '{"type":"message_start"}')
    await asked
    const [, cancel] = await server.sent.take(2)
    expect(cancel?.subject).toBe('llm.v1.cancel.acme.mine')
    await client.close()
  })

  test('a call over what the server carries is too large, and says by whose bound', async () => {
    const { client, server } = opened()
    const large = { code: 'payload_too_large', status: 413, retryable: false }
    const text = JSON.stringify({ model: 'm', stream: true, text: 'é'.repeat(2_500) })
    await expect(client.submit(text.replace('true', 'null'))).rejects.toMatchObject({
      ...large,
      message: expect.stringMatching(
        /^the call has 5\d\d\d bytes; .* takes 5000 \(max_payload/,
      ) as string,
    })
    await expect(client.request(text.replace('true', 'null'))).rejects.toMatchObject(large)
    await expect(client.stream(text).final).rejects.toMatchObject(large)
    // Headers count.
    const headers = { tracestate: 'x'.repeat(4_990) }
    await expect(client.request(body, { headers })).rejects.toMatchObject(large)
    expect(server.sent.all).toEqual([])
    await client.close()
  })
})

test('a tenant has one client, however often it is asked for, and a new one once that is closed', async () => {
  const { client, server } = opened()
  const one = client.as('globex')
  for (let i = 0; i < 100; i++) expect(client.as('globex')).toBe(one)
  expect(server.subjects().length).toBe(2)
  await one.close()
  expect(client.as('globex')).not.toBe(one)
  await client.close()
})

test('an inbox that the server refused once is asked for again by the next call', async () => {
  const { client, server } = opened()
  const [inbox] = server.subjects()
  const first = expect(client.request(body)).rejects.toMatchObject({ code: 'forbidden' })
  await server.sent.take(1)
  server.refuse({ subject: inbox ?? '', detail: 'no permission' })
  await first
  const before = server.log.filter((one) => one === `subscribe ${inbox}`).length
  const second = client.request(body)
  const [, letter] = await server.sent.take(2)
  expect(server.log.filter((one) => one === `subscribe ${inbox}`).length).toBe(before + 1)
  server.deliver(letter?.reply ?? '', '{"type":"message"}', { 'Headgate-Outcome': 'completed' })
  expect((await second).body).toEqual({ type: 'message' })
  await client.close()
})
