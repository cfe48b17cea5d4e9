/** Message batches as the API has them: states, counts, results line by line, and what may go wrong on the way. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { AT_ONCE, callerOf, heldClock, MODEL, type Caller } from './caller.ts'

const HOUR = 3_600_000
const held = heldClock()
let caller: Caller
beforeEach(
  async () => void (caller = await callerOf({ ...AT_ONCE, clock: held.clock, batchMs: HOUR })),
)
afterEach(() => caller.close())

const requestsOf = (...ids: string[]) =>
  ids.map((id) => ({
    custom_id: id,
    params: { model: MODEL, max_tokens: 50, messages: [{ role: 'user' as const, content: id }] },
  }))
const many = (count: number) => requestsOf(...Array.from({ length: count }, (_, i) => `e${i}`))

const create = (count = 2) => caller.sdk.messages.batches.create({ requests: many(count) })
const look = (id: string) => caller.sdk.messages.batches.retrieve(id)
const status = (error: unknown) => (error as { status?: number }).status

async function endsOf(id: string): Promise<Record<string, string>> {
  const ends: Record<string, string> = {}
  for await (const one of await caller.sdk.messages.batches.results(id))
    ends[one.custom_id] = one.result.type
  return ends
}
const tallied = (ends: Record<string, string>) => {
  const counts: Record<string, number> = {}
  for (const end of Object.values(ends)) counts[end] = (counts[end] ?? 0) + 1
  return counts
}
const executions = () => caller.provider.ledger().entries.filter((entry) => entry.executed)

test('a batch is in progress until it has ended, and all its entries with it', async () => {
  const made = await create()
  expect(made).toMatchObject({
    ...{ processing_status: 'in_progress', results_url: null, ended_at: null },
    request_counts: { processing: 2, succeeded: 0, errored: 0, canceled: 0, expired: 0 },
  })
  held.advance(HOUR - 1)
  expect((await look(made.id)).processing_status).toBe('in_progress')
  expect(await caller.sdk.messages.batches.results(made.id).catch(String)).toMatch(/results_url/)
  held.advance(1)
  expect(await look(made.id)).toMatchObject({
    processing_status: 'ended',
    request_counts: { processing: 0, succeeded: 2 },
    results_url: `/v1/messages/batches/${made.id}/results`,
  })
  expect(await endsOf(made.id)).toEqual({ e0: 'succeeded', e1: 'succeeded' })
})

test('the ledger counts each entry once, when it runs, as one that costs half', async () => {
  const { id } = await create(20)
  held.advance(HOUR / 2)
  const halfway = executions().length
  expect(halfway).toBeGreaterThan(0)
  expect(halfway).toBeLessThan(20)
  held.advance(HOUR)
  await endsOf(id)
  await endsOf(id)
  const all = executions()
  expect(new Set(all.map(({ batch }) => batch?.customId)).size).toBe(20)
  expect(all).toHaveLength(20)
  expect(all.every(({ batch, billed }) => batch?.id === id && billed.output > 0)).toBe(true)
  await caller.post()
  expect(executions().at(-1)?.batch).toBeNull()
})

test('a cancelled batch goes on for a while; what has run by then is kept, the rest never runs', async () => {
  caller.provider.setBatches({ cancelMs: 60_000 })
  const { id } = await create(40)
  held.advance(HOUR / 2)
  expect(await caller.sdk.messages.batches.cancel(id)).toMatchObject({
    processing_status: 'canceling',
  })
  held.advance(60_000)
  const { processing_status: state, request_counts: counts } = await look(id)
  expect(state).toBe('ended')
  const ends = tallied(await endsOf(id))
  expect(ends).toEqual({ succeeded: counts.succeeded, canceled: counts.canceled })
  expect(Math.min(counts.succeeded, counts.canceled)).toBeGreaterThan(0)
  held.advance(HOUR)
  expect(executions()).toHaveLength(counts.succeeded)
})

test('entries expire or end in an error as the provider is told, and neither is charged', async () => {
  await caller.control('POST', '/_sim/batches', { expired: 0.5, errored: 0.5 })
  const { id } = await create(30)
  held.advance(HOUR)
  const ends = tallied(await endsOf(id))
  expect(Object.keys(ends).toSorted()).toEqual(['errored', 'expired'])
  expect((await look(id)).request_counts).toMatchObject(ends)
  expect(executions()).toEqual([])
  expect(await caller.control('POST', '/_sim/batches', { expired: 2 })).toMatchObject({
    status: 400,
  })
})

test('a list is newest first, in pages, and shows a key its own only', async () => {
  const made: string[] = []
  for (let i = 0; i < 5; i++) made.unshift((await create()).id)
  const seen: string[] = []
  for await (const { id } of caller.sdk.messages.batches.list({ limit: 2 })) seen.push(id)
  expect(seen).toEqual(made)
  const first = await caller.sdk.messages.batches.list({ limit: 2 })
  expect(first).toMatchObject({ has_more: true, last_id: made[1] })
  const before = await caller.sdk.messages.batches.list({ limit: 2, before_id: made[3]! })
  expect(before.data.map(({ id }) => id)).toEqual(made.slice(1, 3))
  const other = caller.sdk.withOptions({ apiKey: 'key-2' })
  expect((await other.messages.batches.list()).data).toEqual([])
  expect(await other.messages.batches.retrieve(made[0]!).catch(status)).toBe(404)
})

test('a batch can be deleted when it has ended, and is then known no more', async () => {
  const { id } = await create()
  expect(await caller.sdk.messages.batches.delete(id).catch(status)).toBe(400)
  held.advance(HOUR)
  expect(await caller.sdk.messages.batches.delete(id)).toMatchObject({ id })
  expect(await look(id).catch(status)).toBe(404)
})

test.each([
  ['no entries', []],
  ['a custom id with a dot', requestsOf('a.b')],
  ['a custom id that is too long', requestsOf('x'.repeat(65))],
  ['the same custom id twice', requestsOf('a', 'a')],
])('a batch with %s is refused whole', async (_what, requests) => {
  expect(await caller.sdk.messages.batches.create({ requests }).catch(status)).toBe(400)
  expect((await caller.sdk.messages.batches.list()).data).toEqual([])
})

describe('a call about a batch fails as calls do', () => {
  const made = async () => (await caller.sdk.messages.batches.list()).data.length
  const failed = () => create().catch((error: unknown) => status(error) ?? 'no answer')

  test.each([
    ['a refusal', { kind: 'storm_529' }, 529, 0],
    ['a limit', { kind: 'rate_limited_requests' }, 429, 0],
    ['an error after it was made', { kind: 'unavailable_503', executed: true }, 503, 1],
    ['a cut after it was made', { kind: 'reset_before_headers' }, 'no answer', 1],
    ['a cut in the answer', { kind: 'reset_mid_json' }, 'no answer', 1],
    ['a cut before it was made', { kind: 'reset_before_headers', executed: false }, 'no answer', 0],
  ] as const)('%s: told so, and it is there or it is not', async (_what, fault, said, there) => {
    caller.provider.fault({ ...fault, path: 'batches', times: 1 })
    expect(await failed()).toBe(said)
    expect(await made()).toBe(there)
  })

  test('results are cut half way, and are whole when asked for again', async () => {
    const { id } = await create(40)
    held.advance(HOUR)
    caller.provider.fault({ kind: 'reset_mid_json', path: 'batch_results', times: 1 })
    const ids: string[] = []
    const reading = async () => {
      for await (const one of await caller.sdk.messages.batches.results(id)) ids.push(one.custom_id)
    }
    await expect(reading()).rejects.toThrow()
    expect(ids.length).toBeGreaterThan(0)
    expect(ids.length).toBeLessThan(40)
    expect(Object.keys(await endsOf(id))).toHaveLength(40)
  })

  test('a look is late, and only the look', async () => {
    const { id } = await create()
    caller.provider.fault({ kind: 'internal_500', path: 'batch_look', times: 1 })
    expect(await look(id).catch(status)).toBe(500)
    expect((await look(id)).id).toBe(id)
  })
})
