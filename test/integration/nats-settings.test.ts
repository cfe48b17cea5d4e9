import { Kvm } from '@nats-io/kv'
import { jetstreamManager } from '@nats-io/jetstream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { natsBus, type NatsBus } from '../../services/scheduler/nats/connection.ts'
import { STORE_WITHIN_MS } from '../../services/scheduler/nats/kv-bucket.ts'
import { natsSettings } from '../../services/scheduler/nats/settings.ts'
import { settingsConformance } from '../conformance/settings.ts'
import { heard } from '../support/heard.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { standStill } from '../support/stand-still.ts'
import { systemClock } from '../../services/platform/system.ts'

let server: NatsServer
beforeAll(async () => {
  server = await natsServer()
})
afterAll(() => server.stop())

const busOn = (to: NatsServer) =>
  natsBus({ servers: to.url, name: 'test', egressConnections: 0, clock: systemClock })
const settingsOn = async (to: NatsServer, bucket = 'settings', olderBucket?: string) => {
  const bus = await busOn(to)
  const settings = await natsSettings({
    connection: bus.connection,
    clock: systemClock,
    bucket,
    ...(olderBucket === undefined ? {} : { olderBucket }),
  })
  const stop = async () => {
    await settings.close()
    await bus.close()
  }
  return { bus, settings, stop }
}

settingsConformance('nats', () => settingsOn(server))

test('settings: nats: one instance puts, the other hears, also after the server came back', async () => {
  const one = await settingsOn(server, 'both')
  const two = await settingsOn(server, 'both')
  expect(one.settings.durable).toBe(true)
  const changes = heard<string>()
  await two.settings.watch((key, value) => changes.add(`${key}=${value}`))
  await one.settings.put('emergency', 'on')
  await changes.find((change) => change === 'emergency=on')

  const back = (bus: NatsBus) =>
    new Promise<void>((resolve) =>
      bus.onStatus((status) => status.kind === 'reconnected' && resolve()),
    )
  const returned = Promise.all([back(one.bus), back(two.bus)])
  await server.restart('SIGKILL')
  await returned
  expect(await one.settings.get('emergency')).toBe('on')
  await one.settings.put('emergency', 'off')
  await changes.find((change) => change === 'emergency=off')
  await Promise.all([one.stop(), two.stop()])
})

test('settings: nats: a server without JetStream is told as the reason, and no act takes long', async () => {
  const bare = await natsServer({ jetstream: false })
  const { settings, stop } = await settingsOn(bare)
  expect(settings.durable).toBe(false)
  expect(settings.reason).toMatch(/^no JetStream/)
  await expect(settings.put('emergency', 'on')).rejects.toThrow(/^no JetStream/)
  await expect(settings.get('emergency')).rejects.toThrow(/^no JetStream/)
  await stop()
  await bare.stop()
})

test('settings: nats: a bucket that was deleted is made anew, and the watch hears the new one', async () => {
  const { bus, settings, stop } = await settingsOn(server, 'gone')
  const changes = heard<string>()
  await settings.watch((key, value) => changes.add(`${key}=${value}`))
  await settings.put('emergency', 'on')
  await changes.find((change) => change === 'emergency=on')
  await (await jetstreamManager(bus.connection)).streams.delete('KV_gone')
  await settings.put('emergency', 'off')
  expect(settings.durable).toBe(true)
  expect(await settings.get('emergency')).toBe('off')
  await changes.find((change) => change === 'emergency=off')
  await stop()
})

test('settings: nats: a full bucket says so', async () => {
  const { bus, settings, stop } = await settingsOn(server, 'full')
  await settings.put('emergency', 'off')
  const manager = await jetstreamManager(bus.connection)
  const { config } = await manager.streams.info('KV_full')
  await manager.streams.update('KV_full', { ...config, max_bytes: 80, max_msgs_per_subject: 1 })
  await expect(settings.put('paused_lanes', 'x'.repeat(200))).rejects.toThrow(/JetStream refused/)
  expect(settings.reason).toMatch(/maximum/)
  await stop()
})

test('settings: nats: a frozen server costs a bounded time', async () => {
  const frozen = await natsServer()
  const { settings, stop } = await settingsOn(frozen, 'frozen')
  await standStill(frozen.pid)
  const began = performance.now()
  await expect(settings.put('emergency', 'on')).rejects.toThrow(/has not answered within/)
  expect(performance.now() - began).toBeLessThan(STORE_WITHIN_MS * 2)
  process.kill(frozen.pid, 'SIGCONT')
  await settings.put('emergency', 'on')
  expect(await settings.get('emergency')).toBe('on')
  await stop()
  await frozen.stop()
})

test('settings: nats: what the older bucket says is read until the own one says something', async () => {
  const bus = await busOn(server)
  const older = await new Kvm(bus.connection).create('older')
  await older.put('emergency', 'on')
  const { settings, stop } = await settingsOn(server, 'newer', 'older')
  expect(await settings.get('emergency')).toBe('on')
  expect(await settings.get('paused_lanes')).toBeNull()
  await settings.put('emergency', 'off')
  expect(await settings.get('emergency')).toBe('off')
  expect((await older.get('emergency'))?.string()).toBe('on')
  await stop()
  await bus.close()
})
