/** What became of each request, by row, as the publisher saw it. */
import { HeadgateError, type AnswerAccounting } from '#client'

export interface Row {
  name: string
  offered: number
  completed: number
  /** By code: nothing was attempted. */
  refused: Map<string, number>
  /** By code: everything else that is not an answer. */
  failed: Map<string, number>
  /** Of those that had an attempt. */
  queueMs: number[]
  /** Of those that completed. */
  endToEndMs: number[]
}

export interface Tally {
  readonly rows: ReadonlyMap<string, Row>
  offer(row: string): void
  completed(row: string, accounting: AnswerAccounting, tookMs: number): void
  failed(row: string, error: unknown): void
  readonly totals: { attempts: number; started: number; preemptions: number; upstreamMs: number }
  /** Offered and not yet ended. */
  open(): number
  done(): number
}

export function createTally(names: readonly string[]): Tally {
  const rows = new Map(names.map((name) => [name, emptyRow(name)]))
  const totals = { attempts: 0, started: 0, preemptions: 0, upstreamMs: 0 }
  let offered = 0
  let done = 0
  const rowOf = (name: string): Row => {
    let row = rows.get(name)
    if (row === undefined) rows.set(name, (row = emptyRow(name)))
    return row
  }
  const account = (row: Row, accounting: AnswerAccounting): void => {
    totals.preemptions += accounting.preemptions
    if (accounting.attempts === 0) return
    totals.started++
    totals.attempts += accounting.attempts
    row.queueMs.push(accounting.queueMs)
  }
  return {
    rows,
    totals,
    offer(name) {
      rowOf(name).offered++
      offered++
    },
    completed(name, accounting, tookMs) {
      const row = rowOf(name)
      row.completed++
      done++
      row.endToEndMs.push(tookMs)
      totals.upstreamMs += accounting.upstreamMs
      account(row, accounting)
    },
    failed(name, error) {
      const row = rowOf(name)
      done++
      const known = error instanceof HeadgateError ? error : null
      const code = known?.code ?? 'not_of_headgate'
      const kind = known?.accounting?.outcome === 'refused' ? row.refused : row.failed
      kind.set(code, (kind.get(code) ?? 0) + 1)
      if (known?.accounting != null) account(row, known.accounting)
    },
    open: () => offered - done,
    done: () => done,
  }
}

const emptyRow = (name: string): Row => ({
  name,
  offered: 0,
  completed: 0,
  refused: new Map(),
  failed: new Map(),
  queueMs: [],
  endToEndMs: [],
})

export const sum = (counts: ReadonlyMap<string, number>): number =>
  [...counts.values()].reduce((total, count) => total + count, 0)

/** Nearest rank; null of nothing. */
export function percentile(values: readonly number[], share: number): number | null {
  if (values.length === 0) return null
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? null
}
