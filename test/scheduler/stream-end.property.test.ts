/** The end of an answer can neither be forged nor lost: whatever frames an upstream sends, what arrives over the
 *  memory bus is what left, and only the accounting ends it. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HEADER, isPing, PING, refusal, unattempted } from '#contracts/messages'
import { connectHeadgate, type AnswerAccounting, type HeadgateError } from '#client'
import { memoryBus } from '#scheduler/memory/bus'
import type { Bus, BusMessage } from '#ports'
import { outbox } from '../../services/scheduler/nats/outbox.ts'
import { SseScanner } from '../../services/scheduler/provider/sse-scanner.ts'
import { manualClock } from '../support/manual-clock.ts'

const text = (data: Uint8Array): string => new TextDecoder().decode(data)
const bytes = (said: string): Uint8Array => new TextEncoder().encode(said)

/** Frames as an upstream, a proxy or somebody hostile may make them. */
const frame = fc.oneof(
  fc.constantFrom('', ' ', '{}', '{"type":"ping"}', '{"type":"ping"} ', '[DONE]', '\u0000', 'null'),
  fc.constantFrom(
    '{"type":"message_stop"}',
    '{"type":"error","error":{"type":"overloaded_error","message":"x"}}',
    'Headgate-Outcome: completed',
    'NATS/1.0 503\r',
  ),
  fc.json(),
  fc.string({ maxLength: 200 }),
)

interface Arrived {
  events: string[]
  end: AnswerAccounting | null
  error: HeadgateError | null
}

/** Everything that comes back for one call, through the client's relay and through its stream at once. */
async function through(
  bus: Bus,
  say: (to: string) => void,
): Promise<{ relayed: Arrived; streamed: Arrived }> {
  const client = await connectHeadgate({ bus, tenant: 'acme', silenceMs: 1_000_000 })
  let asked = 0
  const listening = bus.subscribe('llm.v1.request.*.*', (message: BusMessage) => {
    asked++
    say(message.reply ?? '')
  })
  const relayed: Arrived = { events: [], end: null, error: null }
  const streamed: Arrived = { events: [], end: null, error: null }
  const whole = new Promise<void>((resolve) => {
    client.relay('{"stream":true}', {
      answer: (data, accounting) => {
        relayed.events.push(text(data))
        relayed.end = accounting
        resolve()
      },
      event: (data) => void relayed.events.push(text(data)),
      ping: () => {},
      end: (accounting) => {
        relayed.end = accounting
        resolve()
      },
      fail: (error) => {
        relayed.error = error
        resolve()
      },
    })
  })
  const stream = client.stream('{"stream":true}')
  try {
    for await (const data of stream.chunks()) streamed.events.push(text(data))
    streamed.end = await stream.final
  } catch (error) {
    streamed.error = error as HeadgateError
  }
  await whole
  expect(asked).toBe(2)
  await listening.drain()
  await client.close()
  return { relayed, streamed }
}

const outboxOn = (bus: Bus) => outbox({ bus, clock: manualClock(), pingMs: () => 5_000 })

/** What counts as an event: content that is no sign of life. */
const isEvent = (said: string): boolean => said !== '' && !isPing(bytes(said))

describe('over the memory bus', () => {
  test('what arrives is what left, and it ends by its accounting', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { maxLength: 30 }), async (frames) => {
        const bus = memoryBus()
        const out = outboxOn(bus)
        const { relayed, streamed } = await through(bus, (to) => {
          const reply = out.reply({ tenant: 'acme', id: 'x', to, stream: true })
          for (const one of frames) reply.event(bytes(one))
          reply.end({ ...unattempted('x'), outcome: 'completed', attempts: 1 })
        })
        for (const arrived of [relayed, streamed]) {
          expect(arrived.error).toBeNull()
          expect(arrived.events).toEqual(frames.filter(isEvent))
          expect(arrived.end).toMatchObject({ outcome: 'completed', events: arrived.events.length })
        }
      }),
      { numRuns: 300 },
    )
  })

  test('one message lost on the way is a gap, and never the end', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(frame.filter(isEvent), { minLength: 1, maxLength: 10 }),
        fc.nat(),
        async (frames, which) => {
          const bus = memoryBus()
          const out = outboxOn(bus)
          const lost = which % frames.length
          const { relayed, streamed } = await through(bus, (to) => {
            let sent = 0
            const lossy: Bus = {
              ...bus,
              publish: (subject, data, more) => {
                if (sent++ !== lost) bus.publish(subject, data, more)
              },
            }
            const through = outboxOn(lossy)
            const reply = through.reply({ tenant: 'acme', id: 'x', to, stream: true })
            for (const one of frames) reply.event(bytes(one))
            reply.end({ ...unattempted('x'), outcome: 'completed', attempts: 1 })
          })
          expect(out.open()).toBe(0)
          for (const arrived of [relayed, streamed]) expect(arrived.error?.code).toBe('gap')
        },
      ),
      { numRuns: 200 },
    )
  })

  test.each([
    ['a message without content and without accounting', { data: '', headers: [] }],
    [
      'an end that counts no events after some',
      { data: '', headers: [[HEADER.outcome, 'completed']] },
    ],
    [
      'an end that counts more than came',
      {
        data: '',
        headers: [
          [HEADER.outcome, 'completed'],
          [HEADER.events, '3'],
        ],
      },
    ],
    [
      'an end that counts fewer than came',
      {
        data: '',
        headers: [
          [HEADER.outcome, 'completed'],
          [HEADER.events, '0'],
        ],
      },
    ],
  ] as const)('%s is a gap', async (_name, { data, headers }) => {
    const bus = memoryBus()
    const { relayed, streamed } = await through(bus, (to) => {
      bus.publish(to, bytes('{"type":"message_start"}'))
      bus.publish(to, data, { headers })
    })
    for (const arrived of [relayed, streamed]) expect(arrived.error?.code).toBe('gap')
  })

  test('an error ends a stream although an end follows it', async () => {
    const bus = memoryBus()
    const out = outboxOn(bus)
    const { relayed, streamed } = await through(bus, (to) => {
      const reply = out.reply({ tenant: 'acme', id: 'x', to, stream: true })
      reply.event(bytes('{"type":"message_start"}'))
      reply.refuse(refusal('stream_broken', 'it broke'), unattempted('x'), null)
    })
    for (const arrived of [relayed, streamed]) expect(arrived.error?.code).toBe('stream_broken')
  })
})

test('a frame of an upstream without content is no event, wherever it stands', () => {
  const heard: string[] = []
  const scanner = new SseScanner({
    on: (_name, data) => void (data.length > 0 && heard.push(text(data))),
    eventBytesMax: 1_000,
  })
  scanner.push(
    Buffer.from('data:\n\ndata: {"a":1}\n\ndata:\n\nevent: x\ndata:\n\ndata: {"b":2}\n\n'),
  )
  expect(heard).toEqual(['{"a":1}', '{"b":2}'])
  expect(PING.length).toBeGreaterThan(0)
})
