/** Runs one job: a scenario or a trace, under one policy, with one seed; or a scenario with several seeds for
 *  a report. */
import { configFile, resolve, type Config } from '#contracts/config'
import type { Millis, Seconds } from '#contracts/units'
import { loadConfig } from '#platform/config/load'
import { configOf, shippedConfig } from './common.ts'
import { Baseline, SDK_ALONE } from './baselines.ts'
import { Run, type PartRun } from './figures.ts'
import { HeadgatePolicy } from './headgate-policy.ts'
import type {
  Acceptance,
  Guardrail,
  GuardrailName,
  LaneFigures,
  Policy,
  RunJob,
  RunResult,
} from './job.ts'
import { JobError } from './job-error.ts'
import { optimum } from './optimum.ts'
import type { SchedulingPolicy } from './policy.ts'
import type { ProviderSettings } from './provider-model.ts'
import type { Part, ScenarioParameters } from './scenario.ts'
import { SCENARIOS, scenarioOf } from './scenarios.ts'
import { sdkCaller } from './sdk-caller.ts'
import { NO_SERIES, seriesOf } from './series.ts'
import { wallMs } from './system.ts'
import { readTraceFile } from './trace-file.ts'
import { traced, type Source } from './workload.ts'
import { World, type WorldOptions } from './world.ts'

export interface SimulateOptions {
  /** Gets the first run as the dashboard would show it, line by line; null: nobody looks. */
  record: ((line: object) => void) | null
  /** Keep what a plot needs; else the series are empty. */
  series: boolean
}
const PLAIN: SimulateOptions = { record: null, series: false }

export async function simulate(run: RunJob, options: SimulateOptions = PLAIN): Promise<RunResult> {
  return run.what.kind === 'scenario'
    ? simulateScenario(run, run.what, [run.seed], options)
    : simulateTrace(run, run.what, options)
}

export const PARAMETERS: ScenarioParameters = { load: 0.8, reserved: 0, noise: 0.01 }

/** Several seeds are pooled into one result. */
export function simulateScenario(
  run: Pick<RunJob, 'label' | 'policy' | 'config'>,
  what: { name: string; part: number } & Record<keyof ScenarioParameters, number | null>,
  seeds: readonly number[],
  options: SimulateOptions = PLAIN,
): RunResult {
  const scenario = scenarioOf(what.name)
  if (scenario === undefined)
    throw new JobError(
      `no scenario ${what.name}; there are ${SCENARIOS.map((one) => one.name).join(', ')}`,
    )
  const parameters: ScenarioParameters = {
    load: what.load ?? PARAMETERS.load,
    reserved: what.reserved ?? PARAMETERS.reserved,
    noise: what.noise ?? PARAMETERS.noise,
  }
  const worlds: Played[] = []
  for (const [index, part] of scenario.parts(parameters).entries()) {
    for (const seed of seeds) {
      const until = Math.max(1, part.until * what.part)
      const own = part.shipped === true ? shippedConfig : configOf
      const config = run.config === null ? own(part.config ?? {}) : fileConfig(run.config)
      const first = worlds.length === 0
      worlds.push(
        play({
          index,
          name: part.name,
          until,
          config,
          seed,
          policy: run.policy,
          source: () => part.source(seed, until),
          provider: ofSeed(part.provider, seed),
          events: ofSeed(part.events ?? [], seed),
          unit: part.unit,
          predictions: part.predictions ?? false,
          calls: part.calls ?? false,
          asksAgain: part.asksAgain ?? false,
          unpredicted: part.unpredicted ?? false,
          record: first ? options.record : null,
        }),
      )
    }
  }
  const figuresOf = new Run(worlds.map((one) => one.run))
  const figures = { ...figuresOf.common(), ...finite(scenario.figures(figuresOf)) }
  const must = what.part < 1 ? {} : scenario.must(parameters)
  return {
    ...resultOf(run, worlds, figures, options.series),
    scenario: scenario.name,
    trace: null,
    seed: seeds[0]!,
    acceptance: Object.entries(must).map(([figure, bound]) =>
      judged(figure, bound, figures[figure] ?? null),
    ),
  }
}

const ofSeed = <T extends object>(given: T | ((seed: number) => T), seed: number): T =>
  typeof given === 'function' ? (given as (seed: number) => T)(seed) : given

/** 31 days: every second of a run is kept to its end. */
const LONGEST: Seconds = 2_678_400
/** Slots that the provider keeps in a storm. */
const STORM_SHARE = 0.2

async function simulateTrace(
  run: RunJob,
  what: Extract<RunJob['what'], { kind: 'trace' }>,
  options: SimulateOptions,
): Promise<RunResult> {
  const untilMs = what.forS === null ? null : what.forS * 1_000 * what.scale
  const rows = await readTraceFile({ path: what.path, untilMs })
  const config = run.config === null ? resolve(configFile.parse({})).config : fileConfig(run.config)
  checkLanes(config, what.lanes, rows)
  const { storm, capacity } = what
  const until: Seconds = what.forS ?? Math.ceil((rows.at(-1)?.atMs ?? 0) / 1_000 / what.scale) + 1
  if (until > LONGEST)
    throw new JobError(
      `--scale: ${Math.round(until)} s of virtual time; at most ${LONGEST}, so a larger scale, or --for`,
    )
  const source = (): Source => traced(rows, { ...what, seed: run.seed, until })
  const world = play({
    index: 0,
    name: 'trace',
    until,
    config,
    seed: run.seed,
    policy: run.policy,
    source,
    provider: {
      capacity: (at) =>
        storm !== null && at >= storm.fromS && at < storm.fromS + storm.forS
          ? Math.max(1, Math.floor(STORM_SHARE * capacity))
          : capacity,
    },
    events: [],
    unit: 'work',
    predictions: false,
    calls: false,
    asksAgain: false,
    unpredicted: false,
    record: options.record,
  })
  const figures = new Run([world.run]).common()
  return {
    ...resultOf(run, [world], figures, options.series),
    scenario: null,
    trace: what.path,
    seed: run.seed,
    acceptance: [],
  }
}

/** A lane that the configuration lacks would only be refused, request by request. */
function checkLanes(
  config: Config,
  asked: readonly { name: string }[],
  rows: readonly { lane: string | null }[],
): void {
  const known = new Set(config.lanes.map((lane) => lane.name))
  const named = rows.some((row) => row.lane === null) ? asked.map((lane) => lane.name) : []
  for (const name of new Set([...named, ...rows.map((row) => row.lane ?? '')]))
    if (name !== '' && !known.has(name))
      throw new JobError(`no lane ${name} in the configuration; there are ${[...known].join(', ')}`)
}

// ---- one world ----

interface Play {
  index: number
  name: string
  until: Seconds
  config: Config
  seed: number
  policy: Policy
  source: () => Source
  provider: ProviderSettings
  events: NonNullable<WorldOptions['events']>
  unit: Part['unit']
  predictions: boolean
  calls: boolean
  asksAgain: boolean
  unpredicted: boolean
  record: SimulateOptions['record']
}

interface Played {
  world: World
  /** Of wall time, for the simulation alone. */
  tookMs: Millis
  run: PartRun
  config: Config
}

function play(of: Play): Played {
  // Ids that ended are remembered for askers; here nobody asks.
  const config: Config = { ...of.config, file: { ...of.config.file, settled_max: 0 } }
  if (of.policy === 'classic')
    config.file = {
      ...config.file,
      concurrency_limit: { ...config.file.concurrency_limit, mode: 'classic' },
    }
  const world: World = new World({
    seed: of.seed,
    source: of.source(),
    provider: of.provider,
    until: of.until,
    calls: of.calls,
    policy: (parts) => policyOf(of, config, parts, (findings) => world.found(findings)),
    events: of.events.filter((event) => event.at < of.until),
  })
  const began = wallMs()
  world.run()
  const tookMs = wallMs() - began
  const best = optimum({
    source: of.source(),
    provider: of.provider,
    until: of.until,
  })
  const { tally } = world
  const served = {
    work: tally.useful,
    requests: tally.perSecond.ok.sum(0, Math.ceil(of.until)),
    inputTokens: tally.usefulInput,
    outputTokens: tally.usefulOutput,
  }
  return {
    world,
    tookMs,
    config,
    run: {
      part: of.index,
      name: of.name,
      until: of.until,
      tally,
      facts: world.policy.facts,
      goodput: { served: served[of.unit], possible: best[of.unit] },
      tenantsLeft: world.policy.tenants,
      overAt: world.lastEndAt / 1_000,
      lowestLimit: (from, until) => lowestLimit(world, from, until),
    },
  }
}

function policyOf(
  of: Play,
  config: Config,
  parts: PolicyParts,
  found: (findings: readonly string[]) => void,
): SchedulingPolicy {
  const { seed, policy } = of
  if (of.record !== null && policy !== 'headgate' && policy !== 'classic')
    throw new JobError(`--record shows the machines of headgate or classic; ${policy} has none`)
  const one = (): number => 0
  switch (policy) {
    case 'sdk':
    case 'queue': {
      const slots = policy === 'sdk' ? Infinity : QUEUE_SLOTS
      return new Baseline({ ...parts, seed, slots, rank: one, caller: SDK_ALONE })
    }
    case 'naive':
      return new Baseline({ ...parts, seed, slots: Infinity, rank: one })
    case 'fixed':
      return new Baseline({ ...parts, seed, slots: FIXED_SLOTS, rank: one })
    case 'priority': {
      const order = new Map(
        config.lanes.toSorted((a, b) => b.weight - a.weight).map((lane, i) => [lane.name, i]),
      )
      const rank = ({ lane }: { lane: string }): number => order.get(lane) ?? order.size
      return new Baseline({ ...parts, seed, slots: config.maxInflight, rank })
    }
    default: {
      const headgate = new HeadgatePolicy({
        ...parts,
        config,
        seed,
        found,
        predictions: of.predictions,
        unpredicted: of.unpredicted,
        film: of.record,
      })
      return of.asksAgain ? sdkCaller(headgate, { clock: parts.clock, seed }) : headgate
    }
  }
}
type PolicyParts = Parameters<WorldOptions['policy']>[0]

/** Of the queue before an SDK. */
const QUEUE_SLOTS = 60
/** Of the semaphore that people put around a client. */
const FIXED_SLOTS = 64

/** The lowest limit in a window: what it was when the window began, and every decrease within it. */
function lowestLimit(world: World, from: Seconds, until: Seconds): number {
  const { limit } = world.tally.perSecond
  let least = limit.least(from, until)
  for (const [at, lowered] of world.policy.facts.lowered)
    if (at >= from && at < until) least = Math.min(least, lowered)
  return least
}

// ---- configuration ----

const fileConfig = (path: string): Config => loadConfig({ path, emergency: false }).config

// ---- the result ----

function resultOf(
  run: Pick<RunJob, 'label' | 'policy'>,
  worlds: readonly Played[],
  figures: Record<string, number | null>,
  withSeries: boolean,
): Omit<RunResult, 'scenario' | 'trace' | 'seed' | 'acceptance'> {
  const all = new Run(worlds.map((one) => one.run))
  const { config } = worlds[0]!
  const seen = new Set(all.all.flatMap(({ tally }) => [...tally.lanes.keys()]))
  const configured = config.lanes.map((lane) => lane.name).filter((name) => seen.has(name))
  const names = [...new Set([...configured, ...seen])]
  return {
    label: run.label,
    policy: run.policy,
    figures,
    lanes: Object.fromEntries(names.map((name) => [name, laneFigures(all, name)])),
    guardrails: guardrailsOf(all, config),
    violations: worlds.reduce((sum, { world }) => sum + world.violations, 0),
    findings: worlds.flatMap(({ world }) => world.findings).slice(0, 20),
    trace_hash: worlds.length === 1 ? worlds[0]!.world.hash : foldedHash(worlds),
    simulated_requests: worlds.reduce((sum, { world }) => sum + world.requests, 0),
    simulated_s: worlds.reduce((sum, { run: { until } }) => sum + until, 0),
    wall_ms: worlds.reduce((sum, one) => sum + one.tookMs, 0),
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
function judged(figure: string, must: string, value: number | null): Acceptance {
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
const finite = (figures: Record<string, number | null>): Record<string, number | null> =>
  Object.fromEntries(
    Object.entries(figures).map(([name, value]) => [
      name,
      value !== null && Number.isFinite(value) ? value : null,
    ]),
  )
