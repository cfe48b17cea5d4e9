/** The composition root: sees every room, decides nothing. Builds the scheduler from its parts and
 *  gives them back in order. */
import { randomBytes } from 'node:crypto'
import type { Config } from '#contracts/config'
import { makeId } from '#contracts/ids'
import { refusal } from '#contracts/messages'
import { subjects as subjectsOf } from '#contracts/subjects'
import { feed, pageFiles } from '#dashboard'
import { inspection, type Inspection } from '#machines/inspection'
import type { Loaded } from './config/load.ts'
import { watchConfig } from './config/watch.ts'
import { dashboardDoor } from './http/dashboard-door.ts'
import { startHttp } from './http/server.ts'
import { Loop } from './loop.ts'
import { discovery, hasPeer } from './nats/discovery.ts'
import { intake, type Intake } from './nats/intake.ts'
import { outbox } from './nats/outbox.ts'
import { guardrails, watchGuardrails, type Guardrails } from './observability/guardrails.ts'
import { logRecorder, type Log } from './observability/log.ts'
import { createMetrics } from './observability/metrics.ts'
import { quantileWindow } from './observability/quantile-window.ts'
import { publishEvents, recording, type Recording } from './observability/record.ts'
import { TraceRecorder } from './observability/trace.ts'
import {
  type Bus,
  type Cache,
  type Clock,
  type Dice,
  type KeptSettings,
  type Operator,
  type Provider,
  type Recorder,
} from './ports.ts'
import { operatorDesk } from './operator-desk.ts'
import { memoryBus } from './memory-bus.ts'
import { simulatedFaults } from './provider/simulated-faults.ts'
import { snapshotOf } from './snapshot.ts'
import { upstreams } from './upstreams.ts'
import { LOCAL_MAX_PAYLOAD_BYTES, wireGateway, type GatewayAddress } from './wire-gateway.ts'

/** For what an OpenTelemetry SDK of the process has not sent yet. */
const SPANS_FLUSH_MS = 2_000
/** Ends before the door's own patience does. */
const AUX_TIMEOUT_MS = 55_000

export interface WireOptions {
  bus: Bus
  settings: KeptSettings
  /** Earlier answers, for those who rather have one than none; null or absent: none are kept. */
  cache?: Cache | null
  provider: Provider
  loaded: Loaded
  /** Null: no file to watch. */
  configPath: string | null
  clock: Clock
  dice: Dice
  log: Log
  http: {
    host: string
    port: number
    adminToken: string | null
    tls?: { cert: string; key: string } | null
  } | null
  /** The HTTP door in this process; null or absent: none. */
  gateway?: GatewayAddress | null
  /** Where the machines are offered to Stately's inspector, on loopback; null or absent: nowhere. */
  inspectPort?: number | null
  /** Who watches the machines in this process, instead of an inspector. */
  inspection?: Inspection
  /** Hears every event, after everybody else. */
  observer?: Recorder
  version: string
  /** The environment's word on upstreams: keys by variable, and another address for the first one. */
  env: (name: string) => string | undefined
  runner?: 'actors' | 'tables'
  /** A broken invariant. */
  onBug: (error: unknown) => void
}

export interface Wired {
  readonly instance: string
  readonly httpUrl: string | null
  readonly inspectUrl: string | null
  readonly gatewayUrl: string | null
  readonly loop: Loop
  readonly operator: Operator
  readonly recording: Recording
  /** Takes nothing new, lets running requests end within `drain_ms`, gives everything back. */
  stop(): Promise<void>
  /** Ends what still runs, now. */
  hurry(): void
}

export async function wire(of: WireOptions): Promise<Wired> {
  const { bus, clock, log } = of
  const instance = randomBytes(6).toString('hex')
  const startedAt = clock.now()
  const { loaded } = of
  let draining = false
  /** From the moment that a stop is asked for: no peer should count on us. */
  let leaving = false
  const file = loaded.config.file
  const subjects = subjectsOf(file.subject_prefix)

  // ---- observers ----
  let monitor: Guardrails = guardrails({ settings: file.guardrails, lanes: loaded.config.lanes })
  const metrics = createMetrics({
    config: () => loop.state.config,
    snapshot: () => snapshot(),
    guardrails: () => monitor,
    clock,
    version: of.version,
    // Of a process that is not ours the figures are not ours to collect.
    process: of.http !== null,
  })
  const traces = new TraceRecorder({ version: of.version })
  const recorded: Recording = recording({
    buffer: file.events.buffer,
    sinks: [
      logRecorder(log),
      metrics,
      publishEvents({ bus, subjects, instance, clock }),
      traces,
      { record: (event) => watch.record(event) },
      { record: (event) => dashboard?.record(event) },
      ...(of.observer === undefined ? [] : [of.observer]),
    ],
  })
  const watch = watchGuardrails({ monitor: () => monitor, emit: recorded, clock })

  // ---- the scheduler ----
  const upstream = upstreams(() => loop.state.config, of.env)
  const inspectPort = of.inspectPort ?? null
  const watching =
    of.inspection ?? (inspectPort === null ? null : inspection({ wall: () => clock.wall() }))
  const loop = new Loop({
    config: loaded.config,
    clock,
    dice: of.dice,
    provider: of.provider,
    recorder: recorded,
    upstream,
    cache: of.cache ?? null,
    runner: of.runner ?? 'actors',
    inspection: watching,
    onBug: of.onBug,
  })
  const snapshot = () =>
    snapshotOf({
      loop,
      guardrails: monitor.readings(clock.now()),
      clock,
      instance,
      version: of.version,
      startedAt,
      bus: { kind: bus.kind, connected: bus.connected() },
    })

  const faults = simulatedAt(loaded.config, upstream, of.env('HEADGATE_SIMULATED_URL'))
  const panel = faults === null ? null : simulatedFaults({ baseUrl: faults, clock })
  const dashboard =
    of.http === null
      ? null
      : feed({
          instance,
          version: of.version,
          clock,
          snapshot,
          machines: () => loop.machines(),
          lifecycleCounts: () => loop.lifecycleCounts(),
          requests: (asked) => loop.requests(asked),
          loads: () => loop.state.active,
          quantiles: quantileWindow,
          guardrailWindowMs: () => loop.state.config.file.guardrails.window_seconds * 1_000,
          admin: of.http.adminToken === null ? 'off' : 'token',
          faults: panel === null ? null : () => panel.lasting(),
          onError: (error) =>
            log.error('a frame of the dashboard failed: this is a bug', {
              error: error instanceof Error ? error.name : 'error',
            }),
        })

  // ---- doors ----
  const desk = operatorDesk({
    loop,
    settings: of.settings,
    loaded: of.loaded,
    log,
    snapshot,
    onConfig({ file: { guardrails: settings }, lanes }) {
      if (JSON.stringify(settings) !== JSON.stringify(loop.state.config.file.guardrails))
        monitor = guardrails({ settings, lanes })
    },
    startDrain: () => void startDrain(),
  })
  const { operator } = desk
  await desk.open()
  const openDoors = (bus: Bus): Intake => {
    const out = outbox({ bus, clock, pingMs: () => loop.state.config.file.nats.ping_ms })
    bus.onNobody((probe) => {
      const slash = probe.indexOf('/')
      loop.gone(probe.slice(0, slash), probe.slice(slash + 1))
    })
    return intake({
      bus,
      subjects,
      scheduler: loop,
      operator,
      outbox: out,
      clock,
      makeId: () => makeId(() => of.dice.next()),
      instance,
      limits: () => {
        const now = loop.state.config.file
        return {
          requestBytes: now.limits.request_bytes,
          replyPrefixes: now.nats.reply_prefixes,
          auxInflightMax: now.aux_inflight_max,
        }
      },
      async aux({ kind, tenant, body, headers }) {
        if (draining) return { refusal: refusal('draining', 'this instance is stopping') }
        const { tenants, routeDefaults } = loop.state.config
        if (tenants.unknown === 'reject' && tenant !== 'default' && !tenants.named.has(tenant))
          return { refusal: refusal('forbidden', 'the tenant is not in the configuration') }
        const call = { kind, body, headers, timeoutMs: AUX_TIMEOUT_MS }
        return of.provider.aux({ ...call, upstream: upstream(routeDefaults.upstream) })
      },
      onError: of.onBug,
    })
  }
  const doors = openDoors(bus)
  const found = discovery({
    bus,
    clock,
    id: instance,
    version: of.version,
    endpoints: doors.endpoints,
    metadata: () => (leaving ? { draining: 'true' } : {}),
  })
  const watched =
    of.configPath === null
      ? null
      : watchConfig({
          path: of.configPath,
          text: loaded.text,
          emergency: desk.emergency,
          clock,
          onChange(change) {
            if (change.ok) {
              desk.apply(change.loaded)
              log.info('the changed configuration is in force')
            } else
              log.error(
                `the changed configuration is refused, the old one stays: ${change.error.message}`,
              )
          },
        })
  const ready = (): string[] => [
    ...(bus.connected() ? [] : ['NATS is not connected']),
    ...(draining ? ['draining'] : []),
  ]
  const http =
    of.http === null
      ? null
      : await startHttp({
          ...of.http,
          operator,
          recorder: recorded,
          metrics,
          clock,
          ...(panel === null ? {} : { fault: (ask) => panel.set(ask) }),
          mount(app) {
            if (dashboard !== null) dashboardDoor(app, { files: pageFiles(), feed: dashboard })
          },
          ready,
        })

  const local = bus.kind === 'memory' ? bus : memoryBus({ maxPayload: LOCAL_MAX_PAYLOAD_BYTES })
  const localDoors = of.gateway == null || local === bus ? null : openDoors(local)
  const gateway =
    of.gateway == null
      ? null
      : await wireGateway({
          ...of.gateway,
          bus: local,
          file: () => loop.state.config.file,
          keys: () => desk.keys(),
          // Its callers need no NATS.
          ready: () => (draining ? ['draining'] : []),
          clock,
          dice: of.dice,
          onFault: of.onBug,
        })

  const inspector =
    inspectPort === null || watching === null
      ? null
      : await (
          await import('./http/inspect-door.ts')
        ).startInspectDoor({ port: inspectPort, source: watching })

  // ---- the end ----
  let drained: Promise<void> | null = null
  /** Where another instance serves, requests are left to it; alone, each new one is told `draining`. */
  const startDrain = (): Promise<void> =>
    (drained ??= (async () => {
      leaving = true
      if (await hasPeer(bus, clock, instance)) await doors.drainRequests()
      draining = true
      await loop.drain()
    })())

  let stopped: Promise<void> | null = null
  const end = async (): Promise<void> => {
    watched?.close()
    await startDrain()
    await doors.close()
    await localDoors?.close()
    await gateway?.close()
    await found.close()
    watch.close()
    await bus.flush().catch(() => log.warn('NATS is away: the last answers may not have left'))
    dashboard?.close()
    await inspector?.close()
    await http?.close()
    loop.stop()
    await within(clock, SPANS_FLUSH_MS, traces.flush())
    await of.provider.close()
    await of.settings.close()
    await of.cache?.close()
    await bus.close()
  }

  return {
    instance,
    httpUrl: http?.url ?? null,
    inspectUrl: inspector?.url ?? null,
    gatewayUrl: gateway?.url ?? null,
    loop,
    operator,
    recording: recorded,
    hurry: () => loop.hurry(),
    stop: () => (stopped ??= end()),
  }
}

/** Resolves when it does, or when the time is up. */
function within(clock: Clock, ms: number, work: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const stop = clock.after(ms, resolve)
    void work.then(() => {
      stop()
      resolve()
    })
  })
}

/** Where the simulated provider's controls are, if every request goes to it. */
function simulatedAt(
  config: Config,
  upstream: (name: string) => { baseUrl: string },
  url: string | undefined,
): string | null {
  if (url === undefined) return null
  const all = Object.keys(config.file.upstreams).map((name) => upstream(name).baseUrl)
  return all.every((one) => one === url) ? url : null
}
