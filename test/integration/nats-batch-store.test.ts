/** The store of batches on a real JetStream. */
import { systemClock } from '#platform/system'
import { connect } from '@nats-io/transport-node'
import { storeNames } from '#contracts/store-names'
import { subjects } from '#contracts/subjects'
import { startNatsServer } from '../../services/cli/nats-server.ts'
import { natsBatchStore } from '../../services/scheduler/nats/batch-store.ts'
import { natsJobStore } from '../../services/scheduler/nats/job-store.ts'
import { batchStoreConformance } from '../conformance/batch-store.ts'

batchStoreConformance('nats', async () => {
  const { server, reason } = await startNatsServer()
  if (server === null) throw new Error(reason)
  const connection = await connect({ servers: server.url })
  const names = storeNames('llm')
  const parts = { connection, names, subjects: subjects('llm'), replicas: 1 }
  const ages = { resultsAgeMs: 60_000, deadAgeMs: 60_000, backlogBytes: null }
  return {
    jobs: await natsJobStore({ ...parts, ...ages, clock: systemClock }),
    store: await natsBatchStore({ ...parts, maxAgeMs: 3_600_000 }),
    async stop() {
      await connection.close()
      await server.stop()
    },
  }
})
