import { afterAll, beforeAll, expect, test } from 'vitest'
import { cacheKey } from '../../services/scheduler/degrade/cache-key.ts'
import { fromBytes, toBytes } from '../../services/scheduler/degrade/cached-bytes.ts'
import { natsCache } from '../../services/scheduler/nats/cache.ts'
import { natsBus } from '../../services/scheduler/nats/connection.ts'
import { systemClock } from '../../services/platform/system.ts'
import { ask, cacheConformance, kept } from '../conformance/cache.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'

let server: NatsServer
beforeAll(async () => {
  server = await natsServer()
})
afterAll(() => server.stop())

const codec = { keyOf: cacheKey, toBytes, fromBytes }

async function openOn(of: { bucket: string; bytesMax?: number; ttlMs?: number }) {
  const bus = await natsBus({
    servers: server.url,
    name: 'test',
    egressConnections: 0,
    clock: systemClock,
  })
  const { bucket, bytesMax = 10_000_000, ttlMs = 60_000 } = of
  const limits = { ttlMs, bytesMax, answerBytesMax: 2_000 }
  const cache = await natsCache({ connection: bus.connection, limits, ...codec, bucket })
  if (cache === null) throw new Error('no cache on a server with JetStream')
  return { cache, bus }
}

cacheConformance('nats', async () => {
  const { cache, bus } = await openOn({ bucket: 'conformance' })
  // One connection: a question asked after a put is answered after it.
  return { cache, settle: () => bus.flush(), stop: () => bus.close() }
})

test('cache: nats: what one instance keeps, another finds', async () => {
  const [one, two] = [await openOn({ bucket: 'both' }), await openOn({ bucket: 'both' })]
  one.cache.put(ask(), kept('shared'))
  await one.bus.flush()
  const found = await two.cache.get(ask())
  expect(Buffer.from(found?.parts[0] ?? []).toString()).toBe('shared')
  await one.bus.close()
  await two.bus.close()
})

test('cache: nats: past its bytes the oldest goes, and bounds that changed hold', async () => {
  const wide = await openOn({ bucket: 'narrow' })
  await wide.bus.close()
  const { cache, bus } = await openOn({ bucket: 'narrow', bytesMax: 5_000 })
  for (const body of ['1', '2', '3', '4']) {
    cache.put(ask({ body }), kept('x'.repeat(1_500)))
    await bus.flush()
  }
  expect(await cache.get(ask({ body: '1' }))).toBeNull()
  expect(await cache.get(ask({ body: '4' }))).not.toBeNull()
  await bus.close()
})

test('cache: nats: a server without JetStream has none', async () => {
  const plain = await natsServer({ jetstream: false })
  const bus = await natsBus({
    servers: plain.url,
    name: 'test',
    egressConnections: 0,
    clock: systemClock,
  })
  const limits = { ttlMs: 1_000, bytesMax: 1_000_000, answerBytesMax: 1_000 }
  expect(
    await natsCache({ connection: bus.connection, limits, ...codec, bucket: 'none' }),
  ).toBeNull()
  await bus.close()
  await plain.stop()
})
