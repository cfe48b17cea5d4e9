/** What the store of budgets promises, as sentences. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { BudgetStore } from '#ports'

export function budgetStoreConformance(
  name: string,
  make: () => Promise<{ store: BudgetStore; stop(): Promise<void> }>,
): void {
  describe(`budgets: ${name}`, () => {
    let store: BudgetStore
    let stop: () => Promise<void>
    beforeAll(async () => {
      ;({ store, stop } = await make())
    })
    afterAll(() => stop())

    test('nothing is there before it is written', async () => {
      expect(await store.read('nobody.day.usd')).toBeNull()
    })

    test('what was written is read, with the revision that was told', async () => {
      const revision = await store.write('a.day.usd', 'one', 0)
      expect(await store.read('a.day.usd')).toEqual({ text: 'one', revision })
    })

    test('of two who write over the same, one is told that it came second', async () => {
      const first = await store.write('b.day.usd', 'one', 0)
      expect(await store.write('b.day.usd', 'other', 0)).toBeNull()
      const second = await store.write('b.day.usd', 'two', first ?? 0)
      expect(second).not.toBeNull()
      expect(await store.write('b.day.usd', 'three', first ?? 0)).toBeNull()
      expect(await store.read('b.day.usd')).toEqual({ text: 'two', revision: second })
    })

    test('twenty writers at once: each counts once', async () => {
      const add = async (): Promise<void> => {
        for (;;) {
          const found = await store.read('c.day.usd')
          const next = String(Number(found?.text ?? 0) + 1)
          if ((await store.write('c.day.usd', next, found?.revision ?? 0)) !== null) return
        }
      }
      await Promise.all(Array.from({ length: 20 }, add))
      expect((await store.read('c.day.usd'))?.text).toBe('20')
    })

    test('the names that are there', async () => {
      await store.write('=.month.tokens', 'shared', 0)
      expect(await store.keys()).toEqual(expect.arrayContaining(['=.month.tokens', 'a.day.usd']))
    })
  })
}
