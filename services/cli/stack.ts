/** Everything that `headgate up` starts, as one thing: a nats-server, a simulated provider, a scheduler.
 *  They end in the reverse order: the scheduler drains while its upstream and its bus are still there. */
import { connectHeadgate, natsTransport, type Headgate, type Transport } from '#client'
import { bridgeTransport } from './bridge-transport.ts'
import { GATEWAY_PORT, HTTP_PORT, NATS_PORT } from './default-ports.ts'
import { dialing } from './dialing.ts'
import { freePort } from './free-port.ts'
import { startNatsServer, type NatsServer } from './nats-server.ts'
import { sayEnd, startProgram, type Program } from './program.ts'
import { after, secret } from '#platform/system'
import { env, Failure, messageOf } from './terminal.ts'

export interface StackOptions {
  configPath: string | undefined
  /** Exactly this port; absent: 4222 or the next free one. */
  natsPort: number | undefined
  /** Exactly this port; absent: 8780 or the next free one. */
  httpPort: number | undefined
  /** The HTTP door: exactly this port, or 8781 or the next free one; null: none. */
  gateway: { port: number | undefined } | null
  /** Null: the real upstream. */
  simulated: Record<string, unknown> | null
  /** When the environment has no word on it. */
  logLevel: string
  /** Where the machines are offered to an inspector; undefined: nowhere. */
  inspect?: string | undefined
}

export interface Stack {
  /** Null: no server is to be had, and the bus stays between the scheduler and us. */
  readonly nats: { url: string; source: string } | null
  /** Why there is no server. */
  readonly noNats: string | null
  readonly httpUrl: string
  /** Of the Anthropic-compatible door; null: there is none. */
  readonly gatewayUrl: string | null
  /** Null: the machines are offered to no inspector. */
  readonly inspectUrl: string | null
  readonly adminToken: { token: string; made: boolean }
  readonly simulatedUrl: string | null
  /** The configuration's. */
  readonly subjectPrefix: string
  /** Every address that requests go to. */
  readonly upstreams: readonly string[]
  /** A way to the bus; whoever opens it closes it. */
  transport(): Promise<Transport>
  /** With an inbox that serves every tenant. */
  connect(of: { tenant: string; callsMax?: number; transport?: Transport }): Promise<Headgate>
}

/** A server that keeps ending has a reason that a restart does not mend. */
const NATS_RESTARTS_MAX = 5

/** Somebody asked us to stop before everything was there. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
}

export interface StackKeeper {
  start(): Promise<Stack>
  /** Resolves with a line when a program ends that nobody asked to. */
  readonly died: Promise<string>
  /** Lets what runs end, then gives everything back. */
  stop(): Promise<void>
  /** No more patience. */
  hurry(): void
}

export function keepStack(options: StackOptions): StackKeeper {
  const parts = keepParts()
  let starting: Promise<unknown> = Promise.resolve()
  return {
    start() {
      const started = startStack(options, parts)
      starting = started
      return started
    },
    died: parts.died,
    stop: () => parts.stop(starting),
    hurry: () => parts.hurry(),
  }
}

async function startStack(options: StackOptions, parts: Parts): Promise<Stack> {
  const nats = await findNats(options, parts)
  const simulated =
    options.simulated === null
      ? null
      : await parts.start<{ url: string }>({
          name: 'simulated provider',
          args: [JSON.stringify(options.simulated)],
        })
  const simulatedUrl = simulated?.ready.url ?? null
  const given = env('HEADGATE_ADMIN_TOKEN')
  const adminToken = { token: given ?? secret(), made: given === undefined }
  const scheduler = await onFreePorts(options, parts, {
    HEADGATE_CONFIG: options.configPath ?? env('HEADGATE_CONFIG'),
    HEADGATE_ADMIN_TOKEN: adminToken.token,
    HEADGATE_BUS: nats.url === null ? 'memory' : undefined,
    HEADGATE_INSPECT: options.inspect,
    LOG_LEVEL: env('LOG_LEVEL') ?? options.logLevel,
    ...(nats.url === null ? {} : { NATS_URL: nats.url }),
    // A server of our own speaks plain text on loopback.
    ...(env('NATS_URL') === undefined
      ? { NATS_CA: undefined, NATS_CERT: undefined, NATS_KEY: undefined }
      : {}),
    // A key of yours never leaves for a simulated provider.
    ...(simulatedUrl === null
      ? {}
      : {
          ANTHROPIC_BASE_URL: simulatedUrl,
          ANTHROPIC_API_KEY: 'simulated',
          HEADGATE_SIMULATED_URL: simulatedUrl,
        }),
  })
  const httpUrl = scheduler.ready.http ?? ''
  const { config } = scheduler.ready
  const { channel } = scheduler.program
  const transport = async (): Promise<Transport> =>
    nats.url === null
      ? bridgeTransport(channel)
      : natsTransport(dialing(nats.url, { own: nats.own }))
  return {
    nats: nats.url === null ? null : { url: nats.url, source: nats.source },
    noNats: nats.url === null ? nats.reason : null,
    httpUrl,
    gatewayUrl: scheduler.ready.gateway,
    inspectUrl: scheduler.ready.inspect,
    adminToken,
    simulatedUrl,
    subjectPrefix: config.subject_prefix,
    upstreams: upstreamsOf(config, simulatedUrl ?? env('ANTHROPIC_BASE_URL')),
    transport,
    async connect({ tenant, callsMax, transport: theirs }) {
      const own = theirs ?? (await transport())
      const client = await connectHeadgate({
        tenant,
        transport: own,
        inboxPrefix: '_INBOX',
        subjectPrefix: config.subject_prefix,
        ...(callsMax === undefined ? {} : { callsMax }),
      })
      if (theirs !== undefined) return client
      return { ...client, close: () => client.close().then(() => own.close()) }
    },
  }
}

interface SchedulerReady {
  config: ConfigFile
  http: string | null
  inspect: string | null
  gateway: string | null
}

const PORTS_TRIED_MAX = 5

/** A port that was free a moment ago may be somebody else's now; one that you named is yours to mend. */
async function onFreePorts(
  options: StackOptions,
  parts: Parts,
  given: Record<string, string | undefined>,
): Promise<{ program: Program<SchedulerReady>; ready: SchedulerReady }> {
  const named = [
    ...((options.httpPort ?? env('HEADGATE_HTTP_PORT')) === undefined ? [] : ['HTTP']),
    ...((options.gateway?.port ?? env('HEADGATE_GATEWAY_PORT')) === undefined ? [] : ['GATEWAY']),
  ]
  for (let tried = 1; ; tried++) {
    const http = await httpPort(options)
    const ports = {
      HEADGATE_HTTP_PORT: String(http),
      ...(options.gateway === null
        ? { HEADGATE_GATEWAY: undefined }
        : {
            HEADGATE_GATEWAY: 'where allowed',
            HEADGATE_GATEWAY_PORT: String(await gatewayPort(options.gateway, http)),
          }),
    }
    try {
      return await parts.start<SchedulerReady>({ name: 'scheduler', env: { ...given, ...ports } })
    } catch (error) {
      const taken = /^HEADGATE_(HTTP|GATEWAY)_PORT: .* is in use/.exec(messageOf(error))?.[1]
      if (taken === undefined || named.includes(taken) || tried === PORTS_TRIED_MAX) throw error
    }
  }
}

// ---- parts: started one after another, ended in the reverse order ----

interface Part {
  stop(): Promise<void>
  hurry(): void
}

interface Parts {
  /** Waits until the program is ready. */
  start<Ready extends object>(
    of: Parameters<typeof startProgram>[0],
  ): Promise<{ program: Program<Ready>; ready: Ready }>
  keep(part: Part): void
  /** Something that nobody can bring back. */
  lost(line: string): void
  readonly died: Promise<string>
  stop(starting: Promise<unknown>): Promise<void>
  hurry(): void
}

function keepParts(): Parts {
  const parts: Part[] = []
  const died = Promise.withResolvers<string>()
  let stopping: Promise<void> | null = null
  const checkAsked = (): void => {
    if (stopping !== null) throw new Interrupted()
  }
  const stopAll = async (starting: Promise<unknown>): Promise<void> => {
    // What is not ready yet hears of it at once; the rest waits its turn.
    void parts.at(-1)?.stop()
    await starting.catch(() => {})
    for (const part of parts.toReversed()) await part.stop()
  }
  return {
    async start<Ready extends object>(of: Parameters<typeof startProgram>[0]) {
      checkAsked()
      const program = startProgram<Ready>({ output: 'stderr', ...of })
      parts.push(programPart(program))
      let began = true
      void program.ended.then((end) => {
        if (stopping === null && began) died.resolve(`the ${of.name} ${sayEnd(end)}`)
      })
      try {
        return { program, ready: await program.ready }
      } catch (error) {
        began = false
        checkAsked()
        throw new Failure(messageOf(error))
      }
    },
    keep: (part) => void parts.push(part),
    lost: (line) => {
      if (stopping === null) died.resolve(line)
    },
    died: died.promise,
    stop: (starting) => (stopping ??= stopAll(starting)),
    hurry() {
      for (const part of parts) part.hurry()
    },
  }
}

interface ConfigFile {
  subject_prefix: string
  upstreams: Record<string, { base_url: string }>
}

const PUBLIC_API = 'https://api.anthropic.com'

/** As the scheduler sees it: the first one goes elsewhere if the environment says so and the file does not. */
function upstreamsOf(config: ConfigFile, elsewhere: string | undefined): string[] {
  return Object.values(config.upstreams).map(({ base_url }, index) =>
    index === 0 && base_url === PUBLIC_API ? (elsewhere ?? base_url) : base_url,
  )
}

/** Nothing that is asked can cost money. */
export const isSimulated = (stack: Stack): boolean =>
  stack.simulatedUrl !== null && stack.upstreams.every((url) => url === stack.simulatedUrl)

/** From a second Ctrl-C to the end of patience. */
const HURRY_MS = 5_000

function programPart(program: Program<object>): Part {
  let asked = false
  let over = false
  void program.ended.then(() => (over = true))
  return {
    async stop() {
      if (!asked && !over) program.signal('SIGTERM')
      asked = true
      await program.ended
    },
    hurry() {
      if (over || !asked) return
      program.signal('SIGTERM')
      const cancel = after(HURRY_MS, () => program.signal('SIGKILL'))
      void program.ended.then(cancel)
    },
  }
}

type FoundNats = { url: string; source: string; own: boolean } | { url: null; reason: string }

async function findNats(options: StackOptions, parts: Parts): Promise<FoundNats> {
  const given = env('NATS_URL')
  if (given !== undefined)
    return { url: given, source: 'NATS_URL: yours, and left as it is', own: false }
  if (env('HEADGATE_NATS_SERVER') === 'none')
    return { url: null, reason: 'HEADGATE_NATS_SERVER is none' }
  const { natsPort } = options
  let server: NatsServer | null = null
  let lost = 0
  const onLost = (): void => {
    if (server === null || ++lost > NATS_RESTARTS_MAX) {
      parts.lost('the nats-server ended, again and again')
      return
    }
    process.stderr.write('the nats-server ended unexpectedly; starting it again\n')
    server.restart().catch((error: unknown) => parts.lost(messageOf(error)))
  }
  const started = await startNatsServer({
    ...(natsPort === undefined ? { ports: { from: NATS_PORT } } : { port: natsPort }),
    onLost,
  }).catch((error: unknown) => {
    throw new Failure(messageOf(error))
  })
  if (started.server === null) return { url: null, reason: started.reason }
  const own = started.server
  server = own
  parts.keep({ stop: () => own.stop(), hurry: () => {} })
  return { url: own.url, source: `started for this run: ${own.source}`, own: true }
}

/** Named by somebody: exactly that one, or the scheduler says why not. */
async function httpPort(options: StackOptions): Promise<number> {
  const named = options.httpPort ?? env('HEADGATE_HTTP_PORT')
  if (named !== undefined) return Number(named)
  return freePort({ from: HTTP_PORT, host: env('HEADGATE_HOST') ?? '127.0.0.1' })
}

async function gatewayPort(of: { port: number | undefined }, taken: number): Promise<number> {
  const named = of.port ?? env('HEADGATE_GATEWAY_PORT')
  if (named !== undefined) return Number(named)
  const from = Math.max(GATEWAY_PORT, taken + 1)
  return freePort({ from, host: env('HEADGATE_HOST') ?? '127.0.0.1' })
}
