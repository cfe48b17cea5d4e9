/** Who waits for a token of the retry budget (control-laws §11). */
import { expect, test } from 'vitest'
import { owes } from '#core/model/place'
import { CoreWorld } from '../support/core-world.ts'

test('no more wait for a token of the retry budget than may wait in the lane', () => {
  const retry = { budget_start: 0, budget_max: 1, budget_per_ok: 0, budget_per_minute: 1 }
  const world = new CoreWorld({
    llm_gateway: { retry },
    lanes: { interactive: { queue_max: 5, timeout_ms: 600_000 } },
  })
  for (let i = 0; i < 30; i++) {
    world.submit({ tenant: `t${i}` })
    world.advance(10)
    for (const key of world.running()) world.end(key, 'overloaded')
  }
  const owing = [...world.state.requests.values()].filter(({ place }) => owes(place))
  expect(owing).toHaveLength(5)
  const refused = world.effects.filter(
    (e) =>
      e.type === 'settled' && e.ending.kind === 'refused' && e.ending.reason === 'RETRY_BUDGET',
  )
  expect(refused.length).toBeGreaterThan(0)
  for (const { key } of owing) world.input({ type: 'cancel', key })
  const budgets = [...world.state.routes.values()].flatMap((route) => route.budgets)
  expect(budgets.map((budget) => budget.owing.size)).toEqual([0, 0])
})
