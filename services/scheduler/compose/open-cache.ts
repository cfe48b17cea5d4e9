/** The cache of earlier answers that suits the bus: shared by the fleet where NATS keeps things, else in this
 *  process. */
import type { ConfigFile } from '#contracts/config'
import { storeNames } from '#contracts/store-names'
import { cacheKey } from '#scheduler/degrade/cache-key'
import { fromBytes, toBytes } from '#scheduler/degrade/cached-bytes'
import { memoryCache } from '#scheduler/degrade/memory-cache'
import { natsCache } from '#scheduler/nats/cache'
import type { Cache, Clock } from '#ports'

type Connection = Parameters<typeof natsCache>[0]['connection']

export async function openCache(of: {
  settings: ConfigFile['cache']
  /** First token of every subject: each has a bucket of its own. Absent: the default one. */
  prefix?: string
  /** Null: there is no server. */
  connection: Connection | null
  clock: Clock
}): Promise<{ cache: Cache; shared: boolean }> {
  const { ttl_seconds, answer_bytes, bytes_max, tenant_bytes } = of.settings
  const limits = {
    ttlMs: ttl_seconds * 1_000,
    answerBytesMax: answer_bytes,
    tenantBytesMax: tenant_bytes,
    bytesMax: bytes_max,
  }
  const { connection } = of
  const shared =
    connection === null
      ? null
      : await natsCache({
          ...{ connection, limits, keyOf: cacheKey, toBytes, fromBytes },
          bucket: storeNames(of.prefix ?? 'llm').cache,
        })
  if (shared !== null) return { cache: shared, shared: true }
  return { cache: memoryCache({ limits, clock: of.clock }), shared: false }
}
