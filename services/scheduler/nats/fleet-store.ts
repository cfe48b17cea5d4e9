/** The record of a fleet in a key-value bucket, every write a compare-and-set. */
import { JetStreamApiError } from '@nats-io/jetstream'
import { Kvm } from '@nats-io/kv'
import type { NatsConnection } from '@nats-io/transport-node'
import type { Clock, FleetStore } from '#ports'
import { bucketOf, readKey, watchBucket, writeKey } from './kv-bucket.ts'

const KEY = 'shares'

export interface NatsFleetStoreOptions {
  connection: NatsConnection
  clock: Pick<Clock, 'after'>
  bucket: string
  replicas: number
}

export function natsFleetStore(of: NatsFleetStoreOptions): FleetStore {
  const store = bucketOf(new Kvm(of.connection), of)
  const stops = new Set<() => void>()
  return {
    read: () => store.act((bucket) => readKey(bucket, KEY)),
    write: (text, over) => store.act((bucket) => writeKey(bucket, { key: KEY, text, over })),
    watch(on) {
      stops.add(
        watchBucket(store, of.clock, (key, text, revision) => {
          if (key === KEY) on({ text, revision })
        }),
      )
      return Promise.resolve()
    },
    close() {
      for (const stop of stops) stop()
      stops.clear()
      return Promise.resolve()
    },
  }
}

/** Whether the server keeps nothing for us: then no instance has ever joined a fleet here. A store that only does not
 *  answer says nothing. Null: it keeps things; else why not. */
export async function keepsNothing(of: NatsFleetStoreOptions): Promise<string | null> {
  try {
    await new Kvm(of.connection).create(of.bucket, { history: 1, replicas: of.replicas })
    return null
  } catch (error) {
    const reason =
      error instanceof Error ? `${error.name} ${error.message} ${String(error.cause)}` : ''
    if (/no ?responders|not enabled/i.test(reason)) return 'no JetStream on this server'
    if (!(error instanceof JetStreamApiError)) return null
    const there = await new Kvm(of.connection)
      .open(of.bucket)
      .then((bucket) => bucket.status().then(() => true, isThere), isThere)
    return there ? null : `JetStream refused: ${error.message}`
  }
}

const isThere = (error: unknown): boolean => !/not found/i.test(String(error))
