/** What a simulation says of prompts that calls share: what was cached, what waiting for it saved, what it costs. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import type { Policy, RunJob, RunResult } from '../../services/simulator/job.ts'
import { simulate } from '../../services/simulator/simulate.ts'
import { mooncakeLines } from '../support/mooncake-trace.ts'

const dir = mkdtempSync(join(tmpdir(), 'headgate-shared-prompts-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** Ten groups of four siblings that come together, one a minute; the next one after its cache is gone. */
const [GROUPS, SIBLINGS, PREFIX, OWN] = [10, 4, 20_000, 500]
const columns = join(dir, 'columns.csv')
writeFileSync(
  columns,
  [
    'TIMESTAMP,ContextTokens,GeneratedTokens,prefix,prefix_tokens',
    ...Array.from(
      { length: GROUPS * SIBLINGS },
      (_, i) =>
        `${60 * Math.floor(i / SIBLINGS)},${PREFIX + OWN},60,g${Math.floor(i / SIBLINGS)},${PREFIX}`,
    ),
  ].join('\n'),
)
const mooncake = join(dir, 'mooncake.jsonl')
writeFileSync(mooncake, mooncakeLines({ seed: 7, seconds: 120 }).join('\n'))

let files = 0
async function run(
  path: string,
  of: { waitMs: number; policy?: Policy; more?: string; fleet?: RunJob['fleet'] },
): Promise<RunResult> {
  const config = join(dir, `headgate${files++}.yaml`)
  const { waitMs, policy = 'headgate', more = '', fleet = null } = of
  writeFileSync(config, `scheduling: { prefix_wait_ms: ${waitMs} }\n${more}`)
  return simulate({
    ...{ label: '', policy, seed: 1, config, backlog: null, restarts: [], fleet },
    what: {
      ...{ kind: 'trace', path, scale: 1, capacity: 60, tenants: 3, model: 'claude-x' },
      ...{ lanes: [{ name: 'interactive', share: 1 }], forS: null, storm: null },
    },
  })
}
const PRICES = 'prices: { claude-x: { input: 3, output: 15 } }\n'

test('who waits for the first sibling reads what it wrote, and the bill says what that saved', async () => {
  const off = await run(columns, { waitMs: 0, more: PRICES })
  const all = GROUPS * SIBLINGS * PREFIX
  expect(off.figures).toMatchObject({ cache_written_tokens: all, cache_read_tokens: 0 })
  expect(off.figures['prefix_saved_tokens']).toBe(0)

  const on = await run(columns, { waitMs: 30_000, more: PRICES })
  const written = GROUPS * PREFIX
  expect(on.violations).toBe(0)
  expect(on.figures).toMatchObject({
    cache_written_tokens: written,
    cache_read_tokens: all - written,
    prefix_saved_tokens: all - written,
    input_paid_tokens: GROUPS * SIBLINGS * OWN + 1.25 * written + 0.1 * (all - written),
  })
  const saved = ((all - written) * 3 * (1.25 - 0.1)) / 1e6
  expect(on.money?.prefix_saved_usd).toBeCloseTo(saved, 9)
  expect((off.money?.cost_usd ?? 0) - (on.money?.cost_usd ?? 0)).toBeCloseTo(saved, 9)
  const tenants = on.money?.tenants ?? []
  expect(tenants.reduce((sum, one) => sum + one.cache_read_tokens, 0)).toBe(all - written)
  expect(on.said.at(-1)).toBe(
    'the prompt cache: 200,000 tokens were written to it, 600,000 were read from it; 600,000 of these ' +
      'by calls that had waited for another to write them; to write these too would have cost 2.07 USD more',
  )
})

test('siblings are of one tenant, so that one of them can wait for another', async () => {
  const { money } = await run(columns, { waitMs: 30_000 })
  for (const { calls } of money?.tenants ?? []) expect(calls % SIBLINGS).toBe(0)
})

test('the cache is the provider’s: whoever asks without Headgate meets the same', async () => {
  const { figures, money } = await run(columns, { waitMs: 0, policy: 'naive' })
  expect(figures['cache_written_tokens']).toBe(GROUPS * SIBLINGS * PREFIX)
  expect(money).toBeNull()
})

test('instances of a fleet know their own siblings only', async () => {
  const fleet = { instances: 2, kills: [], sameName: false }
  const { figures, violations } = await run(columns, { waitMs: 30_000, fleet })
  expect(violations).toBe(0)
  const written = figures['cache_written_tokens'] ?? 0
  expect(written).toBeGreaterThan(GROUPS * PREFIX)
  expect(written).toBeLessThanOrEqual(2 * GROUPS * PREFIX)
})

test('a trace like Mooncake’s costs less with the wait than without, and equal seeds cost the same', async () => {
  const off = await run(mooncake, { waitMs: 0 })
  const on = await run(mooncake, { waitMs: 5_000 })
  const again = await run(mooncake, { waitMs: 5_000 })
  expect([off.violations, on.violations]).toEqual([0, 0])
  expect(again.trace_hash).toBe(on.trace_hash)
  const paid = (of: RunResult): number => of.figures['input_paid_tokens'] ?? NaN
  expect(paid(on)).toBeLessThan(0.5 * paid(off))
  expect(mooncakeLines({ seed: 7, seconds: 120 })).toEqual(mooncakeLines({ seed: 7, seconds: 120 }))
})
