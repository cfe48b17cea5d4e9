/** What the provider's batches promise, as sentences. Run on the fake and, over a real socket against the simulated
 *  provider, on the real ones. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { BatchAsk, BatchEntry, ProviderBatches, BatchResult } from '#ports'
import { BatchesError } from '#ports'

export interface FarBatches {
  batches: ProviderBatches
  ask: BatchAsk
  /** Far side's time; a batch takes `TAKES_MS`. */
  advance(ms: number): void
  /** How the entries of later batches end; absent: all succeed. */
  ends(how: 'succeeded' | 'errored' | 'expired'): void
  /** What the next create meets. */
  create(fault: 'refused' | 'lost'): void
  /** The next read of results is cut half way. */
  cut(): void
  /** The next call but a create fails. */
  away(): void
  /** Custom ids of the entries that ran. */
  executed(): readonly string[]
  stop(): Promise<void>
}

export const TAKES_MS = 3_600_000
export const MODEL = 'claude-haiku-4-5-20251001'

const entry = (customId: string, extra: object = {}): BatchEntry => ({
  customId,
  stream: 'stream' in extra,
  body: Buffer.from(
    JSON.stringify({
      ...{ model: MODEL, max_tokens: 50, ...extra },
      messages: [{ role: 'user', content: `name ${customId}` }],
    }),
  ),
})
const entries = (count: number): BatchEntry[] =>
  Array.from({ length: count }, (_, index) => entry(`e_${index}-x`))

export function batchesConformance(name: string, open: () => Promise<FarBatches>): void {
  describe(`batches: ${name}`, () => {
    let far: FarBatches
    beforeEach(async () => {
      far = await open()
    })
    afterEach(() => far.stop())

    const make = async (of: readonly BatchEntry[]) => {
      const created = await far.batches.create(far.ask, of)
      if (created.how !== 'made') throw new Error(created.how)
      return created.batch
    }
    const read = async (id: string): Promise<BatchResult[]> => {
      const all: BatchResult[] = []
      for await (const one of far.batches.results(far.ask, id)) all.push(one)
      return all
    }

    test('a batch is in progress, then it has ended, and each entry has one result by its id', async () => {
      const batch = await make([...entries(5), entry('streamed', { stream: true })])
      expect(batch).toMatchObject({ state: 'in_progress', entries: 6 })
      expect(await far.batches.look(far.ask, batch.id)).toEqual(batch)
      await expect(read(batch.id)).rejects.toBeInstanceOf(BatchesError)
      far.advance(TAKES_MS)
      expect(await far.batches.look(far.ask, batch.id)).toEqual({ ...batch, state: 'ended' })
      const results = await read(batch.id)
      expect(results.map(({ customId }) => customId).toSorted()).toEqual(
        ['e_0-x', 'e_1-x', 'e_2-x', 'e_3-x', 'e_4-x', 'streamed'].toSorted(),
      )
      for (const one of results) {
        if (one.how !== 'succeeded') throw new Error(one.how)
        const message = JSON.parse(Buffer.from(one.message).toString()) as Record<string, unknown>
        expect(message).toMatchObject({ type: 'message', role: 'assistant' })
        expect(one.usage?.outputTokens).toBeGreaterThan(0)
      }
      expect(far.executed().toSorted()).toEqual(results.map((one) => one.customId).toSorted())
    })

    test('the list has what was made since, newest first', async () => {
      const first = await make(entries(1))
      far.advance(1_000)
      const second = await make(entries(2))
      const ids = async (since: number) =>
        (await far.batches.list(far.ask, since)).map(({ id }) => id)
      expect(await ids(first.createdAt)).toEqual([second.id, first.id])
      expect(await ids(first.createdAt + 1)).toEqual([second.id])
      expect(await ids(second.createdAt + 1)).toEqual([])
    })

    test('a create that is refused has made nothing', async () => {
      far.create('refused')
      expect(await far.batches.create(far.ask, entries(2))).toMatchObject({ how: 'refused' })
      expect(await far.batches.list(far.ask, 0)).toEqual([])
    })

    test('a create whose answer is lost says that nobody knows, and the list knows', async () => {
      far.create('lost')
      expect(await far.batches.create(far.ask, entries(3))).toEqual({ how: 'unknown' })
      expect(await far.batches.list(far.ask, 0)).toMatchObject([{ entries: 3 }])
    })

    test('results that are cut fail, and are whole when read again', async () => {
      const { id } = await make(entries(40))
      far.advance(TAKES_MS)
      far.cut()
      const half: string[] = []
      const reading = async () => {
        for await (const one of far.batches.results(far.ask, id)) half.push(one.customId)
      }
      await expect(reading()).rejects.toBeInstanceOf(BatchesError)
      expect(half.length).toBeGreaterThan(0)
      expect(half.length).toBeLessThan(40)
      expect(await read(id)).toHaveLength(40)
    })

    test('a reader may leave in the middle', async () => {
      const { id } = await make(entries(40))
      far.advance(TAKES_MS)
      for await (const one of far.batches.results(far.ask, id)) {
        expect(one.how).toBe('succeeded')
        break
      }
      expect(await read(id)).toHaveLength(40)
    })

    test.each(['errored', 'expired'] as const)(
      'an entry may be %s, and did not run',
      async (how) => {
        far.ends(how)
        const { id } = await make(entries(3))
        far.advance(TAKES_MS)
        const results = await read(id)
        expect(results.map((one) => one.how)).toEqual([how, how, how])
        for (const one of results)
          if (one.how === 'errored')
            expect(JSON.parse(Buffer.from(one.body).toString())).toMatchObject({
              type: 'error',
              error: { type: one.type },
            })
        expect(far.executed()).toEqual([])
      },
    )

    test('a cancelled batch ends, with what had run, and cancelled twice it is cancelled', async () => {
      const { id } = await make(entries(40))
      far.advance(TAKES_MS / 2)
      await far.batches.cancel(far.ask, id)
      await far.batches.cancel(far.ask, id)
      far.advance(TAKES_MS)
      const ends = (await read(id)).map(({ how }) => how)
      expect(new Set(ends)).toEqual(new Set(['succeeded', 'canceled']))
      expect(far.executed()).toHaveLength(ends.filter((how) => how === 'succeeded').length)
    })

    test('a batch that nobody made is none, and not a failure', async () => {
      expect(await far.batches.look(far.ask, 'msgbatch_nobody')).toBeNull()
    })

    test('a call that fails says so, and what it asked may be asked again', async () => {
      const { id } = await make(entries(1))
      far.away()
      await expect(far.batches.look(far.ask, id)).rejects.toBeInstanceOf(BatchesError)
      expect(await far.batches.look(far.ask, id)).toMatchObject({ id })
    })
  })
}
