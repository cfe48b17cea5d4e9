/** What a run says at its end. */
import type { Config } from '#contracts/config'
import { backlogFigures, restartFigures } from './backlog-figures.ts'
import { wordsOf } from './backlog-words.ts'
import { Run } from './figures.ts'
import { fleetFigures, fleetWords } from './fleet-figures.ts'
import type { Acceptance, Guardrail, GuardrailName, LaneFigures, RunJob, RunResult } from './job.ts'
import type { Played } from './play.ts'
import { moneyFigures, moneyWords } from './money-figures.ts'
import { NO_SERIES, seriesOf } from './series.ts'

export function resultOf(
  run: Pick<RunJob, 'label' | 'policy'>,
  worlds: readonly Played[],
  figures: Record<string, number | null>,
  withSeries: boolean,
): Omit<RunResult, 'scenario' | 'trace' | 'seed' | 'acceptance'> {
  const all = new Run(worlds.map((one) => one.run))
  const { config } = worlds[0]!
  // Parts have backlogs of their own, which their scenario tells of.
  const one = all.all.every(({ part }) => part === 0)
  const backlog = one ? backlogFigures(all) : null
  const restarts = one ? restartFigures(all) : null
  const fleet = one ? fleetFigures(all) : null
  const parts = new Set(all.all.map(({ part }) => part)).size
  const money = moneyFigures(
    all.all.map(({ facts }) => facts.spent),
    all.all.length / parts,
  )
  const seen = new Set(all.all.flatMap(({ tally }) => [...tally.lanes.keys()]))
  const configured = config.lanes.map((lane) => lane.name).filter((name) => seen.has(name))
  const names = [...new Set([...configured, ...seen])]
  return {
    label: run.label,
    policy: run.policy,
    figures:
      money === null || money.cost_usd === 0 ? figures : { ...figures, cost_usd: money.cost_usd },
    lanes: Object.fromEntries(names.map((name) => [name, laneFigures(all, name)])),
    guardrails: guardrailsOf(all, config),
    violations: worlds.reduce((sum, { world }) => sum + world.violations, 0),
    findings: worlds.flatMap(({ world }) => world.findings).slice(0, 20),
    trace_hash: worlds.length === 1 ? worlds[0]!.world.hash : foldedHash(worlds),
    simulated_requests: worlds.reduce((sum, { world }) => sum + world.requests, 0),
    simulated_s: worlds.reduce((sum, { run: { until } }) => sum + until, 0),
    wall_ms: worlds.reduce((sum, one) => sum + one.tookMs, 0),
    ...{ backlog, restarts, fleet, money },
    said: [
      ...wordsOf({ backlog, restarts }),
      ...(fleet === null ? [] : fleetWords(fleet)),
      ...(money === null ? [] : moneyWords(money)),
    ],
    series: withSeries ? seriesOf(worlds[0]!.run) : NO_SERIES,
  }
}

/** The hashes of several parts, one after the other, as one. */
function foldedHash(worlds: readonly Played[]): string {
  let [a, b] = [0, 0]
  for (const { world } of worlds) {
    a = (Math.imul(a, 31) + Number.parseInt(world.hash.slice(0, 8), 16)) | 0
    b = (Math.imul(b, 31) + Number.parseInt(world.hash.slice(8), 16)) | 0
  }
  return [a, b].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('')
}

function laneFigures(run: Run, lane: string): LaneFigures {
  type Count = 'offered' | 'completed' | 'refused' | 'failed' | 'inTime' | 'inTimeInRun'
  const count = (what: Count): number => run.sum((tally) => tally.lanes.get(lane)?.[what] ?? 0)
  const offered = count('offered')
  const seconds = run.all.reduce((sum, part) => sum + part.until, 0)
  return {
    offered,
    completed: count('completed'),
    refused: count('refused'),
    failed: count('failed'),
    in_time: offered === 0 ? null : count('inTime') / offered,
    in_time_per_s: count('inTimeInRun') / seconds,
    wait_p50_s: run.wait(lane, 0.5),
    wait_p95_s: run.wait(lane, 0.95),
    wait_p99_s: run.wait(lane, 0.99),
    e2e_p95_s: run.e2e([lane], 0.95),
  }
}

function guardrailsOf(run: Run, config: Config): Record<GuardrailName, Guardrail> {
  const { guardrails } = config.file
  const firm = config.lanes.filter((lane) => !lane.preemptible).map((lane) => lane.name)
  const value = (of: number | null, bound: number, met: (value: number) => boolean): Guardrail => ({
    value: of,
    bound,
    met: of === null ? null : met(of),
  })
  const { ratio_429 } = run.common()
  const p95 = guardrails.p95_e2e_ms / 1_000
  return {
    ratio_429: value(ratio_429 ?? null, guardrails.ratio_429, (v) => v < guardrails.ratio_429),
    p95_e2e_s: value(run.e2e(firm, 0.95), p95, (v) => v < p95),
    retry_amplification: value(
      run.amplification(),
      guardrails.retry_amplification,
      (v) => v < guardrails.retry_amplification,
    ),
  }
}

/** `<= 0.3`, `< 2`, `>= 9`, or `1.9 to 2.1`. */
export function judged(figure: string, must: string, value: number | null): Acceptance {
  if (value === null) return { figure, must, value, met: false }
  const range = /^([\d.]+) to ([\d.]+)$/.exec(must)
  if (range !== null)
    return { figure, must, value, met: value >= Number(range[1]) && value <= Number(range[2]) }
  const [, sign, bound] = /^(<=|<|>=) ([\d.]+)$/.exec(must) ?? []
  if (sign === undefined) throw new Error(`${figure}: cannot read the bound ${must}`)
  const than = Number(bound)
  const met = sign === '<=' ? value <= than : sign === '<' ? value < than : value >= than
  return { figure, must, value, met }
}

/** What cannot be written as JSON was never reached. */
export const finite = (figures: Record<string, number | null>): Record<string, number | null> =>
  Object.fromEntries(
    Object.entries(figures).map(([name, value]) => [
      name,
      value !== null && Number.isFinite(value) ? value : null,
    ]),
  )
