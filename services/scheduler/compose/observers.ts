/** Everybody who watches a scheduler: log, metrics, events, spans, guardrails, conditions, stalls and the dashboard's
 *  feed. They hear of the loop and read it; nothing they do comes back into it. */
import type { Config } from '#contracts/config'
import type { Doors } from '#contracts/readiness'
import type { FleetNow, JobsNow, Snapshot } from '#contracts/snapshot'
import type { Subjects } from '#contracts/subjects'
import type { WholeFleet } from '#contracts/whole-fleet'
import { feed, type Feed } from '#dashboard'
import type { BatchesNow, JobNews, Jobs, Recorder } from '#ports'
import type { Loop } from '#scheduler/loop/loop'
import { watchConditions } from '#scheduler/observability/conditions'
import { logRecorder } from '#scheduler/observability/event-lines'
import { faultDesk, type Fault } from '#scheduler/observability/faults'
import { guardrails, watchGuardrails } from '#scheduler/observability/guardrails'
import { jobEvent } from '#scheduler/observability/job-events'
import { createMetrics, type Metrics } from '#scheduler/observability/metrics'
import { quantileWindow } from '#scheduler/observability/quantile-window'
import { publishEvents, recording, type Recording } from '#scheduler/observability/record'
import { refusalLines } from '#scheduler/observability/refusal-lines'
import { watchStalls } from '#scheduler/observability/stalls'
import { TraceRecorder } from '#scheduler/observability/trace'
import { simulatedFaults } from '#scheduler/provider/simulated-faults'
import type { Standing, WireOptions } from './options.ts'
import { snapshotOf } from './snapshot.ts'
import { rooms, type Rooms } from './stall-rooms.ts'
import { within } from './within.ts'

/** For what an OpenTelemetry SDK of the process has not sent yet. */
const SPANS_FLUSH_MS = 2_000

type Panel = ReturnType<typeof simulatedFaults>

export interface Observers {
  readonly recording: Recording
  readonly metrics: Metrics
  /** Counts and logs what one message, call or act ran into: it is told to its caller, and the rest goes on. */
  readonly fault: Fault
  readonly marks: Rooms
  /** Faults of the simulated provider; null: it is not the upstream. */
  readonly panel: Panel | null
  /** Null: nobody asks for pages here. */
  readonly dashboard: Feed | null
  /** The loop is there: the page can begin to look. */
  open(): void
  snapshot(): Snapshot
  jobNews(news: JobNews): void
  /** What `/readyz` says of each door. */
  doors(): Doors
  /** Another configuration comes into force. */
  configure(config: Config): void
  /** Nobody looks any more. */
  close(): void
  /** What was seen has left the process. */
  flush(): Promise<void>
}

/** Of durable jobs and batches. */
export interface SeenJobs {
  read(): JobsNow
  batches(): BatchesNow
  life: Jobs['life']
}

export interface Observed {
  of: WireOptions
  instance: string
  subjects: Subjects
  standing: Standing
  /** It is made after those who watch it. */
  loop: () => Loop
  upstream: (name: string) => { baseUrl: string }
  /** Null: no durable jobs are kept. */
  jobs: () => SeenJobs | null
  /** Null: it works alone. */
  fleet: () => { now(): FleetNow; whole(): Promise<WholeFleet> } | null
}

export function observers(seen: Observed): Observers {
  const { of, loop } = seen
  const { clock, log, loaded } = of
  const fault = faultDesk({ log, count: (room) => metrics.fault(room) })
  const marks = rooms(clock)
  let monitor = guardrails({
    settings: loaded.config.file.guardrails,
    lanes: loaded.config.lanes,
  })
  const metrics = createMetrics({
    config: () => loop().state.config,
    snapshot: () => snapshot(),
    guardrails: () => monitor,
    clock,
    version: of.version,
    batches: () => seen.jobs()?.batches() ?? null,
    configRefused: () => seen.standing.configRefused,
    // Of a process that is not ours the figures are not ours to collect.
    process: of.http !== null,
  })
  const traces = new TraceRecorder({ version: of.version })
  const refused = refusalLines({ log, clock })
  // Those that are made after the recording are heard by it through what they are called.
  const recorded = recordingOf(seen, [
    metrics,
    traces,
    { record: (event) => watch.record(event) },
    { record: (event) => conditions.record(event) },
    refused,
    { record: (event) => dashboard?.record(event) },
  ])
  const watch = watchGuardrails({ monitor: () => monitor, emit: recorded, clock })
  const startedAt = clock.now()
  const snapshot = (): Snapshot =>
    snapshotNow(seen, {
      startedAt,
      guardrails: monitor.readings(clock.now()),
      conditions: (read) => conditions.read(read),
    })
  const conditions = watchConditions({ clock, snapshot })
  const stalls = stallsOf(seen, { marks, metrics, recorded })
  let panel: Panel | null = null
  let dashboard: Feed | null = null
  return {
    recording: recorded,
    metrics,
    fault,
    marks,
    get panel() {
      return panel
    },
    get dashboard() {
      return dashboard
    },
    open() {
      panel = panelOf(seen)
      dashboard = of.http === null ? null : feedOf(seen, { snapshot, panel })
    },
    snapshot,
    jobNews(news) {
      metrics.jobNews(news)
      const event = jobEvent(news, { instance: seen.instance, at: clock.wall() })
      if (event !== null) recorded.record(event)
    },
    doors: () => doorsOf(seen),
    configure({ file: { guardrails: settings }, lanes }) {
      if (JSON.stringify(settings) !== JSON.stringify(loop().state.config.file.guardrails))
        monitor = guardrails({ settings, lanes })
    },
    close() {
      for (const one of [watch, conditions, refused, stalls, of.loopDelay]) one?.close()
    },
    flush: () => within(clock, SPANS_FLUSH_MS, traces.flush()),
  }
}

const snapshotNow = (
  { of, loop, instance, standing, jobs, fleet }: Observed,
  watched: Pick<Parameters<typeof snapshotOf>[0], 'startedAt' | 'guardrails' | 'conditions'>,
): Snapshot =>
  snapshotOf({
    ...watched,
    loop: loop(),
    clock: of.clock,
    instance,
    version: of.version,
    bus: { kind: of.bus.kind, connected: of.bus.connected() },
    doors: doorsOf({ of, standing }),
    configRefused: standing.configRefused,
    jobs: jobs()?.read() ?? null,
    fleet: fleet()?.now() ?? null,
  })

const recordingOf = (
  { of, subjects, instance }: Observed,
  sinks: readonly Recorder[],
): Recording => {
  const { bus, clock, log } = of
  const [metrics, ...others] = sinks
  return recording({
    buffer: of.loaded.config.file.events.buffer,
    sinks: [
      logRecorder(log),
      ...(metrics === undefined ? [] : [metrics]),
      publishEvents({ bus, subjects, instance, clock }),
      ...others,
      ...(of.observer === undefined ? [] : [of.observer]),
    ],
  })
}

/** Callers of the HTTP door need no NATS. */
function doorsOf({ of, standing }: Pick<Observed, 'of' | 'standing'>): Doors {
  const leaving = standing.draining ? ['draining'] : []
  return {
    [of.bus.kind]: [...(of.bus.connected() ? [] : ['NATS is not connected']), ...leaving],
    ...(of.gateway == null ? {} : { http: leaving }),
  }
}

function stallsOf(
  { of: { loopDelay, clock } }: Observed,
  to: { marks: Rooms; metrics: Metrics; recorded: Recorder },
) {
  if (loopDelay === undefined) return null
  return watchStalls({
    clock,
    longestMs: () => loopDelay.longestMs(),
    culprit: () => to.marks.longest(),
    observe: (stall) => to.metrics.stall(stall),
    emit: (event) => to.recorded.record(event),
  })
}

/** The simulated provider's controls, if every request goes to it. */
function panelOf({ of, upstream }: Observed): Panel | null {
  const url = of.env('HEADGATE_SIMULATED_URL')
  if (url === undefined) return null
  const all = Object.keys(of.loaded.config.file.upstreams).map((name) => upstream(name).baseUrl)
  return all.every((one) => one === url) ? simulatedFaults({ baseUrl: url, clock: of.clock }) : null
}

function feedOf(
  { of, instance, loop, jobs, fleet }: Observed,
  from: { snapshot: () => Snapshot; panel: Panel | null },
): Feed {
  const { panel } = from
  const members = fleet()
  return feed({
    instance,
    version: of.version,
    clock: of.clock,
    snapshot: from.snapshot,
    machines: () => loop().machines(),
    lifecycleCounts: () => loop().lifecycleCounts(),
    requests: (asked) => loop().requests(asked),
    loads: () => loop().state.active,
    job: jobs()?.life ?? null,
    fleet: members === null ? null : () => members.whole(),
    quantiles: quantileWindow,
    guardrailWindowMs: () => loop().state.config.file.guardrails.window_seconds * 1_000,
    admin: of.http?.adminToken == null ? 'off' : 'token',
    faults: panel === null ? null : () => panel.lasting(),
    onError: (error) =>
      of.log.error('a frame of the dashboard failed: this is a bug', {
        error: error instanceof Error ? error.name : 'error',
      }),
  })
}
