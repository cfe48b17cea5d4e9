/** Budgets in a real bucket. */
import { systemClock } from '#platform/system'
import { natsBudgetStore } from '#scheduler/nats/budget-store'
import { budgetStoreConformance } from '../conformance/budget-store.ts'
import { overNats } from '../support/nats-bucket.ts'

budgetStoreConformance('nats', () =>
  overNats((connection) =>
    natsBudgetStore({ connection, clock: systemClock, bucket: 'budgets', replicas: 1 }),
  ),
)
