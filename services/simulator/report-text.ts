/** The golden report: every scenario under every policy, as text that a change of behaviour changes. */
import { POLICIES, type Policy, type RunResult } from './job.ts'

export interface Row {
  scenario: string
  title: string
  /** Of one scenario with one set of parameters, by policy. */
  results: ReadonlyMap<Policy, RunResult>
}

export function reportText(of: { rows: readonly Row[]; seeds: readonly number[] }): string {
  const parts = [
    '# Simulation report',
    '',
    '<!-- Written by `npm run sim`; do not edit. -->',
    '',
    intro(of.seeds),
    '',
    '## Work in time',
    '',
    GOODPUT,
    '',
    goodputTable(of.rows),
    '',
    '## Guardrails',
    '',
    GUARDRAILS,
    '',
    guardrailTable(of.rows),
    '',
    '## Fairness',
    '',
    FAIRNESS,
    '',
    figureTable(of.rows, 'jain_tenants'),
    ...of.rows.flatMap((row) => ['', `## ${row.scenario}: ${row.title}`, '', scenarioTable(row)]),
    '',
  ]
  return parts.join('\n')
}

const intro = (seeds: readonly number[]): string =>
  [
    `Seeds ${seeds.join(', ')}, pooled: percentiles over the samples of all seeds, extremes of the worst.`,
    'Settings are those of [control-laws.md](control-laws.md), section 17, and of `services/simulator/scenarios.ts`.',
    'All policies meet the same arrivals with the same services: **headgate**; **sdk**, the Anthropic SDK with its own',
    'retries, each call given up at its deadline; **queue**, the same behind a queue with 60 at once; **naive**, the',
    'plain retry wrapper that most programs have, without a limit; **fixed**, the same behind a semaphore of 64;',
    '**classic**, Headgate with the plain limit rule; **priority**, the plain wrapper behind a priority queue over',
    'as many slots as Headgate has. `✗` marks what must be met and is not.',
  ].join('\n')

const GUARDRAILS = [
  'Over the whole run: 429 per attempt below 2 %, P95 end to end of lanes that are not preemptible below 8 s,',
  'attempts per request that started below 1.3. Services alone have a P95 of 17 s in most scenarios, so that the',
  'second is missed by all. A baseline that meets a guardrail which Headgate misses is marked `!`.',
].join('\n')

const GOODPUT = [
  'Useful service over the best that anybody could have done who knew the future (`services/simulator/optimum.ts`):',
  "the provider's hidden capacity or quota, poured over what was asked for, the same for every column. Work that came",
  'after its deadline is not useful. Then by lane the share of calls that were answered by their deadline, or at all',
  'where they have none. A provider has a hard capacity unless its title says otherwise; `soft` ones serve more than',
  'their capacity to whoever pushes, and so does a storm that lets a share of calls through, so that there more than 1',
  'is possible. `batch jobs` are durable jobs, which only Headgate has; those that are left in the store when the traffic',
  'ends are not answered.',
].join('\n')

const FAIRNESS = [
  "Jain's index of what tenants were served over what max-min fairness would have given them, the worst seed: 1 is",
  'even. A policy that serves next to nothing can be fair too.',
].join('\n')

function scenarioTable({ results }: Row): string {
  const policies = POLICIES.filter((policy) => results.has(policy))
  const own = results.get('headgate')!
  const must = new Map(own.acceptance.map((one) => [one.figure, one.must]))
  const names = Object.keys(own.figures)
  const body = names.map((name) => [
    `\`${name}\``,
    must.get(name) ?? '',
    ...policies.map((policy) => {
      const result = results.get(policy)!
      const missed = result.acceptance.some((one) => one.figure === name && !one.met)
      return `${number(result.figures[name] ?? null)}${missed ? ' ✗' : ''}`
    }),
  ])
  const laws = policies.map((policy) => String(results.get(policy)!.violations))
  body.push(['violations of laws', '0', ...laws])
  return table(['figure', 'must be', ...policies], body)
}

function guardrailTable(rows: readonly Row[]): string {
  const names = ['ratio_429', 'p95_e2e_s', 'retry_amplification'] as const
  const policies = POLICIES
  const body = rows.map(({ scenario, results }) => [
    scenario,
    ...policies.map((policy) => {
      const result = results.get(policy)
      if (result === undefined) return ''
      const own = results.get('headgate')!
      const marks = names.map((name) => {
        const { met } = result.guardrails[name]
        if (met === null) return '-'
        return met ? (own.guardrails[name].met === false ? '✓!' : '✓') : '✗'
      })
      return marks.join(' ')
    }),
  ])
  return table(['429, P95, amplification', ...policies], body)
}

/** By scenario the useful work, below it each lane. */
function goodputTable(rows: readonly Row[]): string {
  const cells = (
    results: Row['results'],
    of: (run: RunResult) => number | null | undefined,
  ): string[] =>
    POLICIES.map((policy) => {
      const result = results.get(policy)
      return result === undefined ? '' : number(of(result) ?? null)
    })
  const body = rows.flatMap(({ scenario, results }) => [
    [scenario, 'of optimum', ...cells(results, (run) => run.figures['goodput_of_optimum'])],
    ...Object.keys(results.get('headgate')!.lanes).map((lane) => [
      '',
      lane,
      ...cells(results, (run) => run.lanes[lane]?.in_time),
    ]),
  ])
  return table(['scenario', '', ...POLICIES], body)
}

function figureTable(rows: readonly Row[], figure: string): string {
  const body = rows.map(({ scenario, results }) => [
    scenario,
    ...POLICIES.map((policy) => {
      const result = results.get(policy)
      return result === undefined ? '' : number(result.figures[figure] ?? null)
    }),
  ])
  return table(['scenario', ...POLICIES], body)
}

/** Seeds of the same trace: the median and the worst. */
export function traceText(of: {
  file: string
  rows: readonly { name: string; results: ReadonlyMap<Policy, readonly RunResult[]> }[]
  seeds: readonly number[]
}): string {
  const parts = [
    '# Simulation of a real trace',
    '',
    '<!-- Written by `npm run sim`; do not edit. -->',
    '',
    `\`${of.file}\`: one hour of the Azure Public Dataset's "LLM inference trace 2023, conversation" (CC-BY 4.0; Patel et`,
    'al., "Splitwise", ISCA 2024), 200 tenants by a Zipf law, lanes 20 % premium, 50 % interactive, 30 % batch, the',
    `shipped configuration, 60 hidden slots. ${of.seeds.length} seeds (${of.seeds.join(', ')}): median / worst.`,
    '',
    'Services alone have a P95 of 8.0 s here. The busiest tenant asks for a fifth of everything and is held at the',
    'default of 12 slots while others have work: most of what premium and interactive requests wait at twice the',
    'speed is that (with `max_inflight_per_tenant: 60`, nothing at P95). Batch never has more than its cap of 15 slots,',
    'which is what goodput lacks at three times the speed; the others have no such bounds.',
    ...of.rows.flatMap(({ name, results }) => ['', `## ${name}`, '', traceTable(results)]),
    '',
  ]
  return parts.join('\n')
}

function traceTable(results: ReadonlyMap<Policy, readonly RunResult[]>): string {
  const policies = [...results.keys()]
  const lines: [name: string, of: (run: RunResult) => number | null, worst: 'most' | 'least'][] = [
    ['goodput_of_optimum', (run) => run.figures['goodput_of_optimum'] ?? null, 'least'],
    ['jain_tenants', (run) => run.figures['jain_tenants'] ?? null, 'least'],
    ['ratio_429', (run) => run.guardrails.ratio_429.value, 'most'],
    ['ratio_529', (run) => run.figures['ratio_529'] ?? null, 'most'],
    ['p95_e2e_s', (run) => run.guardrails.p95_e2e_s.value, 'most'],
    ['amplification', (run) => run.guardrails.retry_amplification.value, 'most'],
    ...['premium', 'interactive', 'batch'].flatMap((lane): typeof lines => [
      [`${lane} wait_p95_s`, (run) => run.lanes[lane]?.wait_p95_s ?? null, 'most'],
      [`${lane} wait_p99_s`, (run) => run.lanes[lane]?.wait_p99_s ?? null, 'most'],
      [
        `${lane} not completed`,
        (run) => {
          const one = run.lanes[lane]
          return one === undefined ? null : one.refused + one.failed
        },
        'most',
      ],
    ]),
    ['violations of laws', (run) => run.violations, 'most'],
  ]
  const body = lines.map(([name, figure, worst]) => [
    name,
    ...policies.map((policy) => {
      const values = results
        .get(policy)!
        .map(figure)
        .filter((value) => value !== null)
        .toSorted((a, b) => a - b)
      if (values.length === 0) return ''
      const median = values[Math.floor((values.length - 1) / 2)]!
      return `${number(median)} / ${number(worst === 'most' ? values.at(-1)! : values[0]!)}`
    }),
  ])
  return table(['', ...policies], body)
}

function table(head: readonly string[], body: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...body.map(line)].join('\n')
}

/** Four digits, so that a report does not change with the last bit. */
export function number(value: number | null): string {
  if (value === null) return '-'
  return String(Number(value.toPrecision(4)))
}
