/** The status of a job that waits in the store says for what. */
import { expect, test } from 'vitest'
import { JobWorld } from '../../support/job-world.ts'

test('one that may not start yet says so, and for how long; then its turn comes', async () => {
  const world = new JobWorld({
    seed: 1,
    act: ({ id }) => ({ firstByteMs: 1, end: { kind: 'ok', status: 200, body: Buffer.from(id) } }),
  })
  const instance = await world.start()
  void instance.submit({ tenant: 'acme', id: 'later', notBeforeMs: 60_000, deadlineMs: 600_000 })
  await world.pass(1_000)
  const asked = instance.jobs.desk.status('acme', 'later')
  await world.pass(1_000)
  expect(await asked).toMatchObject({
    state: 'queued',
    waits_for: { reason: 'not_before', text: expect.stringMatching(/later .*\(59 s more\)/) },
  })
  await world.pass(70_000)
  expect(world.published.map(({ id }) => id)).toEqual(['later'])
})
