/** Events of megabytes, by every way: who reads gets them, who does not is told. */
import { once } from 'node:events'
import { createServer, request, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { configFile } from '#contracts/config'
import { memoryBus } from '#scheduler/memory/bus'
import { EVENT_BYTES_MAX } from '../../services/scheduler/provider/anthropic.ts'
import { createHeadgate, withHeadgate } from '../../services/library/embed.ts'
import { systemDice } from '../../services/platform/system.ts'
import { wireGateway } from '../../services/scheduler/compose/wire-gateway.ts'
import { openDoor, params, type Door } from '../support/door.ts'
import { manualClock } from '../support/manual-clock.ts'
import { post, rawCall } from '../support/raw-http.ts'

const MB = 1_000_000
/** What stands around the text in a frame. */
const AROUND = 200

const delta = (text: string) => ({
  type: 'content_block_delta',
  index: 0,
  delta: { type: 'text_delta', text },
})
const message = {
  id: 'msg_large',
  type: 'message',
  role: 'assistant',
  model: 'claude-haiku-4-5',
  content: [],
  stop_reason: null,
  stop_sequence: null,
  usage: { input_tokens: 1, output_tokens: 1 },
}
const start = [
  { type: 'message_start', message },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
]
const stop = [
  { type: 'content_block_stop', index: 0 },
  {
    type: 'message_delta',
    delta: { stop_reason: 'end_turn', stop_sequence: null },
    usage: { output_tokens: 1 },
  },
  { type: 'message_stop' },
]
const frame = (event: { type: string }): string =>
  `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`

/** Streams deltas of the sizes that the first message names, `16000000,1000`. */
async function largeUpstream() {
  const server = createServer((incoming, to) => {
    let text = ''
    incoming.setEncoding('utf8').on('data', (more: string) => (text += more))
    incoming.on('end', () => {
      const { messages } = JSON.parse(text) as { messages: { content: string }[] }
      const sizes = (messages[0]?.content ?? '').split(',').map(Number)
      to.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const event of start) to.write(frame(event))
      for (const size of sizes) to.write(frame(delta('x'.repeat(size))))
      for (const event of stop) to.write(frame(event))
      to.end()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise<void>((resolve) => (server.close(() => resolve()), server.closeAllConnections())),
  }
}

let upstream: Awaited<ReturnType<typeof largeUpstream>>
let door: Door
beforeAll(async () => {
  upstream = await largeUpstream()
  door = await openDoor({
    upstreamUrl: upstream.url,
    yaml: 'gateway: { stream_buffer_bytes: 1000000, stall_ms: 2000 }',
  })
})
afterAll(async () => {
  await door.close()
  await upstream.close()
})

const asking = (...sizes: number[]) =>
  params({ messages: [{ role: 'user' as const, content: sizes.join() }] })
const lengthOf = async (events: AsyncIterable<{ type: string }>) => {
  const said: (string | number)[] = []
  for await (const event of events)
    said.push((event as ReturnType<typeof delta>).delta?.text?.length ?? event.type)
  return said
}
/** What `lengthOf` says of a stream that came whole. */
const whole = (...sizes: number[]) => [
  'message_start',
  'content_block_start',
  ...sizes,
  'content_block_stop',
  'message_delta',
  'message_stop',
]
const LARGEST = EVENT_BYTES_MAX - AROUND

describe('over HTTP', () => {
  test.each([[4.5 * MB], [8.1 * MB], [LARGEST], [5 * MB, 5 * MB, 5 * MB, 5 * MB]])(
    'whoever reads has every byte of %i',
    async (...sizes) => {
      const events = await door.sdk().messages.create({ ...asking(...sizes), stream: true })
      expect(await lengthOf(events)).toEqual(whole(...sizes))
    },
  )

  test('whoever reads slowly, in pauses shorter than the stall time, does too', async () => {
    const answer = await streamOf(asking(12 * MB))
    let bytes = 0
    for await (const chunk of answer) {
      bytes += (chunk as Buffer).length
      // A turn of the loop for each piece: the sender is far ahead of us all the time.
      await new Promise(setImmediate)
    }
    expect(bytes).toBeGreaterThan(12 * MB)
    expect(answer.trailers['headgate-outcome']).toBe('completed')
  })

  test('one that is too large is said to be, and not cut off', async () => {
    const events = door.sdk().messages.create({ ...asking(EVENT_BYTES_MAX + 1), stream: true })
    await expect(events.then(lengthOf)).rejects.toMatchObject({
      error: { headgate: { code: 'stream_broken' } },
    })
  })

  test('who takes nothing and leaves more than its bound is told so between two events, and is forgotten', async () => {
    const clock = manualClock()
    const bus = memoryBus()
    const file = configFile.parse({ gateway: { stream_buffer_bytes: 1_000_000 } })
    const asked = Promise.withResolvers<string>()
    const cancelled = Promise.withResolvers<void>()
    bus.subscribe('llm.v1.request.*.*', ({ reply }) => asked.resolve(reply ?? ''))
    bus.subscribe('llm.v1.cancel.*.*', () => cancelled.resolve())
    const gateway = await wireGateway({
      host: '127.0.0.1',
      port: 0,
      tls: null,
      bus,
      file: () => file,
      keys: () => new Map(),
      ready: () => [],
      clock,
      dice: systemDice,
      onFault: (error) => {
        throw error
      },
    })
    const call = rawCall(gateway.url, post('/v1/messages', JSON.stringify(asking(1))))
    const to = await asked.promise
    bus.publish(to, Buffer.from(JSON.stringify(start[0])))
    await call.until((text) => text.includes('message_start'))
    call.socket.pause()
    const one = Buffer.from(JSON.stringify(delta('x'.repeat(60_000))))
    for (let i = 0; gateway.unreadBytes < 5 * MB; i++) {
      bus.publish(to, one)
      await new Promise(setImmediate)
    }
    clock.advance(4_000)
    expect(gateway.unreadBytes).toBeGreaterThan(MB)
    clock.advance(3_000)
    expect(gateway.unreadBytes).toBe(0)
    await cancelled.promise
    call.socket.resume()
    const text = await call.until((text) => text.endsWith('\r\n0\r\n\r\n'))
    expect(text.slice(-500)).toMatch(
      /"}}\n\n\r\n[0-9a-f]+\r\nevent: error\ndata: \{.*"code":"reader_too_slow".*\}\n\n\r\n0\r\n\r\n$/,
    )
    call.socket.destroy()
    await gateway.close()
    await bus.close()
  })

  async function streamOf(body: object): Promise<IncomingMessage> {
    const call = request(`${door.url}/v1/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    })
    call.end(JSON.stringify({ ...body, stream: true }))
    const [answer] = (await once(call, 'response')) as [IncomingMessage]
    return answer
  }
})

describe('embedded', () => {
  test.each([[8.1 * MB], [LARGEST], [5 * MB, 5 * MB, 5 * MB, 5 * MB]])(
    'whoever reads has every byte of %i',
    async (...sizes) => {
      const headgate = await createHeadgate({}, { baseUrl: upstream.url, apiKey: 'sk-planted' })
      const stream = headgate.as('acme').stream(asking(...sizes))
      expect(await lengthOf(stream)).toEqual(whole(...sizes))
      expect(await stream.final).toMatchObject({ outcome: 'completed', events: sizes.length + 5 })
      await headgate.close()
    },
  )

  test('under a client of the SDK, whoever reads has every byte', async () => {
    const headgate = await createHeadgate({}, { baseUrl: upstream.url, apiKey: 'sk-planted' })
    const client = withHeadgate(new Anthropic({ baseURL: upstream.url, apiKey: 'sk-planted' }), {
      headgate,
    })
    const events = await client.messages.create({ ...asking(LARGEST), stream: true })
    expect(await lengthOf(events)).toEqual(whole(LARGEST))
    await headgate.close()
  })

  test('under a client of the SDK, who leaves too much unread is told so', async () => {
    const headgate = await createHeadgate({}, { baseUrl: upstream.url, apiKey: 'sk-planted' })
    const client = withHeadgate(new Anthropic({ baseURL: upstream.url, apiKey: 'sk-planted' }), {
      headgate,
    })
    const settled = Promise.withResolvers<void>()
    headgate.on((event) => event.name === 'request.settled' && settled.resolve())
    const events = await client.messages.create({
      ...asking(9 * MB, 9 * MB, 9 * MB),
      stream: true,
    })
    await settled.promise
    await expect(lengthOf(events)).rejects.toMatchObject({
      error: { headgate: { code: 'reader_too_slow' } },
    })
    await headgate.close()
  })
})
