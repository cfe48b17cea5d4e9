import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { BusHeaders, BusMessage } from '#ports'
import { natsBus, type BusStatus } from '../../services/scheduler/nats/connection.ts'
import { busConformance } from '../conformance/bus.ts'
import { heard } from '../support/heard.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { systemClock, systemSoon } from '../../services/platform/system.ts'

let server: NatsServer
beforeAll(async () => {
  server = await natsServer({ jetstream: false, maxPayload: 1_048_576 })
})
afterAll(() => server.stop())

const connect = (more: Partial<Parameters<typeof natsBus>[0]> = {}) =>
  natsBus({
    servers: server.url,
    name: 'test',
    egressConnections: 2,
    clock: systemClock,
    soon: systemSoon,
    ...more,
  })

busConformance('nats', async () => {
  const bus = await connect()
  return { bus, stop: () => bus.close() }
})

busConformance('nats, each message by itself', async () => {
  const bus = await natsBus({
    servers: server.url,
    name: 'test',
    egressConnections: 2,
    clock: systemClock,
  })
  return { bus, stop: () => bus.close() }
})

describe('nats bus', () => {
  test('says clearly that nobody answers at an address, and tells no password', async () => {
    const lost = natsBus({
      servers: 'nats://me:secret@127.0.0.1:1',
      name: 'test',
      egressConnections: 1,
      clock: systemClock,
    })
    await expect(lost).rejects.toThrow('cannot connect to NATS at nats://127.0.0.1:1')
    await expect(lost).rejects.not.toThrow('secret')
  })

  test('after the server is killed and started again, subscriptions are back and held answers come', async () => {
    // More than the 300 ms within which the reader is back.
    const bus = await connect({ settleMs: 600 })
    const reader = await connect()
    const status = heard<BusStatus>()
    const readers = heard<BusStatus>()
    bus.onStatus((one) => status.add(one))
    reader.onStatus((one) => readers.add(one))
    const requests = heard<string>()
    const answers = heard<string>()
    bus.subscribe('llm.v1.request.*.*', (m) => requests.add(Buffer.from(m.data).toString()), {
      queue: 'headgate',
    })
    reader.subscribe('_INBOX.reader.*', (m) => answers.add(Buffer.from(m.data).toString()))
    await Promise.all([bus.flush(), reader.flush()])

    await server.kill()
    await status.find((s) => s.kind === 'disconnected' && s.connection === 'egress-1')
    await status.find((s) => s.kind === 'disconnected' && s.connection === 'egress-2')
    expect(bus.connected()).toBe(false)
    bus.publish('_INBOX.reader.1', 'held 1')
    bus.publish('_INBOX.reader.1', 'held 2')
    bus.publish('llm.v1.event.fleet', 'lost')
    await expect(bus.flush()).rejects.toThrow('away')
    await server.restart()
    const back = (s: BusStatus) => s.kind === 'reconnected'
    const lines = ['main', 'egress-1', 'egress-2']
    await Promise.all(
      [status, readers].flatMap((of) =>
        lines.map((line) => of.find((s) => back(s) && s.connection === line)),
      ),
    )
    expect(bus.connected()).toBe(true)
    bus.publish('_INBOX.reader.1', 'behind the held ones')
    await answers.take(3)
    expect(answers.all).toEqual(['held 1', 'held 2', 'behind the held ones'])
    await status.find((s) => s.kind === 'lost' && s.messages === 1)
    await Promise.all([bus.flush(), reader.flush()])
    reader.publish('llm.v1.request.acme.interactive', 'again')
    expect(await requests.take(1)).toEqual(['again'])
    await Promise.all([bus.close(), reader.close()])
  })

  test('closes at once while the server is away', async () => {
    const bus = await connect()
    const status = heard<BusStatus>()
    bus.onStatus((one) => status.add(one))
    await server.kill()
    await status.find((s) => s.kind === 'disconnected' && s.connection === 'main')
    await bus.close()
    expect(bus.connected()).toBe(false)
    await server.restart()
  })

  test('credentials in the URL are used, and wrong ones are named as such', async () => {
    const guarded = await natsServer({
      jetstream: false,
      config: 'authorization { user: me, password: secret }',
    })
    const { port } = guarded
    const bus = await connect({ servers: `nats://me:secret@127.0.0.1:${port}` })
    expect(bus.connected()).toBe(true)
    await bus.close()
    await expect(connect({ servers: guarded.url })).rejects.toThrow('refuses these credentials')
    await guarded.stop()
    const byToken = await natsServer({
      jetstream: false,
      config: 'authorization { token: secret }',
    })
    const other = await connect({ servers: `nats://secret@127.0.0.1:${byToken.port}` })
    await other.close()
    await byToken.stop()
  })

  test('a bug in a listener reaches onError and the next message still comes', async () => {
    const errors = heard<unknown>()
    const bus = await connect({ onError: (error) => errors.add(error) })
    const after = heard<string>()
    bus.subscribe('bug', (m) => {
      if (m.data.length === 0) throw new Error('a bug')
      after.add('next')
    })
    await bus.flush()
    bus.publish('bug', '')
    bus.publish('bug', 'x')
    await after.take(1)
    expect(String(errors.all[0])).toContain('a bug')
    await bus.close()
  })
})

test('an answer held for a server that comes back carrying less arrives as an error, and nothing ends', async () => {
  const large = await natsServer({ jetstream: false })
  const { port } = large
  const make = () =>
    natsBus({
      servers: `nats://127.0.0.1:${port}`,
      name: 'test',
      egressConnections: 0,
      clock: systemClock,
      settleMs: 300,
    })
  const [bus, reader] = [await make(), await make()]
  const answers = heard<BusMessage>()
  reader.subscribe('_INBOX.reader.*', (m) => answers.add(m))
  await reader.flush()
  const away = new Promise<void>((resolve) =>
    bus.onStatus((s) => s.kind === 'disconnected' && resolve()),
  )
  await large.kill()
  await away
  const headers: BusHeaders = [
    ['Headgate-Id', 'x'],
    ['Headgate-Outcome', 'completed'],
    ['Headgate-Attempts', '1'],
  ]
  bus.publish('_INBOX.reader.1', new Uint8Array(3_000_000), { headers })
  bus.publish('_INBOX.reader.2', 'small', { headers })
  const small = await natsServer({ jetstream: false, port, maxPayload: 1_048_576 })
  const [first, second] = await answers.take(2)
  expect(first?.header('Nats-Service-Error-Code')).toBe('502')
  expect(first?.header('Headgate-Outcome')).toBe('failed')
  expect(JSON.parse(Buffer.from(first?.data ?? '').toString())).toMatchObject({
    type: 'error',
    error: { type: 'api_error' },
    headgate: { code: 'upstream_error', attempts: 1 },
  })
  expect(Buffer.from(second?.data ?? '').toString()).toBe('small')
  await Promise.all([bus.close(), reader.close()])
  await small.stop()
})
