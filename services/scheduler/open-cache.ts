/** The cache of earlier answers that suits the bus: shared by the fleet where NATS keeps things, else in this
 *  process. */
import type { ConfigFile } from '#contracts/config'
import { cacheKey } from './degrade/cache-key.ts'
import { fromBytes, toBytes } from './degrade/cached-bytes.ts'
import { memoryCache } from './degrade/memory-cache.ts'
import { natsCache } from './nats/cache.ts'
import type { Cache, Clock } from './ports.ts'

type Connection = Parameters<typeof natsCache>[0]['connection']

export async function openCache(of: {
  settings: ConfigFile['cache']
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
      : await natsCache({ connection, limits, keyOf: cacheKey, toBytes, fromBytes })
  if (shared !== null) return { cache: shared, shared: true }
  return { cache: memoryCache({ limits, clock: of.clock }), shared: false }
}
