/** Rows of usage in a real bucket. */
import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { expect, test } from 'vitest'
import { systemClock } from '../../services/platform/system.ts'
import { natsUsageStore } from '../../services/scheduler/nats/usage-store.ts'
import { startNatsServer } from '../../services/cli/nats-server.ts'
import { usageRow, usageStoreConformance } from '../conformance/usage-store.ts'

const DAY = 86_400_000

async function open() {
  const { server, reason } = await startNatsServer()
  if (server === null) throw new Error(reason)
  const connection = await connect({ servers: server.url })
  const again = (keepMs = 100 * DAY) =>
    natsUsageStore({
      ...{ connection, clock: systemClock, bucket: 'headgate_usage_llm', replicas: 1, keepMs },
    })
  return {
    store: await again(),
    connection,
    again,
    async stop() {
      await connection.close()
      await server.stop()
    },
  }
}

usageStoreConformance('nats', open)

test('another instance reads it, its age is that of the last start, and a lost bucket is made anew', async () => {
  const { store, again, connection, stop } = await open()
  const place = { day: '2026-11-30', life: 'a', part: 0 }
  await store.put(place, [usageRow()])
  const other = await again(7 * DAY)
  expect(await other.read(place.day)).toEqual([usageRow()])
  const jsm = await jetstreamManager(connection)
  const age = async () => (await jsm.streams.info('KV_headgate_usage_llm')).config.max_age
  expect(await age()).toBe(7 * DAY * 1_000_000)
  await jsm.streams.delete('KV_headgate_usage_llm')
  await store.put(place, [usageRow({ input: 2 })])
  expect(await other.read(place.day)).toEqual([usageRow({ input: 2 })])
  await stop()
})
