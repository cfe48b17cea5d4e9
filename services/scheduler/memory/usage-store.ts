/** Rows of usage inside one process: where there is no server, and for tests. Days older than `keepDays` are let go of
 *  when a row of a later one comes. */
import { DAY_MS, dayOf, type UsageRow } from '#contracts/usage-report'
import type { UsagePlace, UsageStore } from '#ports'

export function memoryUsageStore(of: { keepDays: number; reason: string }): UsageStore {
  /** By day, then by place. */
  const kept = new Map<string, Map<string, readonly UsageRow[]>>()
  const forget = (newest: string): void => {
    const first = dayOf(Date.parse(`${newest}T00:00:00Z`) - (of.keepDays - 1) * DAY_MS)
    for (const day of kept.keys()) if (day < first) kept.delete(day)
  }
  return {
    shared: false,
    reason: of.reason,
    async put({ day, life, part }: UsagePlace, rows) {
      const places = kept.get(day) ?? new Map<string, readonly UsageRow[]>()
      kept.set(day, places)
      places.set(
        `${life}.${part}`,
        rows.map((row) => ({ ...row })),
      )
      forget(day)
    },
    async read(day) {
      const places = kept.get(day)?.values() ?? []
      return [...places].flatMap((rows) => rows.map((row) => ({ ...row })))
    },
    close: async () => {},
  }
}
