/** Budgets in a real bucket. */
import { connect } from '@nats-io/transport-node'
import { systemClock } from '#platform/system'
import { natsBudgetStore } from '#scheduler/nats/budget-store'
import { budgetStoreConformance } from '../conformance/budget-store.ts'
import { natsServer } from '../support/nats-server.ts'

budgetStoreConformance('nats', async () => {
  const server = await natsServer()
  const connection = await connect({ servers: server.url })
  return {
    store: natsBudgetStore({ connection, clock: systemClock, bucket: 'budgets', replicas: 1 }),
    async stop() {
      await connection.close()
      await server.stop()
    },
  }
})
