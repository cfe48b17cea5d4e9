/** Rows of usage in a key-value bucket, a key for each place: a day, a life of an instance, a part. The server ends what
 *  is too old. */
import { jetstreamManager } from '@nats-io/jetstream'
import { Kvm } from '@nats-io/kv'
import type { NatsConnection } from '@nats-io/transport-node'
import { readUsageRows, usageText, type UsageRow } from '#contracts/usage-report'
import type { Clock, Millis, UsageStore } from '#ports'
import { bucketOf, textOf } from './kv-bucket.ts'

export interface NatsUsageStoreOptions {
  connection: NatsConnection
  clock: Pick<Clock, 'after'>
  bucket: string
  replicas: number
  /** How long a row is kept after it was written last. */
  keepMs: Millis
}

/** Rejects with the reason where the server keeps nothing for us. */
export async function natsUsageStore(of: NatsUsageStoreOptions): Promise<UsageStore> {
  const store = bucketOf(new Kvm(of.connection), { ...of, ttlMs: of.keepMs })
  await store.act(async () => {})
  // It may be there with another age: ours holds from here on.
  await jetstreamManager(of.connection)
    .then((manager) => manager.streams.update(`KV_${of.bucket}`, { max_age: of.keepMs * NS }))
    .catch(() => {})
  return {
    shared: true,
    reason: null,
    put: ({ day, life, part }, rows) =>
      store.act(async (bucket) => {
        await bucket.put(`${day}.${life}.${part}`, usageText(rows))
      }),
    read: (day) =>
      store.act(async (bucket) => {
        const found: UsageRow[] = []
        // With one value kept of each key, its history is what there is.
        for await (const entry of await bucket.history({ key: `${day}.>` })) {
          const text = textOf(entry)
          if (text !== null) found.push(...readUsageRows(text))
        }
        return found
      }),
    close: async () => {},
  }
}

/** Nanoseconds in a millisecond. */
const NS = 1_000_000
