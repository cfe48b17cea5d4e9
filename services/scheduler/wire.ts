/** The composition root: sees every room, decides nothing. Builds the scheduler from its parts and
 *  gives them back in order. */
import { randomBytes } from 'node:crypto'
import { resolve as resolveConfig, type Config } from '#contracts/config'
import { makeId } from '#contracts/ids'
import { refusal } from '#contracts/messages'
import { subjects as subjectsOf } from '#contracts/subjects'
import { loadConfig, type Loaded } from './config/load.ts'
import { watchConfig } from './config/watch.ts'
import { startHttp } from './http/server.ts'
import { Loop } from './loop.ts'
import { discovery, SERVICE_NAME } from './nats/discovery.ts'
import { intake } from './nats/intake.ts'
import { outbox } from './nats/outbox.ts'
import { guardrails, watchGuardrails, type Guardrails } from './observability/guardrails.ts'
import { logRecorder, type Log } from './observability/log.ts'
import { createMetrics } from './observability/metrics.ts'
import { publishEvents, recording, type Recording } from './observability/record.ts'
import {
  OperatorError,
  type AttemptCall,
  type Bus,
  type Clock,
  type Dice,
  type KeptSettings,
  type Operator,
  type Provider,
} from './ports.ts'
import { snapshotOf } from './snapshot.ts'

/** Keys of `headgate_config`. */
const EMERGENCY_KEY = 'emergency'
const PAUSED_KEY = 'paused_lanes'
/** Long enough for another instance to answer on the same network. */
const PEER_ANSWER_MS = 150

export interface WireOptions {
  bus: Bus
  settings: KeptSettings
  provider: Provider
  loaded: Loaded
  /** Null: no file to watch. */
  configPath: string | null
  clock: Clock
  dice: Dice
  log: Log
  http: { host: string; port: number; adminToken: string | null } | null
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
  let loaded = of.loaded
  let emergency = false
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
    process: true,
  })
  const recorded: Recording = recording({
    buffer: file.events.buffer,
    sinks: [
      logRecorder(log),
      metrics,
      publishEvents({ bus, subjects, instance, clock }),
      { record: (event) => watch.record(event) },
    ],
  })
  const watch = watchGuardrails({ monitor: () => monitor, emit: recorded, clock })

  // ---- the scheduler ----
  const loop = new Loop({
    config: loaded.config,
    clock,
    dice: of.dice,
    provider: of.provider,
    recorder: recorded,
    upstream: upstreams(() => loop.state.config, of.env),
    runner: of.runner ?? 'actors',
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

  // ---- configuration in force ----
  const apply = (next: Loaded): void => {
    if (next.config.file.subject_prefix !== file.subject_prefix)
      log.warn('subject_prefix changed: it takes effect at the next start')
    loaded = next
    const { config } = resolveConfig(next.config.file, { emergency })
    const { guardrails: settings } = config.file
    if (JSON.stringify(settings) !== JSON.stringify(loop.state.config.file.guardrails))
      monitor = guardrails({ settings, lanes: config.lanes })
    loop.configure(config)
    for (const warning of next.warnings) log.warn(warning)
  }
  const pausedLanes = new Set<string>()
  const obey = (key: string, value: string): void => {
    if (key === EMERGENCY_KEY && (value === 'on') !== emergency) {
      emergency = value === 'on'
      apply(loaded)
      log.warn(emergency ? 'the emergency block is on' : 'the emergency block is off')
    }
    if (key !== PAUSED_KEY) return
    const paused = new Set<string>(value === '' ? [] : value.split(','))
    for (const lane of loop.state.lanes) {
      const { name } = lane.config
      if (paused.has(name) === lane.paused) continue
      loop.pause(name, paused.has(name))
      log.warn(paused.has(name) ? 'a lane is paused' : 'a lane runs again', { lane: name })
    }
    pausedLanes.clear()
    for (const name of paused) pausedLanes.add(name)
  }
  // What was said before this start is in force from its first request on.
  for (const key of [EMERGENCY_KEY, PAUSED_KEY]) {
    const said = await of.settings.get(key)
    if (said !== null) obey(key, said)
  }
  await of.settings.watch(obey)

  // ---- doors ----
  const operator: Operator = {
    snapshot,
    async config(yaml) {
      if (yaml === null) return configInForce(loop.state.config)
      let next: Loaded
      try {
        next = loadConfig({ path: null, text: yaml, emergency })
      } catch (error) {
        throw new OperatorError(error instanceof Error ? error.message : 'unreadable')
      }
      apply(next)
      return { applied: true, warnings: next.warnings }
    },
    async emergency(on) {
      await of.settings.put(EMERGENCY_KEY, on ? 'on' : 'off')
      obey(EMERGENCY_KEY, on ? 'on' : 'off')
      return { emergency: on, durable: of.settings.durable }
    },
    async lane({ lane, paused }) {
      if (!loop.state.lanesByName.has(lane)) {
        const names = loop.state.lanes.map((one) => one.config.name).join(', ')
        throw new OperatorError(`no such lane; there are ${names}`)
      }
      const next = new Set(pausedLanes)
      if (paused) next.add(lane)
      else next.delete(lane)
      const value = [...next].sort().join(',')
      await of.settings.put(PAUSED_KEY, value)
      obey(PAUSED_KEY, value)
      return { lane, paused, durable: of.settings.durable }
    },
    async drain() {
      void startDrain()
      return { draining: true, drain_ms: loop.state.config.file.drain_ms }
    },
  }
  const out = outbox({ bus, clock, pingMs: () => loop.state.config.file.nats.ping_ms })
  const upstream = upstreams(() => loop.state.config, of.env)
  const doors = intake({
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
  bus.onNobody((probe) => {
    const slash = probe.indexOf('/')
    loop.gone(probe.slice(0, slash), probe.slice(slash + 1))
  })
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
          emergency: () => emergency,
          clock,
          onChange(change) {
            if (change.ok) {
              apply(change.loaded)
              log.info('the changed configuration is in force')
            } else
              log.error(
                `the changed configuration is refused, the old one stays: ${change.error.message}`,
              )
          },
        })
  const http =
    of.http === null
      ? null
      : await startHttp({
          ...of.http,
          operator,
          recorder: recorded,
          metrics,
          clock,
          ready: () => [
            ...(bus.connected() ? [] : ['NATS is not connected']),
            ...(draining ? ['draining'] : []),
          ],
        })

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
    await found.close()
    watch.close()
    await bus.flush().catch(() => log.warn('NATS is away: the last answers may not have left'))
    await http?.close()
    loop.stop()
    await of.provider.close()
    await of.settings.close()
    await bus.close()
  }

  return {
    instance,
    httpUrl: http?.url ?? null,
    loop,
    operator,
    recording: recorded,
    hurry: () => loop.hurry(),
    stop: () => (stopped ??= end()),
  }
}

const AUX_TIMEOUT_MS = 55_000

/** The wire's view of an upstream, made once per configuration: reading the environment is slow. A key
 *  stands in the environment and nowhere else. */
function upstreams(
  config: () => Config,
  env: (name: string) => string | undefined,
): (name: string) => AttemptCall['upstream'] {
  const known = new Map<string, { upstream: AttemptCall['upstream']; of: Config }>()
  return (name) => {
    const now = config()
    const last = known.get(name)
    // A route that is no longer configured serves what it holds at its old address.
    if (last !== undefined && (last.of === now || !(name in now.file.upstreams)))
      return last.upstream
    const upstream = read(now.file.upstreams, name, env)
    known.set(name, { upstream, of: now })
    return upstream
  }
}

function read(
  all: Config['file']['upstreams'],
  name: string,
  env: (name: string) => string | undefined,
): AttemptCall['upstream'] {
  const found = all[name]
  if (found === undefined) throw new Error(`no upstream ${name}`)
  const first = Object.keys(all)[0] === name
  const elsewhere = first && found.base_url === PUBLIC_API ? env('ANTHROPIC_BASE_URL') : undefined
  return {
    name,
    baseUrl: elsewhere ?? found.base_url,
    apiKey: env(found.api_key_env) ?? null,
    version: found.version,
  }
}

const PUBLIC_API = 'https://api.anthropic.com'

/** The file in force; of the tenants' keys only how many there are. */
function configInForce(config: Config): unknown {
  const tenants = Object.fromEntries(
    Object.entries(config.file.tenants).map(([name, tenant]) => [
      name,
      typeof tenant === 'object' && 'keys' in tenant
        ? { ...tenant, keys: `${tenant.keys.length} hashed` }
        : tenant,
    ]),
  )
  return { emergency: config.emergency, file: { ...config.file, tenants } }
}

interface Peer {
  id?: string
  metadata?: { draining?: string }
}

/** Asks by service discovery whether another instance serves, and means to go on. */
function hasPeer(bus: Bus, clock: Clock, instance: string): Promise<boolean> {
  if (bus.kind === 'memory' || !bus.connected()) return Promise.resolve(false)
  return new Promise((resolve) => {
    const inbox = `_INBOX.${instance}.peers`
    const end = (found: boolean): void => {
      cancel()
      void subscription.drain()
      resolve(found)
    }
    const subscription = bus.subscribe(inbox, (message) => {
      if (message.data.length === 0) return
      const { id, metadata } = JSON.parse(Buffer.from(message.data).toString()) as Peer
      if (id !== instance && metadata?.draining === undefined) end(true)
    })
    const cancel = clock.after(PEER_ANSWER_MS, () => end(false))
    bus.publish(`$SRV.PING.${SERVICE_NAME}`, '', { reply: inbox })
  })
}
