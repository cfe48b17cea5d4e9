/** What an operator asks of budgets. */
import { beforeEach, describe, expect, test } from 'vitest'
import { readBudgetsAsk } from '#contracts/budget-ask'
import { memoryBudgetStore } from '#scheduler/memory/budget-store'
import { BudgetDesk } from '#scheduler/money/budget-desk'
import { OperatorError, type BudgetStore } from '#ports'
import { configOf } from '../../support/core-world.ts'
import { manualClock } from '../../support/manual-clock.ts'

const config = configOf({
  tenants: {
    default: { limits: { budget: { day: { tokens: 500 } } } },
    acme: { limits: { budget: { day: { usd: 2 }, month: { tokens: 9_000 }, reset_day: 5 } } },
    plain: {},
  },
})
const wall = Date.parse('2026-11-30T10:00:00Z')
let store: BudgetStore
let desk: BudgetDesk
beforeEach(() => {
  store = memoryBudgetStore()
  desk = new BudgetDesk({ store, clock: manualClock({ wall }), config: () => config })
})
const record = (more: object) =>
  JSON.stringify({ v: 1, window: '2026-11-30', drawn: 0, added: 0, told: 'nothing', ...more })

describe('the list', () => {
  test('has those with a name and those who have used something, each budget with what is left', async () => {
    await store.write('acme.day.usd', record({ drawn: 500_000 }), 0)
    await store.write('guest.day.tokens', record({ drawn: 200.4 }), 0)
    await store.write('=.day.tokens', record({ drawn: 1 }), 0)
    const { budgets, more } = await desk.answer({ tenant: null, add: null })
    expect(more).toBe(false)
    expect(budgets).toEqual([
      {
        ...{ tenant: 'acme', span: 'day', unit: 'usd', window: '2026-11-30' },
        ...{ most: 2, added: 0, drawn: 0.5, left: 1.5 },
        ends_at: Date.parse('2026-12-01T00:00:00Z'),
      },
      {
        ...{ tenant: 'acme', span: 'month', unit: 'tokens', window: '2026-11' },
        ...{ most: 9_000, added: 0, drawn: 0, left: 9_000 },
        ends_at: Date.parse('2026-12-05T00:00:00Z'),
      },
      expect.objectContaining({ tenant: 'guest', unit: 'tokens', drawn: 201, left: 299 }),
    ])
  })

  test('of another day nothing is used', async () => {
    await store.write('acme.day.usd', record({ window: '2026-11-29', drawn: 2_000_000 }), 0)
    const { budgets } = await desk.answer({ tenant: 'acme', add: null })
    expect(budgets[0]).toMatchObject({ drawn: 0, left: 2 })
  })
})

describe('more of one', () => {
  test('is there for the present window only', async () => {
    await store.write('acme.day.usd', record({ drawn: 2_000_000, told: 'end' }), 0)
    const add = { span: 'day', unit: 'usd', amount: 1.5 } as const
    const { budgets } = await desk.answer({ tenant: 'acme', add })
    expect(budgets).toMatchObject([{ most: 2, added: 1.5, drawn: 2, left: 1.5 }])
    const kept = JSON.parse((await store.read('acme.day.usd'))?.text ?? '{}') as object
    expect(kept).toMatchObject({ added: 1_500_000, told: 'nothing' })
  })

  test('of a budget that there is not is told, with those that there are', async () => {
    const add = { span: 'day', unit: 'tokens', amount: 1 } as const
    await expect(desk.answer({ tenant: 'acme', add })).rejects.toThrow(
      'add: acme has no budget of tokens by day; there is usd by day, tokens by month',
    )
    await expect(desk.answer({ tenant: 'plain', add })).rejects.toThrow(
      'expected one in the configuration: tenants.plain.limits.budget.day.tokens',
    )
  })

  test('is never less than nothing', async () => {
    const add = { span: 'day', unit: 'usd', amount: -1.5 } as const
    expect((await desk.answer({ tenant: 'acme', add })).budgets).toMatchObject([{ left: 0.5 }])
    await expect(desk.answer({ tenant: 'acme', add })).rejects.toThrow(
      'that would take back more than there is',
    )
  })

  test.each([
    [{ unit: 'tokens', amount: 5.5 }, 'expected whole tokens'],
    [{ unit: 'tokens', amount: 1e30 }, 'expected at most 1,000,000,000,000,000 tokens'],
    [{ unit: 'usd', amount: 1e-7 }, 'expected USD with at most six decimals'],
    [{ unit: 'usd', amount: -2e9 }, 'expected at most 1,000,000,000 usd'],
    [{ unit: 'usd', amount: 0 }, 'expected a number that is not 0'],
  ])('of %o is told what fits', (of, words) => {
    const asked = readBudgetsAsk({ tenant: 'acme', add: { span: 'day', ...of } })
    expect(asked).toContain(words)
  })

  test('a store that is away is told', async () => {
    store.read = () => Promise.reject(new Error('no JetStream on this server'))
    await expect(desk.answer({ tenant: 'acme', add: null })).rejects.toThrow(OperatorError)
  })
})
