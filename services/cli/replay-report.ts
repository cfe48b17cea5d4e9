/** What a replay says at its end: a table for people, the same as one object for programs. */
import Table from 'cli-table3'
import { isAtRest, type RunResult } from './replay-run.ts'
import { percentile, sum, type Row } from './replay-tally.ts'
import { ratio } from './replay-upstream.ts'

export interface ReplayReport {
  label: string
  settings: Record<string, unknown>
  rows: RowReport[]
  totals: {
    offered: number
    completed: number
    refused: number
    failed: number
    inflight_mean: number
    demand_slots: number
    service_ms_mean: number
    limit_lowest: number
    preemptions: number
    cancelled_at_end: number
    ratio_429: { provider: number; scheduler: number }
    ratio_529: { provider: number; scheduler: number }
    retry_amplification: number
    wasted_slot_seconds: number
    wasted_tokens: number
    wasted_tokens_share: number
    sender_late_ms_p99: number
    took_s: number
  }
  guardrails: { name: string; value: number | null; bound: number; met: boolean }[]
  checks: Check[]
}

export interface Check {
  name: string
  ok: boolean
  said: string
}

interface Percentiles {
  p50: number | null
  p95: number | null
  p99: number | null
}

export interface RowReport {
  name: string
  offered: number
  completed: number
  refused: Record<string, number>
  failed: Record<string, number>
  queue_ms: Percentiles
  end_to_end_ms: Percentiles
}

export function reportOf(
  run: RunResult,
  of: { label: string; settings: Record<string, unknown>; demand: number },
): ReplayReport {
  const rows = [...run.tally.rows.values()].map(rowReport)
  const count = (part: (row: Row) => number): number =>
    [...run.tally.rows.values()].reduce((total, row) => total + part(row), 0)
  const { totals } = run.tally
  const { ledger, counters, snapshot } = run
  const completed = count((row) => row.completed)
  const wasted = ledger.undelivered.inputTokens + ledger.undelivered.outputTokens
  return {
    label: of.label,
    settings: of.settings,
    rows,
    totals: {
      offered: count((row) => row.offered),
      completed,
      refused: count((row) => sum(row.refused)),
      failed: count((row) => sum(row.failed)),
      inflight_mean: rounded(run.inflightMean, 1),
      demand_slots: rounded(of.demand, 1),
      service_ms_mean: completed === 0 ? 0 : rounded(totals.upstreamMs / completed, 1),
      limit_lowest: run.limitLowest,
      preemptions: totals.preemptions,
      cancelled_at_end: run.cancelledAtEnd,
      ratio_429: bothRatios('429'),
      ratio_529: bothRatios('529'),
      retry_amplification: totals.started === 0 ? 1 : rounded(totals.attempts / totals.started, 3),
      wasted_slot_seconds: rounded(run.wastedSlotMs / 1_000, 1),
      wasted_tokens: wasted,
      wasted_tokens_share: rounded(wasted / Math.max(1, wasted + ledger.deliveredTokens), 4),
      sender_late_ms_p99: rounded(run.lateness.p99Ms, 1),
      took_s: rounded(run.tookMs / 1_000, 1),
    },
    guardrails: snapshot.guardrails,
    checks: checksOf(run),
  }

  function bothRatios(status: string): { provider: number; scheduler: number } {
    return {
      provider: rounded(ratio(ledger.byStatus, status), 4),
      scheduler: rounded(ratio(counters.attemptsByStatus, status), 4),
    }
  }
}

function rowReport(row: Row): RowReport {
  return {
    name: row.name,
    offered: row.offered,
    completed: row.completed,
    refused: Object.fromEntries(row.refused),
    failed: Object.fromEntries(row.failed),
    queue_ms: percentiles(row.queueMs),
    end_to_end_ms: percentiles(row.endToEndMs),
  }
}

const percentiles = (values: readonly number[]): Percentiles => {
  const at = (share: number): number | null => {
    const value = percentile(values, share)
    return value === null ? null : rounded(value, 1)
  }
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}

function checksOf(run: RunResult): Check[] {
  let [offered, completed, refused, failed] = [0, 0, 0, 0]
  for (const row of run.tally.rows.values()) {
    offered += row.offered
    completed += row.completed
    refused += sum(row.refused)
    failed += sum(row.failed)
  }
  const { missing, extra } = run.answers
  const { held } = run.snapshot
  const { deliveredTwice, dropped } = run.ledger
  const { preemptions } = run.tally.totals
  return [
    {
      name: 'offered = completed + refused + failed',
      ok: offered === completed + refused + failed,
      said: `${offered} = ${completed} + ${refused} + ${failed}`,
    },
    {
      name: 'each with one answer',
      ok: missing === 0 && extra === 0,
      said: `${missing} without, ${extra} too many`,
    },
    {
      name: 'nothing held at the end',
      ok: isAtRest(run.snapshot),
      said: Object.entries(held)
        .map(([what, count]) => `${what} ${count}`)
        .join(', '),
    },
    {
      // An abort may come when the answer is already on its way.
      name: 'no answer made and delivered twice, but by preemption',
      ok: deliveredTwice <= preemptions,
      said: `${deliveredTwice}, and ${preemptions} preempted${dropped > 0 ? `, of what the ledger still knows (${dropped} forgotten)` : ''}`,
    },
  ]
}

export const holds = (report: ReplayReport): boolean => report.checks.every((check) => check.ok)

// ---- for people ----

/** `speed`: times passed so much faster than they would have. */
export function tableOf(report: ReplayReport, speed: number): string {
  const table = plainTable([
    report.label,
    'offered',
    'completed',
    'refused',
    'failed',
    'queue P50/P95/P99 ms',
    'end to end P50/P95/P99 ms',
  ])
  for (const row of report.rows) {
    table.push([
      row.name,
      row.offered,
      row.completed,
      codes(row.refused),
      codes(row.failed),
      threeOf(row.queue_ms),
      threeOf(row.end_to_end_ms),
    ])
  }
  return [table.toString(), ...summary(report, speed)].join('\n')
}

function summary({ totals, guardrails, checks }: ReplayReport, speed: number): string[] {
  const both = (of: { provider: number; scheduler: number }): string =>
    `${percent(of.provider)} by the provider, ${percent(of.scheduler)} by the scheduler`
  const guardrail = ({ name, value, bound, met }: ReplayReport['guardrails'][number]): string => {
    if (value === null) return `${name} unknown`
    const verdict = met ? 'met' : 'missed'
    const said = `${name} ${rounded(value, 3)} (below ${bound}): ${verdict}`
    if (name !== 'p95_e2e_ms' || speed === 1) return said
    const slow = Math.round(value * speed)
    return `${said}, at speed 1 it would be ${slow}: ${slow < bound ? 'met' : 'missed'}`
  }
  return [
    `in flight ${totals.inflight_mean} on average, ${totals.demand_slots} asked for; mean service ` +
      `${totals.service_ms_mean} ms; lowest limit ${totals.limit_lowest}`,
    `429: ${both(totals.ratio_429)}`,
    `529: ${both(totals.ratio_529)}`,
    `attempts per request that started ${totals.retry_amplification}; preemptions ${totals.preemptions}; ` +
      `wasted: ${totals.wasted_slot_seconds} slot-seconds by yielding, ${totals.wasted_tokens} tokens ` +
      `billed and not delivered (${percent(totals.wasted_tokens_share)})`,
    `guardrails: ${guardrails.map(guardrail).join('; ')}`,
    `sender late by ${totals.sender_late_ms_p99} ms (P99); ${totals.cancelled_at_end} cancelled at the end; ` +
      `${totals.took_s} s`,
    ...checks.map((check) => `${check.ok ? 'ok  ' : 'FAIL'} ${check.name}: ${check.said}`),
    ...(speed === 1
      ? []
      : [
          `Times are as they passed, ${speed} times faster than the trace; back-off, breaker and storm are not.`,
        ]),
  ]
}

/** Two runs beside each other: what the flood or the noise did to everybody else. */
export function comparisonOf(without: ReplayReport, with_: ReplayReport): string {
  const table = plainTable([
    'P99 of',
    'queue ms without',
    'queue ms with',
    'end to end ms without',
    'end to end ms with',
    'completed without',
    'completed with',
  ])
  const names = [...new Set([...without.rows, ...with_.rows].map((row) => row.name))]
  for (const name of names) {
    const [before, now] = [without, with_].map((run) => run.rows.find((row) => row.name === name))
    table.push([
      name,
      before?.queue_ms.p99 ?? '-',
      now?.queue_ms.p99 ?? '-',
      before?.end_to_end_ms.p99 ?? '-',
      now?.end_to_end_ms.p99 ?? '-',
      share(before),
      share(now),
    ])
  }
  return table.toString()
}

const share = (row: RowReport | undefined): string =>
  row === undefined || row.offered === 0 ? '-' : percent(row.completed / row.offered)

const plainTable = (head: string[]): Table.Table =>
  new Table({ head, style: { head: [], border: [], compact: true } })

const threeOf = ({ p50, p95, p99 }: Percentiles): string =>
  [p50, p95, p99].map((value) => value ?? '-').join(' / ')

const codes = (of: Record<string, number>): string => {
  const entries = Object.entries(of)
  return entries.length === 0 ? '0' : entries.map(([code, count]) => `${count} ${code}`).join('\n')
}

const percent = (of: number): string => `${rounded(of * 100, 2)} %`
const rounded = (value: number, digits: number): number => Number(value.toFixed(digits))
