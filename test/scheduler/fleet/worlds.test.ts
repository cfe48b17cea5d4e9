/** Members on one record in virtual time, through what may happen to them (control-laws §14, S9); many more worlds are
 *  run by `npm run sim -- fleet`. */
import { expect, test } from 'vitest'
import { fleetWorld } from '#simulator/fleet-world'
import { FLEET_WORLDS } from '#simulator/fleet-worlds'

test.each([
  ['calm', 0.95],
  ['slow store', 0.9],
  ['chaos', 0.6],
  ['stormy', 0.4],
  ['calm, two routes', 0.9],
  ['stormy, two routes', 0.4],
] as const)(
  '%s: never more in flight than one instance would have',
  async (kind, least) => {
    const worlds = [1, 2, 3].map((seed) => fleetWorld(FLEET_WORLDS[kind](seed)))
    const results = await Promise.all(worlds)
    expect(results.flatMap(({ violations }) => violations)).toEqual([])
    expect(Math.max(...results.map(({ most }) => most))).toBeGreaterThan(40)
    // One world may be unlucky.
    expect(results.reduce((sum, { score }) => sum + score, 0) / 3).toBeGreaterThan(least)
  },
  120_000,
)

test('the store is away for a minute: what members allow themselves only falls, and service goes on', async () => {
  const result = await fleetWorld({
    ...FLEET_WORLDS.calm(7),
    seconds: 120,
    awayFor: { from: 40_000, ms: 60_000 },
  })
  expect(result.violations).toEqual([])
  expect(result.lapses).toBeGreaterThan(0)
  expect(result.leastWhileAway).toBeGreaterThan(0)
  expect(result.roseWhileAway).toBe(false)
}, 60_000)
