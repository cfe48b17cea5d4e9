/** What a store of usage promises, as sentences. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { noCounts, type UsageRow } from '#contracts/usage-report'
import type { UsageStore } from '#ports'

export const usageRow = (more: Partial<UsageRow> = {}): UsageRow => ({
  ...{ day: '2026-11-30', tenant: 'acme', model: 'claude-opus-5', lane: 'batch', kind: 'answered' },
  ...{ ...noCounts(), calls: 1, input: 10, output: 5, cost: 175.5 },
  ...more,
})

export function usageStoreConformance(
  name: string,
  make: () => Promise<{ store: UsageStore; stop(): Promise<void> }>,
): void {
  describe(`usage store: ${name}`, () => {
    let store: UsageStore
    let stop: () => Promise<void>
    beforeAll(async () => {
      ;({ store, stop } = await make())
    })
    afterAll(() => stop())

    test('what was written is read as it was, by its day', async () => {
      const rows = [usageRow(), usageRow({ tenant: 'other', cost: 0, unpriced: 15 })]
      await store.put({ day: '2026-11-30', life: 'a', part: 0 }, rows)
      expect(await store.read('2026-11-30')).toEqual(rows)
      expect(await store.read('2026-11-29')).toEqual([])
    })

    test('a place is written over, and no other is', async () => {
      const day = '2026-12-01'
      const of = (input: number) => [usageRow({ day, input })]
      await store.put({ day, life: 'a', part: 0 }, of(1))
      await store.put({ day, life: 'a', part: 1 }, of(2))
      await store.put({ day, life: 'b', part: 0 }, of(3))
      await store.put({ day, life: 'a', part: 0 }, of(4))
      const inputs = (await store.read(day)).map(({ input }) => input)
      expect(inputs.toSorted()).toEqual([2, 3, 4])
    })

    test('as many rows as a part has are one write', async () => {
      const day = '2026-12-10'
      const rows = Array.from({ length: 250 }, (_, i) =>
        usageRow({ day, tenant: `${'t'.repeat(60)}${i}`, model: 'm'.repeat(100), input: 1e9 + i }),
      )
      await store.put({ day, life: 'a', part: 0 }, rows)
      expect(await store.read(day)).toEqual(rows)
    })
  })
}
