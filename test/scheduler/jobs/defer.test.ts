/** A request that cannot be made in time, and allows it, becomes a job under its own id. */
import { expect, test } from 'vitest'
import { HEADER, jobReceipt } from '#contracts/messages'
import type { AttemptCall } from '#ports'
import { JobWorld, bodyOf } from '../../support/job-world.ts'
import type { Act } from '../../support/scripted-provider.ts'

const blocked: Act = { end: { kind: 'key_stop', status: 402, body: Buffer.from('{}') } }
const done = ({ id }: AttemptCall): Act => ({
  firstByteMs: 100,
  end: { kind: 'ok', status: 200, body: Buffer.from(id) },
})
/** Refuses until `world.act` is set anew. */
const worldOf = () => new JobWorld({ seed: 1, act: () => blocked })

test('its answer is the receipt, and its result comes when it can be made', async () => {
  const world = worldOf()
  const one = await world.start()
  const asked = one.ask({ id: 'r1', degrade: ['defer'] })
  await world.pass(1_000)
  const { text, accounting } = await asked
  expect(accounting).toMatchObject({ outcome: 'deferred', servedBy: 'none', id: 'r1' })
  expect(jobReceipt.parse(JSON.parse(text))).toMatchObject({
    ...{ id: 'r1', accepted: true, duplicate: false },
    result_subject: 'llm.v1.result.acme.r1',
  })
  expect(one.loop.status('acme', 'r1')?.lane ?? 'batch').toBe('batch')
  world.act = done
  await world.pass(600_000)
  expect(world.published.map(({ id }) => id)).toEqual(['r1'])
  expect([one.loop.liveCount, world.store.jobs, world.store.claims]).toEqual([0, 0, 0])
})

test('in the heaviest preemptible lane that its tenant may use, with the time of that lane', async () => {
  const world = new JobWorld({
    ...{ seed: 1, act: () => blocked },
    file: {
      lanes: {
        batch: { timeout_ms: 600_000 },
        nightly: { preemptible: true, weight: 40, timeout_ms: 900_000 },
        bulk: { preemptible: true, weight: 60 },
      },
      tenants: { acme: { lanes: ['interactive', 'batch', 'nightly'] } },
    },
  })
  const one = await world.start()
  void one.ask({ id: 'r1', degrade: ['defer'] })
  await world.pass(500)
  expect(await world.store.find('acme', 'r1')).toMatchObject({
    ...{ lane: 'nightly', deadlineMs: 900_000, degrade: [] },
  })
})

test('where no preemptible lane is open to the tenant it is refused, and told so', async () => {
  const world = new JobWorld({
    ...{ seed: 1, act: () => blocked },
    file: { tenants: { acme: { lanes: ['interactive'] } } },
  })
  const one = await world.start()
  const asked = one.ask({ id: 'r1', degrade: ['defer'] })
  await world.pass(500)
  const told = await asked
  expect(told.code).toBe('upstream_error')
  expect(told.text).toMatch(/no preemptible lane is open/)
  expect(world.store.jobs).toBe(0)
})

test('while it lives as a job, its id is taken', async () => {
  const world = worldOf()
  const one = await world.start()
  const ask = async () => {
    const asked = one.ask({ id: 'r1', degrade: ['defer'] })
    await world.pass(1_000)
    return asked
  }
  expect((await ask()).accounting.outcome).toBe('deferred')
  expect((await ask()).code).toBe('duplicate_id')
})

test('where an older job of its id has other words, it is refused', async () => {
  const world = worldOf()
  const one = await world.start()
  // Stored, and not live yet.
  const stored = one.submit({ tenant: 'acme', id: 'r1', notBeforeMs: 60_000 })
  await world.pass(100)
  await stored
  const asked = one.ask({ id: 'r1', degrade: ['defer'], body: bodyOf('other words') })
  await world.pass(1_000)
  expect((await asked).text).toMatch(/another job or request of this tenant has this id/)
})

test('a store that answers too late keeps no job that nobody knows of', async () => {
  const world = worldOf()
  const one = await world.start()
  world.trouble = 1
  const asked = one.ask({ id: 'r1', degrade: ['defer'] })
  await world.pass(6_000)
  expect((await asked).code).toBe('upstream_error')
  world.trouble = 0
  await world.pass(5_000)
  expect(world.store.jobs).toBe(0)
})

test('cancelled while the store is asked, it is cancelled as a job too', async () => {
  const world = worldOf()
  const one = await world.start()
  const asked = one.ask({ id: 'r1', degrade: ['defer'] })
  for (let ms = 0; ms < 400 && world.store.jobs === 0; ms++) await world.pass(1)
  expect(world.store.jobs).toBe(1)
  expect(one.loop.cancel('acme', 'r1')).toMatchObject({ cancelled: true })
  await world.pass(5_000)
  expect((await asked).code).toBe('cancelled')
  expect(world.store.jobs).toBe(0)
  const [result] = world.published
  expect(result?.headers.find(([name]) => name === HEADER.outcome)?.[1]).toBe('cancelled')
})
