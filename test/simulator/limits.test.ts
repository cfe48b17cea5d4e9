/** A tenant that asks far beyond its limits costs the others nothing. */
import { expect, test } from 'vitest'
import { configOf } from '../../services/simulator/common.ts'
import { Run } from '../../services/simulator/figures.ts'
import { play } from '../../services/simulator/play.ts'
import { sixty, stream } from '../../services/simulator/scenario.ts'
import { merged, poisson, type Source } from '../../services/simulator/workload.ts'

const UNTIL = 300
const LANE = 'interactive'
const tenants = (prefix: string, count: number) => ({ prefix, count })
/** Nearly all that the provider gives. */
const light = (seed: number): Source =>
  poisson(stream(LANE, { per: 8, tenants: tenants('light', 19) }, UNTIL), seed, 'light')
const flood = (seed: number): Source =>
  poisson(stream(LANE, { per: 5, tenants: tenants('heavy', 1) }, UNTIL), seed, 'heavy')

async function run(of: { heavy: boolean; limits: object | null; seed: number }): Promise<Run> {
  const { heavy, limits, seed } = of
  const heavy0 = limits === null ? {} : { limits }
  const { run: played, world } = await play({
    ...{ index: 0, name: 'all', until: UNTIL, seed, policy: 'headgate', unit: 'work' },
    config: configOf({ tenants: { heavy0 } }),
    source: () => (heavy ? merged([light(seed), flood(seed)]) : light(seed)),
    ...{ provider: sixty, events: [], predictions: false, calls: false, asksAgain: false },
    ...{ unpredicted: false, backlog: null, like: null, restarts: [], fleet: null, record: null },
  })
  expect(world.findings).toEqual([])
  return new Run([played])
}

const lightWait = (of: Run, p: number): number =>
  of.waitOf(LANE, p, (tenant) => tenant !== 'heavy0') ?? 0

test.each([
  ['queue', { rpm: 6, edge: 'queue' }],
  ['refuse', { rpm: 6, edge: 'refuse' }],
  ['a budget', { budget: { day: { tokens: 1_000 } } }],
])('at its edge: %s', async (_edge, limits) => {
  for (const seed of [1, 2]) {
    const without = await run({ heavy: false, limits, seed })
    const beside = await run({ heavy: true, limits, seed })
    const e2e = without.e2e([LANE], 0.99) ?? 0
    expect(lightWait(beside, 0.99) - lightWait(without, 0.99)).toBeLessThan(0.05 * e2e)
  }
})

test('without limits the same tenant is felt', async () => {
  const without = await run({ heavy: false, limits: null, seed: 1 })
  const beside = await run({ heavy: true, limits: null, seed: 1 })
  const e2e = without.e2e([LANE], 0.99) ?? 0
  expect(lightWait(beside, 0.99) - lightWait(without, 0.99)).toBeGreaterThan(0.05 * e2e)
})
