/** A store on a server and a connection of its own, for as long as a test needs it. */
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { natsServer } from './nats-server.ts'

export async function overNats<Store>(
  make: (connection: NatsConnection) => Store | Promise<Store>,
): Promise<{ store: Store; connection: NatsConnection; stop(): Promise<void> }> {
  const server = await natsServer()
  const connection = await connect({ servers: server.url })
  return {
    store: await make(connection),
    connection,
    async stop() {
      await connection.close()
      await server.stop()
    },
  }
}
