/** The store of jobs over a real JetStream: what it promises, and what it says when the server does not. */
import { jetstreamManager } from '@nats-io/jetstream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { storeNames } from '#contracts/store-names'
import { subjects } from '#contracts/subjects'
import { NO_GROUP } from '#contracts/jobs'
import { JobStoreError, type NewJob } from '#ports'
import { systemClock } from '#platform/system'
import { natsBus } from '#scheduler/nats/connection'
import { natsJobStore } from '#scheduler/nats/job-store'
import { jobStoreConformance } from '../conformance/job-store.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'

let server: NatsServer
beforeAll(async () => {
  server = await natsServer()
})
afterAll(() => server.stop())

async function storeOn(to: NatsServer, prefix = 'llm', backlogBytes: number | null = null) {
  const bus = await natsBus({
    ...{ servers: to.url, name: 'test', egressConnections: 0, clock: systemClock },
  })
  const names = storeNames(prefix)
  const store = await natsJobStore({
    ...{ connection: bus.connection, names, replicas: 1, backlogBytes, clock: systemClock },
    subjects: subjects(prefix),
    ...{ resultsAgeMs: 60_000, deadAgeMs: 60_000 },
  })
  return { bus, names, store, stop: () => bus.close() }
}

jobStoreConformance('nats', () => storeOn(server))

const job: NewJob = {
  ...{ lane: 'batch', tenant: 'acme', id: 'j1', hash: 'h', group: NO_GROUP, acceptedAt: 1 },
  ...{ deadlineMs: 60_000, notBeforeMs: 0, degrade: [], maxAttempts: null, headers: {} },
}
const reasonOf = (act: Promise<unknown>): Promise<string> =>
  act.then(
    () => 'done',
    (error: unknown) => (error instanceof JobStoreError ? error.reason : String(error)),
  )

test('a full stream refuses the next, says so, and keeps what it has', async () => {
  const { store, stop } = await storeOn(server, 'small', 4_096)
  const reasons: string[] = []
  for (let n = 0; n < 4; n++)
    reasons.push(await reasonOf(store.add({ ...job, id: `j${n}` }, new Uint8Array(1_500))))
  expect(reasons[0]).toBe('done')
  expect(reasons.at(-1)).toBe('full')
  expect(await store.find('acme', 'j0')).not.toBeNull()
  await stop()
})

test('what the server would not carry is too large', async () => {
  const { store, bus, stop } = await storeOn(server, 'large')
  expect(await reasonOf(store.add(job, new Uint8Array(bus.maxPayload)))).toBe('too_large')
  await stop()
})

test('streams that were deleted are made anew by the next act', async () => {
  const { store, bus, names, stop } = await storeOn(server, 'gone')
  await store.add(job, new Uint8Array(2))
  const manager = await jetstreamManager(bus.connection)
  for (const name of [names.jobs, names.results]) await manager.streams.delete(name)
  expect(await reasonOf(store.add(job, new Uint8Array(2)))).toBe('done')
  const { tenant, id, group, hash } = job
  const result = { tenant, id, group, hash, headers: [], body: new Uint8Array(1) }
  expect(await store.settle(result)).toBe(true)
  await stop()
})
