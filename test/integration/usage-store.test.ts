/** Rows of usage in a real bucket. */
import { jetstreamManager } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'
import { expect, test } from 'vitest'
import { systemClock } from '../../services/platform/system.ts'
import { natsUsageStore } from '../../services/scheduler/nats/usage-store.ts'
import { usageRow, usageStoreConformance } from '../conformance/usage-store.ts'
import { overNats } from '../support/nats-bucket.ts'

const DAY = 86_400_000

const storeOn = (connection: NatsConnection, keepMs = 100 * DAY) =>
  natsUsageStore({
    ...{ connection, clock: systemClock, bucket: 'headgate_usage_llm', replicas: 1, keepMs },
  })
const open = () => overNats((connection) => storeOn(connection))

usageStoreConformance('nats', open)

test('another instance reads it, its age is that of the last start, and a lost bucket is made anew', async () => {
  const { store, connection, stop } = await open()
  const place = { day: '2026-11-30', life: 'a', part: 0 }
  await store.put(place, [usageRow()])
  const other = await storeOn(connection, 7 * DAY)
  expect(await other.read(place.day)).toEqual([usageRow()])
  const jsm = await jetstreamManager(connection)
  const age = async () => (await jsm.streams.info('KV_headgate_usage_llm')).config.max_age
  expect(await age()).toBe(7 * DAY * 1_000_000)
  await jsm.streams.delete('KV_headgate_usage_llm')
  await store.put(place, [usageRow({ input: 2 })])
  expect(await other.read(place.day)).toEqual([usageRow({ input: 2 })])
  await stop()
})
