/** A job is cancelled wherever it stands. */
import { expect, test } from 'vitest'
import { HEADER } from '#contracts/messages'
import { JobWorld } from '../../support/job-world.ts'

test('while it is being taken: it is cancelled as soon as it is', async () => {
  const world = new JobWorld({ seed: 1, act: () => ({ firstByteMs: 60_000, end: { kind: 'ok' } }) })
  const one = await world.start()
  const stored = one.submit({ tenant: 'acme', id: 'j1' })
  for (let ms = 0; ms < 500 && one.jobs.room.owned('acme', 'j1') !== null; ms++) await world.pass(1)
  expect(one.jobs.room.owned('acme', 'j1')).toBeNull()
  const cancelled = one.jobs.desk.cancel('acme', 'j1')
  await world.pass(2_000)
  await stored
  expect(await cancelled).toMatchObject({ cancelled: true })
  const [result] = world.published
  expect(result?.headers.find(([name]) => name === HEADER.outcome)?.[1]).toBe('cancelled')
  expect([world.store.jobs, world.store.claims, one.loop.liveCount]).toEqual([0, 0, 0])
})
