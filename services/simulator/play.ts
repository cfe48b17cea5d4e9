/** Plays one world: its arrivals under one policy, and, where there is a backlog of jobs or the process dies, the same
 *  without them, which is what they cost. */
import type { Config } from '#contracts/config'
import type { Millis, Seconds } from '#contracts/units'
import { backlogSource } from './backlog.ts'
import { Baseline, SDK_ALONE } from './baselines.ts'
import type { PartRun } from './figures.ts'
import { FleetPolicy } from './fleet-policy.ts'
import { HeadgatePolicy, type HeadgateOptions } from './headgate-policy.ts'
import type { Backlog, Fleet, Policy, Restart } from './job.ts'
import { JobError } from './job-error.ts'
import { optimum } from './optimum.ts'
import type { SchedulingPolicy } from './policy.ts'
import type { ProviderSettings } from './provider-model.ts'
import type { Part } from './scenario.ts'
import { sdkCaller } from './sdk-caller.ts'
import { wallMs } from './system.ts'
import { merged, type Source } from './workload.ts'
import { World, type WorldOptions } from './world.ts'

export interface Play {
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
  backlog: Backlog | null
  /** What its jobs are like; null: the calls of the source. */
  like: (() => Source) | null
  restarts: readonly Restart[]
  /** Instances that share the limits; null: one alone. */
  fleet: Fleet | null
  record: ((line: object) => void) | null
}

export interface Played {
  world: World
  /** Of wall time, for the simulation alone. */
  tookMs: Millis
  run: PartRun
  config: Config
}

/** With what it is compared to. */
export async function play(of: Play): Promise<Played> {
  const played = await playOnce(of)
  const { run } = played
  const { backlog, restarts } = of
  if (backlog === null) return played
  const alone = { ...of, record: null }
  run.without = (await playOnce({ ...alone, backlog: null })).run
  if (restarts.length > 0) run.unbroken = (await playOnce({ ...alone, restarts: [] })).run
  return played
}

async function playOnce(of: Play): Promise<Played> {
  checkHouse(of)
  checkFleet(of)
  // Ids that ended are remembered for askers; here nobody asks.
  const config: Config = { ...of.config, file: { ...of.config.file, settled_max: 0 } }
  if (of.policy === 'classic')
    config.file = {
      ...config.file,
      concurrency_limit: { ...config.file.concurrency_limit, mode: 'classic' },
    }
  const source = (): Source => sourceOf(of)
  const world: World = new World({
    seed: of.seed,
    source: source(),
    provider: of.provider,
    until: of.until,
    calls: of.calls,
    policy: (parts) => policyOf(of, config, parts, (findings) => world.found(findings)),
    events: of.events.filter((event) => event.at < of.until),
  })
  const began = wallMs()
  if (of.backlog === null && of.fleet === null) world.run()
  else await world.runThrough()
  const tookMs = wallMs() - began
  const best = optimum({ source: source(), provider: of.provider, until: of.until })
  const { tally } = world
  const served = {
    work: tally.useful,
    requests: tally.perSecond.ok.sum(0, Math.ceil(of.until)),
    inputTokens: tally.usefulInput,
    outputTokens: tally.usefulOutput,
  }
  const run: PartRun = {
    part: of.index,
    name: of.name,
    until: of.until,
    tally,
    facts: world.policy.facts,
    goodput: { served: served[of.unit], possible: best[of.unit] },
    tenantsLeft: world.policy.tenants,
    overAt: world.lastEndAt / 1_000,
    lowestLimit: (from, until) => lowestLimit(world, from, until),
    ...{ backlog: of.backlog, without: null, unbroken: null },
  }
  return { world, tookMs, config, run }
}

/** What only Headgate has, and what its configuration must know. */
function checkHouse({ policy, backlog, restarts, config, until }: Play): void {
  const own = policy === 'headgate' || policy === 'classic'
  if (!own && (backlog !== null || restarts.length > 0))
    throw new JobError(
      `--backlog and --restart are of headgate and classic; ${policy} has no jobs and no process`,
    )
  const late = restarts.find(({ atS }) => atS >= until)
  if (late !== undefined)
    throw new JobError(`--restart: ${late.atS} s is after the end, which is at ${until} s`)
  const lanes = config.lanes.map(({ name }) => name)
  if (backlog !== null && !lanes.includes(backlog.lane))
    throw new JobError(
      `--backlog-lane: no lane ${backlog.lane} in the configuration; there are ${lanes.join(', ')}`,
    )
}

/** What a fleet is not, and who may be killed in it. */
function checkFleet({ policy, fleet, backlog, restarts, until, record }: Play): void {
  if (fleet === null) return
  const { instances, kills } = fleet
  if (policy !== 'headgate' && policy !== 'classic')
    throw new JobError(
      `--instances is of headgate and classic; ${policy} has no instances: run it by itself, with the same seed`,
    )
  if (backlog !== null)
    throw new JobError(
      '--instances: not with durable jobs (--backlog, or a scenario that has them)',
    )
  if (restarts.length > 0)
    throw new JobError('--instances: not with --restart, which is of one; say --kill AT:FOR')
  if (record !== null) throw new JobError('--instances: not with --record, which shows one')
  for (const { atS } of kills) {
    if (atS >= until)
      throw new JobError(`--kill: ${atS} s is after the end, which is at ${until} s`)
    if (goneAt(kills, atS) > instances)
      throw new JobError(
        `--kill: at ${atS} s nobody is left to be killed: all ${instances} are dead, each for its FOR`,
      )
  }
}

/** Who is dead just after an instant, those of that instant too. */
function goneAt(kills: readonly Restart[], at: Seconds): number {
  const ms = (s: Seconds): Millis => Math.round(s * 1_000)
  return kills.filter(({ atS, forS }) => ms(atS) <= ms(at) && ms(at) <= ms(atS) + ms(forS)).length
}

function sourceOf({ source, backlog, like, seed }: Play): Source {
  if (backlog === null) return source()
  return merged([source(), backlogSource({ backlog, like: (like ?? source)(), seed })])
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
      const headgate = headgateOf(of, { ...parts, config, found })
      return of.asksAgain ? sdkCaller(headgate, { clock: parts.clock, seed }) : headgate
    }
  }
}
type PolicyParts = Parameters<WorldOptions['policy']>[0]

function headgateOf(
  of: Play,
  parts: PolicyParts & Pick<HeadgateOptions, 'config' | 'found'>,
): HeadgatePolicy | FleetPolicy {
  const { seed, predictions, unpredicted, fleet } = of
  const common = { ...parts, seed, predictions, unpredicted }
  if (fleet !== null) return new FleetPolicy({ ...common, ...fleet })
  return new HeadgatePolicy({
    ...{ ...common, film: of.record, restarts: of.restarts },
    jobs: of.backlog === null ? null : { until: of.until },
  })
}

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
