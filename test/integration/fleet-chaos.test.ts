/** Three schedulers, each a process of its own behind wires of its own to three nats-servers, while some of it is cut,
 *  frozen, killed or deleted: the provider never has more in flight than the limit, and all of it is used again
 *  afterwards. `npm run bench -- fleet-chaos` does more of it, for longer. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { seededDice } from '#core/estimators/dice'
import type { FleetNow } from '#contracts/snapshot'
import {
  openChaosFleet,
  SHARES,
  type ChaosFleet,
  type ChaosMember,
} from '../support/chaos-fleet.ts'

const LIMIT = 60
/** Of each member's users: together more than the limit. */
const WANTS = 25
/** Longer than a lease, the guard and D (43 s), for which a part that lapsed is kept from all, on a crowded machine. */
const PATIENCE = { timeout: 90_000, interval: 200 }

let fleet: ChaosFleet
beforeAll(async () => {
  const dice = seededDice(7)
  const serviceMs = (): number => 500 + 2_500 * dice.next()
  fleet = await openChaosFleet({ members: 3, limit: LIMIT, rpm: null, serviceMs })
  for (const member of fleet.members) member.wants = WANTS
}, 90_000)
afterAll(() => fleet?.close(), 30_000)

const told = (): Promise<(FleetNow | null)[]> => Promise.all(fleet.members.map((one) => one.told()))
const inUse = async (): Promise<boolean> => {
  const all = await told()
  const usable = all.reduce((sum, one) => sum + (one === null || one.lapsed ? 0 : one.usable), 0)
  return usable > LIMIT - 3 && all.every((one) => one !== null && one.usable > 3)
}
const lapsed = async (of: ChaosMember): Promise<boolean> => (await of.told())?.lapsed === true
const standing = async (by: ChaosMember, of: ChaosMember): Promise<string | undefined> =>
  (await by.told())?.members.find(({ member }) => member === of.name)?.standing

beforeEach(() => expect.poll(inUse, PATIENCE).toBe(true), 100_000)
afterEach(async () => {
  await expect.poll(inUse, PATIENCE).toBe(true)
  await expect.poll(() => fleet.ledger.inflight(), PATIENCE).toBeGreaterThan(LIMIT - 10)
  expect(fleet.ledger.excesses).toEqual([])
  expect(fleet.ledger.most()).toBeLessThanOrEqual(LIMIT)
}, 200_000)

test('the record is deleted', { timeout: 100_000 }, async () => {
  const before = await fleet.record()
  expect(before).not.toBeNull()
  await fleet.cluster.deleteStream(SHARES)
  // All are in the one that is made anew.
  const anew = async (): Promise<string[]> => {
    const record = await fleet.record()
    return record === null || record.id === before?.id ? [] : Object.keys(record.members).toSorted()
  }
  await expect.poll(anew, PATIENCE).toEqual(['m0', 'm1', 'm2'])
})

test(
  'one is cut off, and another stands still, for longer than the lease',
  {
    timeout: 90_000,
  },
  async () => {
    const [still, cut, other] = fleet.members as [ChaosMember, ChaosMember, ChaosMember]
    still.freeze()
    cut.wires.stall()
    await expect.poll(() => lapsed(cut), PATIENCE).toBe(true)
    await expect.poll(() => standing(other, still), PATIENCE).toBe('silent')
    still.goOn()
    cut.wires.heal()
  },
)

test(
  'two of three nats-servers are killed, for longer than the lease',
  {
    timeout: 90_000,
  },
  async () => {
    await Promise.all([fleet.cluster.kill(0), fleet.cluster.kill(1)])
    for (const one of fleet.members) await expect.poll(() => lapsed(one), PATIENCE).toBe(true)
    const answered = fleet.ledger.answered()
    await expect.poll(() => fleet.ledger.answered(), PATIENCE).toBeGreaterThan(answered + 10)
    await Promise.all([fleet.cluster.start(0), fleet.cluster.start(1)])
  },
)

test('one is killed and starts again', { timeout: 100_000 }, async () => {
  const [, , killed] = fleet.members as [ChaosMember, ChaosMember, ChaosMember]
  await killed.kill()
  await killed.start()
  killed.wants = WANTS
})
