/** What is noted of gatherings, for as long as the process lasts: for virtual time, and for tests. It outlives the
 *  schedulers that use it, as a server would. */
import type { Gathering } from '#contracts/jobs'
import type { GatheringStore } from '#ports'

export interface MemoryGatheringStore extends GatheringStore {
  readonly noted: ReadonlyMap<string, { gathering: Gathering; revision: number }>
}

export function memoryGatheringStore(): MemoryGatheringStore {
  const noted = new Map<string, { gathering: Gathering; revision: number }>()
  let last = 0
  const isAt = (id: string, revision: number): boolean =>
    (noted.get(id)?.revision ?? 0) === revision
  return {
    noted,
    all: async () => [...noted.values()],
    async put(gathering, over) {
      if (!isAt(gathering.id, over)) return null
      const revision = ++last
      // What is stored is not what its writer goes on changing.
      noted.set(gathering.id, { gathering: structuredClone(gathering), revision })
      return revision
    },
    async remove(id, over) {
      return isAt(id, over) && noted.delete(id)
    },
    close: async () => {},
  }
}
