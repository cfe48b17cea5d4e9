/** From an environment to a running scheduler, and back on a signal. Started by `headgate serve` and
 *  `headgate up`, or by itself: `node main.ts`. A parent that talks over IPC hears when it is ready. */
import { readFileSync } from 'node:fs'
import type { ConfigFile } from '#contracts/config'
import { bridge } from './memory/bridge.ts'
import {
  checkUpstreamAddress,
  env,
  fleetMember,
  httpTls,
  misspelt,
  natsCreds,
  natsTls,
  portOf,
} from '#platform/config/environment'
import { loadConfig } from '#platform/config/load'
import { memoryBus } from './memory/bus.ts'
import { memorySettings } from './memory/settings.ts'
import { isGone, openFleet, placeOf, processOf } from './compose/open-fleet.ts'
import { openJobs } from './compose/open-jobs.ts'
import { openCache } from './compose/open-cache.ts'
import { openUsage } from './compose/open-usage.ts'
import { natsBus } from './nats/connection.ts'
import { addresses } from './nats/server-address.ts'
import { natsBudgetStore } from './nats/budget-store.ts'
import { natsSettings } from './nats/settings.ts'
import { SHARED_CONFIG_BUCKET, storeNames } from '#contracts/store-names'
import { framesOf, nameOf } from './observability/faults.ts'
import { createLog, logLevel, type Log } from '#platform/log'
import type { BudgetStore, Bus, KeptSettings, UsageStore } from '#ports'
import { anthropicBatches } from './provider/batches.ts'
import { anthropicProvider } from './provider/anthropic.ts'
import { startLine } from './compose/start-line.ts'
import { systemClock, systemDice, systemLoopDelay, systemSoon } from '#platform/system'
import { wire, type Wired } from './compose/wire.ts'
import type { GatewayAddress } from './compose/wire-gateway.ts'
import { isLoopback } from '#platform/http/guard'

/** What a parent over IPC is told. */
export type ToParent =
  | {
      type: 'ready'
      http: string | null
      inspect: string | null
      gateway: string | null
      /** What a parent must know of the configuration in force. */
      config: { subject_prefix: string; upstreams: Record<string, { base_url: string }> }
      instance: string
      durable: boolean
      bus: string
    }
  | { type: 'failed'; message: string }

/** Sockets per upstream, opened as needed: never the bound that counts, also when a changed configuration
 *  raises the global limit. A call that waited for a socket would wait unseen. */
const CONNECTIONS_MAX = 10_016
/** A cluster has elected its leaders by then; a user who may keep nothing there waits as long. */
const KEPT_WITHIN_MS = 30_000
const KEPT_LOOK_MS = 500
/** EX_SOFTWARE of sysexits.h. */
const EXIT_BUG = 70

try {
  await main()
} catch (error) {
  // What is wrong with the surroundings is said in words; a stack would hide them.
  const message = error instanceof Error ? error.message : String(error)
  if (process.send === undefined) process.stderr.write(`headgate: ${message}\n`)
  else await new Promise((sent) => process.send?.({ type: 'failed', message }, sent))
  process.exit(1)
}

async function main(): Promise<void> {
  const configPath = env('HEADGATE_CONFIG') ?? null
  const loaded = loadConfig({ path: configPath, emergency: false })
  const log = createLog({ level: logLevel(env('LOG_LEVEL')), clock: systemClock })
  for (const warning of [...loaded.warnings, ...misspelt()]) log.warn(warning)
  const { file } = loaded.config
  checkUpstreamAddress()
  const { bus, settings, connection, nats } = await connect(loaded.config.file, log)
  const { cache } = await openCache({
    settings: file.cache,
    prefix: file.subject_prefix,
    connection,
    clock: systemClock,
  })
  const jobs = await openJobs({ file, connection, clock: systemClock })
  if (jobs.kept === null && connection !== null)
    log.warn(`durable jobs are not to be had: ${jobs.reason}`)
  const fleet = await openFleet({ file, connection, clock: systemClock })
  if (fleet.store === null && connection !== null && file.fleet.enabled)
    log.warn(`this instance has the whole of every limit, whoever else runs: ${fleet.reason}`)
  const host = env('HEADGATE_HOST') ?? '127.0.0.1'
  const tls = httpTls()
  const wired = await wire({
    bus,
    settings,
    cache,
    budgets: budgetsAt(file, settings.durable ? connection : null),
    jobs: jobs.kept,
    fleet: fleet.store && {
      store: fleet.store,
      name: fleetMember() ?? file.fleet.member ?? placeOf(portOf('HEADGATE_HTTP_PORT', 8780)),
      ...{ process: processOf(process.pid), isGone },
    },
    batches: anthropicBatches({ clock: systemClock }),
    usage: await usageStore({ file, connection, log }),
    provider: anthropicProvider({
      clock: systemClock,
      connections: CONNECTIONS_MAX,
      retryAfterMaxMs: file.llm_gateway.retry.retry_after_max_ms,
    }),
    loaded,
    configPath,
    clock: systemClock,
    dice: systemDice,
    log,
    http: {
      host,
      port: portOf('HEADGATE_HTTP_PORT', 8780),
      adminToken: env('HEADGATE_ADMIN_TOKEN') ?? null,
      tls,
    },
    gateway: gatewayAt({ host, tls, keyless: loaded.keys.size === 0 }, log),
    inspectPort: env('HEADGATE_INSPECT') === undefined ? null : portOf('HEADGATE_INSPECT', 0),
    version: versionOf(),
    env,
    loopDelay: systemLoopDelay(),
    onBug: (bug) => endByBug(bug, () => wired.abandon(), log),
  })
  // Whatever nobody caught cost one callback or promise, and that is all it may cost.
  process.on('uncaughtException', (error) => wired.fault('process', error))
  process.on('unhandledRejection', (error) => wired.fault('process', error))
  const doors = [
    ['operator', wired.httpUrl],
    ['HTTP', wired.gatewayUrl],
  ] as const
  log.info(startLine({ configPath, config: loaded.config, env, nats, doors }))
  sayReady(wired, log)
  drainOnSignals(wired, log)
  tellParent(wired, { file, bus, durable: settings.durable })
}

/** Null: what is used of budgets is kept in this process, and does not outlive it. */
function budgetsAt(file: ConfigFile, connection: Connected['connection']): BudgetStore | null {
  if (connection === null) return null
  return natsBudgetStore({
    ...{ connection, clock: systemClock, replicas: file.jobs.replicas },
    bucket: storeNames(file.subject_prefix).budgets,
  })
}

async function usageStore(
  of: Omit<Parameters<typeof openUsage>[0], 'clock'> & { log: Log },
): Promise<UsageStore> {
  const store = await openUsage({ ...of, clock: systemClock })
  if (!store.shared && of.connection !== null)
    of.log.warn(`what was used is kept in this process only: ${store.reason}`)
  return store
}

function sayReady(wired: Wired, log: Log): void {
  log.info('ready', { at: wired.httpUrl ?? '' })
  if (wired.gatewayUrl !== null) log.info('the HTTP door is open', { at: wired.gatewayUrl })
  if (wired.inspectUrl !== null) log.warn(`the machines can be inspected at ${wired.inspectUrl}`)
}

/** A parent without a NATS server speaks with us over IPC from here on. */
function tellParent(wired: Wired, of: { file: ConfigFile; bus: Bus; durable: boolean }): void {
  if (process.send === undefined) return
  const { file, bus, durable } = of
  if (bus.kind === 'memory') bridge(bus, process)
  const ready: ToParent = {
    type: 'ready',
    http: wired.httpUrl,
    inspect: wired.inspectUrl,
    gateway: wired.gatewayUrl,
    config: { subject_prefix: file.subject_prefix, upstreams: file.upstreams },
    instance: wired.instance,
    durable,
    bus: bus.kind,
  }
  process.send(ready)
}

let ending = false

/** A broken law of the core: nothing that it says counts any more. Who waits is told so first. */
function endByBug(bug: unknown, abandon: () => Promise<void>, log: Log): void {
  if (ending) return
  ending = true
  log.error('a broken invariant: this is a bug', { error: nameOf(bug), at: framesOf(bug) })
  console.error(bug)
  const end = (): void => {
    log.flush()
    process.exit(EXIT_BUG)
  }
  try {
    void abandon().then(end, end)
  } catch {
    // It has not started yet: nobody waits.
    end()
  }
}

/** Null: none is asked for, or none may be: without a key the door is for this machine only. */
function gatewayAt(
  of: { host: string; tls: GatewayAddress['tls']; keyless: boolean },
  log: Log,
): GatewayAddress | null {
  const asked = env('HEADGATE_GATEWAY')
  if (asked === undefined) return null
  if (asked === 'where allowed' && of.keyless && !isLoopback(of.host)) {
    log.warn('no HTTP door: no tenant has a key, and the address is not for this machine only')
    return null
  }
  return { host: of.host, port: portOf('HEADGATE_GATEWAY_PORT', 8781), tls: of.tls }
}

interface Connected {
  bus: Bus
  settings: KeptSettings
  connection: Parameters<typeof openCache>[0]['connection']
  /** Null: the bus stays in memory. */
  nats: { servers: readonly string[]; version: string } | null
}

async function connect(file: ConfigFile, log: Log): Promise<Connected> {
  if (env('HEADGATE_BUS') === 'memory')
    return { bus: memoryBus(), settings: memorySettings(), connection: null, nats: null }
  const servers = env('NATS_URL') ?? 'nats://127.0.0.1:4222'
  const bus = await natsBus({
    servers,
    user: env('NATS_USER'),
    password: env('NATS_PASSWORD'),
    creds: natsCreds(),
    tls: natsTls(),
    name: 'headgate',
    egressConnections: file.nats.egress_connections,
    headerBytesMax: file.limits.header_bytes,
    clock: systemClock,
    soon: systemSoon,
  })
  bus.onStatus((status) => {
    const about = { name: status.connection }
    if (status.kind === 'reconnected') log.warn('NATS is connected again', about)
    else if (status.kind === 'lost' && status.answers > 0)
      log.error('answers were lost: NATS was away for too long', about)
    else if (status.kind === 'lost') log.info('events were lost while NATS was away', about)
    else if (status.kind === 'disconnected')
      log.error('NATS is away: what was sent to us meanwhile is lost to its sender', about)
    else log.warn(`NATS: ${status.kind}`, about)
  })
  const settings = await natsSettings({
    connection: bus.connection,
    clock: systemClock,
    ...{ bucket: storeNames(file.subject_prefix).config, replicas: file.jobs.replicas },
    olderBucket: SHARED_CONFIG_BUCKET,
  })
  await firstKept(settings, bus.connection)
  if (!settings.durable)
    log.warn(`what an operator switches does not outlive a restart for now: ${settings.reason}`)
  const nats = { servers: addresses({ servers }).servers, version: bus.serverVersion }
  return { bus, settings, connection: bus.connection, nats }
}

/** A cluster that has just started has to find its leader before it keeps anything, and what is not there at our start
 *  is done without until the next one. A single server keeps things from its first connection on, or never. */
async function firstKept(
  settings: KeptSettings,
  { info }: { info?: { jetstream?: boolean; cluster?: string } | undefined },
): Promise<void> {
  if (info?.jetstream !== true || info.cluster === undefined) return
  for (let waited = 0; !settings.durable && waited < KEPT_WITHIN_MS; waited += KEPT_LOOK_MS) {
    await new Promise<void>((resolve) => void systemClock.after(KEPT_LOOK_MS, resolve))
    await settings.get('emergency').catch(() => {})
  }
}

/** The first signal drains, the second one hurries, the third is the end. */
function drainOnSignals(wired: Wired, log: Log): void {
  let signals = 0
  const onSignal = (): void => {
    signals++
    if (signals === 1) {
      log.info('draining')
      void wired.stop().then(() => {
        log.info('stopped')
        log.flush()
        process.exit(0)
      })
    } else if (signals === 2) wired.hurry()
    else process.exit(1)
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  // A parent that is gone can no longer stop us.
  if (process.send !== undefined) process.on('disconnect', () => process.emit('SIGTERM'))
}

/** The package's own; found from the source tree and from `dist/`. */
function versionOf(): string {
  for (const up of ['../../package.json', '../../../package.json']) {
    try {
      const text = readFileSync(new URL(up, import.meta.url), 'utf8')
      const { version } = JSON.parse(text) as { version?: string }
      if (version !== undefined) return version
    } catch {
      continue
    }
  }
  return '0.0.0'
}
