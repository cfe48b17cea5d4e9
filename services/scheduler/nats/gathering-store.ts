/** What is noted of gatherings, in a key-value bucket: one key each, every write a compare-and-set. */
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream'
import { Kvm, type KV, type KvEntry } from '@nats-io/kv'
import type { NatsConnection } from '@nats-io/transport-node'
import { gathering as gatheringShape } from '#contracts/jobs'
import { isWrongLast, keysOf } from './kv-bucket.ts'
import { JobStoreError, type GatheringStore, type NotedGathering } from '#ports'

/** A store that has not answered by then is away. */
const WITHIN = 5_000

export async function natsGatheringStore(of: {
  connection: NatsConnection
  bucket: string
  replicas: number
}): Promise<GatheringStore> {
  const kvm = new Kvm(of.connection)
  const options = { history: 1, replicas: of.replicas, timeout: WITHIN }
  let kv: KV | null = null
  let manager: JetStreamManager | null = null
  const opened = async (): Promise<KV> =>
    (kv ??= await kvm
      .create(of.bucket, options)
      // It is there with other settings, an operator's perhaps: they stay.
      .catch((refused: unknown) =>
        kvm.open(of.bucket, { timeout: WITHIN }).catch(() => {
          throw refused
        }),
      ))
  const act = async <T>(use: (kv: KV) => Promise<T>): Promise<T> => {
    try {
      return await use(await opened())
    } catch (error) {
      // Whatever was the matter: the next act looks for the bucket, or makes it.
      kv = null
      const { message } = error instanceof Error ? error : { message: 'no reason given' }
      throw new JobStoreError('away', message, { cause: error })
    }
  }
  /** Null where another write stands before it than was expected. */
  const write = <T>(use: (kv: KV) => Promise<T>): Promise<T | null> =>
    act((bucket) =>
      use(bucket).catch((error: unknown) => {
        if (isWrongLast(error)) return null
        throw error
      }),
    )

  await act(async () => {})
  return {
    all: () =>
      act(async (bucket) => {
        manager ??= await jetstreamManager(of.connection, { checkAPI: false })
        const found: NotedGathering[] = []
        for (const key of await keysOf(manager, of.bucket)) {
          const noted = notedIn(await bucket.get(key))
          if (noted !== null) found.push(noted)
        }
        return found
      }),
    put: (gathering, over) => {
      const text = JSON.stringify(gathering)
      return write((bucket) =>
        over === 0 ? bucket.create(gathering.id, text) : bucket.update(gathering.id, text, over),
      )
    },
    remove: async (id, over) =>
      (await write(async (bucket) => {
        await bucket.purge(id, { previousSeq: over })
        return true
      })) ?? false,
    close: async () => {},
  }
}

/** Null: it is gone, or no version that we know wrote it; then whoever knows it works on it. */
function notedIn(entry: KvEntry | null): NotedGathering | null {
  if (entry === null || entry.operation !== 'PUT') return null
  try {
    const read = gatheringShape.safeParse(entry.json())
    return read.success ? { gathering: read.data, revision: entry.revision } : null
  } catch {
    return null
  }
}
