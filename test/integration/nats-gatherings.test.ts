/** The notes of gatherings in a real bucket. */
import { connect } from '@nats-io/transport-node'
import { expect, test } from 'vitest'
import { JobStoreError } from '#ports'
import { natsGatheringStore } from '../../services/scheduler/nats/gathering-store.ts'
import { startNatsServer } from '../../services/cli/nats-server.ts'
import { gatheringOf, gatheringsConformance } from '../conformance/gatherings.ts'

async function open() {
  const { server, reason } = await startNatsServer()
  if (server === null) throw new Error(reason)
  const connection = await connect({ servers: server.url })
  const again = () => natsGatheringStore({ connection, bucket: 'headgate_gatherings', replicas: 1 })
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

gatheringsConformance('nats', open)

test('what one instance noted another reads, and a bucket that was deleted is made anew', async () => {
  const { store, again, connection, stop } = await open()
  await store.put(gatheringOf('kept'), 0)
  const other = await again()
  expect((await other.all()).map(({ gathering }) => gathering.id)).toEqual(['kept'])
  const { jetstreamManager } = await import('@nats-io/jetstream')
  const jsm = await jetstreamManager(connection)
  await jsm.streams.delete('KV_headgate_gatherings')
  await expect(store.put(gatheringOf('lost'), 0)).rejects.toBeInstanceOf(JobStoreError)
  expect(await store.put(gatheringOf('new'), 0)).not.toBeNull()
  await stop()
})
