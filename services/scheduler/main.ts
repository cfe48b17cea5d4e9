/** From an environment to a running scheduler, and back on a signal. Started by `headgate serve` and
 *  `headgate up`, or by itself: `node main.ts`. A parent that talks over IPC hears when it is ready. */
import { readFileSync } from 'node:fs'
import type { ConfigFile } from '#contracts/config'
import { bridge } from './bus-bridge.ts'
import { env, httpTls, natsCreds, natsTls, portOf } from './config/environment.ts'
import { loadConfig } from './config/load.ts'
import { memoryBus } from './memory-bus.ts'
import { memorySettings } from './memory-settings.ts'
import { openCache } from './open-cache.ts'
import { natsBus } from './nats/connection.ts'
import { natsSettings } from './nats/settings.ts'
import { createLog, logLevel, type Log } from './observability/log.ts'
import type { Bus, KeptSettings } from './ports.ts'
import { anthropicProvider } from './provider/anthropic.ts'
import { systemClock, systemDice, systemSoon } from './system.ts'
import { wire, type Wired } from './wire.ts'
import type { GatewayAddress } from './wire-gateway.ts'
import { isLoopback } from './http/guard.ts'

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
  for (const warning of loaded.warnings) log.warn(warning)
  const { file } = loaded.config
  const { bus, settings, connection } = await connect(loaded.config.file, log)
  const { cache } = await openCache({ settings: file.cache, connection, clock: systemClock })
  const host = env('HEADGATE_HOST') ?? '127.0.0.1'
  const tls = httpTls()
  const wired = await wire({
    bus,
    settings,
    cache,
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
    onBug(bug) {
      log.error('a broken invariant: this is a bug', { error: nameOf(bug) })
      log.flush()
      console.error(bug)
      process.exit(70)
    },
  })
  log.info('ready', { at: wired.httpUrl ?? '' })
  if (wired.gatewayUrl !== null) log.info('the HTTP door is open', { at: wired.gatewayUrl })
  if (wired.inspectUrl !== null) log.warn(`the machines can be inspected at ${wired.inspectUrl}`)
  drainOnSignals(wired, log)
  if (process.send === undefined) return
  if (bus.kind === 'memory') bridge(bus, process)
  const ready: ToParent = {
    type: 'ready',
    http: wired.httpUrl,
    inspect: wired.inspectUrl,
    gateway: wired.gatewayUrl,
    config: { subject_prefix: file.subject_prefix, upstreams: file.upstreams },
    instance: wired.instance,
    durable: settings.durable,
    bus: bus.kind,
  }
  process.send(ready)
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
}

async function connect(file: ConfigFile, log: Log): Promise<Connected> {
  if (env('HEADGATE_BUS') === 'memory')
    return { bus: memoryBus(), settings: memorySettings(), connection: null }
  const bus = await natsBus({
    servers: env('NATS_URL') ?? 'nats://127.0.0.1:4222',
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
  const settings = await natsSettings({ connection: bus.connection, fallback: memorySettings })
  if (!settings.durable) log.warn(`settings do not outlive a restart: ${settings.reason ?? ''}`)
  return { bus, settings, connection: bus.connection }
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

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : 'error')

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
