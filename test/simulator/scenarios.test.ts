/** What control-laws §17 asks must be met, for the scenarios that a test can afford whole; and the report in
 *  docs/ says what the code does. All of them, with every baseline: `npm run sim`. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { RunResult } from '../../services/simulator/job.ts'
import { number } from '../../services/simulator/report-text.ts'
import { simulateScenario } from '../../services/simulator/simulate.ts'
import { CASES, SEEDS } from '../sim/cases.ts'
import { read } from '../support/tree.ts'

const AFFORDABLE = ['S2', 'S4', 'S5', 'S6', 'S7', 'S8', 'S10', 'steady', 'swinging', 'models', 'tokens', 'giants', 'backlog', 'restarts', 'fleet', 'agents'] // prettier-ignore
const report = read('docs/simulation.md')

describe.each(CASES.filter((one) => AFFORDABLE.includes(one.name)))('$job', (one) => {
  let result: RunResult

  beforeAll(async () => {
    const run = { label: '', policy: 'headgate', config: null } as const
    result = await simulateScenario(run, one.job, SEEDS)
  }, 600_000)

  test('meets what must be met, and breaks no law', () => {
    expect(result.findings).toEqual([])
    expect(result.violations).toBe(0)
    expect(result.acceptance.filter((line) => !line.met)).toEqual([])
    expect(result.figures['amplification']).toBeLessThan(1.3)
  })

  test('the report says the same', () => {
    const section = sectionOf(one.label ?? one.name)
    for (const [name, value] of Object.entries(result.figures)) {
      const row = section.find((line) => line.startsWith(`| \`${name}\` |`))
      expect(row?.split('|')[3]?.trim(), name).toBe(number(value))
    }
  })
})

/** The lines of the report's section of a case. */
function sectionOf(name: string): string[] {
  const lines = report.split('\n')
  const from = lines.findIndex((line) => line.startsWith(`## ${name}: `))
  if (from < 0) throw new Error(`docs/simulation.md has no section ${name}; run npm run sim`)
  const until = lines.findIndex((line, i) => i > from && line.startsWith('## '))
  return lines.slice(from, until < 0 ? undefined : until).map((line) => line.replace(/ +/g, ' '))
}
