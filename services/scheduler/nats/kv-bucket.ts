/** A key-value bucket that may be absent, full, frozen or away at any time: every act ends within `STORE_WITHIN_MS`, the
 *  next one tries from the beginning, and a watch begins again wherever it has to. */
import { KvWatchInclude, type Kvm, type KV, type KvWatchEntry } from '@nats-io/kv'
import { JetStreamApiError, type JetStreamManager } from '@nats-io/jetstream'
import type { Clock, Millis } from '#ports'

/** A store that has not answered by then is as good as absent. */
export const STORE_WITHIN_MS: Millis = 2_000
/** How often a watch is looked after: begun again where it ended, or where its bucket is another one. */
export const RENEW_MS: Millis = 5_000

/** A bucket that may be there or not at any time. */
export interface Bucket {
  /** Rejects with a reason for an operator, in time. */
  act<T>(use: (kv: KV) => Promise<T>): Promise<T>
  /** Why the last act failed; null: it did not. */
  trouble(): string | null
}

export function bucketOf(
  kvm: Kvm,
  of: {
    clock: Pick<Clock, 'after'>
    bucket: string
    replicas?: number
    /** How long a value is kept; absent: for good. */
    ttlMs?: Millis
  },
): Bucket {
  const options = {
    ...{ history: 1, replicas: of.replicas ?? 1, timeout: STORE_WITHIN_MS },
    ...(of.ttlMs === undefined ? {} : { ttl: of.ttlMs }),
  }
  let kv: KV | null = null
  let trouble: string | null = null

  const opened = async (): Promise<KV> =>
    (kv ??= await kvm
      .create(of.bucket, options)
      // It is there with other settings, an operator's perhaps: they stay.
      .catch((refused: unknown) =>
        kvm.open(of.bucket, { timeout: STORE_WITHIN_MS }).catch(() => {
          throw refused
        }),
      ))
  /** A bucket that was there before may be gone, and then can be made anew. */
  const attempt = async <T>(use: (kv: KV) => Promise<T>): Promise<T> => {
    const before = kv
    try {
      return await use(await opened())
    } catch (error) {
      if (before === null || isSilence(error)) throw error
      kv = null
      return use(await opened())
    }
  }
  return {
    trouble: () => trouble,
    async act(use) {
      try {
        const done = await within(of.clock, attempt(use))
        trouble = null
        return done
      } catch (error) {
        // Whatever was the matter: the next act looks for the bucket, or makes it.
        kv = null
        trouble = reasonOf(error)
        throw new Error(trouble, { cause: error })
      }
    },
  }
}

/** The keys of a bucket that fit a filter, as the stream below it counts its subjects. A consumer of keys, which is the
 *  library's own way, waits for half a minute where one is purged while they are read. A key that was deleted, and not
 *  purged, is among them. */
export async function keysOf(
  jsm: Pick<JetStreamManager, 'streams'>,
  bucket: string,
  filter = '>',
): Promise<string[]> {
  const under = `$KV.${bucket}.`
  const info = await jsm.streams.info(`KV_${bucket}`, { subjects_filter: under + filter })
  return Object.keys(info.state.subjects ?? {}).map((subject) => subject.slice(under.length))
}

/** JetStream's own codes for a write that expected another message before it. */
const WRONG_LAST: ReadonlySet<number> = new Set([10_071, 10_164])

export const isWrongLast = (error: unknown): boolean =>
  error instanceof JetStreamApiError && WRONG_LAST.has(error.code)

/** Null: nothing stands there, or the mark of what was deleted. */
export async function readKey(
  bucket: KV,
  key: string,
): Promise<{ text: string; revision: number } | null> {
  const entry = await bucket.get(key)
  const text = textOf(entry)
  return entry === null || text === null ? null : { text, revision: entry.revision }
}

/** Over that revision, 0: there must be none. Gives its own; null: another was first. */
export async function writeKey(
  bucket: KV,
  of: { key: string; text: string; over: number },
): Promise<number | null> {
  const { key, text, over } = of
  try {
    return await (over === 0 ? bucket.create(key, text) : bucket.update(key, text, over))
  } catch (error) {
    if (isWrongLast(error)) return null
    throw error
  }
}

/** Hears what is there and what changes, begun again whenever it has to be. Gives what ends it. */
export function watchBucket(
  store: Bucket,
  clock: Pick<Clock, 'after'>,
  on: (key: string, value: string, revision: number) => void,
): () => void {
  let closed = false
  let entries: { stop(): void } | null = null
  let created = ''
  const look = async (): Promise<void> => {
    const now = await store.act((bucket) => bucket.status())
    if (entries !== null && now.streamInfo.created === created) return
    entries?.stop()
    const fresh = await store.act((bucket) => bucket.watch({ include: KvWatchInclude.LastValue }))
    if (closed) return fresh.stop()
    entries = fresh
    created = now.streamInfo.created
    const over = (): void => void (entries === fresh && (entries = null))
    listen(fresh, on).then(over, over)
  }
  let stopTimer = (): void => {}
  const again = (): void => {
    if (!closed) stopTimer = clock.after(RENEW_MS, () => void look().then(again, again))
  }
  void look().then(again, again)
  return () => {
    closed = true
    stopTimer()
    entries?.stop()
  }
}

async function listen(
  entries: AsyncIterable<KvWatchEntry>,
  on: (key: string, value: string, revision: number) => void,
): Promise<void> {
  for await (const entry of entries) {
    const text = textOf(entry)
    if (text !== null) on(entry.key, text, entry.revision)
  }
}

export const textOf = (entry: { operation: string; string(): string } | null): string | null =>
  entry === null || entry.operation !== 'PUT' ? null : entry.string()

/** The answer, or a rejection when the time is up; what comes later is nobody's. */
export function within<T>(clock: Pick<Clock, 'after'>, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = clock.after(STORE_WITHIN_MS, () => reject(new Error(SILENT)))
    work.then(
      (value) => {
        stop()
        resolve(value)
      },
      (error: unknown) => {
        stop()
        reject(error instanceof Error ? error : new Error('no reason given'))
      },
    )
  })
}

const SILENT = `JetStream has not answered within ${STORE_WITHIN_MS} ms`

const isSilence = (error: unknown): boolean =>
  error instanceof Error && /timeout/i.test(error.name + error.message)

/** One line for an operator. Names and codes are the server's; values are never in them. */
function reasonOf(error: unknown): string {
  if (error instanceof JetStreamApiError) return `JetStream refused: ${error.message}`
  if (!(error instanceof Error)) return 'no reason given'
  if (isSilence(error)) return SILENT
  if (/no ?responders/i.test(`${error.name} ${error.message} ${String(error.cause)}`))
    return 'no JetStream on this server, or not for this user'
  if (/jetstream is not enabled/i.test(error.message)) return 'no JetStream on this server'
  return error.message
}
