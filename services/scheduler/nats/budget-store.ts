/** What is used of budgets, in a key-value bucket, every write a compare-and-set. */
import { JetStreamApiError, jetstreamManager, type JetStreamManager } from '@nats-io/jetstream'
import { Kvm } from '@nats-io/kv'
import type { NatsConnection } from '@nats-io/transport-node'
import type { BudgetStore, Clock } from '#ports'
import { bucketOf, keysOf } from './kv-bucket.ts'

/** JetStream's own code for a write that expected another message before it. */
const WRONG_LAST = 10_071

export function natsBudgetStore(of: {
  connection: NatsConnection
  clock: Pick<Clock, 'after'>
  bucket: string
  replicas: number
}): BudgetStore {
  const store = bucketOf(new Kvm(of.connection), of)
  let manager: JetStreamManager | null = null
  return {
    read: (key) =>
      store.act(async (bucket) => {
        const entry = await bucket.get(key)
        if (entry === null) return null
        // A key that was deleted is begun anew, over the mark of its deletion.
        if (entry.operation !== 'PUT') return null
        return { text: entry.string(), revision: entry.revision }
      }),
    write: (key, text, over) =>
      store.act((bucket) =>
        (over === 0 ? bucket.create(key, text) : bucket.update(key, text, over)).catch(
          (error: unknown) => {
            if (error instanceof JetStreamApiError && error.apiError().err_code === WRONG_LAST)
              return null
            throw error
          },
        ),
      ),
    keys: () =>
      store.act(async () => {
        manager ??= await jetstreamManager(of.connection, { checkAPI: false })
        return keysOf(manager, of.bucket)
      }),
    close: () => Promise.resolve(),
  }
}
