/** What is used of budgets, in this process: for tests, the simulator, and a scheduler without NATS. */
import type { BudgetStore } from '#ports'

export function memoryBudgetStore(): BudgetStore {
  const kept = new Map<string, { text: string; revision: number }>()
  let revision = 0
  return {
    read: (key) => Promise.resolve(kept.get(key) ?? null),
    write(key, text, over) {
      if ((kept.get(key)?.revision ?? 0) !== over) return Promise.resolve(null)
      kept.set(key, { text, revision: ++revision })
      return Promise.resolve(revision)
    },
    keys: () => Promise.resolve([...kept.keys()]),
    close: () => Promise.resolve(),
  }
}
