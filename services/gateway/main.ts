/** The HTTP door as a process of its own, before any Headgate that serves NATS_URL. Started by
 *  `headgate gateway`, or by itself: `node main.ts`. A parent that talks over IPC hears when it is ready. */
import { clientSystem, natsTransport } from '#client'
import { afterStart, changesThatTake, listed } from '#platform/config/changes'
import { hashOfKey, loadConfig, type Loaded } from '#platform/config/load'
import { watchConfig } from '#platform/config/watch'
import { env, httpTls, natsCreds, natsTls, portOf } from '#platform/config/environment'
import { createLog, logLevel, type Log } from '#platform/log'
import { connectDoor } from './door-client.ts'
import { HEADER_BYTES_MAX, startGateway, type Gateway } from './gateway.ts'

/** What a parent over IPC is told. */
export type ToParent = { type: 'ready'; gateway: string } | { type: 'failed'; message: string }

try {
  await main()
} catch (error) {
  const message = error instanceof Error ? error.message : String(error)
  if (process.send === undefined) process.stderr.write(`headgate gateway: ${message}\n`)
  else await new Promise((sent) => process.send?.({ type: 'failed', message }, sent))
  process.exit(1)
}

async function main(): Promise<void> {
  const path = env('HEADGATE_CONFIG') ?? null
  let loaded = loadConfig({ path, emergency: false })
  const worker = workerOf(env('HEADGATE_GATEWAY_WORKER'))
  const log = createLog({ level: logLevel(env('LOG_LEVEL')), clock: clientSystem, worker })
  for (const warning of loaded.warnings) log.warn(warning)
  const { file } = loaded.config
  // What is wrong here is told before anybody is called.
  const tls = httpTls()
  const transport = await dial()
  const client = await connectDoor(file, { transport })
  let draining = false
  const carried = transport.maxPayload - HEADER_BYTES_MAX
  const gateway = await startGateway({
    host: env('HEADGATE_HOST') ?? '127.0.0.1',
    port: portOf('HEADGATE_GATEWAY_PORT', 8781),
    shared: worker !== undefined,
    tls,
    client,
    keyless: () => loaded.keys.size === 0,
    tenantOf: (key) => loaded.keys.get(hashOfKey(key)) ?? null,
    lanesOf: (tenant) => loaded.config.tenants.named.get(tenant)?.lanes ?? null,
    timeoutOf: (lane) => loaded.config.lanes.find(({ name }) => name === lane)?.timeoutMs ?? null,
    settings: () => loaded.config.file.gateway,
    // What the server would not carry is too large, and never "unreachable".
    requestBytesMax: Math.min(file.limits.request_bytes, carried),
    requestBytesBy:
      carried < file.limits.request_bytes
        ? "the NATS server's max_payload"
        : 'limits.request_bytes',
    ready: () => [
      ...(transport.isReady?.() !== false ? [] : ['NATS is not connected']),
      ...(draining ? ['draining'] : []),
    ],
    lastWords: {
      drainMs: () => loaded.config.file.drain_ms,
      // Every call that is open is answered that it is over.
      say: () => void client.close(),
    },
    system: clientSystem,
    onFault: (error) => log.error('a fault of the door: this is a bug', { error: error.name }),
  })
  // Whatever nobody caught cost one callback or promise, and that is all it may cost.
  const uncaught = (error: unknown): void =>
    log.error('a fault that nobody caught: this is a bug', {
      error: error instanceof Error ? error.name : 'no Error',
    })
  process.on('uncaughtException', uncaught)
  process.on('unhandledRejection', uncaught)
  const stopWatching = watch({ path, loaded, log, apply: (next) => (loaded = next) })
  log.info('ready', { at: gateway.url })
  endOnSignals(log, {
    async stop() {
      draining = true
      stopWatching()
      await end(gateway)
      await client.close()
      await transport.close()
    },
    hurry: () => void client.close(),
  })
  process.send?.({ type: 'ready', gateway: gateway.url } satisfies ToParent)
}

function dial(): ReturnType<typeof natsTransport> {
  return natsTransport({
    servers: env('NATS_URL') ?? 'nats://127.0.0.1:4222',
    user: env('NATS_USER'),
    password: env('NATS_PASSWORD'),
    creds: natsCreds(),
    tls: natsTls(),
    name: 'headgate gateway',
    system: clientSystem,
  })
}

/** Which of the doors at one port it is, as `headgate` counts them; undefined: it is alone there. */
function workerOf(text: string | undefined): number | undefined {
  const worker = Number(text)
  return Number.isInteger(worker) && worker > 0 ? worker : undefined
}

const end = (gateway: Gateway): Promise<void> => gateway.close()

/** Keys come and go with the file. */
function watch(of: {
  path: string | null
  loaded: Loaded
  log: Log
  apply: (next: Loaded) => void
}): () => void {
  const { path, loaded, log } = of
  if (path === null) return () => {}
  const watching = watchConfig({
    path,
    text: loaded.text,
    emergency: () => false,
    clock: clientSystem,
    onChange(change) {
      if (change.ok) {
        const { config, keys, warnings } = change.loaded
        if (keys.size === 0)
          log.warn('the configuration has no HTTP key: every caller with one is refused')
        const before = loaded.config.file
        const later = changesThatTake('restart', { before, after: config.file })
        if (later.length > 0) log.warn(`${listed(later)}: in force from the next start on`)
        for (const warning of warnings) log.warn(warning)
        const file = afterStart(before, config.file)
        of.apply({ ...change.loaded, config: { ...config, file } })
        const now = changesThatTake('file', { before, after: config.file })
        const what = now.length === 0 ? 'no key is another' : listed(now)
        log.info(`the changed configuration is in force: ${what}`)
      } else
        log.error(
          `the changed configuration is refused, the old one stays: ${change.error.message}`,
        )
    },
  })
  return () => watching.close()
}

/** What a scheduler that was hurried too says of the calls under way has this long to reach us; then we say it. */
const LAST_WORDS_MS = 1_000
/** And what was said so long to leave. */
const HURRIED_MS = 5_000

/** The first signal lets what is under way end, the second one waits for last words only, the third one for nothing. */
function endOnSignals(log: Log, of: { stop: () => Promise<void>; hurry: () => void }): void {
  let signals = 0
  const onSignal = (): void => {
    signals++
    if (signals === 2) {
      clientSystem.after(LAST_WORDS_MS, of.hurry)
      clientSystem.after(HURRIED_MS, () => process.exit(1))
    }
    if (signals > 2) process.exit(1)
    if (signals > 1) return
    log.info('stopping')
    void of.stop().then(() => {
      log.flush()
      process.exit(0)
    })
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  // A parent that is gone can no longer stop us.
  if (process.send !== undefined) process.on('disconnect', onSignal)
}
