/** Small settings in a key-value bucket: they outlive a restart and reach every instance. A watcher hears what is
 *  there first, then every change, and all of it again after an outage or when the bucket was made anew.
 *
 *  The store may be absent, full, frozen or away, at the start or at any time later: then an act rejects with the
 *  reason, within `STORE_WITHIN_MS`, and the next one tries from the beginning. Nothing here throws by itself. */
import { Kvm, type KV } from '@nats-io/kv'
import type { NatsConnection } from '@nats-io/transport-node'
import type { Clock, KeptSettings } from '#ports'
import { bucketOf, STORE_WITHIN_MS, textOf, watchBucket, within } from './kv-bucket.ts'

export interface NatsSettingsOptions {
  connection: NatsConnection
  clock: Pick<Clock, 'after'>
  bucket: string
  /** Read where `bucket` has nothing, and never written. */
  olderBucket?: string
  replicas?: number
}

export async function natsSettings(of: NatsSettingsOptions): Promise<KeptSettings> {
  const { clock } = of
  const kvm = new Kvm(of.connection)
  const store = bucketOf(kvm, of)
  const stops = new Set<() => void>()
  let older: KV | null = null

  const settings: KeptSettings = {
    shared: true,
    get durable() {
      return store.trouble() === null
    },
    get reason() {
      return store.trouble()
    },
    async get(key) {
      const found = textOf(await store.act((bucket) => bucket.get(key)))
      if (found !== null || older === null) return found
      return within(clock, older.get(key)).then(textOf, () => null)
    },
    put: (key, value) => store.act(async (bucket) => void (await bucket.put(key, value))),
    async watch(on) {
      stops.add(watchBucket(store, clock, on))
    },
    async close() {
      for (const stop of stops) stop()
      stops.clear()
    },
  }

  const openOlder = async (bucket: string): Promise<void> => {
    older = await within(clock, kvm.open(bucket, { timeout: STORE_WITHIN_MS }))
  }
  await Promise.allSettled([
    store.act((bucket) => bucket.status()),
    ...(of.olderBucket === undefined ? [] : [openOlder(of.olderBucket)]),
  ])
  return settings
}
