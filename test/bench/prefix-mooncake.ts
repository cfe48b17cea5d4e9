/** The second half of `npm run bench -- prefix`: what `scheduling.prefix_wait_ms` saves and costs on a trace in the
 *  format of Mooncake, made from a seed, by the simulator. A trace of one's own: docs/operations.md. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RunResult } from '#simulator/job'
import { simulate } from '#simulator/simulate'
import { mooncakeLines } from '../support/mooncake-trace.ts'
import { sayTable } from './report.ts'

const SECONDS = 1_200
const SLOTS = 60
const MODEL = 'claude-sonnet-4-5'
const WAITS = [0, 1_000, 5_000]

export async function benchMooncake(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'headgate-mooncake-'))
  try {
    const lines = mooncakeLines({ seed: 1, seconds: SECONDS })
    const path = join(dir, 'trace.jsonl')
    writeFileSync(path, `${lines.join('\n')}\n`)
    const runs: RunResult[] = []
    for (const waitMs of WAITS) runs.push(await run({ dir, path, waitMs }))
    sayRuns(runs, lines.length)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

function run(of: { dir: string; path: string; waitMs: number }): Promise<RunResult> {
  const config = join(of.dir, `wait-${of.waitMs}.yaml`)
  writeFileSync(
    config,
    [
      `scheduling: { prefix_wait_ms: ${of.waitMs} }`,
      `concurrency_limit: { initial: ${SLOTS}, ceiling: ${SLOTS} }`,
      `lanes: { interactive: { cap: ${SLOTS}, queue_max: 10000 } }`,
      `tenants: { default: { max_inflight: ${SLOTS} } }`,
    ].join('\n'),
  )
  return simulate({
    ...{ label: '', policy: 'headgate', seed: 1, config },
    ...{ backlog: null, restarts: [], fleet: null },
    what: {
      ...{ kind: 'trace', path: of.path, scale: 1, capacity: SLOTS, tenants: 4, model: MODEL },
      ...{ lanes: [{ name: 'interactive', share: 1 }], forS: null, storm: null },
    },
  })
}

function sayRuns(runs: readonly RunResult[], calls: number): void {
  const row = (name: string, cell: (of: RunResult) => string): string[] => [name, ...runs.map(cell)]
  const tokens = (of: number | null | undefined): string => `${((of ?? 0) / 1e6).toFixed(2)} M`
  const seconds = (of: number | null | undefined): string => `${(of ?? NaN).toFixed(2)} s`
  const lane = (of: RunResult) => of.lanes['interactive']
  const first = runs[0]?.figures['input_paid_tokens'] ?? NaN
  sayTable(`${calls} calls of a trace like Mooncake's in ${SECONDS} s, ${SLOTS} slots`, [
    ['prefix_wait_ms', ...WAITS.map((ms) => (ms === 0 ? 'off' : `${ms} ms`))],
    row('answered', (of) => String(lane(of)?.completed)),
    row('written to the cache', ({ figures }) => tokens(figures['cache_written_tokens'])),
    row('read from it', ({ figures }) => tokens(figures['cache_read_tokens'])),
    row('of these after a wait', ({ figures }) => tokens(figures['prefix_saved_tokens'])),
    row('input paid, in input tokens', ({ figures }) => tokens(figures['input_paid_tokens'])),
    row(
      'of that without the wait',
      ({ figures }) => `${((100 * (figures['input_paid_tokens'] ?? NaN)) / first).toFixed(0)} %`,
    ),
    row('cost', ({ money }) => `${money?.cost_usd.toFixed(2)} USD`),
    row('queued: P50, P95, P99', (of) =>
      [lane(of)?.wait_p50_s, lane(of)?.wait_p95_s, lane(of)?.wait_p99_s].map(seconds).join(', '),
    ),
    row('answered after: P95', (of) => seconds(lane(of)?.e2e_p95_s)),
    row('violations of laws', ({ violations }) => String(violations)),
  ])
}
