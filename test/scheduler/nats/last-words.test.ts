/** Every last message of the outbox carries as fields what its headers say. */
import { expect, test } from 'vitest'
import { HEADER, refusal, unattempted } from '#contracts/messages'
import { readReply } from '#contracts/reply-fields'
import type { BusMessage, Reply } from '#ports'
import { memoryBus } from '#scheduler/memory/bus'
import { outbox } from '#scheduler/nats/outbox'
import { manualClock } from '../../support/manual-clock.ts'

const to = '_INBOX_acme.a.b'
const accounting = { ...unattempted('x1', 'a\r\nmodel'), queueMs: 1.6, upstreamRequestId: ' req ' }
const bytes = new TextEncoder().encode('{}')
const full = refusal('queue_full', 'no room')

const ends: Record<string, { stream: boolean; say: (reply: Reply) => void }> = {
  'a whole answer': { stream: false, say: (reply) => reply.answer(bytes, accounting) },
  'the end of a stream': {
    stream: true,
    say: (reply) => (reply.event(bytes), reply.end(accounting)),
  },
  'a refusal': { stream: false, say: (reply) => reply.refuse(full, accounting, null) },
}

test.each(Object.entries(ends))('%s', async (_, { stream, say }) => {
  const bus = memoryBus()
  const came: BusMessage[] = []
  bus.subscribe(to, (message) => came.push(message))
  const out = outbox({ bus, clock: manualClock(), pingMs: () => 5_000 })
  say(out.reply({ tenant: 'acme', id: 'x1', to, stream }))
  await bus.flush()
  const message = came.at(-1)!
  expect(message.last?.accounting).toEqual(readReply((name) => message.header(name)))
  expect(message.last?.accounting).toMatchObject({ model: 'a?model', queueMs: 2, requestId: 'req' })
  const status = message.header(HEADER.errorCode)
  expect(message.last?.errorStatus).toBe(status === undefined ? null : Number(status))
  expect(message.last?.accounting.events).toBe(stream ? 1 : null)
})
