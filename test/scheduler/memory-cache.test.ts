import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fromBytes, toBytes } from '../../services/scheduler/degrade/cached-bytes.ts'
import { memoryCache } from '../../services/scheduler/degrade/memory-cache.ts'
import { ask, cacheConformance, kept } from '../conformance/cache.ts'
import { manualClock } from '../support/manual-clock.ts'

const limits = { ttlMs: 10_000, answerBytesMax: 2_000, tenantBytesMax: 5_000, bytesMax: 9_000 }
const make = () => {
  const clock = manualClock()
  return { clock, cache: memoryCache({ limits, clock }) }
}

cacheConformance('memory', async () => {
  const { cache } = make()
  return { cache, settle: async () => {}, stop: () => cache.close() }
})

describe('memory cache', () => {
  test('an answer is found until its time is up, counted from when it was kept', async () => {
    const { clock, cache } = make()
    cache.put(ask(), kept('a'))
    clock.advance(9_999)
    expect(await cache.get(ask())).not.toBeNull()
    clock.advance(1)
    expect(await cache.get(ask())).toBeNull()
  })

  test('a tenant past its bytes loses its own oldest; past all bytes the oldest of all goes', async () => {
    const { cache } = make()
    const put = (tenant: string, body: string) =>
      cache.put(ask({ tenant, body }), kept('x'.repeat(1_700)))
    const has = async (tenant: string, body: string) =>
      (await cache.get(ask({ tenant, body }))) !== null
    // 2,000 bytes each with what an entry costs.
    put('b', '1')
    for (const body of ['1', '2', '3']) put('a', body)
    expect([await has('a', '1'), await has('a', '2'), await has('a', '3')]).toEqual([
      false,
      true,
      true,
    ])
    expect(await has('b', '1')).toBe(true)
    put('c', '1')
    put('d', '1')
    expect([await has('b', '1'), await has('a', '2'), await has('d', '1')]).toEqual([
      false,
      true,
      true,
    ])
  })
})

describe('a kept answer as bytes', () => {
  test('comes back as it was; anything else is none', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 50 })),
        fc.option(fc.string()),
        (parts, requestId) => {
          const back = fromBytes(toBytes({ parts, requestId }))
          expect(back?.requestId).toBe(requestId)
          expect(back?.parts.map((part) => [...part])).toEqual(parts.map((part) => [...part]))
        },
      ),
    )
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        expect(fromBytes(bytes)).toBeNull()
      }),
    )
    expect(fromBytes(toBytes(kept('abc')).subarray(0, -1))).toBeNull()
  })
})
