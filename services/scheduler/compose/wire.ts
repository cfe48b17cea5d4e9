/** The composition root: sees every room, decides nothing. Builds the scheduler from its parts and
 *  gives them back in order. */
import { randomBytes } from 'node:crypto'
import { subjects as subjectsOf, type Subjects } from '#contracts/subjects'
import { inspection, type Inspection } from '#machines/inspection'
import { loadConfig } from '#platform/config/load'
import type { Operator } from '#ports'
import { notedProvider } from '#scheduler/jobs/noted-provider'
import { Loop } from '#scheduler/loop/loop'
import { memoryBudgetStore } from '#scheduler/memory/budget-store'
import { Allowances } from '#scheduler/money/allowances'
import { BudgetDesk } from '#scheduler/money/budget-desk'
import type { Recording } from '#scheduler/observability/record'
import { openDoors, type Doors } from './doors.ts'
import { observers, type Observers } from './observers.ts'
import { operatorService } from './operator-service.ts'
import type { Standing, WireOptions } from './options.ts'
import { shutdown } from './shutdown.ts'
import { upstreams } from './upstreams.ts'
import { seenJobs, wireJobs, type WiredJobs } from './wire-jobs.ts'
import { wireFleet, type WiredFleet } from './wire-fleet.ts'
import { wireUsage, type WiredUsage } from './wire-usage.ts'
import { within } from './within.ts'

export type { WireOptions } from './options.ts'

/** A server that does not answer by then is away; requests come when it is back. */
const HEARD_MS = 2_000

export interface Wired {
  readonly instance: string
  readonly httpUrl: string | null
  readonly inspectUrl: string | null
  readonly gatewayUrl: string | null
  readonly loop: Loop
  readonly operator: Operator
  /** Puts a text in force as a changed file would be, for whoever owns the process; throws a `ConfigError`. */
  configure(text: string): void
  readonly recording: Recording
  /** Takes nothing new, lets running requests end within `drain_ms`, gives everything back. */
  stop(): Promise<void>
  /** Ends what still runs, now. */
  hurry(): void
  /** Says the last word to everybody who waits, without asking the core anything more; resolves when it has
   *  left, or when it has had `ABANDON_MS` to leave. */
  abandon(): Promise<void>
  /** Counts and logs what nobody caught. */
  fault(room: string, error: unknown): void
}

export async function wire(of: WireOptions): Promise<Wired> {
  const { bus, clock } = of
  const instance = randomBytes(6).toString('hex')
  const standing: Standing = { draining: false, leaving: false, configRefused: false }
  const subjects = subjectsOf(of.loaded.config.file.subject_prefix)
  const upstream = upstreams(() => loop.state.config, of.env)
  const watching = inspected(of)
  const seen = observers({
    of,
    instance,
    subjects,
    standing,
    loop: () => loop,
    upstream,
    jobs: () => jobs && seenJobs(jobs),
    fleet: () => fleet,
  })
  const budgets = budgetsOf(of, { loop: () => loop, seen })
  const parts = { usage: () => usage, jobs: () => jobs, fleet: () => fleet }
  const loop = loopOf(of, { seen, upstream, watching, allowances: budgets.allowances, ...parts })
  const usage = usageOf(of, { loop: () => loop, instance, seen })
  const fleet = fleetOf(of, { loop: () => loop, subjects, instance, seen })
  const jobs = jobsOf(of, { loop, subjects, instance, seen, upstream, usage })
  seen.open()
  let doors: Doors | null = null
  const desk = operatorService({
    ...{ instance, loop, bus, subjects, clock, jobs, usage, budgets: budgets.desk },
    settings: of.settings,
    loaded: of.loaded,
    log: of.log,
    env: of.env,
    snapshot: () => seen.snapshot(),
    onConfig: (config) => seen.configure(config),
    startDrain: () => void end.drain(),
  })
  const { allowances } = budgets
  const made = { of, instance, standing, loop, seen, desk, jobs, fleet, allowances, usage }
  const end = shutdown({ ...made, doors: () => doors })
  await desk.open()
  doors = await openDoors({ ...made, subjects, upstream }, watching)
  // Whoever listens at our place has gone: what it held is ours.
  await fleet?.open()
  // Whoever hears that it is ready may ask at once: by then the server knows who listens.
  const heard = bus.flush().catch(() => {})
  await within(clock, HEARD_MS, heard)
  await jobs?.room.open()
  jobs?.gatherer?.open()
  jobs?.watch.start()
  jobs?.batches?.work.start()
  return {
    instance,
    httpUrl: doors.http?.url ?? null,
    inspectUrl: doors.inspector?.url ?? null,
    gatewayUrl: doors.gateway?.url ?? null,
    loop,
    operator: desk.operator,
    configure(text) {
      desk.apply(loadConfig({ path: 'config', text, emergency: desk.emergency() }))
    },
    recording: seen.recording,
    fault: seen.fault,
    stop: () => end.stop(),
    hurry: () => end.hurry(),
    abandon: () => end.abandon(),
  }
}

/** Who watches the machines; null: nobody. */
const inspected = ({ inspection: given, inspectPort }: WireOptions): Inspection | null =>
  given ?? (inspectPort == null ? null : inspection())

const loopOf = (
  of: WireOptions,
  to: {
    seen: Observers
    upstream: ReturnType<typeof upstreams>
    watching: Inspection | null
    usage: () => WiredUsage
    jobs: () => WiredJobs | null
    fleet: () => WiredFleet | null
    allowances: Allowances
  },
): Loop =>
  new Loop({
    config: of.loaded.config,
    clock: of.clock,
    dice: of.dice,
    provider:
      of.jobs == null ? of.provider : notedProvider(of.provider, () => to.jobs()?.room ?? null),
    recorder: to.seen.recording,
    upstream: to.upstream,
    cache: of.cache ?? null,
    deferrals: () => to.jobs()?.desk ?? null,
    allowances: to.allowances,
    meter: { count: (used) => to.usage().meter.count(used) },
    tell: (news) => to.fleet()?.tell(news),
    inspection: to.watching,
    onBug: of.onBug,
    onFault: (error) => to.seen.fault('loop', error),
    run: (step) => to.seen.marks.run('loop', step),
  })

function budgetsOf(of: WireOptions, to: { loop: () => Loop; seen: Observers }) {
  const store = of.budgets ?? memoryBudgetStore()
  const { clock } = of
  const allowances = new Allowances({
    ...{ store, clock },
    grant: (grant) => to.loop().grant(grant),
    takeBack: (allowance) => to.loop().takeBack(allowance),
    tell: (news) =>
      to.seen.recording.record({ name: 'budget', at: clock.wall(), data: { ...news } }),
  })
  const desk = new BudgetDesk({ store, clock, config: () => to.loop().state.config })
  return { allowances, desk }
}

const usageOf = (
  of: WireOptions,
  to: { loop: () => Loop; instance: string; seen: Observers },
): WiredUsage =>
  wireUsage({
    ...{ store: of.usage, clock: of.clock, instance: to.instance, log: of.log },
    config: () => to.loop().state.config,
    metrics: to.seen.metrics,
  })

/** Null: no durable jobs are kept. */
const jobsOf = (
  of: WireOptions,
  to: {
    loop: Loop
    subjects: Subjects
    instance: string
    seen: Observers
    upstream: ReturnType<typeof upstreams>
    usage: WiredUsage
  },
): WiredJobs | null =>
  of.jobs == null
    ? null
    : wireJobs({
        ...to,
        ...{ kept: of.jobs, bus: of.bus, clock: of.clock, dice: of.dice },
        provided: of.batches == null ? null : { batches: of.batches, upstream: to.upstream },
        news: (news) => to.seen.jobNews(news),
        meter: to.usage.meter,
      })

/** Null: it works alone. */
const fleetOf = (
  of: WireOptions,
  to: { loop: () => Loop; subjects: Subjects; instance: string; seen: Observers },
): WiredFleet | null =>
  of.fleet == null
    ? null
    : wireFleet({
        ...to,
        ...{ bus: of.bus, clock: of.clock, dice: of.dice, version: of.version },
        ...of.fleet,
        name: of.fleet.name ?? to.instance,
        snapshot: () => to.seen.snapshot(),
        record: (event) => to.seen.recording.record(event),
        warn: (words) => of.log.warn(words),
      })
