/** Answers kept in a key-value bucket, for every instance of the fleet. The server ends what
 *  is too old and, past the bucket's size, what is oldest. Best effort: whatever fails is as good as absent. */
import { Kvm, type KV } from '@nats-io/kv'
import { DiscardPolicy, jetstreamManager } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'
import type { Cache, CacheAsk, CachedAnswer, Millis } from '#ports'

/** Null on a server without JetStream. */
export async function natsCache(of: {
  connection: NatsConnection
  limits: { ttlMs: Millis; answerBytesMax: number; bytesMax: number }
  keyOf: (ask: CacheAsk) => string
  toBytes: (answer: CachedAnswer) => Uint8Array
  fromBytes: (bytes: Uint8Array) => CachedAnswer | null
  bucket: string
}): Promise<Cache | null> {
  const { limits, bucket } = of
  let kv: KV
  try {
    kv = await open(of.connection, bucket, limits)
  } catch {
    return null
  }
  return {
    answerBytesMax: limits.answerBytesMax,
    async get(ask) {
      const entry = await kv.get(of.keyOf(ask)).catch(() => null)
      return entry === null || entry.operation !== 'PUT' ? null : of.fromBytes(entry.value)
    },
    put(ask, answer) {
      const bytes = answer.parts.reduce((sum, part) => sum + part.length, 0)
      if (bytes <= limits.answerBytesMax) kv.put(of.keyOf(ask), of.toBytes(answer)).catch(() => {})
    },
    close: async () => {},
  }
}

async function open(
  connection: NatsConnection,
  bucket: string,
  { ttlMs, bytesMax }: { ttlMs: Millis; bytesMax: number },
): Promise<KV> {
  const manager = await jetstreamManager(connection)
  const kv = await new Kvm(connection)
    .create(bucket, { history: 1, ttl: ttlMs, max_bytes: bytesMax })
    // It is there with other bounds: ours hold from here on.
    .catch(() => new Kvm(connection).open(bucket))
  // A bucket would rather refuse the new than let go of the old.
  await manager.streams.update(`KV_${bucket}`, {
    discard: DiscardPolicy.Old,
    max_bytes: bytesMax,
    max_age: ttlMs * 1_000_000,
  })
  return kv
}
