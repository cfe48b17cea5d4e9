/** The Bus over core NATS. One connection listens (and serves JetStream); answers leave over a few others,
 *  chosen by the addressee, so that one frozen reader does not hold up the rest (nats-server #5394).
 *
 *  While a connection is away, nats.js forgets what was published at its next dial. So we hold back what
 *  is addressed to an inbox, at most `heldBytesMax`, and deliver it `settleMs` after the return, when
 *  callers have returned too (2 s by default in every NATS client). Anything else is lost, and counted. */
import {
  AuthorizationError,
  connect,
  createInbox,
  credsAuthenticator,
  headers as natsHeaders,
  type Msg,
  type NatsConnection,
  type NodeConnectionOptions,
} from '@nats-io/transport-node'
import type { Bus, BusHeaders, BusMessage, Clock, Millis, Subscription } from '#ports'

export const SERVER_VERSION_MIN = '2.10.0'
const RECONNECT_WAIT_MS: Millis = 100
const RECONNECT_JITTER_MS: Millis = 200
const DIAL_TIMEOUT_MS: Millis = 5_000
const PING_EVERY_MS: Millis = 10_000
const CLOSE_WITHIN_MS: Millis = 2_000
const HELD_BYTES_MAX = 64_000_000
const SETTLE_MS: Millis = 2_500

export interface NatsBusOptions {
  /** One URL, several, or several separated by commas. User and password may stand in them. */
  servers: string | readonly string[]
  user?: string | undefined
  password?: string | undefined
  /** The content of a `.creds` file. */
  creds?: Uint8Array | undefined
  /** Shown by the server's monitoring. */
  name: string
  /** Connections for answers beside the main one; 0: the main one answers too. */
  egressConnections: number
  clock: Pick<Clock, 'after'>
  inboxPrefix?: string | undefined
  heldBytesMax?: number
  /** How long after a reconnect held answers wait for their readers to return. */
  settleMs?: Millis
  /** Hears what a listener throws: a bug. Unless given, it becomes an uncaught error. */
  onError?: (error: unknown) => void
}

/** `connection` is `main` or `egress-<n>`. */
export type BusStatus =
  | { kind: 'disconnected' | 'reconnected'; connection: string }
  | { kind: 'error' | 'closed'; connection: string; detail: string }
  | { kind: 'lost'; connection: string; messages: number; bytes: number }

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
  const onError =
    options.onError ??
    ((error: unknown) => {
      queueMicrotask(() => {
        throw error
      })
    })
  const guarded = <T>(call: (value: T) => void) => {
    return (value: T) => {
      try {
        call(value)
      } catch (error) {
        onError(error)
      }
    }
  }

  let nobody: (probe: string) => void = () => {}
  const lines = await openLines(options, {
    tell,
    nobody: guarded((probe: string) => nobody(probe)),
  })
  const [main, ...others] = lines
  if (main === undefined) throw new Error('no connection')
  const outlets = others.length === 0 ? [main] : others
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

    subscribe(subject, on, { queue } = {}): Subscription {
      const deliver = guarded(on)
      const subscription = main.nc.subscribe(subject, {
        ...(queue === undefined ? {} : { queue }),
        callback: (error, message) => {
          if (error === null) {
            return deliver(busMessage(message))
          }
          tell({ kind: 'error', connection: 'main', detail: error.message })
        },
      })
      return {
        async drain() {
          if (!subscription.isClosed() && !main.nc.isClosed()) await subscription.drain()
        },
      }
    },

    publish(subject, data, publishing = {}) {
      if (closing !== null) return
      // A question leaves where its answer is heard, behind the subscription; so does the server's word
      // that nobody listens, which goes to the asking connection alone.
      const asks = publishing.reply !== undefined && publishing.probe === undefined
      const outlet = asks ? main : outlets[bucket(subject, outlets.length)]
      outlet?.publish({
        subject,
        data: typeof data === 'string' ? new TextEncoder().encode(data) : data,
        ...publishing,
      })
    },

    flush,

    close() {
      closing ??= (async () => {
        const late = deferred<void>()
        const stopWaiting = options.clock.after(CLOSE_WITHIN_MS, late.resolve)
        const flushed = flush().catch(() => {})
        await Promise.race([flushed, late.promise])
        stopWaiting()
        await Promise.all(lines.map((line) => line.close()))
      })()
      return closing
    },
  }
}

interface Outgoing {
  subject: string
  data: Uint8Array
  headers?: BusHeaders
  reply?: string
  probe?: string
}

type Line = ReturnType<typeof line>

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
    if (failed !== undefined) throw cannotConnect(options.servers, failed.reason)
    checkVersion(version ?? '0')
  } catch (error) {
    await Promise.all(open.map((nc) => nc.close()))
    throw error
  }
  return open.map((nc, at) => line({ nc, name: names[at] ?? '', options, ears }))
}

const egressName = (_: unknown, at: number) => `egress-${at + 1}`

function dial(options: NatsBusOptions, connection: string): Promise<NatsConnection> {
  const { servers, user, password } = addresses(options)
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
  if (options.creds !== undefined) dialing.authenticator = credsAuthenticator(options.creds)
  if (options.inboxPrefix !== undefined) dialing.inboxPrefix = options.inboxPrefix
  return connect(dialing)
}

/** One connection with what it holds back while it is away. */
function line(of: { nc: NatsConnection; name: string; options: NatsBusOptions; ears: Ears }) {
  const { nc, name, ears } = of
  const { clock, heldBytesMax = HELD_BYTES_MAX, settleMs = SETTLE_MS } = of.options
  let connected = true
  let closed = false
  let maxPayload = nc.info?.max_payload ?? 1_048_576
  let lost = { messages: 0, bytes: 0 }
  let held: Outgoing[] = []
  let heldBytes = 0
  const heldSubjects = new Set<string>()
  let stopSettling = () => {}

  const control = `${createInbox(of.options.inboxPrefix)}.`
  nc.subscribe(`${control}*`, {
    callback: (error, message) => {
      if (error !== null) ears.tell({ kind: 'error', connection: name, detail: error.message })
      else if (isNobody(message)) ears.nobody(word(message.subject.slice(control.length)))
    },
  })

  const send = ({ subject, data, headers, reply, probe }: Outgoing) => {
    const address = probe === undefined ? reply : control + token(probe)
    if (headers === undefined && address === undefined) return nc.publish(subject, data)
    nc.publish(subject, data, {
      ...(headers === undefined ? {} : { headers: toNatsHeaders(headers) }),
      ...(address === undefined ? {} : { reply: address }),
    })
  }

  const hold = (message: Outgoing) => {
    const bytes = message.data.length + message.subject.length + 200
    if (!isInbox(message.subject) || heldBytes + bytes > heldBytesMax) {
      lost.messages += 1
      lost.bytes += message.data.length
      return
    }
    held.push(message)
    heldBytes += bytes
    heldSubjects.add(message.subject)
  }

  const release = () => {
    const messages = held
    held = []
    heldBytes = 0
    heldSubjects.clear()
    for (const message of messages) {
      if (connected) send(message)
      else hold(message)
    }
  }

  const returned = () => {
    connected = true
    maxPayload = nc.info?.max_payload ?? maxPayload
    ears.tell({ kind: 'reconnected', connection: name })
    if (lost.messages > 0) ears.tell({ kind: 'lost', connection: name, ...lost })
    lost = { messages: 0, bytes: 0 }
    stopSettling()
    if (held.length > 0) stopSettling = clock.after(settleMs, release)
  }

  void (async () => {
    for await (const status of nc.status()) {
      if (status.type === 'disconnect') {
        connected = false
        stopSettling()
        if (!closed) ears.tell({ kind: 'disconnected', connection: name })
      } else if (status.type === 'reconnect') {
        returned()
      } else if (status.type === 'error') {
        ears.tell({ kind: 'error', connection: name, detail: status.error.message })
      }
    }
  })()
  void nc.closed().then((error) => {
    connected = false
    if (closed) return
    const detail = error instanceof Error ? error.message : 'closed'
    ears.tell({ kind: 'closed', connection: name, detail })
  })

  return {
    nc,
    connected: () => connected,
    maxPayload: () => maxPayload,

    publish(message: Outgoing) {
      checkSize({ message, maxPayload })
      if (!connected || (heldSubjects.size > 0 && heldSubjects.has(message.subject))) hold(message)
      else send(message)
    },

    async flush() {
      if (!connected) throw new Error(`NATS connection ${name} is away`)
      if (held.length > 0) throw new Error(`${held.length} answers wait for their readers`)
      await nc.flush()
    },

    async close() {
      closed = true
      stopSettling()
      if (connected && held.length > 0) {
        release()
        await nc.flush().catch(() => {})
      }
      await nc.close()
    },
  }
}

function busMessage(message: Msg): BusMessage {
  let names: Map<string, string> | null = null
  return {
    subject: message.subject,
    data: message.data,
    reply: message.reply === '' ? undefined : message.reply,
    nobody: isNobody(message),
    /** Throws if the headers cannot be read at all. */
    header(name) {
      if (names === null) {
        names = new Map()
        for (const [own, [value]] of message.headers ?? []) {
          if (value !== undefined && !names.has(own.toLowerCase())) {
            names.set(own.toLowerCase(), value)
          }
        }
      }
      return names.get(name.toLowerCase())
    },
  }
}

/** The server's own word that nobody listens: status 503, no payload. */
function isNobody(message: Msg): boolean {
  if (message.data.length > 0) return false
  try {
    return message.headers?.code === 503
  } catch {
    return false
  }
}

function toNatsHeaders(pairs: BusHeaders) {
  const built = natsHeaders()
  for (const [name, value] of pairs) built.append(name, value)
  return built
}

function checkSize({ message, maxPayload }: { message: Outgoing; maxPayload: number }): void {
  let bytes = message.data.length
  if (message.headers !== undefined) {
    bytes += 12
    for (const [name, value] of message.headers) bytes += name.length + value.length + 4
  }
  if (bytes > maxPayload) {
    throw new RangeError(`a message of ${bytes} bytes is over the bus limit of ${maxPayload}`)
  }
}

/** Inboxes start with an underscore: `_INBOX.…`, `_INBOX_<tenant>.…`, `_R_.…`. */
const isInbox = (subject: string) => subject.startsWith('_')

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

/** A probe's word as one subject token, and back. */
const token = (probe: string) =>
  /^[A-Za-z0-9_/-]+$/.test(probe) ? probe : `~${Buffer.from(probe).toString('base64url')}`
const word = (token: string) =>
  token.startsWith('~') ? Buffer.from(token.slice(1), 'base64url').toString() : token

/** Takes user and password out of the URLs. */
function addresses(options: Pick<NatsBusOptions, 'servers' | 'user' | 'password'>) {
  const listed = typeof options.servers === 'string' ? options.servers.split(',') : options.servers
  let { user, password } = options
  const servers = listed.map((text) => {
    const url = text.trim()
    const [, scheme = '', who, rest = ''] = /^([a-z]+:\/\/)?(?:([^@/]*)@)?(.*)$/.exec(url) ?? []
    if (who === undefined) return url
    const [name = '', ...secret] = who.split(':')
    user ??= decodeURIComponent(name)
    password ??= decodeURIComponent(secret.join(':'))
    return scheme + rest
  })
  return { servers, user, password }
}

function cannotConnect(servers: string | readonly string[], cause: unknown): Error {
  const where = addresses({ servers }).servers.join(', ')
  if (cause instanceof AuthorizationError) {
    return new Error(`NATS at ${where} refuses these credentials`, { cause })
  }
  const why = cause instanceof Error ? cause.message : 'no reason given'
  return new Error(`cannot connect to NATS at ${where}: ${why}`, { cause })
}

function checkVersion(version: string): void {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major > 2 || (major === 2 && minor >= 10)) return
  throw new Error(
    `NATS server ${version} is too old: Headgate needs ${SERVER_VERSION_MIN} or newer`,
  )
}

function deferred<T>() {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((settle) => (resolve = settle))
  return { promise, resolve }
}
