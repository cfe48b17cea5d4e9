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

export interface MemoryBatchStoreOptions {
  /** Those of all jobs, in the order in which they were stored. */
  results: ReadonlyMap<string, JobResult>
  forget: (result: JobResult) => void
  wall: () => Millis
  pageBytesMax: number
}

/** Each act begins with `#answer`: as a server would, it answers later, or not at all. */
export class MemoryBatchStore implements BatchStore {
  /** Every act fails with it until it is null again. */
  trouble: JobStoreError['reason'] | null = null
  readonly pageBytesMax: number
  readonly #of: MemoryBatchStoreOptions
  readonly #records = new Map<string, { batch: Batch; revision: number }>()
  readonly #open = new Map<string, BatchName>()
  readonly #pages = new Map<string, Uint8Array>()
  #last = 0

  constructor(of: MemoryBatchStoreOptions) {
    this.#of = of
    this.pageBytesMax = of.pageBytesMax
  }

  /** Pages that are kept. */
  get pages(): number {
    return this.#pages.size
  }

  async create(batch: Batch): Promise<boolean> {
    this.#answer()
    this.#open.set(nameOf(batch), { tenant: batch.tenant, id: batch.id })
    if (this.#records.has(nameOf(batch))) return false
    this.#put(batch)
    return true
  }

  async find(name: BatchName): Promise<{ batch: Batch; revision: number } | null> {
    this.#answer()
    return this.#records.get(nameOf(name)) ?? null
  }

  async write(batch: Batch, over: number): Promise<number | null> {
    this.#answer()
    const before = this.#records.get(nameOf(batch))?.revision ?? 0
    return before === over ? this.#put(batch) : null
  }

  async idsOf(tenant: string): Promise<string[]> {
    this.#answer()
    return [...this.#records.values()]
      .filter(({ batch }) => batch.tenant === tenant)
      .map(({ batch }) => batch.id)
      .toSorted()
      .toReversed()
  }

  async open(): Promise<BatchName[]> {
    this.#answer()
    return [...this.#open.values()]
  }

  async close(name: BatchName): Promise<void> {
    this.#answer()
    this.#open.delete(nameOf(name))
    this.#dropPages(`${nameOf(name)}/entries/`)
  }

  async putPage(page: BatchPage, bytes: Uint8Array): Promise<void> {
    this.#answer()
    if (bytes.length > this.pageBytesMax)
      throw new JobStoreError('too_large', 'a page is too large')
    this.#pages.set(pageOf(page), bytes.slice())
  }

  async page(page: BatchPage): Promise<Uint8Array | null> {
    this.#answer()
    return this.#pages.get(pageOf(page)) ?? null
  }

  async dropPage(page: BatchPage): Promise<void> {
    this.#answer()
    this.#pages.delete(pageOf(page))
  }

  async remove(name: BatchName): Promise<void> {
    this.#answer()
    this.#records.delete(nameOf(name))
    this.#open.delete(nameOf(name))
    this.#dropPages(`${nameOf(name)}/`)
    for (const result of [...this.#of.results.values()])
      if (isOf(name, result)) this.#of.forget(result)
  }

  async results(
    name: BatchName,
    from: number,
    most: { count: number; bytes: number },
  ): Promise<GroupResult[]> {
    this.#answer()
    const found = this.#resultsOf(name, from, most.count)
    let bytes = 0
    const end = found.findIndex(({ body }, i) => i > 0 && (bytes += body.length) > most.bytes)
    return end < 0 ? found : found.slice(0, end)
  }

  async heads(name: BatchName, from: number, count: number): Promise<GroupResult[]> {
    this.#answer()
    return this.#resultsOf(name, from, count).map((one) => ({ ...one, body: NOTHING }))
  }

  #answer(): void {
    if (this.trouble !== null) throw new JobStoreError(this.trouble, 'the test says so')
  }

  #put(batch: Batch): number {
    const revision = ++this.#last
    this.#records.set(nameOf(batch), { batch, revision })
    return revision
  }

  #dropPages(under: string): void {
    for (const key of [...this.#pages.keys()]) if (key.startsWith(under)) this.#pages.delete(key)
  }

  #resultsOf(name: BatchName, from: number, count: number): GroupResult[] {
    const { results, wall } = this.#of
    return [...results.values()]
      .filter((result) => isOf(name, result))
      .map(({ id, headers, body }, i) => ({ seq: i + 1, id, at: wall(), headers, body }))
      .filter(({ seq }) => seq >= from)
      .slice(0, count)
  }
}

const NOTHING = new Uint8Array(0)
const nameOf = ({ tenant, id }: BatchName): string => `${tenant}/${id}`
const pageOf = ({ kind, page, ...name }: BatchPage): string => `${nameOf(name)}/${kind}/${page}`
const isOf = (name: BatchName, { tenant, group }: JobResult): boolean =>
  tenant === name.tenant && group === name.id
