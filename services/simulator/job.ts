/** What may be asked of the simulator, and what it answers; both cross a process border as plain data. */
import type { Millis, Seconds } from '#contracts/units'
import type { MoneyFigures } from './money-job.ts'

export { hasBill, MONEY_FIGURES, MONEY_ROWS, type MoneyFigures } from './money-job.ts'

/** headgate: the scheduler itself. classic: the same with the plain limit rule (`mode: classic`). The others are
 *  what people run today: sdk, the Anthropic SDK with its own retries, each call given up at its deadline;
 *  queue, the same behind a queue with 60 at once; naive, the plain retry wrapper without any limit; fixed,
 *  the same behind a semaphore of 64; priority, a plain priority queue over as many slots as Headgate has. */
export const POLICIES = [
  'headgate',
  'naive',
  'fixed',
  'classic',
  'priority',
  'sdk',
  'queue',
] as const
export type Policy = (typeof POLICIES)[number]

/** Runs that are shown side by side, and where to write what was seen. */
export interface Job {
  runs: RunJob[]
  /** Path of one self-contained HTML page; null: none. */
  report: string | null
  /** Path of a recording of the first run that the dashboard can play; null: none. */
  record: string | null
}

export interface RunJob {
  /** Shown over its column. */
  label: string
  policy: Policy
  seed: number
  /** A `headgate.yaml`; null: the scenario's own configuration, or defaults for a trace. */
  config: string | null
  /** Beside the traffic; null: none. */
  backlog: Backlog | null
  restarts: readonly Restart[]
  /** Instances that share the limits; null: one alone. */
  fleet: Fleet | null
  what: ScenarioJob | TraceJob
}

/** Durable jobs beside the traffic, each like a call of it. */
export interface Backlog {
  jobs: number
  /** They are named `backlog1` to `backlogN`, or `backlog` where it is one, and have jobs in turn. */
  tenants: number
  lane: string
  /** From the storing of each; null: the lane's. */
  deadlineS: Seconds | null
  /** They are stored evenly over so long from the start; 0: all at the start. */
  overS: Seconds
}

/** The scheduler's process dies, and for so long nobody is there. */
export interface Restart {
  atS: Seconds
  forS: Seconds
}

/** Instances that share one set of limits, of which some are killed. */
export interface Fleet {
  /** 2 to `INSTANCES_MAX`. */
  instances: number
  /** At each `atS` one of those who live; `forS` later, 0.1 at least, a new one comes. In order of time. */
  kills: readonly Restart[]
  /** Who comes has the name of the dead, as with a `fleet.member`, and so its share at once; else a name of its own. */
  sameName: boolean
}
/** For as many the fleet's safe part is made (control-laws §14). */
export const INSTANCES_MAX = 10

export interface ScenarioJob {
  kind: 'scenario'
  name: string
  /** S2: 0.6, 0.7 or 0.8; null: the scenario's own. */
  load: number | null
  /** S7: slots never lent, 0 to 20; null: 0. */
  reserved: number | null
  /** S10: share of attempts that fail, 0 to 1; null: 0.01. */
  noise: number | null
  /** Only the first part of its time, at least 0.01; 1: all of it. */
  part: number
}

export interface TraceJob {
  kind: 'trace'
  /** Columns, JSON lines of Mooncake, or what `headgate record` wrote. */
  path: string
  /** Times its own speed: arrivals come closer, services stay as they are. */
  scale: number
  /** Slots that the provider really has and does not tell. */
  capacity: number
  /** Not of a recording: names t1 to tN, by a Zipf law with exponent 1.1. */
  tenants: number
  /** Not of a recording: share of each lane; they add up to 1. */
  lanes: { name: string; share: number }[]
  /** Not of a recording: that all ask for; absent: `claude`. */
  model?: string
  /** Only the arrivals of the first so many seconds of virtual time; null: all. */
  forS: Seconds | null
  /** A window in which the provider answers 529 beyond a fifth of its capacity; null: none. */
  storm: { fromS: Seconds; forS: Seconds } | null
}

export interface RunResult {
  label: string
  /** Null for a trace. */
  scenario: string | null
  /** The file's name; null for a scenario. */
  trace: string | null
  seed: number
  policy: Policy
  /** By name; null where nothing was counted that could give the figure. */
  figures: Record<string, number | null>
  lanes: Record<string, LaneFigures>
  guardrails: Record<GuardrailName, Guardrail>
  /** What must be met, for scenarios that say so. */
  acceptance: Acceptance[]
  /** Broken laws; 0 is the only good number. */
  violations: number
  /** The first of them, in words. */
  findings: string[]
  /** Of every start, verdict and answer in order; equal seeds give equal hashes. */
  trace_hash: string
  simulated_requests: number
  /** Virtual seconds. */
  simulated_s: Seconds
  /** Null: there was none. */
  backlog: BacklogFigures | null
  /** Null: no process died. */
  restarts: RestartFigures | null
  /** Null: one instance. */
  fleet: FleetFigures | null
  /** What it would cost; null: the policy has no bill. */
  money: MoneyFigures | null
  /** All of them in words, a sentence each. */
  said: string[]
  /** Of the simulation alone; figures and the best possible are worked out afterwards. */
  wall_ms: Millis
  series: Series
}

/** What became of a backlog, and of everybody else beside it; over several seeds times are the worst, counts the
 *  sums, shares of the sums. */
export interface BacklogFigures {
  jobs: number
  tenants: number
  lane: string
  /** When the last job ended; null: not all have by the end of the traffic. */
  done_s: Seconds | null
  /** When they would at the pace that they had; null: all have ended, or none has. */
  expected_s: Seconds | null
  /** Ends per second, up to the last of them or to the end of the traffic. */
  jobs_per_s: number
  /** Slot-seconds that jobs used well, of those that the provider had and nobody else used while jobs waited; null:
   *  it has no such bound. */
  fill: number | null
  /** Slot-seconds of jobs that were thrown away, of all that they had. */
  thrown_away: number | null
  completed: number
  /** Their deadline passed. */
  expired: number
  /** With another error. */
  failed: number
  /** Never stored, for what they are. */
  refused: number
  /** In the store when the traffic ended. */
  left: number
  /** Calls that ran, or were under way when the process died, beyond one for each job. */
  beyond_one: number
  /** By lane, of everybody but the jobs. */
  beside: Record<string, { with: Waits; without: Waits }>
}

/** In seconds; null: nobody started, or nobody completed. */
export interface Waits {
  wait_p50_s: Seconds | null
  wait_p95_s: Seconds | null
  e2e_p50_s: Seconds | null
  e2e_p95_s: Seconds | null
}

export interface RestartFigures {
  deaths: {
    at_s: Seconds
    for_s: Seconds
    /** Calls of callers that lost their answer, and that came while nobody was there. */
    lost: number
    turned_away: number
    /** Calls of jobs that were under way, and are made again. */
    cut: number
    /** Slot-seconds of all attempts that were under way. */
    thrown_away_s: Seconds
    /** From the death until nine tenths of the slots that were in use are in use again; null: not by the end. */
    recovered_s: Seconds | null
  }[]
  /** How much later the backlog was done than without them; null: there is none, or it was not done. */
  later_s: Seconds | null
}

/** Over several seeds counts are sums, and times and mosts the worst; the members are those of the first. */
export interface FleetFigures {
  instances: number
  /** Slots that they divide; in flight together, and given away together by the record, at most. */
  whole: number
  same_name: boolean
  most_inflight: number
  most_given: number
  /** Calls that came while nobody was there. */
  turned_away: number
  lapses: number
  members: {
    member: string
    from_s: Seconds
    /** When it was killed; null: it was not. */
    killed_s: Seconds | null
    /** Calls that it was asked for, those that were asked again among them. */
    requests: number
    most_inflight: number
    lapses: number
  }[]
  kills: {
    at_s: Seconds
    for_s: Seconds
    member: string
    /** Calls that it had. Of them: asked again, streams that broke, and without an answer; the others' callers left. */
    lost: number
    asked_again: number
    broken: number
    unanswered: number
    /** From the kill until the last of their callers knew. */
    noticed_s: Seconds
    /** Attempts under way at the provider, and their slot-seconds. */
    cut: number
    thrown_away_s: Seconds
    /** From the kill until nine tenths of the slots that were in use are in use again; null: not by the end. */
    recovered_s: Seconds | null
  }[]
}

/** The figures of one instance, in the order and with the words of every report. */
export const MEMBER_FIGURES: readonly {
  name: Exclude<keyof FleetFigures['members'][number], 'member'>
  said: string
}[] = [
  { name: 'from_s', said: 'from s' },
  { name: 'killed_s', said: 'killed s' },
  { name: 'requests', said: 'requests' },
  { name: 'most_inflight', said: 'most in flight' },
  { name: 'lapses', said: 'lapsed shares' },
]

export interface LaneFigures {
  offered: number
  completed: number
  refused: number
  failed: number
  /** Share of what was offered that was answered by its deadline, where there is one. */
  in_time: number | null
  /** Such answers per second of the run. */
  in_time_per_s: number
  wait_p50_s: number | null
  wait_p95_s: number | null
  wait_p99_s: number | null
  e2e_p95_s: number | null
}
/** The figures of a lane beyond the share in time, which stands in the first table, in the order and with the words of every report. */
export const LANE_FIGURES: readonly { name: keyof LaneFigures; said: string }[] = [
  { name: 'offered', said: 'offered' },
  { name: 'completed', said: 'completed' },
  { name: 'refused', said: 'refused' },
  { name: 'failed', said: 'failed' },
  { name: 'in_time_per_s', said: 'in time/s' },
  { name: 'wait_p50_s', said: 'wait P50 s' },
  { name: 'wait_p95_s', said: 'wait P95 s' },
  { name: 'wait_p99_s', said: 'wait P99 s' },
  { name: 'e2e_p95_s', said: 'e2e P95 s' },
]

export type GuardrailName = 'ratio_429' | 'p95_e2e_s' | 'retry_amplification'
export interface Guardrail {
  value: number | null
  bound: number
  /** Null: nothing was seen that could tell. */
  met: boolean | null
}

/** What every run is judged by first, the same for all columns: useful work, answers in time by lane, the
 *  guardrails, fairness. */
export interface FirstRow {
  said: string
  /** Null: no bound. */
  must: string | null
  cells: { value: number | null; met: boolean | null }[]
}

export function firstRows(results: readonly RunResult[]): FirstRow[] {
  const plain = (said: string, of: (run: RunResult) => number | null): FirstRow => ({
    said,
    must: null,
    cells: results.map((run) => ({ value: of(run), met: null })),
  })
  const lanes = [...new Set(results.flatMap((run) => Object.keys(run.lanes)))]
  const names = [...new Set(results.flatMap((run) => Object.keys(run.guardrails)))]
  return [
    plain('useful work of optimum', (run) => run.figures['goodput_of_optimum'] ?? null),
    ...lanes.map((lane) => plain(`${lane} in time`, (run) => run.lanes[lane]?.in_time ?? null)),
    ...names.map((name) => {
      const guardrails = results.map((run) => run.guardrails[name as GuardrailName])
      const bound = guardrails.find((one) => one !== undefined)?.bound
      return {
        said: name,
        must: bound === undefined ? null : `< ${bound}`,
        cells: guardrails.map((one) => ({ value: one?.value ?? null, met: one?.met ?? null })),
      }
    }),
    plain('fairness over tenants', (run) => run.figures['jain_tenants'] ?? null),
  ]
}
/** Figures that stand in the first table. */
export const IN_FIRST: ReadonlySet<string> = new Set(['goodput_of_optimum', 'jain_tenants'])

export interface Acceptance {
  figure: string
  /** As control-laws §17 says it: `<= 0.3`. */
  must: string
  value: number | null
  met: boolean
}

/** The run over time, at most `SERIES_POINTS` points; every list is as long as `t`. */
export interface Series {
  t: Seconds[]
  /** Mean of the interval. */
  limit: number[]
  capacity: number[]
  inflight: number[]
  attempts_per_s: number[]
  answers_429_per_s: number[]
  answers_529_per_s: number[]
  /** Jain's index of the tenants' service so far; 1 is even. */
  jain: (number | null)[]
  lanes: Record<
    string,
    {
      inflight: number[]
      queued: number[]
      wait_p50_s: (number | null)[]
      wait_p95_s: (number | null)[]
    }
  >
}
export const SERIES_POINTS = 600
