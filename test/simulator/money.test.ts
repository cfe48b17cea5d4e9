/** What a configuration would cost on a trace, and what budgets would refuse. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import type { RunJob, RunResult } from '../../services/simulator/job.ts'
import { simulate } from '../../services/simulator/simulate.ts'

const dir = mkdtempSync(join(tmpdir(), 'headgate-simulated-money-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const CALLS = 200
const [INPUT, OUTPUT] = [1_000, 100]
const trace = join(dir, 'trace.csv')
writeFileSync(
  trace,
  [
    'TIMESTAMP,ContextTokens,GeneratedTokens',
    ...Array.from({ length: CALLS }, (_, i) => `${i / 2},${INPUT},${OUTPUT}`),
  ].join('\n'),
)

let files = 0
async function run(yaml: string): Promise<RunResult> {
  const config = join(dir, `headgate${files++}.yaml`)
  writeFileSync(config, yaml)
  const job: RunJob = {
    ...{
      label: 'headgate',
      policy: 'headgate',
      seed: 1,
      config,
      backlog: null,
      restarts: [],
      fleet: null,
    },
    what: {
      ...{ kind: 'trace', path: trace, scale: 1, capacity: 60, tenants: 3 },
      ...{ lanes: [{ name: 'interactive', share: 1 }], forS: null, storm: null },
    },
  }
  return simulate(job)
}

const PRICES = 'prices: { claude: { input: 3, output: 15 } }\n'
const EACH = (INPUT * 3 + OUTPUT * 15) / 1e6

test('the bill is every call by its price, and whose it is', async () => {
  const { money, said, violations } = await run(PRICES)
  expect(violations).toBe(0)
  expect(money?.calls).toBe(CALLS)
  expect(money?.cost_usd).toBeCloseTo(CALLS * EACH, 9)
  const tenants = money?.tenants ?? []
  expect(tenants.map(({ tenant }) => tenant)).toEqual(['t1', 't2', 't3'])
  expect(tenants.reduce((sum, one) => sum + one.cost_usd, 0)).toBeCloseTo(CALLS * EACH, 9)
  expect(said[0]).toMatch(/^it would cost 0\.9000 USD, for 220,000 tokens; the dearest: t1 /)
})

test('without a price tokens are counted, and no sentence is made of them', async () => {
  const { money, said } = await run('{}\n')
  expect(money).toMatchObject({ cost_usd: 0, unpriced_tokens: CALLS * (INPUT + OUTPUT) })
  expect(said).toEqual([])
})

test('a budget is kept, within what calls in flight used beyond what was expected', async () => {
  const budget = 0.2
  const { money, lanes, violations } = await run(
    `${PRICES}tenants: { t1: { limits: { budget: { day: { usd: ${budget} } } } } }\n`,
  )
  expect(violations).toBe(0)
  const t1 = money?.tenants.find(({ tenant }) => tenant === 't1')
  expect(t1?.cost_usd).toBeGreaterThan(budget - 4 * EACH)
  expect(t1?.cost_usd).toBeLessThanOrEqual(budget + 2 * EACH)
  expect(lanes['interactive']?.refused).toBeGreaterThan(0)
})
