/** How many failures lately: verdicts in one-second buckets, expired ones dropped at every read
 *  (control-laws §10). Pure: every change is a new value. At most one bucket a second of the window. */
import type { Millis } from '#contracts/units'

/** Verdicts of one second. Tenants are told apart only as far as the law asks: one, or more than one. */
interface Bucket {
  readonly second: number
  readonly ok: number
  readonly fail: number
  readonly tenants: Distinct
  readonly failing: Distinct
}

/** Nobody, one by name, or several. */
type Distinct = null | string | typeof SEVERAL
const SEVERAL = Symbol.for('headgate.several')

/** The older seconds, oldest first, are shared by all windows of one second. */
export interface FailureWindow {
  readonly older: readonly Bucket[]
  readonly newest: Bucket | null
  /** Failures since the last success, and whose. */
  readonly run: number
  readonly runOf: Distinct
}

export const emptyWindow: FailureWindow = { older: [], newest: null, run: 0, runOf: null }

export function note(
  window: FailureWindow,
  of: { ok: boolean; tenant: string; at: Millis; windowMs: Millis },
): FailureWindow {
  const second = Math.floor(of.at / 1_000)
  const { older, newest } = fresh(window, of)
  const old = newest !== null && newest.second >= second ? newest : null
  const bucket: Bucket = {
    second: old?.second ?? second,
    ok: (old?.ok ?? 0) + (of.ok ? 1 : 0),
    fail: (old?.fail ?? 0) + (of.ok ? 0 : 1),
    tenants: also(old?.tenants ?? null, of.tenant),
    failing: of.ok ? (old?.failing ?? null) : also(old?.failing ?? null, of.tenant),
  }
  // What is older than the window is forgotten, a run of failures too.
  const { run, runOf } = newest === null || of.ok ? emptyWindow : window
  return {
    older: old === null && newest !== null ? [...older, newest] : older,
    newest: bucket,
    run: of.ok ? 0 : run + 1,
    runOf: of.ok ? null : also(runOf, of.tenant),
  }
}

/** Too many failures, and not of one tenant alone where several are served: one tenant's bad requests
 *  must not shut out the rest. */
export function failing(
  window: FailureWindow,
  by: { at: Millis; windowMs: Millis; minSamples: number; threshold: number; inRow?: number },
): boolean {
  let ok = 0
  let fail = 0
  let tenants: Distinct = null
  let guilty: Distinct = null
  const { older, newest } = fresh(window, by)
  for (const bucket of newest === null ? older : [...older, newest]) {
    ok += bucket.ok
    fail += bucket.fail
    tenants = both(tenants, bucket.tenants)
    guilty = both(guilty, bucket.failing)
  }
  const { run, runOf } = window
  // Nothing has come back for so many calls in a row: no need to wait until they outweigh better times.
  if (by.inRow !== undefined && run >= by.inRow && (tenants !== SEVERAL || runOf === SEVERAL))
    return true
  if (ok + fail < by.minSamples || fail <= by.threshold * (ok + fail)) return false
  return tenants !== SEVERAL || guilty === SEVERAL
}

function fresh(window: FailureWindow, by: { at: Millis; windowMs: Millis }): FailureWindow {
  const oldest = Math.floor((by.at - by.windowMs) / 1_000) + 1
  const { older, newest } = window
  const first = older[0] ?? newest
  if (first === null || first.second >= oldest) return window
  return {
    ...window,
    older: older.filter((bucket) => bucket.second >= oldest),
    newest: newest !== null && newest.second >= oldest ? newest : null,
  }
}

const also = (known: Distinct, tenant: string): Distinct =>
  known === null || known === tenant ? tenant : SEVERAL

const both = (a: Distinct, b: Distinct): Distinct =>
  a === null ? b : b === null || a === b ? a : SEVERAL
