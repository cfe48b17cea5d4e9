/** What was used, counted, kept and added up. */
import { describe, expect, test } from 'vitest'
import { pricesInForce } from '#contracts/default-prices'
import type { UsageAsk, UsageRow } from '#contracts/usage-report'
import type { Used, UsageStore } from '#ports'
import { memoryUsageStore } from '../../../services/scheduler/memory/usage-store.ts'
import {
  AGAIN_MS,
  UsageKeeper,
  WRITE_EVERY_MS,
} from '../../../services/scheduler/money/usage-keeper.ts'
import { PART_ROWS } from '../../../services/scheduler/money/usage-ledger.ts'
import {
  GROUPS_MAX,
  REPORT_ROWS_MAX,
  UsageSum,
} from '../../../services/scheduler/money/usage-report.ts'
import { usageRow } from '../../conformance/usage-store.ts'
import { manualClock } from '../../support/manual-clock.ts'

const usage = { inputTokens: 100, cacheCreationTokens: 0, cacheReadTokens: 0, outputTokens: 10 }
const used = (more: Partial<Used> = {}): Used => ({
  ...{ tenant: 'acme', lane: 'interactive', model: 'claude-opus-5', kind: 'answered', usage },
  ...more,
})

function world(of: { rowsMax?: number; store?: UsageStore; life?: string } = {}) {
  const clock = manualClock()
  const store = of.store ?? memoryUsageStore({ keepDays: 100, reason: 'a test' })
  let writes = 0
  let reads = 0
  let away = false
  const errors: unknown[] = []
  const counted: UsageStore = {
    ...store,
    read(day) {
      reads++
      return store.read(day)
    },
    put(place, rows) {
      if (away) return Promise.reject(new Error('away'))
      writes++
      return store.put(place, rows)
    },
  }
  const keeper = new UsageKeeper({
    ...{ store: counted, clock, life: of.life ?? 'a', prices: () => pricesInForce(undefined) },
    rowsMax: () => of.rowsMax ?? 1_000,
    onError: (error) => errors.push(error),
  })
  const today = () => new Date(clock.wall()).toISOString().slice(0, 10)
  return {
    ...{ clock, store, keeper, errors, today },
    count: (more: Partial<Used> = {}) => keeper.ledger.count(used(more)),
    writes: () => writes,
    reads: () => reads,
    leave: (gone: boolean) => (away = gone),
    /** What the store has. */
    stored: async () => store.read(today()),
    /** What is reported of today. */
    async read() {
      const found = []
      for await (const rows of keeper.read([today()])) found.push(...rows)
      return found
    },
    pass: async (ms: number) => {
      clock.advance(ms)
      for (let i = 0; i < 20; i++) await Promise.resolve()
    },
  }
}

describe('a call that ended', () => {
  test('is a row of its tenant, model, lane and kind, with its tokens and its cost', async () => {
    const { count, read, today } = world()
    count()
    count()
    count({ kind: 'failed', usage: null })
    count({ model: 'claude-x', tenant: 'other' })
    const rows = await read()
    expect(rows).toEqual([
      usageRow({ ...name(today()), calls: 2, input: 200, output: 20, cost: 1_500 }),
      usageRow({ ...name(today()), kind: 'failed', calls: 1, input: 0, output: 0, cost: 0 }),
      usageRow({
        ...{ ...name(today()), tenant: 'other', model: 'claude-x', calls: 1, input: 100 },
        ...{ output: 10, cost: 0, unpriced: 110 },
      }),
    ])
  })

  test('in a batch costs half, and its caches stand by the time they live', async () => {
    const { count, read } = world()
    const cached = { ...usage, cacheCreationTokens: 30, cacheCreation1hTokens: 20 }
    count({ kind: 'batch', batch: true, usage: cached })
    expect(await read()).toMatchObject([
      { kind: 'batch', cacheWrite5m: 10, cacheWrite1h: 20, cost: (500 + 62.5 + 200 + 250) / 2 },
    ])
  })

  test('that fell back on another model is billed by both, and is one call', async () => {
    const { count, read } = world()
    const hops = [
      { ...usage, model: null },
      { ...usage, model: 'claude-haiku-4-5' },
    ]
    count({ usage: { ...usage, hops } })
    expect((await read()).map(({ model, calls }) => [model, calls])).toEqual([
      ['claude-opus-5', 1],
      ['claude-haiku-4-5', 0],
    ])
  })

  test('past as many rows as a day may have stands under other, and none is lost', async () => {
    const { count, read } = world({ rowsMax: 3 })
    for (let i = 0; i < 10; i++) count({ tenant: `t${i}` })
    const rows = await read()
    expect(rows.map(({ tenant, model }) => `${tenant} ${model}`)).toEqual([
      ...['t0 claude-opus-5', 't1 claude-opus-5', 't2 claude-opus-5', 'other other'],
    ])
    expect(rows.reduce((sum, { calls }) => sum + calls, 0)).toBe(10)
  })
})

const name = (day: string) => ({ day, lane: 'interactive' }) as const

describe('what was counted', () => {
  test('is written once a second at most, and only what changed', async () => {
    const { count, writes, pass, stored } = world()
    for (let i = 0; i < PART_ROWS + 1; i++) count({ tenant: `t${i}` })
    await pass(WRITE_EVERY_MS - 1)
    expect(writes()).toBe(0)
    await pass(1)
    expect(writes()).toBe(2)
    expect(await stored()).toHaveLength(PART_ROWS + 1)
    await pass(60_000)
    expect(writes()).toBe(2)
    count({ tenant: 't0' })
    await pass(WRITE_EVERY_MS)
    expect(writes()).toBe(3)
    expect((await stored()).find(({ tenant }) => tenant === 't0')?.calls).toBe(2)
  })

  test('waits for a store that is away, which is told once', async () => {
    const { count, leave, pass, stored, errors } = world()
    leave(true)
    count()
    await pass(WRITE_EVERY_MS)
    count()
    await pass(WRITE_EVERY_MS)
    expect(errors).toHaveLength(1)
    leave(false)
    await pass(AGAIN_MS)
    expect((await stored())[0]?.calls).toBe(2)
  })

  test('is read once for all who ask for the same days at once', async () => {
    const { count, read, reads } = world()
    count()
    const [one, two] = await Promise.all([read(), read()])
    expect(one).toEqual(two)
    expect(reads()).toBe(1)
    await read()
    expect(reads()).toBe(2)
  })

  test('is written at the end, and another life writes beside it', async () => {
    const first = world()
    first.count()
    await first.keeper.close()
    const second = world({ store: first.store, life: 'b' })
    second.count()
    await second.keeper.close()
    expect((await first.stored()).map(({ calls }) => calls)).toEqual([1, 1])
  })

  test('goes under the day on which the call ended, and days do not mix', async () => {
    const { count, keeper, today, pass, store } = world()
    const before = today()
    count()
    await pass(86_400_000)
    count()
    await keeper.flush()
    expect(today()).not.toBe(before)
    expect((await store.read(before)).map(({ calls }) => calls)).toEqual([1])
    expect((await store.read(today())).map(({ calls }) => calls)).toEqual([1])
  })
})

const summed = (rows: readonly UsageRow[], of: Pick<UsageAsk, 'by' | 'tenant'>) => {
  const sum = new UsageSum(of)
  for (const row of rows) sum.add([row])
  return sum.rows()
}

describe('a report', () => {
  const rows = [
    usageRow({ tenant: 'a', cost: 1_000_000 }),
    usageRow({ tenant: 'b', cost: 3_000_000, day: '2026-11-29' }),
    usageRow({ tenant: 'a', cost: 500_000, lane: 'premium' }),
    usageRow({ tenant: 'c', cost: 0, unpriced: 15, model: 'x' }),
    usageRow({ tenant: 'a', cost: 700_000, kind: 'preempted' }),
  ]
  const told = (by: ('tenant' | 'day')[], tenant: string | null = null) =>
    summed(rows, { by, tenant }).rows.map((row) => [row.tenant ?? row.day, row.cost_usd])

  test('adds up what it is asked for, the dearest first, and what nobody pays last', () => {
    expect(told(['tenant'])).toEqual([
      ['b', 3],
      ['a', 1.5],
      ['c', null],
      [null, 0.7],
    ])
    expect(told(['day'], 'a')).toEqual([
      ['2026-11-30', 1.5],
      ['2026-11-30', 0.7],
    ])
  })

  test('of more rows than a page has puts the cheapest together', () => {
    const many = Array.from({ length: REPORT_ROWS_MAX + 10 }, (_, i) =>
      usageRow({ tenant: `t${i}`, cost: 10_000 - i }),
    )
    const report = summed(many, { by: ['tenant'], tenant: null })
    expect(report.folded).toBe(10)
    expect(report.rows.at(-1)).toMatchObject({ tenant: 'other', calls: 10 })
    expect(report.rows.reduce((sum, { calls }) => sum + calls, 0)).toBe(many.length)
  })

  test('of more names than it can hold loses none of what they used', () => {
    const sum = new UsageSum({ by: ['tenant'], tenant: null })
    for (let i = 0; i < GROUPS_MAX + 500; i++) sum.add([usageRow({ tenant: `t${i}` })])
    const { rows, folded } = sum.rows()
    expect(folded).toBe(GROUPS_MAX + 1 - REPORT_ROWS_MAX)
    expect(rows.reduce((all, { calls }) => all + calls, 0)).toBe(GROUPS_MAX + 500)
  })
})
