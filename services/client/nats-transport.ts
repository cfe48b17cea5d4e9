/** The transport over a connection to NATS. It comes back for as long as the server stays away; nothing is
 *  published meanwhile, since nats.js would forget it: `ready` waits, and gives up after a while. */
import {
  AuthorizationError,
  credsAuthenticator,
  headers as natsHeaders,
  PermissionViolationError,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  type NodeConnectionOptions,
} from '@nats-io/transport-node'
import { refusedHere } from './errors.ts'
import { dialNats, type Dialled } from './nats-dial.ts'
import { checkNames } from './options.ts'
import type { ClientSystem } from './system.ts'
import {
  USUAL_MAX_PAYLOAD_BYTES,
  type Transport,
  type TransportFault,
  type TransportHeaders,
  type TransportMessage,
} from './transport.ts'

const READY_WITHIN_MS = 5_000

/** PEM texts. */
export interface NatsTls {
  /** Whom the server's certificate must come from; default: whom Node trusts. */
  ca?: string | undefined
  /** Who we are, for a server that asks; `key` belongs to it. */
  cert?: string | undefined
  key?: string | undefined
}

export interface NatsTransportOptions {
  /** One URL, several, or several separated by commas. With `tls://` the server must offer TLS; with
   *  `nats://` it is used if the server does. */
  servers: string | readonly string[]
  user?: string | undefined
  password?: string | undefined
  /** The content of a `.creds` file. */
  creds?: Uint8Array | undefined
  /** Given, the server must offer TLS. */
  tls?: NatsTls | undefined
  /** Shown by the server's monitoring. */
  name?: string | undefined
  system: ClientSystem
}

export async function natsTransport(options: NatsTransportOptions): Promise<Transport> {
  checkNames('nats', 'natsTransport', options)
  checkNames('tls', 'natsTransport: tls', options.tls)
  return natsDialer(options)()
}

/** Throws a TypeError now for options that no connection could be made with; aborting the signal ends an
 *  attempt at once. */
export function natsDialer(
  options: NatsTransportOptions,
): (signal?: AbortSignal) => Promise<Transport> {
  const how = dialing(options)
  return async (signal) => {
    try {
      return new NatsTransport(await dialNats(how, signal), options.system)
    } catch (error) {
      throw cannotConnect(options.servers, error)
    }
  }
}

class NatsTransport implements Transport {
  readonly #dialled: Dialled
  readonly #nc: NatsConnection
  readonly #system: ClientSystem
  readonly #faults = new Set<(fault: TransportFault) => void>()
  readonly #returns = new Set<() => void>()
  /** Who waits for the server to return. */
  readonly #waiting = new Set<(error: Error | null) => void>()
  #maxPayload: number
  #connected = true
  /** The library says so only once it is done. */
  #closed = false

  constructor(dialled: Dialled, system: ClientSystem) {
    this.#dialled = dialled
    this.#nc = dialled.nc
    this.#system = system
    this.#maxPayload = this.#nc.info?.max_payload ?? USUAL_MAX_PAYLOAD_BYTES
    void this.#watch()
  }

  get maxPayload(): number {
    return this.#maxPayload
  }

  async ready(): Promise<void> {
    if (this.#closed || this.#nc.isClosed()) throw connectionClosed()
    if (this.#connected) return
    await new Promise<void>((resolve, reject) => {
      const go = (error: Error | null) => {
        this.#waiting.delete(go)
        stopWaiting()
        if (error === null) resolve()
        else reject(error)
      }
      const stopWaiting = this.#system.after(READY_WITHIN_MS, () =>
        go(new Error(`NATS has been away for ${READY_WITHIN_MS} ms`)),
      )
      this.#waiting.add(go)
    })
  }

  isReady(): boolean {
    return this.#connected && !this.#closed && !this.#nc.isClosed()
  }

  publish(
    subject: string,
    data: Uint8Array | string,
    { headers = [], reply }: { headers?: TransportHeaders; reply?: string } = {},
  ): void {
    const built = headers.length === 0 ? undefined : natsHeaders()
    for (const [name, value] of headers) built?.append(name, value)
    this.#nc.publish(subject, data, {
      ...(built === undefined ? {} : { headers: built }),
      ...(reply === undefined ? {} : { reply }),
    })
  }

  subscribe(subject: string, on: (message: TransportMessage) => void): { close(): void } {
    const subscription = this.#nc.subscribe(subject, {
      callback: (error, message) => {
        if (error !== null) return this.#tell({ subject, detail: error.message })
        // A listener that throws would end the reading of this connection.
        try {
          on(transportMessage(message))
        } catch (bug) {
          queueMicrotask(() => {
            throw bug
          })
        }
      },
    })
    return {
      close: () => {
        if (!this.#nc.isClosed()) subscription.unsubscribe()
      },
    }
  }

  onFault(listener: (fault: TransportFault) => void): () => void {
    this.#faults.add(listener)
    return () => void this.#faults.delete(listener)
  }

  onReturn(listener: () => void): () => void {
    this.#returns.add(listener)
    return () => void this.#returns.delete(listener)
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const go of this.#waiting) go(connectionClosed())
    if (this.#connected && !this.#nc.isClosed()) await this.#nc.flush().catch(() => {})
    await this.#dialled.close()
  }

  async #watch(): Promise<void> {
    for await (const status of this.#nc.status()) {
      if (status.type === 'disconnect') this.#connected = false
      else if (status.type === 'reconnect') this.#returned()
      else if (status.type === 'error' && status.error instanceof PermissionViolationError) {
        const { subject, message } = status.error
        this.#tell({ subject, detail: `no permission: ${message}` })
      }
    }
  }

  #returned(): void {
    this.#connected = true
    this.#maxPayload = this.#nc.info?.max_payload ?? this.#maxPayload
    for (const go of this.#waiting) go(null)
    for (const listener of this.#returns) listener()
  }

  #tell(fault: TransportFault): void {
    for (const listener of this.#faults) listener(fault)
  }
}

const connectionClosed = () => new Error('the connection is closed')

const serversOf = ({ servers }: { servers: string | readonly string[] }): readonly string[] =>
  typeof servers === 'string' ? servers.split(',') : servers

function dialing(options: NatsTransportOptions): NodeConnectionOptions {
  let { user, password } = options
  let token: string | undefined
  let secure = options.tls !== undefined
  const servers = serversOf(options).map((text) => {
    const [, scheme = '', who, rest = ''] =
      /^([a-z]+:\/\/)?(?:([^@/]*)@)?(.*)$/.exec(text.trim()) ?? []
    if (!SCHEMES.includes(scheme)) {
      throw new TypeError(`servers: expected nats:// or tls://, not ${scheme}`)
    }
    if (scheme === 'tls://') secure = true
    const [name, ...secret] = who?.split(':').map(decodeURIComponent) ?? []
    if (secret.length === 0) token ??= name
    else {
      user ??= name
      password ??= secret.join(':')
    }
    return scheme + rest
  })
  return {
    servers,
    name: options.name ?? 'headgate client',
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    reconnectJitter: 250,
    reconnectJitterTLS: 250,
    ignoreAuthErrorAbort: true,
    timeout: READY_WITHIN_MS,
    pingInterval: 10_000,
    noAsyncTraces: true,
    ...(user !== undefined ? { user } : token !== undefined ? { token } : {}),
    ...(password === undefined ? {} : { pass: password }),
    ...(options.creds === undefined ? {} : { authenticator: credsAuthenticator(options.creds) }),
    ...(secure ? { tls: tlsOf(options.tls ?? {}) } : {}),
  }
}

const SCHEMES = ['', 'nats://', 'tls://']

function tlsOf({ ca, cert, key }: NatsTls): NonNullable<NodeConnectionOptions['tls']> {
  if ((cert === undefined) !== (key === undefined)) {
    throw new TypeError('tls: cert and key belong together')
  }
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
  }
}

function cannotConnect(servers: string | readonly string[], cause: unknown): Error {
  const where = serversOf({ servers })
    .map((url) => url.replace(/\/\/[^@/]*@/, '//'))
    .join(', ')
  if (cause instanceof AuthorizationError) {
    return refusedHere('unauthenticated', `NATS at ${where} refuses these credentials`, cause)
  }
  const why = cause instanceof Error ? cause.message : 'no reason given'
  return new Error(`cannot connect to NATS at ${where}: ${why}`, { cause })
}

function transportMessage(message: Msg): TransportMessage {
  const headers = headersOf(message)
  return {
    subject: message.subject,
    data: message.data,
    nobody: message.data.length === 0 && headers?.code === 503,
    header(name) {
      if (headers === undefined) return undefined
      const wanted = name.toLowerCase()
      for (const [own, [value]] of headers) if (own.toLowerCase() === wanted) return value
      return undefined
    },
  }
}

/** Headers that cannot be read are none: anybody may send us anything. */
function headersOf(message: Msg): MsgHdrs | undefined {
  try {
    return message.headers
  } catch {
    return undefined
  }
}
