/** What operators see of durable jobs: what the store holds, and what became of them here. */
import { describe, expect, test } from 'vitest'
import { jobsNow, type JobsNow } from '#contracts/snapshot'
import { JobStoreError, type JobNews, type NewJob } from '#ports'
import { Flow } from '../../../services/scheduler/jobs/flow.ts'
import { JobsWatch, LOOK_EVERY } from '../../../services/scheduler/jobs/watch.ts'
import { memoryJobStore } from '../../../services/scheduler/memory/job-store.ts'
import { manualClock } from '../../support/manual-clock.ts'

const EXPECTED_MS = 60_000

function watched() {
  const clock = manualClock()
  const store = memoryJobStore({ wall: () => clock.wall() })
  const counts = { waiting: 0, calling: 0, settling: 0 }
  const flows: Flow[] = []
  const watch = new JobsWatch({
    ...{ store, clock },
    lanes: () => ['premium', 'batch'].map((lane) => ({ lane, expectedMs: EXPECTED_MS })),
    counts: () => ({ ...counts }),
    delayed: () => 1,
    flows: () => flows,
    tenantsMax: () => 2,
  })
  const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  return {
    ...{ clock, store, counts, flows, watch },
    read: (): JobsNow => jobsNow.parse(watch.read()),
    async look(): Promise<JobsNow> {
      // The look that is under way has its answer.
      await settled()
      clock.advance(LOOK_EVERY)
      await settled()
      return jobsNow.parse(watch.read())
    },
    async add(id: string, of: Partial<NewJob> = {}) {
      const job: NewJob = {
        ...{ tenant: 'acme', lane: 'batch', id, group: '_', hash: 'h' },
        ...{ acceptedAt: clock.wall(), deadlineMs: 600_000, notBeforeMs: 0 },
        ...{ degrade: [], maxAttempts: null, headers: {} },
        ...of,
      }
      const added = await store.add(job, Buffer.from(`{"prompt":"${id}"}`))
      if ('there' in added) throw new Error('it was there')
      return (await store.at(added.seq))!
    },
  }
}

const name = { tenant: 'acme', lane: 'batch', id: 'a' }
const failed = (reason: JobStoreError['reason']): JobNews => ({
  ...{ kind: 'store_error', job: name },
  error: new JobStoreError(reason, 'the test says so'),
})
const stored: JobNews = {
  ...{ kind: 'accepted', job: name, bytes: 1, deadlineMs: 1, notBeforeMs: 0 },
}

describe('what the store holds', () => {
  test('is told by lane and state, with the age of the oldest, and adds up', async () => {
    const of = watched()
    await of.add('old')
    of.clock.advance(5_000)
    await of.add('young')
    await of.add('urgent', { lane: 'premium' })
    await of.add('later', { notBeforeMs: 60_000 })
    const others = await of.add('others')
    await of.store.claim(
      others,
      { by: 'two', claims: 1, attempts: 0, calling: false, ambiguous: 0 },
      0,
    )
    const ours = await of.add('ours')
    await of.store.claim(
      ours,
      { by: 'one', claims: 1, attempts: 0, calling: true, ambiguous: 0 },
      0,
    )
    of.counts.calling = 1
    of.watch.start()
    const seen = await of.look()
    const since = LOOK_EVERY
    expect(seen).toMatchObject({ stored: 6, oldest_ms: 5_000 + since })
    expect(seen.states).toEqual({
      ...{ delayed: 1, stored: 3, waiting: 0, calling: 1, settling: 0, elsewhere: 1 },
    })
    expect(seen.lanes).toEqual([
      { lane: 'premium', stored: 1, oldest_ms: since, expected_ms: EXPECTED_MS },
      { lane: 'batch', stored: 4, oldest_ms: 5_000 + since, expected_ms: EXPECTED_MS },
    ])
    expect(seen.store).toMatchObject({ reachable: true, full: false, bytes_max: null })
    expect(seen.store.bytes).toBeGreaterThan(0)
    expect(seen.store.looked_at).toBe(of.clock.wall())
  })

  test('is looked at again, and no more after a stop', async () => {
    const of = watched()
    of.watch.start()
    expect((await of.look()).stored).toBe(0)
    await of.add('one')
    expect((await of.look()).stored).toBe(1)
    of.watch.stop()
    await of.add('two')
    expect((await of.look()).stored).toBe(1)
  })

  test('is counted less often the more there is; what stands there is told meanwhile', async () => {
    const of = watched()
    const { look } = of.store
    const asked = { looks: 0, counts: 0 }
    of.store.look = async (lanes) => {
      asked.looks += 1
      if (lanes !== null) asked.counts += 1
      const seen = await look(lanes)
      return { ...seen, jobs: seen.jobs + 399_999 }
    }
    await of.add('one', { lane: 'batch' })
    of.watch.start()
    await of.look()
    await of.add('two', { lane: 'batch' })
    for (let looks = 2; looks <= 9; looks++) await of.look()
    expect(asked).toEqual({ looks: 10, counts: 1 })
    expect(of.read().lanes).toMatchObject([{ stored: 0 }, { lane: 'batch', stored: 1 }])
    expect(of.read().stored).toBe(400_001)
    await of.look()
    expect(asked).toEqual({ looks: 11, counts: 2 })
    expect(of.read().lanes).toMatchObject([{ stored: 0 }, { lane: 'batch', stored: 2 }])
  })

  test('counts dead letters, and when the last came', async () => {
    const of = watched()
    of.watch.start()
    expect((await of.look()).dead).toEqual({ kept: 0, last_at: null })
    await of.store.bury(await of.add('poison'), 'claims_exhausted')
    const at = of.clock.wall()
    expect((await of.look()).dead).toEqual({ kept: 1, last_at: at })
  })

  test('of the tenants with most jobs, so many as are asked for', () => {
    const of = watched()
    for (const [tenant, held, taken] of [
      ['small', 1, 0],
      ['large', 50, 4],
      ['none', 0, 0],
      ['middle', 0, 3],
    ] as const) {
      const flow = new Flow({ lane: 'batch', tenant }, { unread: null, usedAt: 0 })
      for (let seq = 1; seq <= held; seq++) flow.line.add(seq)
      of.flows.push(Object.assign(flow, { taken, oldestAt: of.clock.wall() - 1_000 }))
    }
    expect(of.read().tenants).toEqual([
      { tenant: 'large', lane: 'batch', stored: 50, taken: 4, oldest_ms: 1_000 },
      { tenant: 'middle', lane: 'batch', stored: 0, taken: 3, oldest_ms: null },
    ])
  })
})

describe('the health of the store', () => {
  test('that does not answer is told at once where an act says so, and until a look is answered', async () => {
    const of = watched()
    of.watch.start()
    expect((await of.look()).store.reachable).toBe(true)
    of.store.trouble = 'away'
    of.watch.note(failed('away'))
    const at = of.clock.wall()
    expect(of.read().store).toMatchObject({ reachable: false, last_error: { reason: 'away', at } })
    expect((await of.look()).store.reachable).toBe(false)
    of.store.trouble = null
    expect((await of.look()).store).toMatchObject({
      ...{ reachable: true, last_error: { reason: 'away' } },
    })
  })

  test('that does not answer a look is told too, with what it said before', async () => {
    const of = watched()
    await of.add('one')
    of.watch.start()
    await of.look()
    of.store.trouble = 'away'
    expect(await of.look()).toMatchObject({ stored: 1, store: { reachable: false } })
  })

  test('that is full is so until a job is stored', async () => {
    const of = watched()
    of.watch.start()
    await of.look()
    of.watch.note(failed('full'))
    expect(of.read().store.full).toBe(true)
    expect((await of.look()).store).toMatchObject({ full: true, reachable: true })
    of.watch.note(stored)
    expect(of.read().store.full).toBe(false)
  })

  test('that is full is so until something has left it', async () => {
    const of = watched()
    const { seq } = await of.add('one')
    of.watch.start()
    await of.look()
    of.watch.note(failed('full'))
    expect((await of.look()).store.full).toBe(true)
    await of.store.remove({ seq, revision: null })
    expect((await of.look()).store.full).toBe(false)
  })

  test.each([
    [94, false],
    [96, true],
  ])('with %i of its 100 bytes in use is full: %s', async (bytes, full) => {
    const of = watched()
    const { look } = of.store
    of.store.look = async (lanes) => ({ ...(await look(lanes)), bytes, bytesMax: 100 })
    of.watch.start()
    expect((await of.look()).store).toMatchObject({ full, bytes, bytes_max: 100 })
  })
})

test('what became of jobs is counted, redeliveries and ambiguous executions too', () => {
  const of = watched()
  const work = { job: name, claims: 2, attempts: 1 }
  const news: JobNews[] = [
    stored,
    { kind: 'duplicate', job: name },
    { kind: 'claimed', ...work, ageMs: 1, ambiguous: false },
    { kind: 'taken_over', from: 'two', ...work, ageMs: 1, ambiguous: true },
    { kind: 'ambiguous', job: name },
    { kind: 'returned', ...work },
    { kind: 'settled', outcome: 'completed', ageMs: 1, ...work },
    { kind: 'late_result', job: name },
    { kind: 'dead', reason: 'claims_exhausted', ...work },
    failed('too_large'),
  ]
  for (const one of news) of.watch.note(one)
  expect(of.read().counts).toEqual({
    ...{ accepted: 1, ended: 1, taken_over: 1, returned: 1, ambiguous: 1 },
    ...{ late_results: 1, dead: 1, store_errors: 1 },
  })
  expect(of.read().store).toMatchObject({ reachable: true, full: false })
})
