/** The record of a fleet is lost while a member cannot reach the store: what that one may use is no one else's
 *  (control-laws §14). */
import { expect, test } from 'vitest'
import { seededDice } from '#core/estimators/dice'
import { ALONE, slotsOf, type Share } from '#core/model/share'
import type { FleetStore } from '#ports'
import { Membership } from '#scheduler/fleet/membership'
import { memoryFleetStore } from '#scheduler/memory/fleet-store'
import { manualClock } from '../../support/manual-clock.ts'

const WHOLE = 60
const STEP = 100

/** Members that want all there is, on one record and one clock. */
async function members(names: readonly string[]) {
  const store = memoryFleetStore()
  const clock = manualClock()
  const cut = new Set<string>()
  const shares = new Map<string, Share>()
  const reached = (name: string): FleetStore => {
    const act = <T>(does: () => Promise<T>): Promise<T> =>
      cut.has(name) ? Promise.reject(new Error('it does not answer')) : does()
    return {
      ...store,
      read: () => act(store.read),
      write: (text, over) => act(() => store.write(text, over)),
      watch: (on) => store.watch((found) => void (cut.has(name) || on(found))),
    }
  }
  const joined: Membership[] = []
  const join = async (name: string): Promise<void> => {
    const member = new Membership({
      ...{ store: reached(name), clock, dice: seededDice(joined.length + 1) },
      ...{ name, incarnation: name, version: '0' },
      demand: () => ({
        ...{ inflight: slotsOf(shares.get(name) ?? NOTHING, clock.now()), queued: WHOLE },
        ...{ whole: WHOLE, capacity: WHOLE, config: 'same', limits: new Map(), routes: new Map() },
      }),
      onShare: (share) => shares.set(name, share),
      onLimit: () => {},
      anybody: () => Promise.resolve(joined.some((one) => one.joined)),
      news: () => {},
    })
    joined.push(member)
    await member.open()
  }
  for (const name of names) await join(name)
  return {
    ...{ store, cut, join },
    /** Most that all together may use at any instant of so long. */
    async pass(ms: number): Promise<number> {
      let most = 0
      for (let left = ms; left > 0; left -= STEP) {
        clock.advance(STEP)
        for (let i = 0; i < 20; i++) await Promise.resolve()
        const now = clock.now()
        most = Math.max(
          most,
          [...shares.values()].reduce((sum, one) => sum + slotsOf(one, now), 0),
        )
      }
      return most
    },
    sum: (of: readonly string[]) =>
      of.reduce((sum, name) => sum + slotsOf(shares.get(name) ?? NOTHING, clock.now()), 0),
    close: () => joined.forEach((one) => one.close()),
  }
}

const NOTHING: Share = { ...ALONE, slots: 0, safe: 0, until: 0, safeUntil: 0 }

test('who is cut off while the record is lost keeps its safe part from the others', async () => {
  const fleet = await members(['a', 'b', 'c'])
  await fleet.pass(5_000)
  expect(fleet.sum(['a', 'b', 'c'])).toBe(WHOLE)
  fleet.cut.add('c')
  fleet.store.clear()
  expect(await fleet.pass(200_000)).toBe(WHOLE)
  // What `c` does not use any more is theirs by then.
  expect(fleet.sum(['a', 'b'])).toBe(WHOLE - 3)
  expect(fleet.sum(['c'])).toBe(3)
  await fleet.pass(200_000)
  // A move of one slot in thirty is not made.
  expect(fleet.sum(['a', 'b'])).toBeGreaterThanOrEqual(WHOLE - 1)
  fleet.close()
})

test('who comes back finds what the others kept of it', async () => {
  const fleet = await members(['a', 'b', 'c'])
  await fleet.pass(5_000)
  fleet.cut.add('c')
  fleet.store.clear()
  await fleet.pass(8_000)
  fleet.cut.delete('c')
  expect(await fleet.pass(120_000)).toBe(WHOLE)
  expect(fleet.sum(['a', 'b', 'c'])).toBe(WHOLE)
  fleet.close()
})
