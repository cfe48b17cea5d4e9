/** What every Bus promises, as sentences. Run on memory and on a real nats-server. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { unattempted } from '#contracts/messages'
import { readReply, replyFields, writeReply } from '#contracts/reply-fields'
import type { Bus, BusMessage } from '#ports'
import { heard } from '../support/heard.ts'

export function busConformance(
  name: string,
  make: () => Promise<{ bus: Bus; stop(): Promise<void> }>,
): void {
  describe(`bus: ${name}`, () => {
    let bus: Bus
    let stop: () => Promise<void>
    const nobody = heard<string>()

    beforeAll(async () => {
      ;({ bus, stop } = await make())
      bus.onNobody((probe) => nobody.add(probe))
    })
    afterAll(() => stop())

    const listen = async (subject: string, queue?: string) => {
      const messages = heard<BusMessage>()
      const subscription = bus.subscribe(
        subject,
        (message) => messages.add(message),
        queue === undefined ? {} : { queue },
      )
      await bus.flush()
      return { messages, subscription }
    }
    const text = (message: BusMessage | undefined) => Buffer.from(message?.data ?? []).toString()

    test('a message reaches every listener of its subject, with data, reply and headers', async () => {
      const one = await listen('t.plain')
      const two = await listen('t.plain')
      bus.publish('t.plain', 'hello', {
        reply: '_INBOX.a.b',
        headers: [
          ['Headgate-Id', 'x1'],
          ['anthropic-beta', 'a,b'],
        ],
      })
      for (const { messages } of [one, two]) {
        const [message] = await messages.take(1)
        expect(text(message)).toBe('hello')
        expect(message?.subject).toBe('t.plain')
        expect(message?.reply).toBe('_INBOX.a.b')
        expect(message?.header('headgate-id')).toBe('x1')
        expect(message?.header('ANTHROPIC-BETA')).toBe('a,b')
        expect(message?.header('absent')).toBeUndefined()
      }
    })

    test('last words come as fields or as headers, which say the same', async () => {
      const { messages } = await listen('t.last')
      const accounting = replyFields({ ...unattempted('x1', 'm'), queueMs: 1.6 }, 3)
      bus.publish('t.last', 'bye', {
        last: { accounting, errorStatus: null },
        get headers() {
          return writeReply(accounting)
        },
      })
      const [message] = await messages.take(1)
      expect(text(message)).toBe('bye')
      expect(message?.last?.accounting ?? accounting).toEqual(accounting)
      expect(readReply((name) => message?.header(name))).toEqual(accounting)
      expect([...(message?.names() ?? [])].map((name) => name.toLowerCase())).toEqual(
        writeReply(accounting).map(([name]) => name.toLowerCase()),
      )
    })

    test('a header that stands twice is named twice, and its first value counts', async () => {
      const { messages } = await listen('t.twice')
      bus.publish('t.twice', '', {
        headers: [
          ['Headgate-Deadline-Ms', '1'],
          ['headgate-deadline-ms', '2'],
        ],
      })
      const [message] = await messages.take(1)
      const names = [...(message?.names() ?? [])].map((name) => name.toLowerCase())
      expect(names).toEqual(['headgate-deadline-ms', 'headgate-deadline-ms'])
      expect(message?.header('Headgate-Deadline-Ms')).toBe('1')
    })

    test('a published wildcard is no wildcard, and reaches each listener once', async () => {
      const { messages } = await listen('t.wild.*.*')
      const plain = await listen('t.wild.a.b')
      for (const subject of ['t.wild.*.b', 't.wild.a.b']) bus.publish(subject, subject)
      await plain.messages.take(1)
      await bus.flush()
      expect(messages.all.map(text)).toEqual(['t.wild.*.b', 't.wild.a.b'])
      expect(plain.messages.all.map(text)).toEqual(['t.wild.a.b'])
    })

    test('a message without reply, headers or data is just that', async () => {
      const { messages } = await listen('t.bare')
      bus.publish('t.bare', new Uint8Array(0))
      const [message] = await messages.take(1)
      expect(message?.reply).toBeUndefined()
      expect(message?.header('Headgate-Id')).toBeUndefined()
      expect(message?.data.length).toBe(0)
    })

    test('`*` stands for one token and a last `>` for one or more', async () => {
      const star = await listen('w.*.c')
      const rest = await listen('w.a.>')
      const all = await listen('w.>')
      for (const subject of ['w.a', 'w.a.c', 'w.b.c', 'w.a.c.d', 'w.end']) bus.publish(subject, '')
      await all.messages.take(5)
      await bus.flush()
      // Two subjects may travel on two connections: only one addressee's messages have an order.
      const heardBy = (of: typeof all) => of.messages.all.map((m) => m.subject).toSorted()
      expect(heardBy(star)).toEqual(['w.a.c', 'w.b.c'])
      expect(heardBy(rest)).toEqual(['w.a.c', 'w.a.c.d'])
      expect(all.messages.all.length).toBe(5)
    })

    test('one member of a queue group gets each message, everybody else gets all', async () => {
      const members = await Promise.all([listen('q.work', 'g'), listen('q.*', 'g')])
      const outsider = await listen('q.work')
      for (let n = 0; n < 40; n++) bus.publish('q.work', String(n))
      await outsider.messages.take(40)
      await bus.flush()
      const shared = members.flatMap(({ messages }) => messages.all.map(text)).map(Number)
      expect(shared.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, n) => n))
      for (const { messages } of members) expect(messages.all.length).toBeGreaterThan(0)
    })

    test('messages to one addressee arrive in the order of publishing', async () => {
      const { messages } = await listen('_INBOX.order.*')
      for (let n = 0; n < 500; n++) bus.publish('_INBOX.order.1', String(n))
      const got = await messages.take(500)
      expect(got.map(text)).toEqual(Array.from({ length: 500 }, (_, n) => String(n)))
    })

    test('publish returns before anybody hears', async () => {
      const { messages } = await listen('t.later')
      bus.publish('t.later', '')
      expect(messages.all.length).toBe(0)
      await messages.take(1)
    })

    test('a probe is heard back if nobody listens, and only then', async () => {
      const there = await listen('_INBOX.there')
      bus.publish('_INBOX.gone.1', 'chunk', { probe: 'acme/r_1' })
      bus.publish('_INBOX.there', 'chunk', { probe: 'acme/r_2' })
      bus.publish('_INBOX.gone.2', 'chunk', { probe: 'odd word.*' })
      await there.messages.take(1)
      await nobody.find((probe) => probe === 'odd word.*')
      await nobody.find((probe) => probe === 'acme/r_1')
      expect(nobody.all).not.toContain('acme/r_2')
    })

    test('whoever asks where nobody listens is told so at the reply address', async () => {
      const { messages } = await listen('_INBOX.asker.*')
      bus.publish('t.nobody', 'question', { reply: '_INBOX.asker.1' })
      const [word] = await messages.take(1)
      expect(word?.nobody).toBe(true)
      expect(word?.data.length).toBe(0)
      expect(word?.subject).toBe('_INBOX.asker.1')
    })

    test('a drained subscription finishes what it took and takes no more', async () => {
      const { messages, subscription } = await listen('t.drain')
      const other = await listen('t.drain')
      for (let n = 0; n < 10; n++) bus.publish('t.drain', String(n))
      await bus.flush()
      await subscription.drain()
      expect(messages.all.length).toBe(10)
      bus.publish('t.drain', 'late')
      await other.messages.take(11)
      expect(messages.all.length).toBe(10)
      await subscription.drain()
    })

    test('a listener may publish and subscribe while it hears', async () => {
      const answers = await listen('t.pong')
      bus.subscribe('t.ping', () => bus.publish('t.pong', 'pong'))
      await bus.flush()
      bus.publish('t.ping', '')
      expect(text((await answers.messages.take(1))[0])).toBe('pong')
    })

    test('what is over the limit is refused at once', () => {
      const big = new Uint8Array(bus.maxPayload + 1)
      expect(() => bus.publish('t.big', big)).toThrow(RangeError)
      expect(() =>
        bus.publish('t.big', big.subarray(0, bus.maxPayload), { headers: [['A', 'b']] }),
      ).toThrow(RangeError)
    })

    test('a payload of exactly the limit passes', async () => {
      const { messages } = await listen('t.full')
      bus.publish('t.full', new Uint8Array(bus.maxPayload))
      expect((await messages.take(1))[0]?.data.length).toBe(bus.maxPayload)
    })

    test('a subject that is empty or holds white space is refused at once', () => {
      for (const subject of ['', 'a b', 'a\n']) {
        expect(() => bus.publish(subject, '')).toThrow()
        expect(() => bus.subscribe(subject, () => {})).toThrow()
      }
      expect(() => bus.publish('a', '', { headers: [['A', 'x\r\ny']] })).toThrow()
    })
  })

  test(`bus: ${name}: close lets go what was published, and then there is silence`, async () => {
    const { bus, stop } = await make()
    expect(bus.connected()).toBe(true)
    const messages = heard<BusMessage>()
    bus.subscribe('c.>', (message) => messages.add(message))
    await bus.flush()
    bus.publish('c.1', '')
    await bus.close()
    expect(bus.connected()).toBe(false)
    bus.publish('c.2', '')
    expect(messages.all.map((m) => m.subject)).toEqual(['c.1'])
    await stop()
  })
}
