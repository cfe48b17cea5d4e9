/** The Bus over core NATS. One connection listens (and serves JetStream); answers leave over a few others,
 *  chosen by the addressee, so that one frozen reader does not hold up the rest (nats-server #5394). What
 *  happens to answers while a connection is away: see `line`. */
import {
  connect,
  credsAuthenticator,
  type NatsConnection,
  type NodeConnectionOptions,
} from '@nats-io/transport-node'
import type { Bus, BusMessage, Clock, Millis, Subscription } from '#ports'
import { busMessage } from './bus-message.ts'
import { Line, type BusStatus } from './line.ts'
import { addresses, cannotConnect, checkVersion } from './server-address.ts'
import { tlsOptions, type TlsTexts } from './tls.ts'

export type { BusStatus } from './line.ts'

const RECONNECT_WAIT_MS: Millis = 100
const RECONNECT_JITTER_MS: Millis = 200
const DIAL_TIMEOUT_MS: Millis = 5_000
const HEADER_BYTES_MAX = 65_536
const PING_EVERY_MS: Millis = 10_000
const CLOSE_WITHIN_MS: Millis = 2_000

export interface NatsBusOptions {
  /** One URL, several, or several separated by commas. User and password may stand in them. */
  servers: string | readonly string[]
  user?: string | undefined
  password?: string | undefined
  /** The content of a `.creds` file. */
  creds?: Uint8Array | undefined
  /** Given, or with a `tls://` address: nothing is said to a server without TLS. */
  tls?: TlsTexts | undefined
  /** Shown by the server's monitoring. */
  name: string
  /** Connections for answers beside the main one; 0: the main one answers too. */
  egressConnections: number
  clock: Pick<Clock, 'after'>
  inboxPrefix?: string | undefined
  heldBytesMax?: number
  /** Larger headers are not read; default 64 KiB. */
  headerBytesMax?: number
  /** See `LineOptions`. */
  soon?: (call: () => void) => void
  /** How long after a reconnect held answers wait for their readers to return. */
  settleMs?: Millis
  /** Hears what a listener throws: a bug. Unless given, it becomes an uncaught error. */
  onError?: (error: unknown) => void
}

export interface NatsBus extends Bus {
  readonly kind: 'nats'
  /** The main connection, for JetStream. Publish and subscribe through the Bus. */
  readonly connection: NatsConnection
  readonly serverVersion: string
  onStatus(listener: (status: BusStatus) => void): void
}

export async function natsBus(options: NatsBusOptions): Promise<NatsBus> {
  const listeners: ((status: BusStatus) => void)[] = []
  const tell = (status: BusStatus) => {
    for (const listener of listeners) listener(status)
  }
  const guarded = guard(options.onError ?? rethrow)
  let nobody: (probe: string) => void = () => {}
  const lines = await openLines(options, {
    tell,
    nobody: guarded((probe: string) => nobody(probe)),
  })
  const [main, ...others] = lines
  if (main === undefined) throw new Error('no connection')
  const outlets = others.length === 0 ? [main] : others
  const { headerBytesMax = HEADER_BYTES_MAX } = options
  let closing: Promise<void> | null = null

  // The main connection last: then what the others sent to our own listeners has come in too.
  const flush = async () => {
    await Promise.all(outlets.map((line) => line.flush()))
    await main.flush()
  }

  return {
    kind: 'nats',
    connection: main.nc,
    serverVersion: main.nc.info?.version ?? '',
    get maxPayload() {
      return Math.min(...outlets.map((line) => line.maxPayload()))
    },
    connected: () => closing === null && lines.every((line) => line.connected()),
    onStatus: (listener) => void listeners.push(listener),
    onNobody(listener) {
      nobody = listener
    },

    subscribe: (subject, on, { queue } = {}) =>
      listen({ main, tell, subject, on: guarded(on), queue, headerBytesMax }),

    publish(subject, data, publishing = {}) {
      if (closing !== null) return
      // A question leaves where its answer is heard, behind the subscription; so does the server's word
      // that nobody listens, which goes to the asking connection alone.
      const asks = publishing.reply !== undefined && publishing.probe === undefined
      const outlet = asks ? main : outlets[bucket(subject, outlets.length)]
      outlet?.publish({
        subject,
        data: typeof data === 'string' ? Buffer.from(data) : data,
        ...publishing,
      })
    },

    flush,

    close() {
      closing ??= closeAll({ lines, flush, clock: options.clock })
      return closing
    },
  }
}

function listen(of: {
  main: Line
  tell: (status: BusStatus) => void
  subject: string
  on: (message: BusMessage) => void
  queue: string | undefined
  headerBytesMax: number
}): Subscription {
  const { main, subject, queue } = of
  const subscription = main.nc.subscribe(subject, {
    ...(queue === undefined ? {} : { queue }),
    callback: (error, message) => {
      if (error === null) of.on(busMessage(message, of.headerBytesMax))
      else of.tell({ kind: 'error', connection: 'main', detail: error.message })
    },
  })
  return {
    async drain() {
      if (!subscription.isClosed() && !main.nc.isClosed()) await subscription.drain()
    },
  }
}

async function closeAll(of: {
  lines: readonly Line[]
  flush: () => Promise<void>
  clock: Pick<Clock, 'after'>
}): Promise<void> {
  const late = Promise.withResolvers<void>()
  const stopWaiting = of.clock.after(CLOSE_WITHIN_MS, late.resolve)
  await Promise.race([of.flush().catch(() => {}), late.promise])
  stopWaiting()
  await Promise.all(of.lines.map((line) => line.close()))
}

/** A listener that throws would end the reading of its connection. */
const guard =
  (onError: (error: unknown) => void) =>
  <T>(call: (value: T) => void) =>
  (value: T) => {
    try {
      call(value)
    } catch (error) {
      onError(error)
    }
  }

function rethrow(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}

interface Ears {
  tell: (status: BusStatus) => void
  nobody: (probe: string) => void
}

async function openLines(options: NatsBusOptions, ears: Ears): Promise<Line[]> {
  const names = ['main', ...Array.from({ length: options.egressConnections }, egressName)]
  const opened = await Promise.allSettled(names.map((name) => dial(options, name)))
  const open = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const failed = opened.find((one) => one.status === 'rejected')
  const version = open[0]?.info?.version
  try {
    if (failed !== undefined)
      throw cannotConnect(options.servers, failed.reason, options.tls !== undefined)
    checkVersion(version ?? '0')
  } catch (error) {
    await Promise.all(open.map((nc) => nc.close()))
    throw error
  }
  return open.map((nc, at) => new Line({ nc, name: names[at] ?? '', options, ...ears }))
}

const egressName = (_: unknown, at: number) => `egress-${at + 1}`

function dial(options: NatsBusOptions, connection: string): Promise<NatsConnection> {
  const { servers, user, password, token } = addresses(options)
  const dialing: NodeConnectionOptions = {
    servers,
    name: connection === 'main' ? options.name : `${options.name} ${connection}`,
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_WAIT_MS,
    reconnectJitter: RECONNECT_JITTER_MS,
    reconnectJitterTLS: RECONNECT_JITTER_MS,
    waitOnFirstConnect: false,
    ignoreAuthErrorAbort: true,
    timeout: DIAL_TIMEOUT_MS,
    pingInterval: PING_EVERY_MS,
    noAsyncTraces: true,
  }
  if (user !== undefined) dialing.user = user
  if (password !== undefined) dialing.pass = password
  if (token !== undefined) dialing.token = token
  if (options.creds !== undefined) dialing.authenticator = credsAuthenticator(options.creds)
  if (options.inboxPrefix !== undefined) dialing.inboxPrefix = options.inboxPrefix
  const tls = tlsOptions({ servers, tls: options.tls })
  if (tls !== undefined) dialing.tls = tls
  return connect(dialing)
}

/** Which outlet: by the first two tokens, which name the addressee of an inbox. FNV-1a. */
function bucket(subject: string, buckets: number): number {
  if (buckets === 1) return 0
  let dots = 0
  let hash = 0x811c9dc5
  for (let at = 0; at < subject.length; at++) {
    const code = subject.charCodeAt(at)
    if (code === 46 && ++dots === 2) break
    hash = Math.imul(hash ^ code, 0x01000193)
  }
  return (hash >>> 0) % buckets
}
