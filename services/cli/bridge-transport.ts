/** The client's transport over IPC to a scheduler whose bus stays in its process; the other end is the
 *  scheduler's `bus-bridge`. */
import type { ChildProcess } from 'node:child_process'
import type { Transport, TransportMessage } from '#client'
import { isBridgeTell, type BridgeAsk, type BridgeTell } from '#contracts/bridge'

/** As the memory bus has it. */
const MAX_PAYLOAD_BYTES = 128_000_000

export function bridgeTransport(channel: ChildProcess): Transport {
  const listeners = new Map<number, (message: TransportMessage) => void>()
  let subscriptions = 0
  const send = (ask: BridgeAsk): void => {
    if (channel.connected) channel.send(ask, () => {})
  }
  const onMessage = (message: unknown): void => {
    if (!isBridgeTell(message)) return
    const { subject, data, headers, nobody } = message
    listeners.get(message.id)?.({
      subject,
      data,
      nobody,
      header: (name) => valueOf(headers, name.toLowerCase()),
    })
  }
  channel.on('message', onMessage)
  return {
    maxPayload: MAX_PAYLOAD_BYTES,
    async ready() {
      if (!channel.connected) throw new Error('the scheduler is gone')
    },
    publish(subject, data, { headers = [], reply } = {}) {
      const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data
      send({ bridge: 'publish', subject, data: bytes, headers, reply })
    },
    subscribe(subject, on) {
      const id = ++subscriptions
      listeners.set(id, on)
      send({ bridge: 'subscribe', id, subject })
      return {
        close() {
          listeners.delete(id)
          send({ bridge: 'unsubscribe', id })
        },
      }
    },
    onFault: () => {},
    async close() {
      channel.off('message', onMessage)
    },
  }
}

const valueOf = (headers: BridgeTell['headers'], wanted: string): string | undefined =>
  headers.find(([name]) => name.toLowerCase() === wanted)?.[1]
