import { memoryJobStore } from '#scheduler/memory/job-store'
import { jobStoreConformance } from '../../conformance/job-store.ts'

jobStoreConformance('memory', async () => ({
  store: memoryJobStore({ wall: () => Date.now() }),
  stop: async () => {},
}))
