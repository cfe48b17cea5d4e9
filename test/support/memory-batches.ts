/** Stores of batches and jobs in memory, beside each other. */
import { requestKey } from '#contracts/ids'
import type { JobResult, Millis } from '#ports'
import { MemoryBatchStore } from '../../services/scheduler/memory/batch-store.ts'
import { memoryJobStore, type MemoryJobStore } from '../../services/scheduler/memory/job-store.ts'

export function memoryBatches(of: { wall?: () => Millis; pageBytesMax?: number } = {}): {
  store: MemoryBatchStore
  jobs: MemoryJobStore
} {
  const jobs = memoryJobStore({})
  const results = jobs.results as Map<string, JobResult>
  const store = new MemoryBatchStore({
    results,
    forget: ({ tenant, id }) => results.delete(requestKey(tenant, id)),
    wall: of.wall ?? (() => 0),
    pageBytesMax: of.pageBytesMax ?? 1_000_000,
  })
  return { store, jobs }
}
