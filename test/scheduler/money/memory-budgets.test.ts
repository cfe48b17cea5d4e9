import { memoryBudgetStore } from '#scheduler/memory/budget-store'
import { budgetStoreConformance } from '../../conformance/budget-store.ts'

budgetStoreConformance('memory', async () => ({
  store: memoryBudgetStore(),
  stop: async () => {},
}))
