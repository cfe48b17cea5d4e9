/** What a stream leaves behind. */
import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import { HeadgateClient, type AnswerStream } from '#client'
import { handTransport, type HandTransport } from '../support/hand-transport.ts'
import { manualClock, type ManualClock } from '../support/manual-clock.ts'

interface World {
  client: HeadgateClient
  clock: ManualClock
  stream: AnswerStream
  say: (text: string, headers?: Record<string, string>) => void
  nobody: () => void
}

async function opened(server: HandTransport, signal: AbortSignal): Promise<World> {
  const clock = manualClock()
  const client = new HeadgateClient({
    tenant: 'acme',
    transport: server.transport,
    system: { after: clock.after, random: () => 0.5 },
  })
  const stream = client.stream('{"model":"m","stream":true}', { signal })
  const [letter] = await server.sent.take(1)
  const to = letter?.reply ?? ''
  return {
    ...{ client, clock, stream },
    say: (text, headers) => server.deliver(to, text, headers),
    nobody: () => server.nobody(to),
  }
}

test.each<[string, (of: World) => unknown]>([
  ['ended well', ({ say }) => say('', { 'Headgate-Outcome': 'completed', 'Headgate-Events': '0' })],
  ['found nobody', ({ nobody }) => nobody()],
  ['fell silent', ({ clock }) => clock.advance(30_000)],
  ['ended with its client', ({ client }) => client.close()],
  [
    'was left by its reader',
    async ({ stream, say }) => {
      say('{"type":"message_start"}')
      for await (const _event of stream) break
    },
  ],
])('a stream that %s holds on to no signal, and runs no timer', async (_how, end) => {
  const { signal } = new AbortController()
  const world = await opened(handTransport(), signal)
  expect(getEventListeners(signal, 'abort').length).toBe(1)
  await end(world)
  await world.stream.final.catch(() => {})
  expect([getEventListeners(signal, 'abort'), world.clock.pending()]).toEqual([[], 0])
  await world.client.close()
})
