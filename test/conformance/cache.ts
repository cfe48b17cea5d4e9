/** What a Cache promises, as sentences. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Cache, CacheAsk, CachedAnswer } from '#ports'

export const ask = (
  of: { tenant?: string; body?: string } & Pick<Partial<CacheAsk>, 'headers'> = {},
): CacheAsk => ({
  tenant: of.tenant ?? 'acme',
  body: new TextEncoder().encode(of.body ?? '{"model":"m"}'),
  headers: of.headers ?? {},
})
export const kept = (...parts: string[]): CachedAnswer => ({
  parts: parts.map((part) => new TextEncoder().encode(part)),
  requestId: 'req_1',
})
const said = (answer: CachedAnswer | null): string[] | null =>
  answer?.parts.map((part) => new TextDecoder().decode(part)) ?? null

/** `settle` resolves when what was put can be found. */
export function cacheConformance(
  name: string,
  make: () => Promise<{ cache: Cache; settle(): Promise<void>; stop(): Promise<void> }>,
): void {
  describe(`cache: ${name}`, () => {
    let cache: Cache
    let settle: () => Promise<void>
    let stop: () => Promise<void>
    beforeAll(async () => {
      ;({ cache, settle, stop } = await make())
    })
    afterAll(() => stop())

    test('finds what was kept for the same words, part by part, the last one kept', async () => {
      expect(await cache.get(ask())).toBeNull()
      cache.put(ask(), kept('old'))
      cache.put(ask(), kept('{"a":1}', '', 'é\n'))
      await settle()
      const found = await cache.get(ask())
      expect(said(found)).toEqual(['{"a":1}', '', 'é\n'])
      expect(found?.requestId).toBe('req_1')
    })

    test('another tenant, other words, another version and other betas are other questions', async () => {
      cache.put(ask({ body: 'q' }), kept('mine'))
      await settle()
      for (const other of [
        ask({ body: 'q', tenant: 'other' }),
        ask({ body: 'q ' }),
        ask({ body: 'q', headers: { version: '2024-01-01' } }),
        ask({ body: 'q', headers: { beta: 'b' } }),
        ask({ body: '\nq' }),
      ])
        expect(await cache.get(other)).toBeNull()
      expect(said(await cache.get(ask({ body: 'q' })))).toEqual(['mine'])
    })

    test('keeps nothing larger than it may, and goes on', async () => {
      cache.put(ask({ body: 'large' }), kept('x'.repeat(cache.answerBytesMax + 1)))
      cache.put(ask({ body: 'fits' }), kept('y'.repeat(cache.answerBytesMax)))
      await settle()
      expect(await cache.get(ask({ body: 'large' }))).toBeNull()
      expect(said(await cache.get(ask({ body: 'fits' })))?.[0]?.length).toBe(cache.answerBytesMax)
    })

    test('a tenant may be named as any token', async () => {
      const tenant = '-_A9'.repeat(16)
      cache.put(ask({ tenant }), kept('token'))
      await settle()
      expect(said(await cache.get(ask({ tenant })))).toEqual(['token'])
    })
  })
}
