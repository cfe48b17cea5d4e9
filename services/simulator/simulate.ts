/** Runs one job: a scenario or a trace, under one policy, with one seed; or a scenario with several seeds for
 *  a report. */
import { configFile, resolve, type Config } from '#contracts/config'
import type { Seconds } from '#contracts/units'
import { ConfigError, loadConfig } from '#platform/config/load'
import { cacheFigures } from './cache-figures.ts'
import { configOf, shippedConfig } from './common.ts'
import { Run } from './figures.ts'
import type { Fleet, Restart, RunJob, RunResult } from './job.ts'
import { JobError } from './job-error.ts'
import { play, type Played } from './play.ts'
import { finite, judged, resultOf } from './run-result.ts'
import type { Part, Scenario, ScenarioParameters } from './scenario.ts'
import { SCENARIOS, scenarioOf } from './scenarios.ts'
import { readTraceFile } from './trace-file.ts'
import { MODEL, traced, type Source } from './workload.ts'

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

/** Who runs under what, and what is put beside a scenario's or a trace's own. */
type ScenarioRun = Pick<RunJob, 'label' | 'policy' | 'config'> &
  Partial<Pick<RunJob, 'backlog' | 'restarts' | 'fleet'>>

/** Several seeds are pooled into one result. */
export async function simulateScenario(
  run: ScenarioRun,
  what: { name: string; part: number } & Record<keyof ScenarioParameters, number | null>,
  seeds: readonly number[],
  options: SimulateOptions = PLAIN,
): Promise<RunResult> {
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
  const parts = scenario.parts(parameters)
  checkParts(run, scenario, parts)
  const worlds: Played[] = []
  for (const [index, part] of parts.entries()) {
    for (const seed of seeds) {
      const until = Math.max(1, part.until * what.part)
      const record = worlds.length === 0 ? options.record : null
      worlds.push(await playPart(run, part, { index, seed, until, record }))
    }
  }
  const figuresOf = new Run(worlds.map((one) => one.run))
  const figures = {
    ...{ ...figuresOf.common(), ...cacheFigures(figuresOf) },
    ...finite(scenario.figures(figuresOf)),
  }
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

function checkParts(
  { backlog = null, restarts = [], fleet = null }: ScenarioRun,
  { name }: Scenario,
  parts: readonly Part[],
): void {
  if (parts.length === 1 || (backlog === null && restarts.length === 0 && fleet === null)) return
  const asked = fleet === null ? '--backlog and --restart go' : '--instances goes'
  throw new JobError(
    `${asked} with one run: ${name} is made of ${parts.length}, each with traffic of its own`,
  )
}

/** Nobody dies after the end. */
function fleetOf({ fleet }: ScenarioRun, part: Part, until: Seconds): Fleet | null {
  if (fleet != null || part.fleet === undefined) return fleet ?? null
  return { ...part.fleet, kills: part.fleet.kills.filter(({ atS }) => atS < until) }
}

function playPart(
  run: ScenarioRun,
  part: Part,
  of: { index: number; seed: number; until: Seconds; record: SimulateOptions['record'] },
): Promise<Played> {
  const { seed, until } = of
  const { like } = part
  const own = part.shipped === true ? shippedConfig : configOf
  const restarts: readonly Restart[] = run.restarts ?? []
  return play({
    ...of,
    name: part.name,
    config: run.config === null ? own(part.config ?? {}) : fileConfig(run.config),
    policy: run.policy,
    source: () => part.source(seed, until),
    provider: ofSeed(part.provider, seed),
    events: ofSeed(part.events ?? [], seed),
    unit: part.unit,
    predictions: part.predictions ?? false,
    calls: part.calls ?? false,
    asksAgain: part.asksAgain ?? false,
    unpredicted: part.unpredicted ?? false,
    backlog: run.backlog ?? part.backlog ?? null,
    like: like === undefined ? null : () => like(seed, until),
    fleet: fleetOf(run, part, until),
    restarts: [...restarts, ...(part.restarts ?? []).filter(({ atS }) => atS < until)],
  })
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
  checkModels(config, new Set(rows.map((row) => row.model ?? what.model ?? MODEL)))
  const { storm, capacity } = what
  const until: Seconds = what.forS ?? Math.ceil((rows.at(-1)?.atMs ?? 0) / 1_000 / what.scale) + 1
  if (until > LONGEST)
    throw new JobError(
      `--scale: ${Math.round(until)} s of virtual time; at most ${LONGEST}, so a larger scale, or --for`,
    )
  const source = (): Source => traced(rows, { ...what, seed: run.seed, until })
  const world = await play({
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
    ...{ backlog: run.backlog, like: null, restarts: run.restarts, fleet: run.fleet },
    record: options.record,
  })
  const figuresOf = new Run([world.run])
  const figures = { ...figuresOf.common(), ...cacheFigures(figuresOf) }
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

/** Where it serves none of them, every call would be refused, and the figures would be of nothing. */
function checkModels({ routes }: Config, asked: ReadonlySet<string>): void {
  const served = routes?.map(({ model }) => model) ?? null
  if (served === null || asked.size === 0 || served.some((model) => asked.has(model))) return
  throw new JobError(
    `no route for ${[...asked].join(', ')} in the configuration; there are ${served.join(', ')}: --model names what all ask for`,
  )
}

// ---- configuration ----

function fileConfig(path: string): Config {
  try {
    return loadConfig({ path, emergency: false }).config
  } catch (error) {
    // Which option named it is not known here.
    if (!(error instanceof ConfigError) || !error.message.includes('no such file')) throw error
    const [problem] = error.problems
    throw new ConfigError(path, [
      { line: 0, column: 0, path: '', ...problem, message: 'no such file' },
    ])
  }
}
