/** What `headgate usage` prints. */
import { expect, test } from 'vitest'
import type { UsageReport, UsageReportRow } from '#contracts/usage-report'
import { csvOf, tableOf } from '../../services/cli/usage.ts'

const row = (more: Partial<UsageReportRow> = {}): UsageReportRow => ({
  ...{ tenant: 'acme', model: null, lane: null, day: null, billed: true, calls: 2 },
  ...{ input_tokens: 12_345, cache_write_5m_tokens: 0, cache_write_1h_tokens: 7 },
  ...{ cache_read_tokens: 0, output_tokens: 5, guessed_output_tokens: 1 },
  ...{ guessed_input_tokens: 3, web_searches: 0, cost_usd: 1.5, unpriced_tokens: 0 },
  ...more,
})
const report = (rows: UsageReportRow[], more: Partial<UsageReport> = {}): UsageReport => ({
  ...{ from: '2026-11-01', to: '2026-11-30', by: ['tenant'], rows, folded: 0 },
  ...{ shared: true, reason: null, ...more },
})

test('a table has a line for each, the sum of what is billed, and what nobody pays', () => {
  const rows = [
    row(),
    row({ tenant: 'globex', cost_usd: null, unpriced_tokens: 12_357 }),
    row({ tenant: null, billed: false, cost_usd: 0.25 }),
  ]
  expect(tableOf(report(rows)).split('\n')).toEqual([
    '2026-11-01 to 2026-11-30',
    'tenant       calls   input  cache written  cache read  output       USD  no price',
    'acme             2  12,345              7           0       5      1.50',
    'globex           2  12,345              7           0       5         -    12,357',
    '(preempted)      2  12,345              7           0       5  0.250000',
    '(all)            4  24,690             14           0      10      1.50    12,357',
  ])
})

test('a table of nothing says so', () => {
  expect(tableOf(report([], { from: '2026-11-30' }))).toBe('2026-11-30: nothing was used')
})

test('values with commas have every figure, and no name is a formula', () => {
  const odd = row({ tenant: '=HYPERLINK("x"),1', cost_usd: null })
  expect(csvOf(report([odd])).split('\r\n')).toEqual([
    'tenant,billed,calls,input_tokens,cache_write_5m_tokens,cache_write_1h_tokens,cache_read_tokens,output_tokens,guessed_output_tokens,guessed_input_tokens,web_searches,unpriced_tokens,cost_usd',
    `"'=HYPERLINK(""x""),1",true,2,12345,0,7,0,5,1,3,0,0,`,
  ])
})
