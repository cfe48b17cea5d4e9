/** Batches in virtual time: what a crash, a full store and old results leave. */
import { setImmediate as turn } from 'node:timers/promises'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Batch, BatchOp } from '#contracts/batches'
import { refusal, type Refusal } from '#contracts/messages'
import type { Batches, Jobs, MessageBatchNews, SubmittedJob } from '#ports'
import { batchDesk } from '../../../services/scheduler/batches/desk.ts'
import { BatchWork } from '../../../services/scheduler/batches/work.ts'
import { result } from '../../conformance/batch-store.ts'
import { fakeScheduler } from '../../support/fake-scheduler.ts'
import { manualClock, type ManualClock } from '../../support/manual-clock.ts'
import { memoryBatches } from '../../support/memory-batches.ts'

const RECEIVE_MS = 600_000
const RESULTS_AGE_MS = 86_400_000
const DAY = 86_400_000

let clock: ManualClock
let kept: ReturnType<typeof memoryBatches>
let jobs: Jobs
/** Every job that was submitted, in order. */
let submitted: SubmittedJob[]
/** What the next submits are told; a receipt where it is empty. */
let answers: Refusal[]
let errors: unknown[]
let news: MessageBatchNews[]

beforeEach(() => {
  clock = manualClock()
  kept = memoryBatches({ wall: () => clock.wall(), pageBytesMax: 100_000 })
  submitted = []
  answers = []
  errors = []
  news = []
  jobs = {
    async submit(job) {
      const refused = answers.shift()
      if (refused !== undefined) return { refused }
      submitted.push(job)
      const { id } = job
      const more = { position: null, estimated_wait_ms: null, result_subject: '' }
      return { receipt: { id, accepted: true, duplicate: false, ...more } }
    },
    async refuse({ tenant, id, group }, said) {
      const outcome = said.code === 'deadline_exceeded' ? 'expired' : 'refused'
      await settle(id, group, outcome, tenant)
    },
    life: async () => null,
    fetch: async (tenant, id) =>
      (await kept.jobs.result(tenant, id)) ??
      (submitted.some((job) => job.id === id) ? 'pending' : null),
    async cancel(tenant, id) {
      await settle(id, submitted.find((job) => job.id === id)?.group ?? '', 'cancelled', tenant)
      return { cancelled: true, state: 'queued' }
    },
    status: async () => null,
  }
})

const settle = (id: string, group: string, outcome = 'completed', tenant = 'acme') =>
  kept.jobs.settle(result(id, group, { tenant, headers: [['Headgate-Outcome', outcome]] }))

interface Instance {
  desk: Batches
  work: BatchWork
}

let chance = 0
function instance(name: string): Instance {
  const parts = {
    ...{ store: kept.store, jobs, scheduler: fakeScheduler(), clock, instance: name },
    news: (one: MessageBatchNews) => news.push(one),
    onError: (error: unknown) => errors.push(error),
  }
  const work = new BatchWork({
    ...parts,
    read: ({ batch, id, body, deadlineMs }) => ({
      ...{ tenant: batch.tenant, lane: batch.lane, id, body, deadlineMs, group: batch.id },
      ...{ model: 'm', stream: false, maxTokens: 1, degrade: [], headers: {} },
      ...{ named: true, notBeforeMs: 0 },
    }),
    cancelElsewhere: () => {},
    receiveMs: () => RECEIVE_MS,
  })
  const desk = batchDesk({
    ...{ ...parts, work, chance: () => `x${chance++}`, timeoutOf: () => DAY },
    limits: () => ({
      ...{ entriesMax: 100_000, tenantMax: 3, requestBytes: 50_000 },
      resultsAgeMs: RESULTS_AGE_MS,
    }),
  })
  work.start()
  return { desk, work }
}

async function ask({ desk }: Instance, op: BatchOp, data: unknown, tenant = 'acme') {
  const said = { deadlineMs: null, degrade: [], headers: {}, maxAttempts: null }
  const bytes = data instanceof Uint8Array ? data : Buffer.from(JSON.stringify(data))
  const answer = await desk.ask(op, { tenant, data: bytes, said })
  if ('refused' in answer) return { refused: answer.refused.code }
  return 'json' in answer ? (answer.json as Record<string, unknown>) : Buffer.from(answer.bytes)
}

const page = (id: string, n: number, names: string[]) =>
  Buffer.from(
    `${JSON.stringify({ id, page: n, entries: names.map((name) => [name, 2]) })}\n${'{}'.repeat(names.length)}`,
  )

/** Received, and not committed. */
async function received(by: Instance, pages: string[][]): Promise<string> {
  const { id } = (await ask(by, 'open', { lane: 'batch' })) as { id: string }
  for (const [n, names] of pages.entries()) await ask(by, 'page', page(id, n, names))
  return id
}

async function committed(by: Instance, pages: string[][]): Promise<string> {
  const id = await received(by, pages)
  await ask(by, 'commit', { id, pages: pages.length, entries: pages.flat().length })
  await turn()
  return id
}

/** Lets what waits go on. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 5_000) {
    clock.advance(Math.min(left, 5_000))
    await turn()
  }
}

const batchOf = async (id: string): Promise<Batch | null> =>
  (await kept.store.find({ tenant: 'acme', id }))?.batch ?? null

async function lines(by: Instance, id: string): Promise<[string, string][]> {
  const all: [string, string][] = []
  for (let from: unknown = { result: 0, told: 0 }; from !== null;) {
    const said = await ask(by, 'results', { id, from })
    const [head = '', ...rest] = (said as Buffer).toString().trimEnd().split('\n')
    from = (JSON.parse(head) as { next: unknown }).next
    for (const line of rest) {
      const { custom_id, result: how } = JSON.parse(line) as {
        custom_id: string
        result: { type: string }
      }
      all.push([custom_id, how.type])
    }
  }
  return all
}

describe('a batch that is being received', () => {
  test('is seen by nobody, and none of it is a job', async () => {
    const one = instance('one')
    const id = await received(one, [['a']])
    await pass(60_000)
    expect(submitted).toEqual([])
    for (const op of ['get', 'cancel', 'delete'] as const)
      expect(await ask(one, op, { id })).toEqual({ refused: 'unknown_id' })
    expect(await ask(one, 'list', { limit: 10 })).toEqual({ data: [], has_more: false })
  })

  test('is given up when nobody has sent anything for so long, and leaves nothing', async () => {
    const one = instance('one')
    const id = await received(one, [['a']])
    await pass(RECEIVE_MS - 60_000)
    await ask(one, 'page', page(id, 1, ['b']))
    await pass(RECEIVE_MS - 60_000)
    expect(await batchOf(id)).not.toBeNull()
    await pass(120_000)
    expect(await batchOf(id)).toBeNull()
    expect(kept.store.pages).toBe(0)
    expect(await kept.store.open()).toEqual([])
    expect(await ask(one, 'commit', { id, pages: 2, entries: 2 })).toEqual({
      refused: 'unknown_id',
    })
  })

  test('and dropped is gone at once; one that is complete is not', async () => {
    const one = instance('one')
    const id = await received(one, [['a']])
    await ask(one, 'drop', { id })
    expect(kept.store.pages).toBe(0)
    const other = await committed(one, [['a']])
    await ask(one, 'drop', { id: other })
    expect(await batchOf(other)).not.toBeNull()
    expect(await ask(one, 'page', page(other, 1, ['b']))).toEqual({ refused: 'invalid_request' })
  })

  test('of a tenant with as many as it may keep is refused', async () => {
    const one = instance('one')
    for (let i = 0; i < 3; i++) await received(one, [])
    expect(await ask(one, 'open', { lane: 'batch' })).toEqual({ refused: 'queue_full' })
    expect(await ask(one, 'open', { lane: 'batch' }, 'other')).toHaveProperty('id')
  })
})

describe('a batch that is there', () => {
  test('is gone on with by another instance, from the page where the first one died', async () => {
    const one = instance('one')
    answers = []
    const second = Promise.withResolvers<never>()
    const submit = jobs.submit.bind(jobs)
    jobs.submit = (job) => (job.id.endsWith('_1_0') ? second.promise : submit(job))
    const id = await committed(one, [['a', 'b'], ['c'], ['d']])
    expect(submitted.map((job) => job.id)).toEqual([`${id}_0_0`, `${id}_0_1`])
    one.work.stop()
    jobs.submit = submit
    const two = instance('two')
    await pass(45_000)
    expect(submitted).toHaveLength(2)
    await pass(60_000)
    expect(submitted.map((job) => job.id).slice(2)).toEqual([`${id}_1_0`, `${id}_2_0`])
    expect(await batchOf(id)).toMatchObject({ fed: 3, fedEntries: 4, by: 'two' })
    for (const job of submitted) await settle(job.id, id)
    expect(await ask(two, 'get', { id })).toMatchObject({ processing_status: 'ended' })
  })

  test('waits where the store is full, and tells an entry that can be no job', async () => {
    const one = instance('one')
    answers = [
      refusal('queue_full', 'full', { retryAfterMs: 2_000 }),
      refusal('unknown_model', 'no route'),
    ]
    const id = await committed(one, [['a', 'b']])
    expect(submitted).toEqual([])
    await pass(5_000)
    expect(submitted.map((job) => job.id)).toEqual([`${id}_0_0`])
    await settle(`${id}_0_0`, id)
    await ask(one, 'get', { id })
    expect((await batchOf(id))?.tally).toMatchObject({ succeeded: 1, errored: 1 })
    expect(await lines(one, id)).toEqual([
      ['b', 'errored'],
      ['a', 'succeeded'],
    ])
  })

  test('is told once at each of its steps, and counted while it is open', async () => {
    const one = instance('one')
    const id = await received(one, [['a', 'b'], ['c']])
    await one.work.look()
    expect(one.work.open).toEqual({ receiving: 1, in_progress: 0, canceling: 0 })
    await ask(one, 'commit', { id, pages: 2, entries: 3 })
    while (submitted.length < 3) await turn()
    await one.work.look()
    expect(one.work.open).toEqual({ receiving: 0, in_progress: 1, canceling: 0 })
    for (const job of submitted) await settle(job.id, id)
    for (let n = 0; n < 2; n++) await ask(one, 'get', { id })
    await one.work.look()
    expect(one.work.open).toEqual({ receiving: 0, in_progress: 0, canceling: 0 })
    await ask(one, 'delete', { id })
    const dropped = await received(one, [['a']])
    await ask(one, 'drop', { id: dropped })
    expect(news).toMatchObject([
      ...[{ what: 'opened' }, { what: 'page', entries: 2 }, { what: 'page', entries: 1 }],
      ...[{ what: 'received' }, { what: 'ended', tally: { succeeded: 3 } }, { what: 'deleted' }],
      ...[{ what: 'opened' }, { what: 'page', entries: 1 }, { what: 'dropped' }],
    ])
  })

  test('has counts of its ends only when all have ended, and ends with the last of them', async () => {
    const one = instance('one')
    const id = await committed(one, [['a', 'b']])
    await settle(`${id}_0_1`, id)
    expect(await ask(one, 'get', { id })).toMatchObject({
      processing_status: 'in_progress',
      request_counts: { processing: 2, succeeded: 0 },
      ended_at: null,
    })
    // Nobody asks: it is counted all the same.
    await settle(`${id}_0_0`, id, 'expired')
    await pass(20_000)
    expect(await batchOf(id)).toMatchObject({ state: 'ended', tally: { succeeded: 1, expired: 1 } })
    expect(await kept.store.open()).toEqual([])
  })

  test('whose entry would not have been answered in time says that it expired', async () => {
    const one = instance('one')
    const id = await committed(one, [['a']])
    const headers = [
      ['Headgate-Outcome', 'refused'],
      ['Nats-Service-Error', 'deadline_unreachable: the wait alone is longer'],
    ] as const
    await kept.jobs.settle(result(`${id}_0_0`, id, { headers }))
    expect(await ask(one, 'get', { id })).toMatchObject({ request_counts: { expired: 1 } })
    expect(await lines(one, id)).toEqual([['a', 'expired']])
  })

  test('cancelled while a page of it becomes jobs: all of them are cancelled, and it ends after that', async () => {
    const one = instance('one')
    const held = Promise.withResolvers<void>()
    const submit = jobs.submit.bind(jobs)
    jobs.submit = (job) => held.promise.then(() => submit(job))
    const id = await committed(one, [['a', 'b']])
    await ask(one, 'cancel', { id })
    expect(await ask(one, 'get', { id })).toMatchObject({ processing_status: 'canceling' })
    held.resolve()
    await pass(30_000)
    expect(submitted).toHaveLength(2)
    expect(await batchOf(id)).toMatchObject({ state: 'ended', tally: { canceled: 2 } })
    for (const job of submitted) expect(await kept.jobs.result('acme', job.id)).not.toBeNull()
  })

  test('cancelled while its entries become jobs: those that are none are canceled too', async () => {
    const one = instance('one')
    answers = [refusal('queue_full', 'full', { retryAfterMs: 8_000 })]
    const id = await committed(one, [['a'], ['b'], ['c']])
    expect(await ask(one, 'cancel', { id })).toMatchObject({ processing_status: 'canceling' })
    await pass(30_000)
    expect(submitted.map((job) => job.id)).toEqual([`${id}_0_0`])
    expect(await batchOf(id)).toMatchObject({ state: 'ended', tally: { canceled: 3 } })
    expect(await lines(one, id)).toEqual([
      ['a', 'canceled'],
      ['b', 'canceled'],
      ['c', 'canceled'],
    ])
    // Names alone are left.
    expect(kept.store.pages).toBe(3)
    await ask(one, 'delete', { id })
    expect(kept.store.pages).toBe(0)
  })

  test('whose results are too old has a line for each all the same, and then none of them', async () => {
    const one = instance('one')
    const id = await committed(one, [['a', 'b']])
    await settle(`${id}_0_0`, id)
    await pass(20_000)
    ;(kept.jobs.results as Map<string, unknown>).delete(`acme/${id}_0_0`)
    await settle(`${id}_0_1`, id)
    // The place of a result is its own for ever in a real store.
    submitted.splice(0)
    const batch = await batchOf(id)
    await kept.store.write(
      { ...batch!, state: 'ended', endedAt: clock.wall() },
      (await kept.store.find({ tenant: 'acme', id }))!.revision,
    )
    expect(await lines(one, id)).toEqual([
      ['b', 'succeeded'],
      ['a', 'errored'],
    ])
    clock.advance(RESULTS_AGE_MS)
    expect(await ask(one, 'results', { id, from: { result: 0, told: 0 } })).toEqual({
      refused: 'unknown_id',
    })
    const shown = (await ask(one, 'get', { id })) as { archived_at: string }
    expect(Date.parse(shown.archived_at)).toBe(clock.wall())
  })

  test('ends some time after its own end, whatever was lost of it', async () => {
    const one = instance('one')
    const id = await committed(one, [['a', 'b']])
    await settle(`${id}_0_0`, id)
    clock.advance(DAY + 500_000)
    await turn()
    expect((await batchOf(id))?.state).toBe('in_progress')
    await pass(200_000)
    expect(await batchOf(id)).toMatchObject({ state: 'ended', tally: { succeeded: 1, errored: 1 } })
  })

  test('a store that is away is told as a refusal that may be asked again, and is no fault', async () => {
    const one = instance('one')
    kept.store.trouble = 'away'
    expect(await ask(one, 'open', { lane: 'batch' })).toEqual({ refused: 'queue_full' })
    await pass(60_000)
    expect(errors.length).toBeGreaterThan(1)
    kept.store.trouble = null
    expect(await ask(one, 'open', { lane: 'batch' })).toHaveProperty('id')
  })
})
