/** Budgets of which four fifths are drawn, as the store last said (control-laws §21). */
import { expect, test } from 'vitest'
import type { Grant } from '#core/model/account'
import { configureAccounts } from '#core/laws/accounts'
import { NAMED_MOST, nearlyUsed } from '#core/laws/nearly-used'
import { CoreWorld } from '../support/core-world.ts'

const granted = (of: Partial<Grant>): Grant => ({
  ...{ window: '2026-11-30', granted: 0, endsAt: 3_600_000, exhausted: of.overall === 0 },
  ...{ overall: 1_000_000, whole: 1_000_000 },
  ...of,
})

/** Each tenant has asked, and heard this of its budget of a day. */
function heard(of: Record<string, Partial<Grant>>): CoreWorld {
  const limits = { budget: { day: { tokens: 1_000_000 } } }
  const world = new CoreWorld({ tenants: { default: { limits } } })
  for (const [tenant, grant] of Object.entries(of)) {
    world.submit({ tenant, id: 'a' })
    const asked = { account: tenant, span: 'day', unit: 'tokens' } as const
    world.input({ type: 'allowance', ...asked, grant: granted(grant) })
  }
  return world
}
const named = (world: CoreWorld): string[] =>
  nearlyUsed(world.state, world.now).map(({ tenant }) => tenant)

test('nothing was heard, nothing is told; from four fifths on it is, the fullest first', () => {
  const world = heard({
    calm: { overall: 200_001 },
    low: { overall: 200_000 },
    lower: { overall: 10 },
    done: { overall: 0 },
  })
  world.submit({ tenant: 'unheard', id: 'a' })
  expect(named(world)).toEqual(['done', 'lower', 'low'])
  expect(nearlyUsed(world.state, world.now)[0]).toEqual({
    ...{ tenant: 'done', span: 'day', unit: 'tokens', whole: 1_000_000, left: 0 },
    endsAt: 3_600_000,
  })
})

test('what an operator has added counts', () => {
  const whole = 6_000_000
  expect(named(heard({ acme: { overall: 1_300_000, whole } }))).toEqual([])
  expect(named(heard({ acme: { overall: 1_200_000, whole } }))).toEqual(['acme'])
})

test('the next day it is forgotten', () => {
  const world = heard({ acme: { overall: 0 } })
  world.advance(3_599_000)
  expect(named(world)).toEqual(['acme'])
  world.advance(1_000)
  expect(named(world)).toEqual([])
})

test('no more than twenty have a name', () => {
  const many = Array.from({ length: 30 }, (_, i) => [`t${i}`, { overall: 30 - i }] as const)
  const world = heard(Object.fromEntries(many))
  expect(named(world)).toHaveLength(NAMED_MOST)
  expect(named(world)[0]).toBe('t29')
})

test('a budget that is raised in the file is not at its end any more', () => {
  const world = heard({ acme: { overall: 0 } })
  const { tenants } = new CoreWorld({
    tenants: { default: { limits: { budget: { day: { tokens: 2_000_000 } } } } },
  }).state.config
  world.state.config = { ...world.state.config, tenants }
  configureAccounts(world.state)
  expect(named(world)).toEqual([])
})
