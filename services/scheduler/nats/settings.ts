/** Small settings in the key-value bucket `headgate_config`: they outlive a restart and reach every
 *  instance. A watcher hears what is there first, then every change; after an outage the last state again. */
import { Kvm, KvWatchInclude, type KV, type KvWatchEntry } from '@nats-io/kv'
import { jetstreamManager } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'
import type { KeptSettings } from '#ports'

export const CONFIG_BUCKET = 'headgate_config'

export async function natsSettings(of: {
  connection: NatsConnection
  /** What serves on a server without JetStream; gets the reason. */
  fallback: (reason: string) => KeptSettings
  bucket?: string
  replicas?: number
}): Promise<KeptSettings> {
  let kv: KV
  try {
    await jetstreamManager(of.connection)
    kv = await new Kvm(of.connection).create(of.bucket ?? CONFIG_BUCKET, {
      history: 1,
      replicas: of.replicas ?? 1,
    })
  } catch (error) {
    const why = error instanceof Error ? error.message : 'not available'
    return of.fallback(`no JetStream: ${why}`)
  }
  const watches = new Set<{ stop(): void }>()

  return {
    durable: true,
    reason: null,

    async get(key) {
      const entry = await kv.get(key)
      return entry === null || entry.operation !== 'PUT' ? null : entry.string()
    },

    async put(key, value) {
      await kv.put(key, value)
    },

    async watch(on) {
      const entries = await kv.watch({ include: KvWatchInclude.LastValue })
      watches.add(entries)
      void listen(entries, on)
    },

    async close() {
      for (const watch of watches) watch.stop()
      watches.clear()
    },
  }
}

async function listen(
  entries: AsyncIterable<KvWatchEntry>,
  on: (key: string, value: string) => void,
): Promise<void> {
  for await (const entry of entries) {
    if (entry.operation === 'PUT') on(entry.key, entry.string())
  }
}
