/** What a BatchStore promises, as sentences. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { NO_TALLY, type Batch } from '#contracts/batches'
import { JobStoreError, type BatchStore, type JobResult, type JobStore } from '#ports'

export const batch = (id: string, more: Partial<Batch> = {}): Batch => ({
  ...{ tenant: 'acme', id, lane: 'batch', state: 'receiving', by: 'one', touchedAt: 1 },
  ...{ createdAt: 1, expiresAt: 2, cancelAt: null, endedAt: null },
  ...{
    entries: 0,
    pages: 0,
    begun: 0,
    fed: 0,
    fedEntries: 0,
    cancelled: 0,
    tally: NO_TALLY,
    countedTo: 0,
  },
  ...{ headers: {}, degrade: [], maxAttempts: null },
  ...more,
})

export const result = (id: string, group: string, more: Partial<JobResult> = {}): JobResult => ({
  ...{ tenant: 'acme', id, group, hash: 'h', headers: [['Headgate-Outcome', 'completed']] },
  body: Buffer.from(`"${id}"`),
  ...more,
})

const text = (bytes: Uint8Array | null) => (bytes === null ? null : Buffer.from(bytes).toString())

export function batchStoreConformance(
  name: string,
  make: () => Promise<{
    store: BatchStore
    jobs: Pick<JobStore, 'settle' | 'result'>
    stop(): Promise<void>
  }>,
): void {
  describe(`batch store: ${name}`, () => {
    let store: BatchStore
    let jobs: Pick<JobStore, 'settle' | 'result'>
    let stop: () => Promise<void>
    beforeAll(async () => {
      ;({ store, jobs, stop } = await make())
    })
    afterAll(() => stop())
    const acme = (id: string) => ({ tenant: 'acme', id })

    test('a batch is made once, found by its tenant alone, and open until it is closed', async () => {
      expect(await store.create(batch('b1'))).toBe(true)
      expect(await store.create(batch('b1', { lane: 'other' }))).toBe(false)
      expect((await store.find(acme('b1')))?.batch).toEqual(batch('b1'))
      expect(await store.find({ tenant: 'other', id: 'b1' })).toBeNull()
      expect(await store.find(acme('nobody'))).toBeNull()
      expect(await store.open()).toEqual([acme('b1')])
      await store.close(acme('b1'))
      await store.close(acme('b1'))
      expect(await store.open()).toEqual([])
      expect(await store.find(acme('b1'))).not.toBeNull()
    })

    test('of two who write over the same revision one is told that it came second', async () => {
      await store.create(batch('b2'))
      const { revision = 0 } = (await store.find(acme('b2'))) ?? {}
      const next = await store.write(batch('b2', { entries: 1 }), revision)
      expect(next).toBeGreaterThan(revision)
      expect(await store.write(batch('b2', { entries: 2 }), revision)).toBeNull()
      expect(await store.find(acme('b2'))).toEqual({
        batch: batch('b2', { entries: 1 }),
        revision: next,
      })
    })

    test('ids are those of a tenant, the last first', async () => {
      for (const id of ['l2', 'l3', 'l1']) await store.create(batch(id, { tenant: 'lists' }))
      await store.create(batch('l4', { tenant: 'listsother' }))
      expect(await store.idsOf('lists')).toEqual(['l3', 'l2', 'l1'])
      expect(await store.idsOf('nobody')).toEqual([])
    })

    test('pages are kept apart by batch, kind and number; what waits goes when the batch is over', async () => {
      await store.create(batch('p'))
      const page = (kind: 'names' | 'entries', n: number) => ({ ...acme('p'), kind, page: n })
      await store.putPage(page('names', 0), Buffer.from('n0'))
      for (const n of [0, 1, 10]) await store.putPage(page('entries', n), Buffer.from(`e${n}`))
      await store.putPage(page('entries', 1), Buffer.from('again'))
      expect(text(await store.page(page('names', 0)))).toBe('n0')
      expect(text(await store.page(page('entries', 1)))).toBe('again')
      expect(await store.page(page('entries', 2))).toBeNull()
      await store.dropPage(page('entries', 1))
      expect(await store.page(page('entries', 1))).toBeNull()
      expect(text(await store.page(page('entries', 10)))).toBe('e10')
      await store.close(acme('p'))
      expect(await store.page(page('entries', 10))).toBeNull()
      expect(text(await store.page(page('names', 0)))).toBe('n0')
    })

    test('a page that is larger than any message is refused so', async () => {
      const large = new Uint8Array(store.pageBytesMax + 10_000)
      const put = store.putPage({ ...acme('p'), kind: 'entries', page: 0 }, large)
      await expect(put).rejects.toThrow(JobStoreError)
      await expect(put).rejects.toMatchObject({ reason: 'too_large' })
    })

    test('results are read in the order in which they were stored, from a place on, and so are their heads', async () => {
      for (const id of ['r_0_1', 'r_0_0', 'r_0_2']) await jobs.settle(result(id, 'r'))
      await jobs.settle(result('x_0_0', 'x'))
      await jobs.settle(result('r_0_3', 'r', { tenant: 'other' }))
      const most = { count: 10, bytes: 100_000 }
      const all = await store.results(acme('r'), 0, most)
      expect(all.map(({ id }) => id)).toEqual(['r_0_1', 'r_0_0', 'r_0_2'])
      expect(text(all[0]?.body ?? null)).toBe('"r_0_1"')
      expect(all[0]?.headers).toContainEqual(['Headgate-Outcome', 'completed'])
      const rest = await store.results(acme('r'), (all[0]?.seq ?? 0) + 1, most)
      expect(rest.map(({ id }) => id)).toEqual(['r_0_0', 'r_0_2'])
      expect(await store.results(acme('r'), (all[2]?.seq ?? 0) + 1, most)).toEqual([])
      expect((await store.results(acme('r'), 0, { ...most, count: 2 })).length).toBe(2)
      const heads = await store.heads(acme('r'), 0, 2)
      expect(heads.map(({ seq, id, headers }) => ({ seq, id, headers }))).toEqual(
        all.slice(0, 2).map(({ seq, id, headers }) => ({ seq, id, headers })),
      )
      expect(heads.map(({ body }) => body.length)).toEqual([0, 0])
      expect(heads[0]?.at).toBe(all[0]?.at)
      expect(await store.heads(acme('nobody'), 0, 2)).toEqual([])
    })

    test('results are as many as the bytes allow, and at least one', async () => {
      for (const n of [0, 1, 2])
        await jobs.settle(result(`w_0_${n}`, 'w', { body: Buffer.alloc(3_000, 0x20) }))
      const some = await store.results(acme('w'), 0, { count: 10, bytes: 4_000 })
      expect([1, 2]).toContain(some.length)
      expect(await store.results(acme('w'), 0, { count: 10, bytes: 1 })).toHaveLength(1)
    })

    test('what is removed is gone with its pages and results, and nothing else is', async () => {
      for (const id of ['gone', 'gone2']) {
        await store.create(batch(id))
        await store.putPage({ ...acme(id), kind: 'names', page: 0 }, Buffer.from('n'))
        await jobs.settle(result(`${id}_0_0`, id))
      }
      await store.remove(acme('gone'))
      await store.remove(acme('gone'))
      expect(await store.find(acme('gone'))).toBeNull()
      expect(await store.page({ ...acme('gone'), kind: 'names', page: 0 })).toBeNull()
      expect(await jobs.result('acme', 'gone_0_0')).toBeNull()
      expect(await store.open()).not.toContainEqual(acme('gone'))
      expect(await store.find(acme('gone2'))).not.toBeNull()
      expect(await jobs.result('acme', 'gone2_0_0')).not.toBeNull()
    })
  })
}
