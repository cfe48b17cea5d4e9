/** The report: every scenario under every policy, the real trace with eight seeds, the property tests at
 *  length. Writes docs/simulation.md and docs/simulation-trace.md; ends with status 1 when a law is broken.
 *  What must be met and is not is marked in the report, and said at the end. */
import { execFileSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { format, resolveConfig } from 'prettier'
import { POLICIES, type Policy, type RunResult } from '#simulator/job'
import { reportText, traceText, type Row } from '#simulator/report-text'
import { scenarioOf } from '#simulator/scenarios'
import { simulate, simulateScenario } from '#simulator/simulate'
import { CASES, SEEDS, TRACE, TRACE_CASES, TRACE_SEEDS } from './cases.ts'
import { inRoot } from '../support/tree.ts'

const RUNS = Number(process.env['HEADGATE_RUNS'] ?? 10_000)

export async function report(): Promise<void> {
  let violations = 0
  const missed: string[] = []

  const rows: Row[] = []
  for (const one of CASES) {
    const name = one.label ?? one.name
    const results = new Map<Policy, RunResult>()
    const { title, policies = POLICIES } = scenarioOf(one.name)!
    for (const policy of policies) {
      const result = await simulateScenario({ label: policy, policy, config: null }, one.job, SEEDS)
      results.set(policy, result)
      if (policy !== 'headgate') continue
      violations += result.violations
      for (const line of result.acceptance)
        if (!line.met) missed.push(`${name}: ${line.figure} is ${line.value}, must be ${line.must}`)
    }
    console.log(`${name}: done`)
    rows.push({ scenario: name, title, results })
  }
  await write('docs/simulation.md', reportText({ rows, seeds: SEEDS }))

  if (existsSync(inRoot(TRACE))) {
    const traced = []
    for (const { name, what } of TRACE_CASES) {
      const results = new Map<Policy, RunResult[]>()
      for (const policy of POLICIES) {
        const runs: RunResult[] = []
        for (const seed of TRACE_SEEDS) {
          const job = {
            label: policy,
            policy,
            seed,
            ...{ config: null, backlog: null, restarts: [], fleet: null },
            what: { ...what, path: inRoot(TRACE) },
          }
          runs.push(await simulate(job))
        }
        results.set(policy, runs)
        if (policy === 'headgate') violations += runs.reduce((sum, run) => sum + run.violations, 0)
      }
      traced.push({ name, results })
      console.log(`${name}: done`)
    }
    const text = traceText({ file: TRACE.split('/').at(-1)!, rows: traced, seeds: TRACE_SEEDS })
    await write('docs/simulation-trace.md', text)
  } else console.log(`the trace ${TRACE} is not here; docs/simulation-trace.md is left as it is`)

  execFileSync(
    process.execPath,
    [
      inRoot('node_modules/vitest/vitest.mjs'),
      'run',
      '--config',
      'test/vitest.config.ts',
      '--testTimeout',
      '600000',
      'test/core/step.property.test.ts',
      'test/core/laws.property.test.ts',
    ],
    { stdio: 'inherit', cwd: inRoot('.'), env: { ...process.env, HEADGATE_RUNS: String(RUNS) } },
  )

  for (const line of missed) console.log(`missed: ${line}`)
  console.log(
    `${CASES.length} cases, ${missed.length} figures missed, ${violations} violations of laws`,
  )
  if (violations > 0) process.exitCode = 1
}

async function write(path: string, text: string): Promise<void> {
  const settings = await resolveConfig(inRoot(path))
  writeFileSync(inRoot(path), await format(text, { ...settings, parser: 'markdown' }))
}
