/** What an operator sees of durable jobs, and does to the dead. */
import { beforeEach, describe, expect, test } from 'vitest'
import type { JobsList } from '#contracts/jobs'
import { memoryJobStore, type MemoryJobStore } from '#scheduler/memory/job-store'
import { memorySettings } from '#scheduler/memory/settings'
import type { NewJob, StoredJob } from '#ports'
import { JobsDesk } from '../../../services/scheduler/jobs/desk.ts'
import { jobsOperator } from '../../../services/scheduler/jobs/operator-desk.ts'
import { JobsRoom } from '../../../services/scheduler/jobs/room.ts'
import { fakeScheduler } from '../../support/fake-scheduler.ts'
import { manualClock } from '../../support/manual-clock.ts'

const clock = manualClock()
const body = new TextEncoder().encode('{"model":"m"}')

let store: MemoryJobStore
let told: { lane: string; tenant: string }[]
let operator: ReturnType<typeof jobsOperator>
beforeEach(() => {
  store = memoryJobStore({})
  told = []
  const room = new JobsRoom({
    ...{ store, clock, members: memorySettings(), scheduler: fakeScheduler() },
    dice: { next: () => 0.5 },
    instance: 'one',
    // Nothing is taken here: what is stored stays as the test stored it.
    limits: () => ({
      ...{ window: 0, windowTotal: 0, windowBytes: 0, acting: false, claimsMax: 3, delayedMax: 10 },
      ...{ flowsMax: 10, placesMax: 10, submitsMax: 10, fetchesMax: 10, sweepPerSecond: 1 },
    }),
    words: {} as never,
    read: () => null,
    news: () => {},
    tell: ({ lane, tenant }) => told.push({ lane, tenant }),
  })
  const desk = new JobsDesk({
    room,
    deferLane: () => null,
    timeoutOf: () => 60_000,
    hash: () => 'h',
    resultSubject: () => '',
  })
  operator = jobsOperator(room, desk)
})

const job = (id: string, more: Partial<NewJob> = {}): NewJob => ({
  ...{ tenant: 'acme', lane: 'batch', id, group: '_', hash: 'h' },
  ...{ acceptedAt: clock.wall(), deadlineMs: 60_000, notBeforeMs: 0 },
  ...{ degrade: [], maxAttempts: null, headers: {} },
  ...more,
})
const list = (more: Partial<JobsList> = {}) =>
  operator.list({
    ...{ act: 'list', tenant: null, lane: null, state: null, from: 0, count: 100 },
    ...more,
  })
const idsOf = async (more: Partial<JobsList>) => (await list(more)).jobs.map(({ id }) => id)

/** Every page of a list. */
async function all(more: Partial<JobsList>): Promise<string[][]> {
  const pages: string[][] = []
  for (let from: number | null = 0; from !== null;) {
    const page: Awaited<ReturnType<typeof list>> = await list({ ...more, from })
    pages.push(page.jobs.map(({ id }) => id))
    from = page.next
  }
  return pages
}

describe('a list of jobs', () => {
  test('says where each stands, the oldest first', async () => {
    await store.add(job('waits'), body)
    await store.add(job('later', { notBeforeMs: 5_000 }), body)
    await store.add(job('runs', { group: 'night' }), body)
    await store.claim(
      { tenant: 'acme', id: 'runs' },
      { by: 'two', claims: 1, attempts: 2, calling: true, ambiguous: 0 },
      0,
    )
    const at = (ms: number) => new Date(clock.wall() + ms).toISOString()
    const shared = {
      tenant: 'acme',
      lane: 'batch',
      accepted_at: at(0),
      deadline_at: at(60_000),
      dead_reason: null,
    }
    expect(await list()).toEqual({
      jobs: [
        {
          ...shared,
          id: 'waits',
          state: 'queued',
          starts_at: null,
          attempts: 0,
          instance: null,
          batch: null,
        },
        {
          ...shared,
          id: 'later',
          state: 'delayed',
          starts_at: at(5_000),
          attempts: 0,
          instance: null,
          batch: null,
        },
        {
          ...shared,
          id: 'runs',
          state: 'running',
          starts_at: null,
          attempts: 2,
          instance: 'two',
          batch: 'night',
        },
      ],
      next: null,
    })
    expect(await idsOf({ state: 'running' })).toEqual(['runs'])
    expect(await idsOf({ state: 'delayed' })).toEqual(['later'])
    clock.advance(5_000)
    // Its time has come.
    expect(await idsOf({ state: 'queued' })).toEqual(['waits', 'later'])
  })

  test('is of one tenant, one lane, or both', async () => {
    await store.add(job('a'), body)
    await store.add(job('b', { lane: 'premium' }), body)
    await store.add(job('c', { tenant: 'globex' }), body)
    expect(await idsOf({ tenant: 'acme' })).toEqual(['a', 'b'])
    expect(await idsOf({ lane: 'batch' })).toEqual(['a', 'c'])
    expect(await idsOf({ lane: 'batch', tenant: 'globex' })).toEqual(['c'])
    expect(await idsOf({ lane: 'premium', tenant: 'globex' })).toEqual([])
  })

  test('comes in pages, of which none has a job twice and none is left out', async () => {
    for (let n = 0; n < 7; n++) await store.add(job(`j${n}`), body)
    expect(await all({ count: 3 })).toEqual([['j0', 'j1', 'j2'], ['j3', 'j4', 'j5'], ['j6']])
    expect((await all({ count: 7 })).flat()).toHaveLength(7)
  })

  test('looks at a bounded number of jobs, and says where to go on', async () => {
    for (let n = 0; n < 4_500; n++) await store.add(job(`j${n}`), body)
    await store.claim(
      { tenant: 'acme', id: 'j4400' },
      { by: 'two', claims: 1, attempts: 1, calling: true, ambiguous: 0 },
      0,
    )
    expect(await all({ state: 'running' })).toEqual([[], [], ['j4400']])
  })
})

describe('a dead job', () => {
  const bury = async (id: string, more: Partial<NewJob> = {}): Promise<void> => {
    const made = job(id, more)
    const added = await store.add(made, body)
    const seq = 'seq' in added ? added.seq : 0
    const dead: StoredJob = { ...made, seq, body }
    await store.bury(dead, 'claims_exhausted')
    await store.settle({ ...made, headers: [], body: new Uint8Array(0) })
    await store.remove({ seq, revision: null })
  }

  test('is listed with its reason, and among the dead only', async () => {
    await bury('dead')
    await bury('other', { tenant: 'globex' })
    await store.add(job('waits'), body)
    expect(await idsOf({})).toEqual(['waits'])
    expect((await list({ state: 'dead', tenant: 'acme' })).jobs).toMatchObject([
      {
        id: 'dead',
        state: 'dead',
        dead_reason: 'claims_exhausted',
        instance: null,
        attempts: null,
      },
    ])
    expect(await all({ state: 'dead', count: 1 })).toEqual([['dead'], ['other'], []])
  })

  test('that is put in line again is a job as when it was new, and its result is gone', async () => {
    await bury('dead', { notBeforeMs: 5_000, maxAttempts: 2 })
    clock.advance(50_000)
    expect(await operator.requeue('acme', 'dead')).toBe(true)
    expect(await store.find('acme', 'dead')).toMatchObject({
      ...{ id: 'dead', lane: 'batch', deadlineMs: 60_000, notBeforeMs: 0, maxAttempts: 2, body },
      acceptedAt: clock.wall(),
    })
    expect(await store.result('acme', 'dead')).toBe(null)
    expect(await idsOf({ state: 'dead' })).toEqual([])
    expect(told).toEqual([{ lane: 'batch', tenant: 'acme' }])
    expect(await operator.requeue('acme', 'dead')).toBe(false)
  })

  test('stays dead where the store fails between, and may be put in line once more', async () => {
    await bury('dead')
    const { add } = store
    store.add = () => Promise.reject(new Error('away'))
    await expect(operator.requeue('acme', 'dead')).rejects.toThrow('away')
    store.add = add
    expect(await idsOf({ state: 'dead' })).toEqual(['dead'])
    expect(await operator.requeue('acme', 'dead')).toBe(true)
    expect(await idsOf({})).toEqual(['dead'])
  })

  test('that is dropped is forgotten, and its result stays', async () => {
    await bury('dead')
    expect(await operator.drop('acme', 'dead')).toBe(true)
    expect(await operator.drop('acme', 'dead')).toBe(false)
    expect(await idsOf({ state: 'dead' })).toEqual([])
    expect(await store.result('acme', 'dead')).not.toBe(null)
  })

  test('of another tenant has another name', async () => {
    await bury('dead')
    expect(await operator.requeue('globex', 'dead')).toBe(false)
    expect(await operator.drop('globex', 'dead')).toBe(false)
    expect(await idsOf({ state: 'dead' })).toEqual(['dead'])
  })
})
