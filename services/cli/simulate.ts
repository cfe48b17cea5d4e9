/** `headgate simulate`: the scheduler in virtual time, on a scenario or a trace; nothing of it touches a
 *  network. The simulator is a program of its own; here its options become a job and its results words. */
import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { Command, Option } from 'commander'
import { beginsMooncake } from '#contracts/mooncake-trace'
import { beginsRecording } from '#contracts/recording'
import {
  INSTANCES_MAX,
  POLICIES,
  type Backlog,
  type Fleet,
  type Job,
  type Policy,
  type Restart,
  type RunJob,
  type RunResult,
} from '#simulator/job'
import { sayEnd, startProgram } from './program.ts'
import { onStop } from './signals.ts'
import {
  among,
  collected,
  killsOf,
  lanesOf,
  modelOf,
  numberFrom,
  restartsOf,
  stormOf,
  tokenOf,
  wholeFrom,
  type LaneShare,
  type Storm,
} from './simulate-options.ts'
import {
  Failure,
  fileName,
  json,
  messageOf,
  Misuse,
  positive,
  say,
  seed,
  tell,
} from './terminal.ts'

export interface SimulateFlags {
  scenario?: string
  trace?: string
  list?: true
  seed: number
  policy: Policy
  baseline: Policy[]
  vs: string[]
  config?: string
  load?: number
  reserved?: number
  /** Its former name. */
  hold?: number
  noise?: number
  part: number
  scale: number
  capacity: number
  tenants: number
  lanes: LaneShare[]
  model?: string
  for?: number
  storm?: Storm
  backlog?: number
  backlogTenants: number
  backlogLane: string
  backlogDeadline?: number
  backlogOver: number
  restart: Restart[]
  instances: number
  kill: Restart[]
  sameName?: true
  json?: true
  report?: string
  record?: string
}

/** More columns than a terminal shows. */
const RUNS_MAX = 5
/** Each is kept in memory to its end. */
const JOBS_MAX = 1_000_000
const OF_SCENARIO = ['load', 'reserved', 'hold', 'noise', 'part'] as const
const OF_TRACE = ['scale', 'capacity', 'tenants', 'lanes', 'model', 'for', 'storm'] as const
/** They say more of a backlog. */
const OF_BACKLOG = ['backlogTenants', 'backlogLane', 'backlogDeadline', 'backlogOver'] as const
/** Only recordings have them. */
const OF_COLUMNS = ['tenants', 'lanes', 'model'] as const
const LANES = 'premium=0.2,interactive=0.5,batch=0.3'

export const simulate = (): Command => {
  const policy = among(POLICIES)
  const options = new Command('simulate')
    .summary('run the scheduler in virtual time, on a scenario or a trace')
    .description(
      'Runs the same core, machines and loop as `serve` in virtual time, on a scenario or on a trace, ' +
        'and says what it found. Equal seeds give equal results. Exit status 1: it failed, or broke a law.',
    )
    .option('--scenario <name>', 'one of those that --list lists')
    .option('--trace <file>', 'columns, JSON lines of Mooncake, or of `headgate record`')
    .option('--list', 'list the scenarios and what each may be given')
    .option('--seed <n>', 'every choice follows from it', seed, 1)
    .option('--config <file>', "headgate.yaml (default: the scenario's own, or defaults)", fileName)
    .addOption(new Option('--policy <name>', policy.words).argParser(policy).default('headgate'))
    .option('--json', 'print one JSON object')
    .option('--report <file>', 'write one self-contained HTML page with plots')
    .option('--record <file>', 'write a recording of the first run that the dashboard can play')
    .optionsGroup('More columns:')
    .addOption(
      new Option('--baseline <name>', 'the same with this policy; may be given again')
        .argParser(collected(policy))
        .default([], 'none'),
    )
    .addOption(
      new Option('--vs <file>', 'the same with this configuration; may be given again')
        .argParser(collected((text: string) => text))
        .default([], 'none'),
    )
    .optionsGroup('Of a scenario, where it has such a parameter:')
    .option('--load <x>', 'share of the slots that is asked for: 0.6, 0.7 or 0.8', loadOf)
    .addOption(reserved('--reserved <n>').conflicts('hold'))
    .addOption(reserved('--hold <n>').hideHelp())
    .option('--noise <x>', 'share of attempts that fail, from 0 to 1', numberFrom(0, 1))
    .option('--part <f>', 'only the first part of its time, 0.01 to 1', numberFrom(0.01, 1), 1)
    .optionsGroup('Of a trace:')
    .option('--scale <k>', 'its arrivals k times closer, 0.01 to 1000', numberFrom(0.01, 1_000), 1)
    .option('--capacity <n>', 'slots that the provider really has', wholeFrom(1, 100_000), 60)
    .option('--tenants <n>', 'of no recording: names, by a Zipf law', wholeFrom(1, 100_000), 200)
    .addOption(
      new Option('--lanes <shares>', 'of no recording: NAME=SHARE,…')
        .argParser(lanesOf)
        .default(lanesOf(LANES), LANES),
    )
    .option('--model <name>', 'of no recording: that all ask for (default: "claude")', modelOf)
    .option('--for <seconds>', 'only so many seconds of virtual time', positive)
    .option('--storm <from:for>', 'seconds in which the provider bears a fifth', stormOf)
  return besideOptions(options).action(async (flags: SimulateFlags, command: Command) => {
    if (flags.list === true) return list(flags, command)
    check(flags, command)
    if (flags.hold !== undefined) tell('--hold is called --reserved now')
    const { results } = await ask<{ results: RunResult[] }>(jobOf(flags))
    await show(results, flags)
    if (results.some((result) => result.violations > 0)) process.exitCode = 1
  })
}

const besideOptions = (command: Command): Command =>
  command
    .optionsGroup('Beside a trace, or a scenario of one part:')
    .option('--backlog <n>', 'durable jobs, like the calls of the traffic', wholeFrom(1, JOBS_MAX))
    .option('--backlog-tenants <n>', 'whose they are, in turn', wholeFrom(1, 100_000), 1)
    .option('--backlog-lane <lane>', 'where they wait', tokenOf, 'batch')
    .option(
      '--backlog-deadline <seconds>',
      "of each job (default: the lane's timeout_ms)",
      positive,
    )
    .option('--backlog-over <seconds>', 'they come evenly over so long', numberFrom(0, 1e9), 0)
    .addOption(
      new Option('--restart <at:for,…>', 'seconds at which the scheduler dies, and for how long')
        .argParser(restartsOf)
        .default([], 'none'),
    )
    .option('--instances <n>', 'that share the limits', wholeFrom(1, INSTANCES_MAX), 1)
    .addOption(
      new Option(
        '--kill <at:for,…>',
        'seconds at which one of them is killed, and until another comes',
      )
        .argParser(killsOf)
        .default([], 'none'),
    )
    .option('--same-name', 'who comes then has the name of the dead (default: one of its own)')

const reserved = (flags: string): Option =>
  new Option(flags, 'slots never lent, from 0 to 20').argParser(wholeFrom(0, 20))

/** Seconds that S2 was measured with. */
function loadOf(text: string): number {
  return Number(among(['0.6', '0.7', '0.8'])(text))
}

function check(flags: SimulateFlags, command: Command): void {
  const given = (name: string): boolean => command.getOptionValueSource(name) === 'cli'
  if ((flags.scenario === undefined) === (flags.trace === undefined))
    throw new Misuse('expected either --scenario NAME (--list lists them) or --trace FILE')
  const foreign =
    flags.trace === undefined
      ? { names: OF_TRACE, needs: '--trace FILE, not --scenario' }
      : { names: OF_SCENARIO, needs: '--scenario NAME, not --trace' }
  const lost = foreign.names.find(given)
  if (lost !== undefined) throw new Misuse(`--${lost}: needs ${foreign.needs}`)
  const more = OF_BACKLOG.find(given)
  if (more !== undefined && flags.backlog === undefined)
    throw new Misuse(`${optionOf(more)}: needs --backlog N`)
  if (flags.kill.length > 0 && flags.instances === 1)
    throw new Misuse('--kill: needs --instances N, 2 or more; the death of one alone is --restart')
  if (flags.kill.length === 0 && flags.sameName === true)
    throw new Misuse('--same-name: needs --kill AT:FOR')
  const dealt = OF_COLUMNS.find(given)
  if (dealt !== undefined && flags.trace !== undefined && isRecording(flags.trace))
    throw new Misuse(`--${dealt}: ${flags.trace} is a recording, which has its own`)
  const runs = 1 + flags.baseline.length + flags.vs.length
  if (runs > RUNS_MAX)
    throw new Misuse(`--baseline, --vs: ${runs} columns with the first; at most ${RUNS_MAX}`)
  if (flags.report !== undefined && flags.report === flags.record)
    throw new Misuse('--report, --record: expected two files, found the same one')
}

/** By its first characters; a file that cannot be read is the simulator's to name. */
function isRecording(path: string): boolean {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return false
  let file: number
  try {
    file = openSync(path, 'r')
  } catch {
    return false
  }
  const bytes = Buffer.alloc(64)
  const length = readSync(file, bytes)
  closeSync(file)
  const begin = bytes.toString('utf8', 0, length).replace(/^\uFEFF/, '')
  return beginsRecording(begin) && !beginsMooncake(begin)
}

function jobOf(flags: SimulateFlags): Job {
  const { config = null, policy, seed } = flags
  const what = whatOf(flags)
  const backlog = backlogOf(flags)
  const fleet = fleetOf(flags)
  const run = (label: string, of: { policy: Policy; config: string | null }): RunJob => ({
    label,
    seed,
    what,
    ...{ backlog, restarts: flags.restart, fleet },
    ...of,
  })
  return {
    runs: unlike([
      run(policy, { policy, config }),
      ...flags.baseline.map((other) => run(other, { policy: other, config })),
      ...flags.vs.map((path) => run(basename(path), { policy, config: path })),
    ]),
    report: flags.report ?? null,
    record: flags.record ?? null,
  }
}

function backlogOf(flags: SimulateFlags): Backlog | null {
  const { backlog: jobs, backlogTenants: tenants, backlogLane: lane, backlogOver: overS } = flags
  if (jobs === undefined) return null
  return { jobs, tenants, lane, deadlineS: flags.backlogDeadline ?? null, overS }
}

/** One is no fleet: it shares with nobody. */
const fleetOf = ({ instances, kill: kills, sameName }: SimulateFlags): Fleet | null =>
  instances === 1 ? null : { instances, kills, sameName: sameName === true }

const optionOf = (name: string): string =>
  `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`

/** No two columns with one name. */
function unlike(runs: RunJob[]): RunJob[] {
  const times = new Map<string, number>()
  return runs.map((run) => {
    const time = (times.get(run.label) ?? 0) + 1
    times.set(run.label, time)
    return time === 1 ? run : { ...run, label: `${run.label} (${time})` }
  })
}

function whatOf(flags: SimulateFlags): RunJob['what'] {
  if (flags.trace === undefined) {
    const { scenario: name = '', load = null, noise = null, part } = flags
    const slots = flags.reserved ?? flags.hold ?? null
    return { kind: 'scenario', name, load, reserved: slots, noise, part }
  }
  const { trace: path, scale, capacity, tenants, lanes, model, for: forS = null } = flags
  const of = { path, scale, capacity, tenants, lanes, forS, storm: flags.storm ?? null }
  return { kind: 'trace', ...of, ...(model === undefined ? {} : { model }) }
}

/** Asks the simulator and waits for its end. */
async function ask<Answer extends object>(job: Job | { list: true }): Promise<Answer> {
  const program = startProgram<Answer>({
    name: 'simulator',
    args: [JSON.stringify(job)],
    output: 'stderr',
  })
  let asked = false
  const listening = onStop(() => {
    asked = true
    program.signal('SIGTERM')
  })
  try {
    const answer = await program.ready
    const end = await program.ended
    if (end.how !== 'exit' || end.code !== 0) throw new Failure(`the simulator ${sayEnd(end)}`)
    return answer
  } catch (error) {
    await program.ended
    if (error instanceof Misuse || error instanceof Failure) throw error
    throw new Failure(asked ? 'stopped before the simulation was done' : messageOf(error))
  } finally {
    listening()
  }
}

async function show(results: readonly RunResult[], flags: SimulateFlags): Promise<void> {
  const { jsonOf, tablesOf } = await import('./simulate-report.ts')
  if (flags.json === true) return json(jsonOf(results, flags))
  say(tablesOf(results))
  for (const path of [flags.report, flags.record]) if (path !== undefined) say(`written: ${path}`)
}

// ---- --list ----

interface ScenarioInfo {
  name: string
  title: string
  parameters: string[]
}

async function list(flags: SimulateFlags, command: Command): Promise<void> {
  const others = ['scenario', 'trace'].filter(
    (name) => command.getOptionValueSource(name) === 'cli',
  )
  if (others.length > 0) throw new Misuse(`--list: not together with --${others[0]}`)
  const { scenarios } = await ask<{ scenarios: ScenarioInfo[] }>({ list: true })
  if (flags.json === true) return json({ scenarios })
  const width = Math.max(...scenarios.map(({ name }) => name.length))
  for (const { name, title, parameters } of scenarios)
    say(`${name.padEnd(width)}  ${title}${parameters.map((one) => ` [--${one}]`).join('')}`)
}
