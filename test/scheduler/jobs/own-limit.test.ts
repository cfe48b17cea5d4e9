/** A job whose tenant is at its own limit waits in the store: it says for what, and nothing of it has ended. */
import { expect, test } from 'vitest'
import { JobWorld } from '../../support/job-world.ts'

test('it says what it waits for, ends once, and its looks are no refusals', async () => {
  const limits = { rpm: 1, edge: 'refuse' }
  const world = new JobWorld({
    seed: 1,
    file: { tenants: { acme: { limits } } },
    act: ({ id }) => ({ firstByteMs: 1, end: { kind: 'ok', status: 200, body: Buffer.from(id) } }),
  })
  const instance = await world.start()
  for (const id of ['first', 'second']) void instance.submit({ tenant: 'acme', id })
  await world.pass(20_000)
  expect(world.published.map(({ id }) => id)).toEqual(['first'])
  const asked = instance.jobs.desk.status('acme', 'second')
  await world.pass(1_000)
  expect((await asked)?.waits_for).toMatchObject({ reason: 'tenant_limit' })
  await world.pass(120_000)
  expect(world.published.map(({ id }) => id)).toEqual(['first', 'second'])
  const ends = world.events.filter(({ name }) => name === 'request.settled')
  expect(ends.map(({ data }) => data)).toMatchObject([
    { id: 'first', outcome: 'completed' },
    { id: 'second', outcome: 'completed' },
  ])
})
