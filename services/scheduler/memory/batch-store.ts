/** A store of batches that lasts as long as the process, beside a store of jobs of the same kind. */
import type { Batch } from '#contracts/batches'
import {
  JobStoreError,
  type BatchName,
  type BatchPage,
  type BatchStore,
  type GroupResult,
  type JobResult,
  type Millis,
} from '#ports'

export interface MemoryBatchStore extends BatchStore {
  /** Every act fails with it until it is null again. */
  trouble: JobStoreError['reason'] | null
  /** Pages that are kept. */
  readonly pages: number
}

export function memoryBatchStore(of: {
  /** Those of all jobs, in the order in which they were stored. */
  results: ReadonlyMap<string, JobResult>
  forget: (result: JobResult) => void
  wall: () => Millis
  pageBytesMax: number
}): MemoryBatchStore {
  const records = new Map<string, { batch: Batch; revision: number }>()
  const open = new Map<string, BatchName>()
  const pages = new Map<string, Uint8Array>()
  let last = 0

  const put = (batch: Batch): number => {
    const revision = ++last
    records.set(nameOf(batch), { batch, revision })
    return revision
  }
  const dropPages = (under: string): void => {
    for (const key of [...pages.keys()]) if (key.startsWith(under)) pages.delete(key)
  }
  const resultsOf = (name: BatchName, from: number, count: number): GroupResult[] =>
    [...of.results.values()]
      .filter(({ tenant, group }) => tenant === name.tenant && group === name.id)
      .map(({ id, headers, body }, i) => ({ seq: i + 1, id, at: of.wall(), headers, body }))
      .filter(({ seq }) => seq >= from)
      .slice(0, count)

  const store: MemoryBatchStore = {
    trouble: null,
    pageBytesMax: of.pageBytesMax,
    get pages() {
      return pages.size
    },

    create: act((batch: Batch) => {
      open.set(nameOf(batch), { tenant: batch.tenant, id: batch.id })
      if (records.has(nameOf(batch))) return false
      put(batch)
      return true
    }),

    find: act((name: BatchName) => records.get(nameOf(name)) ?? null),

    write: act((batch: Batch, over: number) => {
      const before = records.get(nameOf(batch))?.revision ?? 0
      return before === over ? put(batch) : null
    }),

    idsOf: act((tenant: string) =>
      [...records.values()]
        .filter(({ batch }) => batch.tenant === tenant)
        .map(({ batch }) => batch.id)
        .toSorted()
        .toReversed(),
    ),

    open: act(() => [...open.values()]),

    close: act((name: BatchName) => {
      open.delete(nameOf(name))
      dropPages(`${nameOf(name)}/entries/`)
    }),

    putPage: act((page: BatchPage, bytes: Uint8Array) => {
      if (bytes.length > of.pageBytesMax)
        throw new JobStoreError('too_large', 'a page is too large')
      pages.set(pageOf(page), bytes.slice())
    }),

    page: act((page: BatchPage) => pages.get(pageOf(page)) ?? null),

    dropPage: act((page: BatchPage) => void pages.delete(pageOf(page))),

    remove: act((name: BatchName) => {
      records.delete(nameOf(name))
      open.delete(nameOf(name))
      dropPages(`${nameOf(name)}/`)
      for (const result of [...of.results.values()])
        if (result.tenant === name.tenant && result.group === name.id) of.forget(result)
    }),

    results: act((name: BatchName, from: number, most: { count: number; bytes: number }) => {
      const found = resultsOf(name, from, most.count)
      let bytes = 0
      const end = found.findIndex(({ body }, i) => i > 0 && (bytes += body.length) > most.bytes)
      return end < 0 ? found : found.slice(0, end)
    }),

    heads: act((name: BatchName, from: number, count: number) =>
      resultsOf(name, from, count).map((one) => ({ ...one, body: NOTHING })),
    ),
  }

  /** As a server would answer it: later, or not at all. */
  function act<A extends unknown[], R>(perform: (...args: A) => R): (...args: A) => Promise<R> {
    return async (...args) => {
      if (store.trouble !== null) throw new JobStoreError(store.trouble, 'the test says so')
      return perform(...args)
    }
  }

  return store
}

const NOTHING = new Uint8Array(0)
const nameOf = ({ tenant, id }: BatchName): string => `${tenant}/${id}`
const pageOf = ({ kind, page, ...name }: BatchPage): string => `${nameOf(name)}/${kind}/${page}`
