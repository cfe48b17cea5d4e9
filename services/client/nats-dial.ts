/** `connect` of the NATS library, where it falls short: everything is given back when it fails or is called
 *  off, though the library forgets the socket of a server that takes the connection and then says nothing;
 *  and the certificate of a server that is named by its address is held to that address, not to `localhost`.
 *  For both we keep what the library keeps to itself. */
import {
  connect,
  NatsConnectionImpl,
  ProtocolHandler,
  type NatsConnection,
  type NodeConnectionOptions,
  type TlsOptions,
} from '@nats-io/transport-node'

export interface Dialled {
  readonly nc: NatsConnection
  /** Ends it, whether the server is there, away, or silent. */
  close(): Promise<void>
}

/** Aborting `signal` ends the attempt at once. */
export async function dialNats(
  options: NodeConnectionOptions,
  signal?: AbortSignal,
): Promise<Dialled> {
  signal?.throwIfAborted()
  useSockets()
  const nc = Reflect.construct(NatsConnectionImpl, [options]) as NatsConnectionImpl
  const handler = new ProtocolHandler(nc.options, nc)
  nc.protocol = handler
  if (nc.options.tls) nc.options.tls = namingHost(nc.options.tls, handler)
  const letGo = () => {
    // Absent until the server's name is resolved.
    ;(handler.transport as typeof handler.transport | undefined)?.discard()
    handler.raceTimer?.cancel()
  }
  const close = async () => {
    await nc.close()
    letGo()
  }

  const calledOff = Promise.withResolvers<never>()
  const callOff = () => {
    handler.abortReconnect = true
    letGo()
    calledOff.reject(signal?.reason)
  }
  signal?.addEventListener('abort', callOff)
  const dialled = handler.dialLoop()
  try {
    await Promise.race([dialled, calledOff.promise])
    return { nc: nc as NatsConnection, close }
  } catch (error) {
    // Called off, a name that was being resolved may still lead somewhere.
    dialled.then(close, letGo).catch(() => {})
    throw error
  } finally {
    signal?.removeEventListener('abort', callOff)
  }
}

/** Only `connect` tells the library how Node reaches a server. These two options contradict each other, so
 *  it does no more than that. */
function useSockets(): void {
  connect({ servers: ['127.0.0.1'], port: 4_222 }).catch(() => {})
}

/** Read at each handshake, of a reconnect too. Node looks at it where no server name is given. */
function namingHost(tls: TlsOptions, handler: ProtocolHandler): TlsOptions {
  const named = {
    ...tls,
    get host() {
      return handler.servers.getCurrentServer().hostname
    },
  }
  return named
}
