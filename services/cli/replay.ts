/** `headgate up --trace`: real traffic, many times faster, through the whole stack: client, NATS, scheduler,
 *  SDK, simulated provider. */
import { InvalidArgumentError, type Command } from 'commander'
import type { Trace } from '#contracts/trace-file'
import {
  floodRow,
  LANES,
  NOISY_ROW,
  NOISY_TENANTS,
  planSteady,
  planTrace,
  type Plan,
  type PlanOptions,
} from './replay-plan.ts'
import { comparisonOf, holds, reportOf, tableOf, type ReplayReport } from './replay-report.ts'
import { readSnapshot, runReplay } from './replay-run.ts'
import { readTrace } from './replay-trace.ts'
import type { Stack } from './stack.ts'
import {
  Failure,
  json,
  messageOf,
  Misuse,
  MODEL,
  positive,
  positiveWhole,
  wholeNumber,
} from './terminal.ts'

export interface ReplayFlags {
  trace?: string
  steady?: true
  speed: number
  load: number
  for: number
  seed: number
  tenants: number
  storm: boolean
  flood?: { lane: string; factor: number }
  noisy?: number
  compare?: true
  json?: true
  stay?: true
}

export function replayOptions(command: Command): Command {
  return command
    .optionsGroup('A replay, always against the simulated provider:')
    .option('--trace <file>', 'replay this CSV: TIMESTAMP,ContextTokens,GeneratedTokens')
    .option('--steady', 'instead of a trace: Poisson arrivals')
    .option('--speed <n>', 'so many times faster, arrivals and answers alike', positive, 30)
    .option('--load <x>', 'share of the slots that is asked for', positive, 0.8)
    .option('--for <seconds>', 'how long requests are sent', positive, 120)
    .option('--seed <n>', 'every choice follows from it', wholeNumber, 1)
    .option('--tenants <n>', 'how many there are, by a Zipf law', positiveWhole, 200)
    .option('--no-storm', 'without the 30 s of 529 in the middle')
    .option('--flood <lane:factor>', 'beside it, FACTOR times the capacity in one lane', floodOf)
    .option(
      '--noisy <factor>',
      `one of ${NOISY_TENANTS} tenants asks FACTOR times the others`,
      positive,
    )
    .option('--compare', 'first without the flood or the noise, then with it')
    .option('--json', 'print one JSON object instead of tables')
    .option('--stay', 'stay until Ctrl-C after the replay')
}

const OWN_FLAGS = ['speed', 'load', 'for', 'seed', 'tenants', 'storm', 'flood', 'noisy', 'compare']

/** Null: no replay is asked for. */
export function checkReplay(flags: ReplayFlags, command: Command): ReplayFlags | null {
  if (flags.trace === undefined && flags.steady === undefined) {
    const [lost] = [...OWN_FLAGS, 'json', 'stay'].filter(
      (name) => command.getOptionValueSource(name) === 'cli',
    )
    if (lost !== undefined) throw new Misuse(`--${lost}: needs --trace FILE or --steady`)
    return null
  }
  if (flags.trace !== undefined && flags.steady === true)
    throw new Misuse('--steady: not together with --trace')
  if (flags.compare === true && flags.flood === undefined && flags.noisy === undefined)
    throw new Misuse('--compare: needs --flood or --noisy to compare with')
  return flags
}

/** The simulated provider of a replay. */
export const replayProvider = (flags: ReplayFlags): Record<string, unknown> => ({
  speed: flags.speed,
  seed: flags.seed,
  ledgerMax: LEDGER_MAX,
})

const LEDGER_MAX = 1_000_000
const STORM_S = 30

/** The trace as far as it is needed, read before anything is started. */
export async function traceOf(flags: ReplayFlags): Promise<Trace | null> {
  if (flags.trace === undefined) return null
  return readTrace({ path: flags.trace, untilS: flags.for * flags.speed }).catch(
    (error: unknown) => {
      throw new Failure(messageOf(error))
    },
  )
}

export interface ReplayTurn {
  flags: ReplayFlags
  trace: Trace | null
  /** Of a comparison: without the flood and the noise. */
  extras: boolean
  line(text: string): void
  signal: AbortSignal
}

/** One run, from the plan to the table. */
export async function replay(stack: Stack, turn: ReplayTurn): Promise<ReplayReport> {
  const { flags, line } = turn
  const plan = await planFor(stack, turn)
  const middle = flags.storm
    ? { atS: Math.max(0, (flags.for - stormS(flags)) / 2), forS: stormS(flags) }
    : null
  const settings = {
    source: flags.trace ?? 'Poisson arrivals',
    rule: plan.rule,
    seed: flags.seed,
    speed: flags.speed,
    load: flags.load,
    for_s: flags.for,
    tenants: flags.noisy === undefined ? flags.tenants : NOISY_TENANTS,
    storm: middle,
    flood: turn.extras ? (flags.flood ?? null) : null,
    noisy: turn.extras ? (flags.noisy ?? null) : null,
  }
  line(`\nreplay: ${plan.arrivals.length} requests in ${flags.for} s; ${plan.rule}`)
  line(
    `  seed ${flags.seed}, speed ${flags.speed}, load ${flags.load}, ${settings.tenants} tenants, ` +
      (middle === null ? 'no storm' : `529 storm from ${middle.atS} s for ${middle.forS} s`),
  )
  const run = await runReplay(stack, {
    plan,
    forS: flags.for,
    storm: middle,
    rows: rowsOf(turn),
    model: MODEL,
    progress: updating(line),
    signal: turn.signal,
  })
  const label = flags.compare === true ? (turn.extras ? 'with' : 'without') : 'lane'
  return reportOf(run, { label, settings, demand: plan.demand })
}

/** Prints what was found; the answer is the exit status. */
export function finish(
  reports: readonly ReplayReport[],
  flags: ReplayFlags,
  line: (text: string) => void,
): number {
  const [first, second] = reports
  if (first === undefined) return 1
  if (flags.json === true) {
    json(second === undefined ? first : { without: first, with: second })
  } else {
    for (const report of reports) line(`\n${tableOf(report, flags.speed)}`)
    if (second !== undefined) line(`\n${comparisonOf(first, second)}`)
  }
  return reports.every(holds) ? 0 : 1
}

/** A storm in a short run is shorter, so that there is a before and an after. */
const stormS = (flags: ReplayFlags): number => Math.min(STORM_S, flags.for / 4)

async function planFor(stack: Stack, turn: ReplayTurn): Promise<Plan> {
  const { flags, extras } = turn
  const client = await stack.connect({ tenant: 'replay' })
  const { global } = await readSnapshot(client).finally(() => client.close())
  // Without its factor the noisy tenant is one of the equal ones.
  const noisy = flags.noisy === undefined ? null : extras ? flags.noisy : 1
  const of: PlanOptions = {
    seed: flags.seed,
    speed: flags.speed,
    load: flags.load,
    slots: global.limit,
    forS: flags.for,
    tenants: flags.tenants,
    flood: extras ? (flags.flood ?? null) : null,
    noisy,
  }
  try {
    return turn.trace === null ? planSteady(of) : planTrace(turn.trace, of)
  } catch (error) {
    throw new Failure(messageOf(error))
  }
}

function rowsOf({ flags, extras }: ReplayTurn): string[] {
  const rows: string[] = LANES.map((lane) => lane.name)
  if (flags.noisy !== undefined) rows.push(NOISY_ROW)
  if (flags.flood !== undefined && extras) rows.push(floodRow(flags.flood.lane))
  return rows
}

/** One line that changes on a terminal; elsewhere a line now and then. */
function updating(line: (text: string) => void): (text: string) => void {
  let said = 0
  return (text) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`)
    else if (said++ % QUIET_EVERY === 0) line(text)
  }
}

const QUIET_EVERY = 10

function floodOf(text: string): { lane: string; factor: number } {
  const [, lane, factor] = /^([A-Za-z0-9_-]{1,64}):(\d+(?:\.\d+)?)$/.exec(text) ?? []
  if (lane === undefined || !(Number(factor) > 0))
    throw new InvalidArgumentError('expected LANE:FACTOR, such as batch:10')
  return { lane, factor: Number(factor) }
}
