/** Rows of usage in this process. */
import { expect, test } from 'vitest'
import { memoryUsageStore } from '../../../services/scheduler/memory/usage-store.ts'
import { usageRow, usageStoreConformance } from '../../conformance/usage-store.ts'

const open = () => memoryUsageStore({ keepDays: 30, reason: 'a test' })

usageStoreConformance('memory', async () => ({ store: open(), stop: async () => {} }))

test('what is older than it is kept for is gone', async () => {
  const store = open()
  const put = (day: string) => store.put({ day, life: 'a', part: 0 }, [usageRow({ day })])
  await put('2026-11-01')
  await put('2026-11-30')
  expect(await store.read('2026-11-01')).toHaveLength(1)
  await put('2026-12-01')
  expect(await store.read('2026-11-01')).toEqual([])
  expect(await store.read('2026-11-30')).toHaveLength(1)
})
