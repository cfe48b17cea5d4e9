/** What a simulation says at its end: tables for people, the same as one object for programs. */
import Table from 'cli-table3'
import {
  firstRows,
  hasBill,
  IN_FIRST,
  LANE_FIGURES,
  MEMBER_FIGURES,
  MONEY_FIGURES,
  MONEY_ROWS,
  type RunResult,
} from '#simulator/job'

// ---- for programs ----

const DIGITS = 6

/** One run as it is, several under `runs`; numbers with at most six decimals, null where unknown. */
export function jsonOf(
  results: readonly RunResult[],
  of: { scale: number; capacity: number },
): unknown {
  const runs = results.map((result) => oneRun(result, of))
  return rounded(
    runs.length === 1
      ? runs[0]
      : { runs: runs.map((run, at) => ({ ...run, label: results[at]?.label })) },
  )
}

function oneRun(result: RunResult, of: { scale: number; capacity: number }): object {
  const { scenario, trace, seed, policy, figures, lanes, guardrails } = result
  const { acceptance, findings, simulated_s, backlog, restarts, fleet, money } = result
  const counts = {
    violations: result.violations,
    trace_hash: result.trace_hash,
    simulated_requests: result.simulated_requests,
    wall_ms: result.wall_ms,
  }
  const beside = { backlog, restarts, fleet, money }
  if (scenario !== null) {
    const more = { lanes, guardrails, acceptance, findings, simulated_s }
    return { scenario, seed, policy, figures, ...counts, ...more, ...beside }
  }
  const { scale, capacity } = of
  const said = { trace, seed, policy, scale, capacity, lanes, guardrails, figures }
  return { ...said, ...counts, findings, simulated_s, ...beside }
}

function rounded(value: unknown): unknown {
  if (typeof value === 'number')
    return Number.isFinite(value) ? Number(value.toFixed(DIGITS)) : null
  if (Array.isArray(value)) return value.map(rounded)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, rounded(inner)]))
}

// ---- for people ----

/** All columns together, on a terminal. */
const WIDTH = 100
/** What a row is called, where runs stand side by side. */
const NAME_WIDTH = 28
/** Of a tenant, or a run, beside the columns of a bill. */
const BILL_NAME = 16
/** Of a cell: a border and a space on either side. */
const FRAME = 3

export function tablesOf(results: readonly RunResult[]): string {
  const [first] = results
  if (first === undefined) return ''
  const shared = results.length === 1 ? singly(first) : besides(results)
  const tables = [...shared, ...billsOf(results), ...instancesOf(results)]
  const shown = tables.filter((table) => table.length > 0).map((table) => table.toString())
  return [titleOf(results, first), ...saidOf(results), ...shown, ...endOf(results)].join('\n')
}

function titleOf(results: readonly RunResult[], first: RunResult): string {
  const { scenario, trace, seed, policy, simulated_s } = first
  const what = scenario === null ? `trace ${trace}` : `scenario ${scenario}`
  const of = results.length === 1 ? `, policy ${policy}` : ''
  return `${what}, seed ${seed}${of}, ${number(simulated_s)} s of virtual time`
}

/** What was asked beside the traffic, first: with several runs, of each. */
function saidOf(results: readonly RunResult[]): string[] {
  return results.flatMap(({ said, label }) => {
    if (said.length === 0) return []
    const head = results.length === 1 ? [] : [`${label}:`]
    return [...head, ...said.flatMap((sentence) => wrapped(sentence))]
  })
}

/** A sentence as an item of a list. */
function wrapped(sentence: string): string[] {
  const lines: string[] = []
  let line = '-'
  for (const word of sentence.split(' ')) {
    if (line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = ' '
    }
    line += ` ${word}`
  }
  return [...lines, line]
}

/** Lanes as rows. */
function singly(result: RunResult): Table.Table[] {
  const first = plainTable(['first', 'value', 'must be', ''])
  for (const { said, must, cells } of firstRows([result]))
    first.push([
      said,
      number(cells[0]!.value),
      must ?? '',
      must === null ? '' : verdict(cells[0]!.met),
    ])
  const figures = plainTable(['figure', 'value', 'must be', ''])
  for (const { figure, value, must, met } of result.acceptance)
    figures.push([figure, number(value), must, verdict(met)])
  const named = new Set(result.acceptance.map(({ figure }) => figure))
  for (const [name, value] of Object.entries(result.figures))
    if (!named.has(name) && !IN_FIRST.has(name)) figures.push([name, number(value), '', ''])
  const lanes = plainTable(['lane', ...LANE_FIGURES.map((row) => row.said.replace(' ', '\n'))])
  for (const [name, lane] of Object.entries(result.lanes))
    lanes.push([name, ...LANE_FIGURES.map((row) => number(lane[row.name]))])
  return [first, figures, lanes]
}

/** Runs as columns. */
function besides(results: readonly RunResult[]): Table.Table[] {
  const room = Math.floor((WIDTH - NAME_WIDTH - 2) / results.length) - FRAME
  const head = results.map(({ label }) => fitted(label, room))
  const first = plainTable(['first', ...head], NAME_WIDTH)
  for (const { said, must, cells } of firstRows(results))
    first.push([
      must === null ? said : `${said} ${must}`,
      ...cells.map((cell) => {
        if (cell.value === null) return '-'
        return must === null ? number(cell.value) : judged(cell, room)
      }),
    ])
  const figures = plainTable(['figure', ...head], NAME_WIDTH)
  const musts = new Map(
    results.flatMap((run) => run.acceptance.map((one) => [one.figure, one.must] as const)),
  )
  for (const [name, must] of musts)
    figures.push([
      `${name} ${must}`,
      ...results.map((run) => {
        const found = run.acceptance.find((one) => one.figure === name)
        return found === undefined ? '-' : judged(found, room)
      }),
    ])
  for (const name of namesOf(results, (run) => run.figures))
    if (!musts.has(name) && !IN_FIRST.has(name))
      figures.push([name, ...results.map((run) => number(run.figures[name] ?? null))])
  const lanes = plainTable(['lane', ...head], NAME_WIDTH)
  for (const lane of namesOf(results, (run) => run.lanes))
    for (const row of LANE_FIGURES)
      lanes.push([
        `${lane} ${row.said}`,
        ...results.map((run) => number(run.lanes[lane]?.[row.name] ?? null)),
      ])
  return [first, figures, lanes]
}

/** Of each run that has one, by tenant, the dearest first. */
function billsOf(results: readonly RunResult[]): Table.Table[] {
  return results.flatMap(({ label, money }) => {
    if (!hasBill(money)) return []
    const whose = results.length === 1 ? 'tenant' : `tenant\nof ${fitted(label, BILL_NAME)}`
    const table = plainTable([whose, ...MONEY_FIGURES.map((row) => row.said.replace(' ', '\n'))])
    for (const one of money.tenants.slice(0, MONEY_ROWS))
      table.push([
        fitted(one.tenant, BILL_NAME),
        ...MONEY_FIGURES.map((row) => number(one[row.name])),
      ])
    table.push(['all', ...MONEY_FIGURES.map((row) => number(money[row.name]))])
    return [table]
  })
}

/** Of each run with a fleet: with several runs, of which. */
function instancesOf(results: readonly RunResult[]): Table.Table[] {
  return results.flatMap(({ label, fleet }) => {
    if (fleet === null) return []
    const whose = results.length === 1 ? 'instance' : `instance\nof ${fitted(label, NAME_WIDTH)}`
    const table = plainTable([whose, ...MEMBER_FIGURES.map((row) => row.said.replace(' ', '\n'))])
    for (const one of fleet.members)
      table.push([one.member, ...MEMBER_FIGURES.map((row) => number(one[row.name]))])
    return [table]
  })
}

/** On two lines where one has no room. */
function judged(
  { value, met }: { value: number | null; met: boolean | null },
  room: number,
): string {
  const said = `${number(value)} ${verdict(met)}`
  return said.length > room ? said.replace(' ', '\n') : said
}

const namesOf = (results: readonly RunResult[], of: (run: RunResult) => object): string[] => [
  ...new Set(results.flatMap((run) => Object.keys(of(run)))),
]

/** Speed and broken laws; with several runs, whose. */
function endOf(results: readonly RunResult[]): string[] {
  const total = (of: (run: RunResult) => number): number =>
    results.reduce((sum, run) => sum + of(run), 0)
  const requests = total((run) => run.simulated_requests)
  const wallS = total((run) => run.wall_ms) / 1_000
  const broken = results.filter((run) => run.violations > 0)
  const whose = (run: RunResult): string => (results.length === 1 ? '' : ` by ${run.label}`)
  const laws = broken.map((run) => `${run.violations}${whose(run)}`).join(', ')
  return [
    `${requests} requests in ${number(wallS)} s: ` +
      `${number(wallS > 0 ? Math.round(requests / wallS) : null)} per second; ` +
      `violations: ${broken.length === 0 ? '0' : laws}`,
    ...broken.flatMap((run) => run.findings.map((finding) => `  ${finding}${whose(run)}`)),
  ]
}

const verdict = (met: boolean | null): string => (met === null ? 'unknown' : met ? 'met' : 'missed')

/** Four digits that count. */
function number(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return '-'
  if (Number.isInteger(value) || Math.abs(value) >= 1_000) return String(Math.round(value))
  return String(Number(value.toPrecision(4)))
}

const fitted = (label: string, room: number): string =>
  label.length > room ? `${label.slice(0, room - 1)}…` : label

/** With `nameWidth` the first column wraps. */
const plainTable = (head: string[], nameWidth?: number): Table.Table =>
  new Table({
    head,
    style: { head: [], border: [], compact: true },
    wordWrap: true,
    wrapOnWordBoundary: false,
    ...(nameWidth === undefined ? {} : { colWidths: [nameWidth] }),
  })
