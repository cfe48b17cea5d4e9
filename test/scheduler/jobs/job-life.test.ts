/** One job's life, as the store tells it: over instances that died, and after a restart. */
import { describe, expect, test } from 'vitest'
import { jobLife as shape, type JobLife } from '#contracts/dashboard'
import { jobClaim, NOBODY, PAST_MAX, type JobClaim } from '#contracts/jobs'
import { subjects } from '#contracts/subjects'
import { ownersOf } from '#core/laws/jobs'
import type { NewJob } from '#ports'
import { jobLife } from '../../../services/scheduler/jobs/job-life.ts'
import {
  memoryJobStore,
  type MemoryJobStore,
} from '../../../services/scheduler/memory/job-store.ts'
import { openRecordedHouse } from '../../contracts/recorded-house.ts'

const AT = Date.parse('2026-01-01T00:00:00Z')
const job = (of: Partial<NewJob> = {}): NewJob => ({
  ...{ tenant: 'acme', lane: 'batch', id: 'j', group: '_', hash: 'h' },
  ...{ acceptedAt: AT, deadlineMs: 86_400_000, notBeforeMs: 0 },
  ...{ degrade: [], maxAttempts: null, headers: {} },
  ...of,
})
const BODY = JSON.stringify({
  ...{ model: 'claude-x', max_tokens: 9 },
  messages: [{ role: 'user', content: 'hello' }],
})
const claim: JobClaim = {
  by: 'one',
  claims: 1,
  attempts: 0,
  calling: false,
  ambiguous: 0,
  since: AT + 10,
}

async function lifeIn(store: MemoryJobStore, wall = AT): Promise<JobLife | null> {
  const life = await jobLife(store, { tenant: 'acme', id: 'j', wall })
  return life === null ? null : shape.parse(life)
}
async function stored(of: Partial<NewJob> = {}, held: JobClaim | null = null) {
  const store = memoryJobStore({})
  await store.add(job(of), Buffer.from(BODY))
  if (held !== null) await store.claim(job(of), held, 0)
  return store
}

describe('a job that has not ended', () => {
  test('that nobody stored is none', async () => {
    expect(await lifeIn(memoryJobStore({}))).toBe(null)
  })

  test.each<[JobLife['state'], Partial<NewJob>, JobClaim | null, number]>([
    ['stored', {}, null, 0],
    ['delayed', { notBeforeMs: 5_000 }, null, 4_999],
    ['stored', { notBeforeMs: 5_000 }, null, 5_000],
    ['claimed', {}, claim, 0],
    ['calling', {}, { ...claim, attempts: 1, calling: true }, 0],
    ['stored', {}, { ...claim, by: NOBODY }, 0],
  ])('is %s', async (state, of, held, later) => {
    const life = await lifeIn(await stored(of, held), AT + later)
    expect(life).toMatchObject({ state, accepted_at: AT, ended_at: null, outcome: null })
    expect(life!.due_at).toBe(of.notBeforeMs === undefined ? null : AT + of.notBeforeMs)
    expect(life!.deadline_at).toBe(AT + 86_400_000)
  })

  test('names who has it, and who had it before', async () => {
    const past = ownersOf({ ...claim, attempts: 1, calling: true }, 'died')
    const held = { ...claim, by: 'two', since: AT + 99, claims: 2, attempts: 1, past }
    expect(await lifeIn(await stored({}, held))).toMatchObject({
      attempts: 1,
      ambiguous: true,
      owners: [
        { instance: 'one', since: AT + 10, how: 'died', attempts: 1, calling: true },
        { instance: 'two', since: AT + 99, how: 'has', attempts: 1, calling: false },
      ],
    })
  })

  test('put back after a call that ended is not ambiguous', async () => {
    const past = ownersOf({ ...claim, attempts: 1 }, 'returned')
    const life = await lifeIn(await stored({}, { ...claim, by: NOBODY, attempts: 1, past }))
    expect(life).toMatchObject({ state: 'stored', ambiguous: false, attempts: 1 })
    expect(life!.owners).toMatchObject([{ instance: 'one', how: 'returned' }])
  })
})

test('owners are named up to a bound, the last ones, and a claim with all of them can be read', () => {
  let held: JobClaim = claim
  for (let i = 0; i < PAST_MAX + 5; i++)
    held = { ...held, by: `i${i}`, past: ownersOf(held, 'died') }
  expect(held.past).toHaveLength(PAST_MAX)
  expect(held.past!.at(-1)!.by).toBe(`i${PAST_MAX + 3}`)
  expect(jobClaim.parse(JSON.parse(JSON.stringify(held)))).toEqual(held)
})

test('a job of an instance that died in a call is ended by another, and its result tells of both', async () => {
  const house = await openRecordedHouse({})
  const { store, wired } = house
  await store.noteFlow(job())
  await store.add(job(), Buffer.from(BODY))
  await store.claim(job(), { ...claim, by: 'dead', attempts: 1, calling: true }, 0)
  house.tell(subjects('llm').peerJob, { by: 'dead', lane: 'batch', tenant: 'acme' })
  await house.pass(5_000)
  expect(await lifeIn(store)).toMatchObject({
    ...{ state: 'calling', owners: [{ instance: 'dead', how: 'has' }] },
  })
  await house.pass(5_000)
  const life = await lifeIn(store)
  expect(life).toMatchObject({
    ...{ state: 'ended', outcome: 'completed', attempts: 2, ambiguous: true, lane: 'batch' },
    owners: [
      { instance: 'dead', since: AT + 10, how: 'died', attempts: 1, calling: true },
      { instance: wired.instance, how: 'ended', attempts: 2, calling: false },
    ],
  })
  const [, second] = life!.owners
  // Taken when the dead one had been unheard for long enough.
  expect(second!.since! - AT).toBeGreaterThan(6_000)
  expect(life!.ended_at).toBeGreaterThanOrEqual(second!.since!)
  await house.pass(3_000)
  expect(wired.operator.snapshot()).toMatchObject({
    jobs: { stored: 0, counts: { taken_over: 1, ambiguous: 1, ended: 1, dead: 0 } },
  })
  await house.close()
})

test('a result that another version stored, without owners, is told all the same', async () => {
  const headers: [string, string][] = [['headgate-accepted-at', String(AT)]]
  for (const owners of [null, '{', '[{"by":7}]']) {
    const store = memoryJobStore({})
    await store.settle({
      ...{ tenant: 'acme', id: 'j', group: '_', hash: 'h', body: Buffer.from('{}') },
      headers: owners === null ? headers : [...headers, ['Headgate-Owners', owners]],
    })
    expect(await lifeIn(store)).toMatchObject({ state: 'ended', accepted_at: AT, owners: [] })
  }
})
