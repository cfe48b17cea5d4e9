/** Batches over JetStream: records and pages in a bucket of key and value, their results where those of all jobs
 *  are. Records are read from the bucket's leader, so that who made a batch finds it. */
import { Kvm, type KV } from '@nats-io/kv'
import { jetstreamManager, JetStreamApiError, type JetStreamManager } from '@nats-io/jetstream'
import type { Msg, NatsConnection } from '@nats-io/transport-node'
import { batchRecord, type Batch } from '#contracts/batches'
import type { StoreNames } from '#contracts/store-names'
import type { Subjects } from '#contracts/subjects'
import {
  JobStoreError,
  type BatchName,
  type BatchPage,
  type BatchStore,
  type BusHeaders,
  type GroupResult,
  type Millis,
} from '#ports'
import { isWrongLast, keysOf } from './kv-bucket.ts'

/** A store that has not answered by then is away. */
const WITHIN: Millis = 5_000
const NS_PER_MS = 1_000_000
const FULL_CODES: ReadonlySet<number> = new Set([10_023, 10_047, 10_077, 10_122, 10_123])
/** What the headers of a stored page may take beside it. */
const OVERHEAD_BYTES = 4_096

export interface BatchStoreOptions {
  connection: NatsConnection
  subjects: Subjects
  names: StoreNames
  replicas: number
  /** How long a batch is kept, ms. */
  maxAgeMs: Millis
}

/** Rejects where there is no JetStream, with the reason. */
export async function natsBatchStore(of: BatchStoreOptions): Promise<BatchStore> {
  const jsm = await jetstreamManager(of.connection, { timeout: WITHIN })
  const store = new NatsBatchStore(jsm, of)
  await store.opened()
  return store
}

class NatsBatchStore implements BatchStore {
  readonly #of: BatchStoreOptions
  readonly #jsm: JetStreamManager
  /** Opened again after it was found missing. */
  #kv: KV | null = null

  constructor(jsm: JetStreamManager, of: BatchStoreOptions) {
    this.#of = of
    this.#jsm = jsm
  }

  get pageBytesMax(): number {
    return (this.#of.connection.info?.max_payload ?? 0) - OVERHEAD_BYTES
  }

  async opened(): Promise<KV> {
    if (this.#kv !== null) return this.#kv
    const { connection, names, replicas, maxAgeMs } = this.#of
    const kvm = new Kvm(connection)
    const options = { history: 1, replicas, ttl: maxAgeMs, timeout: WITHIN, allow_direct: false }
    return (this.#kv = await kvm
      .create(names.batches, options)
      // It is there with other settings, an operator's perhaps: they stay.
      .catch((refused: unknown) =>
        kvm.open(names.batches, { timeout: WITHIN }).catch(() => {
          throw refused
        }),
      ))
  }

  create(batch: Batch): Promise<boolean> {
    return this.#act(async (kv) => {
      await kv.put(openKey(batch), '')
      return (await firstOrNull(kv.create(recordKey(batch), textOf(batch)))) !== null
    })
  }

  find(of: BatchName): Promise<{ batch: Batch; revision: number } | null> {
    return this.#act(async (kv) => {
      const entry = await kv.get(recordKey(of))
      if (entry === null || entry.operation !== 'PUT') return null
      const read = batchRecord.safeParse(entry.json())
      // Not written by a version that we know.
      return read.success ? { batch: read.data, revision: entry.revision } : null
    })
  }

  write(batch: Batch, over: number): Promise<number | null> {
    return this.#act((kv) => firstOrNull(kv.update(recordKey(batch), textOf(batch), over)))
  }

  async idsOf(tenant: string): Promise<string[]> {
    return (await this.#names(`${tenant}.*.record`)).map(({ id }) => id).toSorted(lastFirst)
  }

  open(): Promise<BatchName[]> {
    return this.#names('*.*.open')
  }

  async close(of: BatchName): Promise<void> {
    await this.#purge(`${of.tenant}.${of.id}.entries.>`)
    await this.#purge(openKey(of))
  }

  putPage(of: BatchPage, bytes: Uint8Array): Promise<void> {
    return this.#act(async (kv) => void (await kv.put(pageKey(of), bytes)))
  }

  page(of: BatchPage): Promise<Uint8Array | null> {
    return this.#act(async (kv) => {
      const entry = await kv.get(pageKey(of))
      return entry === null || entry.operation !== 'PUT' ? null : entry.value
    })
  }

  dropPage(of: BatchPage): Promise<void> {
    return this.#purge(pageKey(of))
  }

  async remove(of: BatchName): Promise<void> {
    const { names, subjects } = this.#of
    const filter = subjects.stored.done(of.tenant, of.id, '*')
    await this.#act(async () => void (await this.#jsm.streams.purge(names.results, { filter })))
    await this.#purge(`${of.tenant}.${of.id}.>`)
  }

  /** By direct gets, many at a time. */
  async results(
    of: BatchName,
    from: number,
    most: { count: number; bytes: number },
  ): Promise<GroupResult[]> {
    const { connection, names } = this.#of
    const query = { seq: Math.max(1, from), next_by_subj: this.#done(of), batch: most.count }
    return this.#act(async () => {
      const answers = await connection.requestMany(
        `$JS.API.DIRECT.GET.${names.results}`,
        JSON.stringify({ ...query, max_bytes: most.bytes }),
        { strategy: 'count', maxMessages: most.count + 1, maxWait: WITHIN },
      )
      const found: GroupResult[] = []
      for await (const message of answers) {
        const code = message.headers?.code ?? 0
        if (code === 404 || code === 204) break
        if (code !== 0)
          throw new JobStoreError('away', `JetStream: ${message.headers?.description}`)
        found.push(storedResult(message))
        if (header(message, 'Nats-Num-Pending') === '') break
      }
      return found
    })
  }

  heads(of: BatchName, from: number, count: number): Promise<GroupResult[]> {
    const { names } = this.#of
    return this.#act(async () => {
      const consumer = await this.#jsm.consumers.add(names.results, {
        filter_subject: this.#done(of),
        deliver_policy: 'by_start_sequence' as never,
        opt_start_seq: Math.max(1, from),
        headers_only: true,
        ack_policy: 'none' as never,
        mem_storage: true,
        inactive_threshold: 10_000 * NS_PER_MS,
      })
      try {
        return await this.#pull(consumer.name, Math.min(count, consumer.num_pending))
      } finally {
        await this.#jsm.consumers.delete(names.results, consumer.name).catch(() => {})
      }
    })
  }

  // ---- what JetStream is asked ----

  #done({ tenant, id }: BatchName): string {
    return this.#of.subjects.stored.done(tenant, id, '*')
  }

  #names(filter: string): Promise<BatchName[]> {
    return this.#act(async () => {
      const keys = await keysOf(this.#jsm, this.#of.names.batches, filter)
      return keys.flatMap((key) => {
        const [tenant, id] = key.split('.')
        return tenant === undefined || id === undefined ? [] : [{ tenant, id }]
      })
    })
  }

  /** No trace is left. */
  #purge(keys: string): Promise<void> {
    const { batches } = this.#of.names
    const filter = `$KV.${batches}.${keys}`
    return this.#act(async () => void (await this.#jsm.streams.purge(`KV_${batches}`, { filter })))
  }

  async #pull(consumer: string, count: number): Promise<GroupResult[]> {
    if (count === 0) return []
    const answers = await this.#of.connection.requestMany(
      `$JS.API.CONSUMER.MSG.NEXT.${this.#of.names.results}.${consumer}`,
      JSON.stringify({ batch: count, expires: WITHIN * NS_PER_MS, no_wait: true }),
      // What is delivered has its own subject, by which no shared inbox would know it.
      { strategy: 'count', maxMessages: count, maxWait: WITHIN, noMux: true },
    )
    const found: GroupResult[] = []
    for await (const message of answers) {
      if ((message.headers?.code ?? 0) !== 0) break
      found.push(deliveredHead(message))
    }
    return found
  }

  async #act<T>(act: (kv: KV) => Promise<T>): Promise<T> {
    try {
      return await act(await this.opened())
    } catch (error) {
      // Whatever was the matter: the next act looks for the bucket, or makes it.
      this.#kv = null
      throw storeError(error)
    }
  }
}

const recordKey = ({ tenant, id }: BatchName): string => `${tenant}.${id}.record`
const openKey = ({ tenant, id }: BatchName): string => `${tenant}.${id}.open`
const pageKey = ({ tenant, id, kind, page }: BatchPage): string => `${tenant}.${id}.${kind}.${page}`
const textOf = (batch: Batch): string => JSON.stringify(batch)
const lastFirst = (a: string, b: string): number => (a < b ? 1 : a > b ? -1 : 0)

const header = (message: Msg, name: string): string => message.headers?.get(name) ?? ''

function storedResult(message: Msg): GroupResult {
  return {
    seq: Number(header(message, 'Nats-Sequence')),
    id: header(message, 'Nats-Subject').split('.').at(-1) ?? '',
    at: Date.parse(header(message, 'Nats-Time-Stamp')) || 0,
    headers: ownHeaders(message),
    body: message.data,
  }
}

/** Its reply subject: `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time in ns>.…`, with a
 *  domain and an account before the stream where it has more than nine parts. */
function deliveredHead(message: Msg): GroupResult {
  const parts = (message.reply ?? '').split('.')
  const first = parts.length > 9 ? 7 : 5
  return {
    seq: Number(parts[first] ?? 0),
    id: message.subject.split('.').at(-1) ?? '',
    at: Math.floor(Number(parts[first + 2] ?? 0) / NS_PER_MS),
    headers: ownHeaders(message),
    body: NOTHING,
  }
}

const NOTHING = new Uint8Array(0)

/** All but the server's own. */
function ownHeaders(message: Msg): BusHeaders {
  const headers: [string, string][] = []
  for (const [name, values] of message.headers ?? [])
    if (!/^Nats-(?!Service-)/i.test(name)) for (const value of values) headers.push([name, value])
  return headers
}

/** Null: another message stands before it than was expected. */
async function firstOrNull(written: Promise<number>): Promise<number | null> {
  try {
    return await written
  } catch (error) {
    if (isWrongLast(error)) return null
    throw error
  }
}

function storeError(error: unknown): JobStoreError {
  if (error instanceof JobStoreError) return error
  if (!(error instanceof Error)) return new JobStoreError('away', 'no reason given')
  const full = error instanceof JetStreamApiError && FULL_CODES.has(error.code)
  const large = /max_payload|size exceeded/i.test(error.message)
  return new JobStoreError(large ? 'too_large' : full ? 'full' : 'away', error.message, {
    cause: error,
  })
}
