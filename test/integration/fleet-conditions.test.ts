/** What is out of step in a fleet is told by its members: real parts, one nats-server, real time. */
import { expect, test } from 'vitest'
import type { ConditionName } from '#contracts/conditions'
import { snapshot, type Snapshot } from '#contracts/snapshot'
import type { Wired } from '../../services/scheduler/compose/wire.ts'
import { openHouse, type House } from '../support/house.ts'

const YAML = 'llm_gateway: { max_inflight_global: 20 }\n'

const seen = (of: Wired): Snapshot => snapshot.parse(of.operator.snapshot())
const told = (of: Wired): [ConditionName, string | null][] =>
  seen(of).conditions.map(({ condition, about }) => [condition, about])
const memberOf = (of: Wired): string => seen(of).fleet?.member ?? ''

/** In a house of its own. */
const at = (what: string, play: (house: House) => Promise<void>): void =>
  test.concurrent(
    what,
    async () => {
      const house = await openHouse({ yaml: YAML, fleet: true })
      try {
        await play(house)
      } finally {
        await house.close()
      }
    },
    60_000,
  )

at('each names the other, whose configuration is another', async ({ scheduler, another }) => {
  const second = await another('llm_gateway: { max_inflight_global: 16 }\n')
  const differs = (of: Wired) => ['fleet_config_differs', memberOf(of)] as const
  await expect.poll(() => told(scheduler), { timeout: 10_000 }).toContainEqual(differs(second))
  await expect.poll(() => told(second), { timeout: 10_000 }).toContainEqual(differs(scheduler))
  await expect.poll(() => seen(scheduler).fleet?.whole, { timeout: 10_000 }).toBe(16)
  second.configure(YAML)
  await expect.poll(() => told(scheduler), { timeout: 10_000 }).toEqual([])
  expect(told(second)).toEqual([])
})

at(
  'who loses the store has its safe part after the lease, and calls nobody silent',
  async ({ scheduler, another, nats }) => {
    const second = await another()
    const both = [scheduler, second]
    await expect
      .poll(() => both.map((one) => seen(one).fleet?.usable), { timeout: 10_000 })
      .toEqual([10, 10])
    await nats.stop('SIGKILL')
    await expect
      .poll(() => both.map((one) => told(one).map(([name]) => name)), { timeout: 20_000 })
      .toEqual(both.map(() => ['nats_lost', 'fleet_lapsed']))
    expect(both.map((one) => seen(one).fleet?.usable)).toEqual([1, 1])
  },
)
