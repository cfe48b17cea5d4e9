/** A job that must be alone in the core waits for the one before it, and is not forgotten there. */
import { expect, test } from 'vitest'
import { NO_GROUP } from '#contracts/jobs'
import { HEADER } from '#contracts/messages'
import { bodyOf, JobWorld, type Instance } from '../../support/job-world.ts'

/** Jobs in whose calls three instances died, and the one that has them now. */
async function suspects(ids: readonly string[], deadlines: Record<string, number> = {}) {
  const world = new JobWorld({
    seed: 1,
    act: ({ id }) => ({
      firstByteMs: 30_000,
      end: { kind: 'ok', status: 200, body: Buffer.from(id) },
    }),
  })
  for (const id of ids) {
    const of = { lane: 'batch', tenant: 'acme', id }
    const body = bodyOf(id)
    await world.store.noteFlow(of)
    await world.store.add(
      {
        ...{ ...of, hash: 'h', group: NO_GROUP, acceptedAt: world.clock.wall(), notBeforeMs: 0 },
        ...{ deadlineMs: deadlines[id] ?? 600_000, degrade: [], maxAttempts: null, headers: {} },
      },
      body,
    )
    const claim = { by: 'gone', claims: 3, attempts: 3, calling: true, ambiguous: 2 }
    await world.store.claim(of, claim, 0)
  }
  const one = await world.start()
  await world.pass(20_000)
  return { world, one }
}

const calling = (one: Instance): number => one.jobs.room.counts().calling
const outcomes = (world: JobWorld): Record<string, string | undefined> =>
  Object.fromEntries(
    world.published.map(({ id, headers }) => [
      id,
      headers.find(([name]) => name === HEADER.outcome)?.[1],
    ]),
  )

test('one after the other is called, in their order, and all have their result', async () => {
  const { world, one } = await suspects(['a', 'b', 'c'])
  for (let n = 0; n < 3; n++) {
    expect(calling(one)).toBe(1)
    expect(world.published).toHaveLength(n)
    await world.pass(30_000)
  }
  expect(outcomes(world)).toEqual({ a: 'completed', b: 'completed', c: 'completed' })
  expect([world.store.jobs, world.store.claims, one.jobs.room.backlog.waiting]).toEqual([0, 0, 0])
})

test('one that waits can be cancelled', async () => {
  const { world, one } = await suspects(['a', 'b', 'c'])
  const said = one.jobs.desk.cancel('acme', 'b')
  await world.pass(1_000)
  expect(await said).toEqual({ cancelled: true, state: 'queued' })
  expect(outcomes(world)).toEqual({ b: 'cancelled' })
  await world.pass(120_000)
  expect(outcomes(world)).toEqual({ a: 'completed', b: 'cancelled', c: 'completed' })
})

test('the deadline of one that waits ends it', async () => {
  const { world } = await suspects(['a', 'b'], { b: 25_000 })
  await world.pass(6_000)
  expect(outcomes(world)).toEqual({ b: 'expired' })
  await world.pass(30_000)
  expect(outcomes(world)).toEqual({ a: 'completed', b: 'expired' })
})

test('at a stop those that wait are given back', async () => {
  const { world, one } = await suspects(['a', 'b', 'c'])
  one.jobs.room.drain()
  await world.pass(2_000)
  expect(one.jobs.room.counts()).toMatchObject({ waiting: 0, calling: 1 })
  const next = await world.start()
  await world.pass(5_000)
  expect(calling(next)).toBe(1)
})
