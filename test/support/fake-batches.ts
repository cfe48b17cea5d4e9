/** The provider's batches in memory: what each entry does is the test's to say, and so is what goes wrong. */
import {
  BatchesError,
  type BatchCreated,
  type BatchEntry,
  type ProviderBatches,
  type BatchResult,
  type BatchSeen,
  type Clock,
  type Millis,
} from '#ports'

export type EntryEnd = 'succeeded' | 'errored' | 'invalid' | 'expired'

/** What happens to the next create. `lost`: it is made and the answer is lost; `not_sent`: neither. */
export type CreateFault = 'refused_429' | 'refused_529' | 'refused_400' | 'lost' | 'not_sent'

export interface FakeBatches extends ProviderBatches {
  /** How long one takes. */
  takesMs: Millis
  /** How long it goes on after a cancel. */
  cancelMs: Millis
  /** How an entry ends; by its custom id and body. */
  end: (entry: BatchEntry) => EntryEnd
  /** Each is used once, in order. */
  readonly createFaults: CreateFault[]
  /** The next reads of results end after so many. */
  readonly cutsAfter: number[]
  /** Every other call fails while it is set. */
  away: boolean
  /** A new batch is not listed before. */
  listedAfterMs: Millis
  /** Every entry that ran, in order: its batch, its custom id, its body. */
  readonly executed: { batch: string; customId: string; body: string }[]
  readonly creates: number
  readonly ids: readonly string[]
}

interface Made {
  seen: Omit<BatchSeen, 'state'>
  entries: { entry: BatchEntry; how: EntryEnd; doneAt: Millis; told: boolean }[]
  endsAt: Millis
  canceledAt: Millis | null
}

export function fakeBatches(clock: Pick<Clock, 'wall' | 'after'>): FakeBatches {
  const made = new Map<string, Made>()
  const executed: FakeBatches['executed'] = []
  let creates = 0

  const catchUp = (): void => {
    for (const [batch, { entries, endsAt }] of made)
      for (const one of entries) {
        if (one.told || one.how !== 'succeeded' || one.doneAt > Math.min(endsAt, clock.wall()))
          continue
        one.told = true
        const { customId, body } = one.entry
        executed.push({ batch, customId, body: Buffer.from(body).toString() })
      }
  }
  const show = ({ seen, endsAt, canceledAt }: Made): BatchSeen => ({
    ...seen,
    state: clock.wall() >= endsAt ? 'ended' : canceledAt === null ? 'in_progress' : 'canceling',
  })
  const make = (entries: readonly BatchEntry[]): BatchCreated => {
    const id = `msgbatch_${made.size + 1}`
    const now = clock.wall()
    const batch: Made = {
      seen: { id, createdAt: now, entries: entries.length },
      entries: entries.map((entry, index) => ({
        ...{ entry, how: fake.end(entry), told: false },
        doneAt: now + ((index + 1) / entries.length) * fake.takesMs,
      })),
      endsAt: now + fake.takesMs,
      canceledAt: null,
    }
    made.set(id, batch)
    return { how: 'made', batch: show(batch) }
  }
  /** As a far side answers: later, or not at all. */
  const known = async (id: string): Promise<Made | undefined> => {
    if (fake.away) throw new BatchesError(503, 'the test says so')
    catchUp()
    return made.get(id)
  }

  const fake: FakeBatches = {
    takesMs: 600_000,
    cancelMs: 0,
    end: () => 'succeeded',
    createFaults: [],
    cutsAfter: [],
    away: false,
    listedAfterMs: 0,
    get executed() {
      catchUp()
      return executed
    },
    get creates() {
      return creates
    },
    get ids() {
      return [...made.keys()]
    },

    async create(_ask, entries) {
      creates++
      const fault = fake.createFaults.shift()
      if (fault === 'not_sent') return { how: 'unknown' }
      if (fault !== undefined && fault !== 'lost') {
        const status = Number(fault.slice(-3))
        return { how: 'refused', status, retryAfterMs: status === 429 ? 7_000 : null }
      }
      const answer = make(entries)
      return fault === 'lost' ? { how: 'unknown' } : answer
    },

    async list(_ask, since) {
      await known('')
      const listed = (one: BatchSeen): boolean =>
        one.createdAt >= since && clock.wall() >= one.createdAt + fake.listedAfterMs
      return [...made.values()].map(show).filter(listed).toReversed()
    },

    async look(_ask, id) {
      const batch = await known(id)
      return batch === undefined ? null : show(batch)
    },

    async *results(_ask, id) {
      const batch = await known(id)
      if (batch === undefined) throw new BatchesError(404, 'no such batch')
      if (show(batch).state !== 'ended') throw new BatchesError(404, 'not ended')
      const cut = fake.cutsAfter.shift() ?? Infinity
      for (const [index, one] of batch.entries.toReversed().entries()) {
        if (index >= cut) throw new BatchesError(null, 'cut')
        yield resultOf(one, batch)
      }
    },

    async cancel(_ask, id) {
      const batch = await known(id)
      if (batch === undefined || batch.canceledAt !== null) return
      batch.canceledAt = clock.wall()
      batch.endsAt = Math.min(batch.endsAt, clock.wall() + fake.cancelMs)
    },

    close: async () => {},
  }
  return fake
}

function resultOf({ entry, how, doneAt }: Made['entries'][number], batch: Made): BatchResult {
  const { customId } = entry
  if (how === 'expired') return { customId, how: batch.canceledAt === null ? how : 'canceled' }
  if (doneAt > batch.endsAt) return { customId, how: 'canceled' }
  if (how === 'succeeded') {
    const usage = { inputTokens: 10, cacheCreationTokens: 0, cacheReadTokens: 0, outputTokens: 12 }
    const content = [{ type: 'text', text: 'Wasser' }]
    const counts = { input_tokens: 10, output_tokens: 12 }
    const message = { id: `msg_${customId}`, type: 'message', role: 'assistant', content }
    return { customId, how, message: jsonOf({ ...message, usage: counts }), usage }
  }
  const type = how === 'invalid' ? 'invalid_request_error' : 'api_error'
  const error = { type: 'error', error: { type, message: 'the test says so' } }
  return { customId, how: 'errored', type, body: jsonOf(error) }
}

const jsonOf = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))
