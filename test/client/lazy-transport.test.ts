/** The transport that connects when it is needed. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Transport } from '#client'
import { lazyTransport } from '../../services/client/lazy-transport.ts'
import { handTransport, type HandTransport } from '../support/hand-transport.ts'
import { heard } from '../support/heard.ts'

/** Connects that end when told. */
function hand() {
  const begun = heard<PromiseWithResolvers<Transport> & { signal: AbortSignal }>()
  let pending = 0
  let pendingMax = 0
  const lazy = lazyTransport(async (signal) => {
    const connect = Promise.withResolvers<Transport>()
    pendingMax = Math.max(pendingMax, ++pending)
    begun.add({ ...connect, signal })
    try {
      return await connect.promise
    } finally {
      pending -= 1
    }
  })
  return {
    lazy,
    begun,
    pendingMax: () => pendingMax,
    async nth(n: number) {
      const connects = await begun.take(n)
      return connects[n - 1]!
    },
  }
}

/** Every microtask that is due has run. */
const settle = () => new Promise((resolve) => setImmediate(resolve))
const closed = { name: 'HeadgateError', code: 'closed' }

describe('a lazy transport', () => {
  test('connects when it is needed, and not for a subscription alone', async () => {
    const { lazy, begun } = hand()
    lazy.subscribe('a', () => {})
    lazy.onFault(() => {})
    await settle()
    expect(begun.all.length).toBe(0)
    void lazy.ready()
    await begun.take(1)
  })

  test('makes one connection for all who wait', async () => {
    const { lazy, begun, nth } = hand()
    const waiting = [lazy.ready(), lazy.ready(), lazy.ready()]
    const { transport } = handTransport()
    const connect = await nth(1)
    connect.resolve(transport)
    await Promise.all(waiting)
    await lazy.ready()
    expect(begun.all.length).toBe(1)
  })

  test('begins what was subscribed before, ahead of whatever leaves', async () => {
    const { lazy, nth } = hand()
    const messages: string[] = []
    const faults: string[] = []
    lazy.subscribe('a', (message) => messages.push(message.subject))
    lazy.subscribe('b', () => {}).close()
    lazy.onFault(({ subject }) => faults.push(subject))
    const leaving = lazy.ready().then(() => lazy.publish('out', 'x'))
    const server = handTransport()
    const connect = await nth(1)
    connect.resolve(server.transport)
    await leaving
    expect(server.log).toEqual(['subscribe a', 'publish out'])
    server.deliver('a', '')
    server.refuse({ subject: 'x', detail: 'no' })
    expect([messages, faults]).toEqual([['a'], ['x']])
  })

  test('once connected, passes everything on', async () => {
    const { lazy, nth } = hand()
    expect(lazy.maxPayload).toBe(1_048_576)
    const ready = lazy.ready()
    const server = handTransport()
    const connect = await nth(1)
    connect.resolve(server.transport)
    await ready
    expect(lazy.maxPayload).toBe(5_000)
    const subscription = lazy.subscribe('late', () => {})
    expect(server.subjects()).toEqual(['late'])
    subscription.close()
    expect(server.subjects()).toEqual([])
  })

  test('publishes nothing before there is a connection', () => {
    expect(() => hand().lazy.publish('a', 'x')).toThrow('no connection yet')
  })

  test('tells whoever waits that a connect failed, and tries again at the next need', async () => {
    const { lazy, nth } = hand()
    lazy.subscribe('a', () => {})
    const first = [lazy.ready(), lazy.ready()]
    const refused = await nth(1)
    refused.reject(new Error('nobody there'))
    for (const one of first) await expect(one).rejects.toThrow('nobody there')
    const second = lazy.ready()
    const server = handTransport()
    const connect = await nth(2)
    connect.resolve(server.transport)
    await second
    expect(server.subjects()).toEqual(['a'])
  })

  test('closed while it connects, tells whoever waits, calls it off and closes what comes all the same', async () => {
    const { lazy, nth } = hand()
    lazy.subscribe('a', () => {})
    const waiting = lazy.ready()
    const connect = await nth(1)
    const closing = lazy.close()
    await expect(waiting).rejects.toMatchObject(closed)
    expect(connect.signal.aborted).toBe(true)
    const server = handTransport()
    connect.resolve(server.transport)
    await closing
    expect(server.closed()).toBe(1)
    expect(server.log).toEqual([])
  })

  test('closed before it began to connect, never does', async () => {
    const { lazy, begun } = hand()
    const waiting = expect(lazy.ready()).rejects.toMatchObject(closed)
    await lazy.close()
    await waiting
    expect(begun.all.length).toBe(0)
  })

  test('once closed, closes its connection once and refuses everything', async () => {
    const { lazy, nth } = hand()
    const ready = lazy.ready()
    const server = handTransport()
    const connect = await nth(1)
    connect.resolve(server.transport)
    await ready
    await Promise.all([lazy.close(), lazy.close()])
    expect(server.closed()).toBe(1)
    await expect(lazy.ready()).rejects.toMatchObject(closed)
    expect(() => lazy.publish('a', 'x')).toThrow(expect.objectContaining(closed))
    expect(() => lazy.subscribe('a', () => {})).toThrow(expect.objectContaining(closed))
  })

  test('gives a connection back on which it cannot listen', async () => {
    const { lazy, nth } = hand()
    lazy.subscribe('a', () => {})
    const ready = lazy.ready()
    const server = handTransport()
    const subscribe = () => {
      throw new Error('it is gone')
    }
    const connect = await nth(1)
    connect.resolve({ ...server.transport, subscribe })
    await expect(ready).rejects.toThrow('it is gone')
    await settle()
    expect(server.closed()).toBe(1)
  })

  test('whatever happens in whatever order, connects one at a time and leaves nothing behind', async () => {
    const command = fc.constantFrom(
      'need',
      'subscribe',
      'unsubscribe',
      'arrive',
      'fail',
      'settle',
      'close',
    )
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 30 }), async (commands) => {
        const { lazy, begun, pendingMax } = hand()
        const servers: HandTransport[] = []
        const open = new Map<string, { close(): void }>()
        let made = 0
        let over = false
        for (const one of commands) {
          if (one === 'need') lazy.ready().catch(() => {})
          if (one === 'subscribe' && !over) {
            const subject = `s${made++}`
            open.set(
              subject,
              lazy.subscribe(subject, () => {}),
            )
          }
          if (one === 'unsubscribe') {
            const [first] = open
            first?.[1].close()
            if (first !== undefined) open.delete(first[0])
          }
          const connect = begun.all.at(-1)
          if (one === 'arrive' && connect !== undefined) {
            const server = handTransport()
            servers.push(server)
            connect.resolve(server.transport)
          }
          if (one === 'fail') connect?.reject(new Error('refused'))
          if (one === 'settle') await settle()
          if (one === 'close') {
            over = true
            void lazy.close()
          }
        }
        await settle()
        expect(pendingMax()).toBeLessThanOrEqual(1)
        // A connect ends once; what is resolved a second time never comes to be.
        const live = servers.filter((server) => server.faultListeners() > 0 || server.closed() > 0)
        const connected = live.filter((server) => server.closed() === 0)
        expect(connected.length).toBeLessThanOrEqual(over ? 0 : 1)
        for (const server of connected) expect(server.subjects()).toEqual([...open.keys()])
        for (const server of live) expect(server.closed()).toBeLessThanOrEqual(1)

        begun.all.at(-1)?.reject(new Error('refused'))
        await lazy.close()
        for (const server of connected) expect(server.closed()).toBe(1)
      }),
      { numRuns: 300 },
    )
  })
})
