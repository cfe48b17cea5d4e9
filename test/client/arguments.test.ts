/** What cannot be a call is told to who made it, at once, and nothing of it is left anywhere. */
import { describe, expect, test } from 'vitest'
import { HeadgateClient, type CallOptions } from '#client'
import { handTransport } from '../support/hand-transport.ts'

const body = '{"model":"m"}'

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
    ['a header that is no text', { headers: { traceparent: 7 } }, /^headers\.traceparent/],
  ])('%s is a TypeError, and the client closes all the same', async (_, options, says) => {
    const { client, server } = opened()
    const error = expect.objectContaining({
      name: 'TypeError',
      message: expect.stringMatching(says) as string,
    }) as Error
    await expect(client.request(body, options as CallOptions)).rejects.toEqual(error)
    expect(() => client.stream(body, options as CallOptions)).toThrow(error)
    expect(server.sent.all).toEqual([])
    await client.close()
  })

  test('a body that is none is a TypeError', async () => {
    const { client } = opened()
    await expect(client.request(undefined as never)).rejects.toThrow(/^body: expected an object/)
    await client.close()
  })

  test('a request whose body asks for a stream is told so, and taken back', async () => {
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
  const first = expect(client.request(body)).rejects.toMatchObject({ code: 'unreachable' })
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
