/** A nats-server for a test, or a clear word why there is none. */
import {
  startNatsServer,
  type NatsServer,
  type NatsServerOptions,
} from '../../services/cli/nats-server.ts'

export type { NatsServer }

export async function natsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const { server, reason } = await startNatsServer(options)
  if (server === null) throw new Error(`integration tests need a nats-server: ${reason}`)
  return server
}
