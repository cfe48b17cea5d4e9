/** A call that a door passes on: which of its timers may end it, and what each word becomes. */
import { beforeEach, describe, expect, test } from 'vitest'
import { HeadgateClient, type Headgate } from '#client'
import { handTransport, type HandTransport } from '../support/hand-transport.ts'
import { manualClock, type ManualClock } from '../support/manual-clock.ts'

const body = '{"model":"m","stream":true}'
const PING = '{"type":"ping"}'
const EVENT = '{"type":"content_block_delta"}'
const GRACE_MS = 5_000
const SILENCE_MS = 15_000

let server: HandTransport
let clock: ManualClock
/** What the sink was told, in order. */
let told: string[]

beforeEach(() => {
  server = handTransport()
  clock = manualClock()
  told = []
})

async function opened(options: Parameters<Headgate['relay']>[2] = {}) {
  const client = new HeadgateClient({
    tenant: 'acme',
    transport: server.transport,
    system: { after: clock.after, random: () => 0.5 },
  })
  const call = client.relay(
    body,
    {
      answer: (bytes) => told.push(`answer ${new TextDecoder().decode(bytes)}`),
      event: (data) => told.push(`event ${new TextDecoder().decode(data)}`),
      ping: () => told.push('ping'),
      end: () => told.push('end'),
      fail: ({ code }) => told.push(`fail ${code}`),
    },
    { id: 'mine', ...options },
  )
  const [letter] = await server.sent.take(1)
  const say = (text: string, headers: Record<string, string> = {}) =>
    server.deliver(letter?.reply ?? '', text, headers)
  const ended = (events: number) =>
    say('', { 'Headgate-Outcome': 'completed', 'Headgate-Events': String(events) })
  return { call, say, ended }
}
async function cancels(): Promise<string[]> {
  await new Promise((resolve) => setImmediate(resolve))
  return server.sent.all.map(({ subject }) => subject).filter((one) => one.includes('cancel'))
}

describe('the wait for the first word', () => {
  test('ends a call that hears none: its deadline and 5 s, and it is taken back', async () => {
    await opened({ deadlineMs: 1_000 })
    clock.advance(1_000 + GRACE_MS - 1)
    expect(told).toEqual([])
    clock.advance(1)
    expect([told, await cancels()]).toEqual([['fail no_answer'], ['llm.v1.cancel.acme.mine']])
  })

  test.each([PING, EVENT])(
    'never ends a stream that has begun, with %s or otherwise',
    async (first) => {
      const { say, ended } = await opened({ deadlineMs: 1_000 })
      say(first)
      for (let i = 0; i < 20; i++) {
        clock.advance(SILENCE_MS - 1)
        say(PING)
      }
      ended(first === PING ? 0 : 1)
      expect([told.at(-1), await cancels(), clock.pending()]).toEqual(['end', [], 0])
    },
  )
})

test('a stream that has begun and says nothing for 15 s has failed, and is taken back', async () => {
  const { say } = await opened()
  say(EVENT)
  clock.advance(SILENCE_MS - 1)
  say(PING)
  clock.advance(SILENCE_MS)
  expect(await cancels()).toEqual([])
  clock.advance(1)
  expect(told).toEqual([`event ${EVENT}`, 'ping', 'fail no_answer'])
  expect([await cancels(), clock.pending()]).toEqual([['llm.v1.cancel.acme.mine'], 0])
})

test('a longest wait for the end binds a stream too', async () => {
  const { say } = await opened({ endWithinMs: 40_000 })
  for (let i = 1; i < 40; i++) {
    clock.advance(1_000)
    say(PING)
  }
  expect(told.at(-1)).toBe('ping')
  clock.advance(1_000)
  expect([told.at(-1), clock.pending()]).toEqual(['fail no_answer', 0])
})

test('nothing more is told after an end, nor after its caller has left', async () => {
  const first = await opened()
  first.say('{"type":"message"}', { 'Headgate-Outcome': 'completed' })
  first.say(EVENT)
  first.call.leave()
  clock.advance(3_600_000)
  expect([told, await cancels()]).toEqual([['answer {"type":"message"}'], []])
  server = handTransport()
  told = []
  const second = await opened()
  second.call.leave()
  second.call.leave()
  second.say(EVENT)
  clock.advance(3_600_000)
  expect([told, await cancels(), clock.pending()]).toEqual([[], ['llm.v1.cancel.acme.mine'], 0])
})
