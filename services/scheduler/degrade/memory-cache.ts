/** Answers kept in this process. Bounds: the age of each, the bytes of each tenant, the bytes of all; past a
 *  bound the oldest go, a tenant's own first. */
import type { Cache, CacheAsk, CachedAnswer, Clock, Millis } from '#ports'
import { cacheKey } from './cache-key.ts'

export interface CacheLimits {
  ttlMs: Millis
  answerBytesMax: number
  tenantBytesMax: number
  bytesMax: number
}

interface Kept {
  answer: CachedAnswer
  tenant: string
  bytes: number
  until: Millis
}

/** What an entry costs beside its answer. */
const OVERHEAD_BYTES = 300

export function memoryCache(of: { limits: CacheLimits; clock: Pick<Clock, 'now'> }): Cache {
  const { limits, clock } = of
  /** In the order of keeping: the first is the oldest. */
  const entries = new Map<string, Kept>()
  const tenants = new Map<string, { keys: Set<string>; bytes: number }>()
  let bytes = 0

  const drop = (key: string): void => {
    const entry = entries.get(key)
    if (entry === undefined) return
    entries.delete(key)
    bytes -= entry.bytes
    const own = tenants.get(entry.tenant)
    if (own === undefined) return
    own.keys.delete(key)
    own.bytes -= entry.bytes
    if (own.keys.size === 0) tenants.delete(entry.tenant)
  }
  const oldest = (keys: Iterable<string>): string | undefined => {
    for (const key of keys) return key
    return undefined
  }

  return {
    answerBytesMax: limits.answerBytesMax,

    async get(ask: CacheAsk) {
      const key = cacheKey(ask)
      const entry = entries.get(key)
      if (entry === undefined) return null
      if (clock.now() < entry.until) return entry.answer
      drop(key)
      return null
    },

    put(ask, answer) {
      const size = sizeOf(answer)
      if (size > limits.answerBytesMax) return
      const key = cacheKey(ask)
      drop(key)
      const entry = { answer, tenant: ask.tenant, bytes: size + OVERHEAD_BYTES }
      const own = tenants.get(ask.tenant) ?? { keys: new Set<string>(), bytes: 0 }
      while (own.keys.size > 0 && own.bytes + entry.bytes > limits.tenantBytesMax)
        drop(oldest(own.keys)!)
      while (entries.size > 0 && bytes + entry.bytes > limits.bytesMax)
        drop(oldest(entries.keys())!)
      entries.set(key, { ...entry, until: clock.now() + limits.ttlMs })
      own.keys.add(key)
      own.bytes += entry.bytes
      tenants.set(ask.tenant, own)
      bytes += entry.bytes
    },

    async close() {
      entries.clear()
      tenants.clear()
      bytes = 0
    },
  }
}

export const sizeOf = ({ parts }: CachedAnswer): number =>
  parts.reduce((sum, part) => sum + part.length, 0)
