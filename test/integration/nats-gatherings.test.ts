/** The notes of gatherings in a real bucket. */
import type { NatsConnection } from '@nats-io/transport-node'
import { expect, test } from 'vitest'
import { JobStoreError } from '#ports'
import { natsGatheringStore } from '../../services/scheduler/nats/gathering-store.ts'
import { gatheringOf, gatheringsConformance } from '../conformance/gatherings.ts'
import { overNats } from '../support/nats-bucket.ts'

const storeOn = (connection: NatsConnection) =>
  natsGatheringStore({ connection, bucket: 'headgate_gatherings', replicas: 1 })
const open = () => overNats(storeOn)

gatheringsConformance('nats', open)

test('what one instance noted another reads, and a bucket that was deleted is made anew', async () => {
  const { store, connection, stop } = await open()
  await store.put(gatheringOf('kept'), 0)
  const other = await storeOn(connection)
  expect((await other.all()).map(({ gathering }) => gathering.id)).toEqual(['kept'])
  const { jetstreamManager } = await import('@nats-io/jetstream')
  const jsm = await jetstreamManager(connection)
  await jsm.streams.delete('KV_headgate_gatherings')
  await expect(store.put(gatheringOf('lost'), 0)).rejects.toBeInstanceOf(JobStoreError)
  expect(await store.put(gatheringOf('new'), 0)).not.toBeNull()
  await stop()
})
