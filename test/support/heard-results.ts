/** How often each job's result is published, by id. */
import { connect, type NatsConnection } from '@nats-io/transport-node'

export async function heardResults(
  servers: string,
): Promise<{ nc: NatsConnection; heard: Map<string, number> }> {
  const nc = await connect({ servers, maxReconnectAttempts: -1 })
  const heard = new Map<string, number>()
  nc.subscribe('llm.v1.result.>', {
    callback: (_, { subject }) => {
      const id = subject.split('.').at(-1) ?? ''
      heard.set(id, (heard.get(id) ?? 0) + 1)
    },
  })
  await nc.flush()
  return { nc, heard }
}
