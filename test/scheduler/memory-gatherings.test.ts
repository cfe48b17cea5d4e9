import { memoryGatheringStore } from '../../services/scheduler/memory/gathering-store.ts'
import { gatheringsConformance } from '../conformance/gatherings.ts'

gatheringsConformance('memory', async () => ({
  store: memoryGatheringStore(),
  stop: async () => {},
}))
