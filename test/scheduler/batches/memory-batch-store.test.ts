import { batchStoreConformance } from '../../conformance/batch-store.ts'
import { memoryBatches } from '../../support/memory-batches.ts'

batchStoreConformance('memory', async () => ({ ...memoryBatches(), stop: async () => {} }))
