/** `headgate usage`: what was used and what it costs, of the whole fleet. */
import Table from 'cli-table3'
import { Command, InvalidArgumentError, Option } from 'commander'
import { OPERATOR_USER } from '#contracts/permissions'
import { PRICES_SOURCE } from '#contracts/prices-source'
import {
  isDay,
  USAGE_BY,
  type Day,
  type UsageBy,
  type UsageReport,
  type UsageReportRow,
} from '#contracts/usage-report'
import { dialOptions, withHeadgate, type DialFlags } from './dialing.ts'
import { PLAIN_TABLE } from './plain-table.ts'
import { json, say, tell, token } from './terminal.ts'

interface Flags extends DialFlags {
  tenant?: string
  from?: Day
  to?: Day
  by: readonly UsageBy[]
  csv?: true
  json?: true
}

export const usage = (): Command =>
  dialOptions(new Command('usage'))
    .summary('what was used, and what it costs')
    .description(
      'Tokens and USD of the whole fleet, the dearest first. For operators. Days are in UTC. Prices are those that ' +
        'were in force when a call ended; tokens of models without a price are counted apart. Work that was ended ' +
        `for more urgent work is billed to nobody and has a row of its own. The prices that are shipped were read on ${PRICES_SOURCE.date}.`,
    )
    .option('--tenant <tenant>', 'of this one only', token)
    .option('--from <day>', 'the first day, as 2026-11-30 (default: the last)', day)
    .option('--to <day>', 'the last day (default: today)', day)
    .option('--by <names>', `a row for each of ${USAGE_BY.join(', ')}, with commas`, names, [
      'tenant',
    ] satisfies UsageBy[])
    .addOption(new Option('--csv', 'print comma-separated values').conflicts('json'))
    .option('--json', 'print the answer as it came')
    .action(run)

async function run(flags: Flags): Promise<void> {
  const { from, to, tenant, by } = flags
  const report = (await withHeadgate({ ...flags, tenant: OPERATOR_USER }, (headgate) =>
    headgate.admin('usage', {
      by,
      ...(from === undefined ? {} : { from }),
      ...(to === undefined ? {} : { to }),
      ...(tenant === undefined ? {} : { tenant }),
    }),
  )) as UsageReport
  if (flags.json === true) return json(report)
  say(flags.csv === true ? csvOf(report) : tableOf(report))
  if (!report.shared) tell(`of one instance, since it was started: ${report.reason ?? ''}`)
  if (report.folded > 0) tell(`${report.folded} rows stand together as other`)
}

const COUNTED = [
  'calls',
  'input_tokens',
  'cache_write_5m_tokens',
  'cache_write_1h_tokens',
  'cache_read_tokens',
  'output_tokens',
  'guessed_output_tokens',
  'guessed_input_tokens',
  'web_searches',
  'unpriced_tokens',
] as const satisfies readonly (keyof UsageReportRow)[]
const FIGURES = [...COUNTED, 'cost_usd'] as const

/** Whatever was asked for, with every figure, and without a sum. */
export function csvOf({ by, rows }: UsageReport): string {
  const head: readonly (keyof UsageReportRow)[] = [...by, 'billed', ...FIGURES]
  const lines = rows.map((row) => head.map((name) => cell(row[name])))
  return [head, ...lines].map((line) => line.join(',')).join('\r\n')
}

/** RFC 4180; a name that a spreadsheet would take for a formula is text there. */
function cell(value: string | number | boolean | null): string {
  const text = value === null ? '' : String(value)
  const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

const COLUMNS: readonly (readonly [title: string, of: (row: UsageReportRow) => string])[] = [
  ['calls', (row) => count(row.calls)],
  ['input', (row) => count(row.input_tokens)],
  ['cache written', (row) => count(row.cache_write_5m_tokens + row.cache_write_1h_tokens)],
  ['cache read', (row) => count(row.cache_read_tokens)],
  ['output', (row) => count(row.output_tokens)],
  ['USD', usdOf],
  ['no price', (row) => (row.unpriced_tokens === 0 ? '' : count(row.unpriced_tokens))],
]

export function tableOf(report: UsageReport): string {
  const { by, rows, from, to } = report
  const span = from === to ? from : `${from} to ${to}`
  if (rows.length === 0) return `${span}: nothing was used`
  const table = new Table({
    head: [...by, ...COLUMNS.map(([title]) => title)],
    colAligns: [...by.map(() => 'left' as const), ...COLUMNS.map(() => 'right' as const)],
    ...PLAIN_TABLE,
  })
  for (const row of rows) table.push([...by.map((name) => nameIn(row, name, by)), ...figures(row)])
  const [first, ...others] = rows.filter((row) => row.billed)
  if (first !== undefined && others.length > 0)
    table.push([
      ...by.map((_, at) => (at === 0 ? '(all)' : '')),
      ...figures(sumOf([first, ...others])),
    ])
  const lines = table.toString().split('\n')
  return [span, ...lines.map((line) => line.trimEnd())].join('\n')
}

function sumOf([first, ...others]: readonly [UsageReportRow, ...UsageReportRow[]]): UsageReportRow {
  const sum = { ...first }
  for (const row of others) {
    for (const name of COUNTED) sum[name] += row[name]
    if (row.cost_usd !== null) sum.cost_usd = (sum.cost_usd ?? 0) + row.cost_usd
  }
  return sum
}

const figures = (row: UsageReportRow): string[] => COLUMNS.map(([, of]) => of(row))

/** Work that yielded to others says so in the first column. */
const nameIn = (row: UsageReportRow, name: UsageBy, by: readonly UsageBy[]): string =>
  `${row[name] ?? ''} ${row.billed || name !== by[0] ? '' : '(preempted)'}`.trim()

const count = (value: number): string => value.toLocaleString('en')

function usdOf({ cost_usd: cost }: UsageReportRow): string {
  if (cost === null) return '-'
  return cost.toFixed(cost !== 0 && cost < 1 ? 6 : 2)
}

function day(text: string): Day {
  if (isDay(text)) return text
  throw new InvalidArgumentError('expected a day, as 2026-11-30')
}

function names(text: string): UsageBy[] {
  const found = text.split(',').map((one) => USAGE_BY.find((known) => known === one.trim()))
  const known = found.filter((one) => one !== undefined)
  if (known.length === found.length) return [...new Set(known)]
  throw new InvalidArgumentError(`expected some of ${USAGE_BY.join(', ')}, with commas between`)
}
