import { afterAll, beforeAll, expect, test } from 'vitest'
import { memorySettings } from '../../services/scheduler/memory-settings.ts'
import { natsBus, type NatsBus } from '../../services/scheduler/nats/connection.ts'
import { natsSettings } from '../../services/scheduler/nats/settings.ts'
import { settingsConformance } from '../conformance/settings.ts'
import { heard } from '../support/heard.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { systemClock } from '../../services/scheduler/system.ts'

let server: NatsServer
beforeAll(async () => {
  server = await natsServer()
})
afterAll(() => server.stop())

const busOn = (to: NatsServer) =>
  natsBus({ servers: to.url, name: 'test', egressConnections: 0, clock: systemClock })
const settingsOn = async (to: NatsServer, bucket?: string) => {
  const bus = await busOn(to)
  const settings = await natsSettings({
    connection: bus.connection,
    fallback: memorySettings,
    ...(bucket === undefined ? {} : { bucket }),
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

test('settings: nats: without JetStream they say that they do not last', async () => {
  const bare = await natsServer({ jetstream: false })
  const { settings, stop } = await settingsOn(bare)
  expect(settings.durable).toBe(false)
  expect(settings.reason).toContain('no JetStream')
  await settings.put('emergency', 'on')
  expect(await settings.get('emergency')).toBe('on')
  await stop()
  await bare.stop()
})
