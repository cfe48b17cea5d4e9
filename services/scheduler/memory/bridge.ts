/** Carries the memory bus over a process's IPC channel, so that a parent can publish and subscribe where
 *  there is no NATS server. The other end is `services/cli/bridge-transport`. */
import { isBridgeAsk, type BridgeTell } from '#contracts/bridge'
import { HEADER } from '#contracts/messages'
import type { Bus, BusMessage, Subscription } from '#ports'

interface Channel {
  on(event: 'message', listener: (message: unknown) => void): unknown
  send?(message: BridgeTell): unknown
}

export function bridge(bus: Bus, channel: Channel): void {
  const subscriptions = new Map<number, Subscription>()
  channel.on('message', (message) => {
    if (!isBridgeAsk(message)) return
    switch (message.bridge) {
      case 'subscribe': {
        const { id } = message
        const subscription = bus.subscribe(message.subject, (got) =>
          channel.send?.({
            bridge: 'message',
            id,
            subject: got.subject,
            data: got.data,
            reply: got.reply,
            nobody: got.nobody ?? false,
            headers: known(got),
          }),
        )
        subscriptions.set(id, subscription)
        break
      }
      case 'unsubscribe':
        void subscriptions.get(message.id)?.drain()
        subscriptions.delete(message.id)
        break
      case 'publish':
        bus.publish(message.subject, message.data, {
          headers: message.headers,
          ...(message.reply === undefined ? {} : { reply: message.reply }),
        })
    }
  })
}

/** Headers of the contract; nobody asks for others. */
function known(message: BusMessage): [string, string][] {
  const found: [string, string][] = []
  for (const name of Object.values(HEADER)) {
    const value = message.header(name)
    if (value !== undefined) found.push([name, value])
  }
  return found
}
