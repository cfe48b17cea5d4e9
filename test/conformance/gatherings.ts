/** What the notes of gatherings promise, as sentences. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Gathering } from '#contracts/jobs'
import type { GatheringStore } from '#ports'

export const gatheringOf = (id: string, change: Partial<Gathering> = {}): Gathering => ({
  ...{ version: 1, id, by: 'a', model: 'm', upstream: 'u', headers: { beta: 'files' }, round: 1 },
  ...{ jobs: [1, 2], at: 5, giveUpAt: 9, state: 'claiming', batch: null, found: false, others: [] },
  ...change,
})

export function gatheringsConformance(
  name: string,
  make: () => Promise<{ store: GatheringStore; stop(): Promise<void> }>,
): void {
  describe(`gatherings: ${name}`, () => {
    let store: GatheringStore
    let stop: () => Promise<void>
    beforeAll(async () => {
      ;({ store, stop } = await make())
    })
    afterAll(() => stop())

    const noted = async (id: string) =>
      (await store.all()).find(({ gathering }) => gathering.id === id)

    test('what was noted is there as it was noted, with the revision that was told', async () => {
      const revision = await store.put(gatheringOf('one'), 0)
      expect(await noted('one')).toEqual({ gathering: gatheringOf('one'), revision })
    })

    test('of two who write over the same, one is told that it came second', async () => {
      const first = await store.put(gatheringOf('two'), 0)
      expect(await store.put(gatheringOf('two', { by: 'b' }), 0)).toBeNull()
      const changed = gatheringOf('two', { state: 'created', batch: 'msgbatch_1' })
      const second = await store.put(changed, first ?? 0)
      expect(second).not.toBeNull()
      expect(await store.put(gatheringOf('two'), first ?? 0)).toBeNull()
      expect(await noted('two')).toEqual({ gathering: changed, revision: second })
    })

    test('only the last writer takes it away, and then it may be noted anew', async () => {
      const first = await store.put(gatheringOf('three'), 0)
      const second = await store.put(gatheringOf('three', { round: 2 }), first ?? 0)
      expect(await store.remove('three', first ?? 0)).toBe(false)
      expect(await noted('three')).toBeDefined()
      expect(await store.remove('three', second ?? 0)).toBe(true)
      expect(await noted('three')).toBeUndefined()
      expect(await store.put(gatheringOf('three'), second ?? 0)).toBeNull()
      expect(await store.put(gatheringOf('three'), 0)).not.toBeNull()
    })

    test('as many jobs as a batch may have are noted', async () => {
      const jobs = Array.from({ length: 20_000 }, (_, i) => 10_000_000_000 + i)
      await store.put(gatheringOf('large', { jobs }), 0)
      expect((await noted('large'))?.gathering.jobs).toEqual(jobs)
    })
  })
}
