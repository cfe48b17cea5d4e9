/** Members on one record in virtual time, through what may happen to them (control-laws §14, S9); many more worlds are
 *  run by `npm run sim -- fleet`. */
import { expect, test } from 'vitest'
import { calmFleet, chaosFleet, fleetWorld, slowFleet, stormyFleet } from '#simulator/fleet-world'

test.each([
  ['calm', calmFleet, 0.95],
  ['slow', slowFleet, 0.9],
  ['chaos', chaosFleet, 0.6],
  ['stormy', stormyFleet, 0.4],
] as const)(
  '%s: never more in flight than one instance would have',
  async (_, world, least) => {
    for (let seed = 1; seed <= 3; seed++) {
      const { violations, most, score } = await fleetWorld(world(seed))
      expect(violations).toEqual([])
      expect(most).toBeGreaterThan(30)
      // One world may be unlucky; the means are the sim's to hold.
      expect(score).toBeGreaterThan(least)
    }
  },
  120_000,
)

test('the store is away for a minute: what members allow themselves only falls, and service goes on', async () => {
  const result = await fleetWorld({
    ...calmFleet(7),
    seconds: 120,
    awayFor: { from: 40_000, ms: 60_000 },
  })
  expect(result.violations).toEqual([])
  expect(result.lapses).toBeGreaterThan(0)
  expect(result.leastWhileAway).toBeGreaterThan(0)
  expect(result.roseWhileAway).toBe(false)
}, 60_000)
