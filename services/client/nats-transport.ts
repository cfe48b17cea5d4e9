/** The transport over a connection to NATS. It comes back for as long as the server stays away; nothing is
 *  published meanwhile, since nats.js would forget it: `ready` waits, and gives up after a while. */
import {
  AuthorizationError,
  connect,
  credsAuthenticator,
  headers as natsHeaders,
  PermissionViolationError,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  type NodeConnectionOptions,
} from '@nats-io/transport-node'
import type { ClientSystem } from './system.ts'
import type { Transport, TransportFault, TransportHeaders, TransportMessage } from './transport.ts'

const READY_WITHIN_MS = 5_000

export interface NatsTransportOptions {
  /** One URL, several, or several separated by commas. */
  servers: string | readonly string[]
  user?: string | undefined
  password?: string | undefined
  /** The content of a `.creds` file. */
  creds?: Uint8Array | undefined
  /** Shown by the server's monitoring. */
  name?: string | undefined
  system: ClientSystem
}

export async function natsTransport(options: NatsTransportOptions): Promise<Transport> {
  const nc = await connect(dialing(options)).catch((error: unknown) => {
    throw cannotConnect(options.servers, error)
  })
  return new NatsTransport(nc, options.system)
}

class NatsTransport implements Transport {
  readonly #nc: NatsConnection
  readonly #system: ClientSystem
  readonly #faults = new Set<(fault: TransportFault) => void>()
  /** Who waits for the server to return. */
  readonly #waiting = new Set<() => void>()
  #maxPayload: number
  #connected = true

  constructor(nc: NatsConnection, system: ClientSystem) {
    this.#nc = nc
    this.#system = system
    this.#maxPayload = nc.info?.max_payload ?? 1_048_576
    void this.#watch()
  }

  get maxPayload(): number {
    return this.#maxPayload
  }

  connected(): boolean {
    return this.#connected && !this.#nc.isClosed()
  }

  async ready(): Promise<void> {
    if (this.#nc.isClosed()) throw new Error('the connection is closed')
    if (this.#connected) return
    await new Promise<void>((resolve, reject) => {
      const resume = () => {
        stopWaiting()
        resolve()
      }
      const stopWaiting = this.#system.after(READY_WITHIN_MS, () => {
        this.#waiting.delete(resume)
        reject(new Error(`NATS has been away for ${READY_WITHIN_MS} ms`))
      })
      this.#waiting.add(resume)
    })
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

  async close(): Promise<void> {
    if (this.#connected && !this.#nc.isClosed()) await this.#nc.flush().catch(() => {})
    await this.#nc.close()
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
    for (const resume of this.#waiting) resume()
    this.#waiting.clear()
  }

  #tell(fault: TransportFault): void {
    for (const listener of this.#faults) listener(fault)
  }
}

function dialing(options: NatsTransportOptions): NodeConnectionOptions {
  const listed = typeof options.servers === 'string' ? options.servers.split(',') : options.servers
  let { user, password } = options
  let token: string | undefined
  const servers = listed.map((text) => {
    const [, scheme = '', who, rest = ''] =
      /^([a-z]+:\/\/)?(?:([^@/]*)@)?(.*)$/.exec(text.trim()) ?? []
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
    ignoreAuthErrorAbort: true,
    timeout: READY_WITHIN_MS,
    pingInterval: 10_000,
    noAsyncTraces: true,
    ...(user !== undefined ? { user } : token !== undefined ? { token } : {}),
    ...(password === undefined ? {} : { pass: password }),
    ...(options.creds === undefined ? {} : { authenticator: credsAuthenticator(options.creds) }),
  }
}

function cannotConnect(servers: string | readonly string[], cause: unknown): Error {
  const listed = typeof servers === 'string' ? servers.split(',') : servers
  const where = listed.map((url) => url.replace(/\/\/[^@/]*@/, '//')).join(', ')
  if (cause instanceof AuthorizationError) {
    return new Error(`NATS at ${where} refuses these credentials`, { cause })
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
