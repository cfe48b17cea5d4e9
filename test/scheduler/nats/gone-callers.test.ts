/** Callers who are gone, as the bus can tell: each probe speaks of one reply, and a whole answer's caller is
 *  asked for by another name of its inbox. */
import { beforeEach, describe, expect, test } from 'vitest'
import { unattempted, refusal } from '#contracts/messages'
import { memoryBus } from '#scheduler/memory/bus'
import type { Bus, Subscription } from '#ports'
import { outbox, type Outbox } from '../../../services/scheduler/nats/outbox.ts'
import { manualClock, type ManualClock } from '../../support/manual-clock.ts'

const PING_MS = 5_000
let clock: ManualClock
let bus: Bus
let out: Outbox
let gone: string[]
let probes: string[]
/** Everything that was sent to any inbox. */
let sent: string[]
beforeEach(() => {
  clock = manualClock()
  const real = memoryBus()
  sent = []
  bus = {
    ...real,
    publish(subject, data, options) {
      sent.push(subject)
      real.publish(subject, data, options)
    },
  }
  gone = []
  probes = []
  out = outbox({ bus, clock, pingMs: () => PING_MS })
  bus.onNobody((probe) => {
    probes.push(probe)
    for (const { tenant, id } of out.gone(probe)) gone.push(`${tenant}/${id}`)
  })
})

const whole = (id: string, to: string) => out.reply({ tenant: 'acme', id, to, stream: false })
const streamed = (id: string, to: string) => out.reply({ tenant: 'acme', id, to, stream: true })
/** Until the inboxes of new callers have been asked. */
const asked = async () => {
  clock.advance(5)
  await bus.flush()
}
/** Two rounds of asking, and what comes of them. */
const rounds = async (count = 2) => {
  for (let i = 0; i < count; i++) {
    clock.advance(PING_MS)
    await bus.flush()
  }
}

describe('a stream', () => {
  test("one's stale probe says nothing of a later one under the same id", async () => {
    const first = streamed('same', '_INBOX.gone.1')
    first.event(Buffer.from('{"type":"message_start"}'))
    first.refuse(refusal('cancelled', 'gone'), unattempted('same'), null)
    const heard: string[] = []
    bus.subscribe('_INBOX.stays.1', () => void heard.push('one'))
    const second = streamed('same', '_INBOX.stays.1')
    second.event(Buffer.from('{"type":"message_start"}'))
    await bus.flush()
    expect(probes.length).toBe(1)
    expect(heard.length).toBe(1)
    expect(gone).toEqual([])
  })

  test('its own probe says that its caller is gone', async () => {
    streamed('left', '_INBOX.gone.1').event(Buffer.from('{"type":"message_start"}'))
    await bus.flush()
    expect(gone).toEqual(['acme/left'])
  })
})

describe('a whole answer', () => {
  let theirs: Subscription
  let answers: string[]
  beforeEach(() => {
    answers = []
    // As every NATS client listens to the replies of all its requests.
    theirs = bus.subscribe('_INBOX.them.*', ({ subject }) => void answers.push(subject))
  })

  test('a caller that goes is noticed, with all its calls, and nobody else', async () => {
    bus.subscribe('_INBOX.others.*', () => {})
    whole('a', '_INBOX.them.1')
    whole('b', '_INBOX.them.2')
    whole('c', '_INBOX.others.1')
    await asked()
    await rounds()
    expect(gone).toEqual([])
    await theirs.drain()
    await rounds()
    expect(gone).toEqual(['acme/a', 'acme/b'])
    await rounds()
    expect(gone).toEqual(['acme/a', 'acme/b'])
  })

  test('nothing but the answer comes to the reply subject, and one word a round to the inbox', async () => {
    const reply = whole('a', '_INBOX.them.1')
    whole('b', '_INBOX.them.2')
    await asked()
    await rounds(3)
    expect(answers).toEqual(Array.from({ length: 4 }, () => '_INBOX.them.headgate-there'))
    reply.answer(Buffer.from('{}'), { ...unattempted('a'), outcome: 'completed' })
    await bus.flush()
    expect(answers.filter((subject) => subject.endsWith('.1')).length).toBe(1)
  })

  test.each([
    ['of a subscription for the one reply', '_INBOX.exact.1', '_INBOX.exact.1'],
    ['with a short inbox', '_INBOX.short', '_INBOX.short'],
    ['of another account', '_R_.abc.def', null],
  ])('a caller %s cannot be told, and is never taken for gone', async (_who, to, listening) => {
    if (listening !== null) bus.subscribe(listening, () => {})
    whole('a', to)
    await asked()
    await rounds(10)
    expect(gone).toEqual([])
    expect(sent.filter((subject) => subject === to)).toEqual([])
  })

  test('one that is away for one round is not gone', async () => {
    whole('a', '_INBOX.them.1')
    await asked()
    await rounds()
    await theirs.drain()
    await rounds(1)
    bus.subscribe('_INBOX.them.*', () => {})
    await rounds(1)
    expect(gone).toEqual([])
  })

  test('an inbox that could not be asked proves nothing', async () => {
    bus.flush = () => Promise.reject(new Error('away'))
    whole('a', '_INBOX.them.1')
    await asked().catch(() => {})
    await theirs.drain()
    clock.advance(PING_MS * 10)
    await new Promise(setImmediate)
    expect(gone).toEqual([])
  })

  test('a known inbox is not asked anew for each call, and nothing is asked while nobody waits', async () => {
    for (let i = 0; i < 5; i++) {
      const reply = whole('a', `_INBOX.them.${i}`)
      await asked()
      reply.answer(Buffer.from('{}'), { ...unattempted('a'), outcome: 'completed' })
    }
    await bus.flush()
    expect(answers.filter((subject) => subject.endsWith('headgate-there')).length).toBe(1)
    clock.advance(PING_MS)
    expect(clock.pending()).toBe(0)
  })

  test('one that is answered at once is not asked for at all', async () => {
    const reply = whole('a', '_INBOX.them.1')
    reply.answer(Buffer.from('{}'), { ...unattempted('a'), outcome: 'completed' })
    clock.advance(PING_MS)
    await bus.flush()
    expect(answers).toEqual(['_INBOX.them.1'])
    expect(clock.pending()).toBe(0)
  })
})
