/** The transport over a connection to NATS. It comes back for as long as the server stays away; nothing is
 *  published meanwhile, since nats.js would forget it: `ready` waits, and gives up after a while. */
import {
  AuthorizationError,
  connect,
  credsAuthenticator,
  headers as natsHeaders,
  PermissionViolationError,
  type Msg,
  type NodeConnectionOptions,
} from '@nats-io/transport-node'
import type { ClientSystem } from './system.ts'
import type { Transport, TransportFault, TransportMessage } from './transport.ts'

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
  const faults: ((fault: TransportFault) => void)[] = []
  const tell = (fault: TransportFault) => {
    for (const listener of faults) listener(fault)
  }
  let maxPayload = nc.info?.max_payload ?? 1_048_576
  let connected = true
  const waiting = new Set<() => void>()

  void (async () => {
    for await (const status of nc.status()) {
      if (status.type === 'disconnect') connected = false
      else if (status.type === 'reconnect') {
        connected = true
        maxPayload = nc.info?.max_payload ?? maxPayload
        for (const resume of waiting) resume()
        waiting.clear()
      } else if (status.type === 'error') {
        const { error } = status
        if (error instanceof PermissionViolationError) {
          tell({ subject: error.subject, detail: `no permission: ${error.message}` })
        }
      }
    }
  })()

  return {
    get maxPayload() {
      return maxPayload
    },

    async ready() {
      if (nc.isClosed()) throw new Error('the connection is closed')
      if (connected) return
      await new Promise<void>((resolve, reject) => {
        const resume = () => {
          stopWaiting()
          resolve()
        }
        const stopWaiting = options.system.after(READY_WITHIN_MS, () => {
          waiting.delete(resume)
          reject(new Error(`NATS has been away for ${READY_WITHIN_MS} ms`))
        })
        waiting.add(resume)
      })
    },

    publish(subject, data, { headers, reply } = {}) {
      const built = headers === undefined || headers.length === 0 ? undefined : natsHeaders()
      for (const [name, value] of headers ?? []) built?.append(name, value)
      nc.publish(subject, data, {
        ...(built === undefined ? {} : { headers: built }),
        ...(reply === undefined ? {} : { reply }),
      })
    },

    subscribe(subject, on) {
      const subscription = nc.subscribe(subject, {
        callback: (error, message) => {
          if (error !== null) return tell({ subject, detail: error.message })
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
          if (!nc.isClosed()) subscription.unsubscribe()
        },
      }
    },

    onFault: (listener) => void faults.push(listener),

    async close() {
      if (connected && !nc.isClosed()) await nc.flush().catch(() => {})
      await nc.close()
    },
  }
}

function dialing(options: NatsTransportOptions): NodeConnectionOptions {
  const listed = typeof options.servers === 'string' ? options.servers.split(',') : options.servers
  let { user, password } = options
  const servers = listed.map((text) => {
    const [, scheme = '', who, rest = ''] =
      /^([a-z]+:\/\/)?(?:([^@/]*)@)?(.*)$/.exec(text.trim()) ?? []
    const [name, ...secret] = who?.split(':') ?? []
    if (name !== undefined) user ??= decodeURIComponent(name)
    if (secret.length > 0) password ??= decodeURIComponent(secret.join(':'))
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
    ...(user === undefined ? {} : { user }),
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
  const nobody = message.data.length === 0 && message.headers?.code === 503
  return {
    subject: message.subject,
    data: message.data,
    nobody,
    header(name) {
      if (message.headers === undefined) return undefined
      const wanted = name.toLowerCase()
      for (const [own, [value]] of message.headers) if (own.toLowerCase() === wanted) return value
      return undefined
    },
  }
}
