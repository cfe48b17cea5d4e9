/** What is used of budgets, in a key-value bucket, every write a compare-and-set. */
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream'
import { Kvm } from '@nats-io/kv'
import type { NatsConnection } from '@nats-io/transport-node'
import type { BudgetStore, Clock } from '#ports'
import { bucketOf, keysOf, readKey, writeKey } from './kv-bucket.ts'

export function natsBudgetStore(of: {
  connection: NatsConnection
  clock: Pick<Clock, 'after'>
  bucket: string
  replicas: number
}): BudgetStore {
  const store = bucketOf(new Kvm(of.connection), of)
  let manager: JetStreamManager | null = null
  return {
    read: (key) => store.act((bucket) => readKey(bucket, key)),
    write: (key, text, over) => store.act((bucket) => writeKey(bucket, { key, text, over })),
    keys: () =>
      store.act(async () => {
        manager ??= await jetstreamManager(of.connection, { checkAPI: false })
        return keysOf(manager, of.bucket)
      }),
    close: () => Promise.resolve(),
  }
}
