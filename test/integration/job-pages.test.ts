/** Pages of stored jobs, and of the dead, from a real nats-server: each once, at its place, without its body. */
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { storeNames } from '#contracts/store-names'
import { subjects } from '#contracts/subjects'
import { systemClock } from '#platform/system'
import type { JobStore, NewJob } from '#ports'
import { natsJobStore } from '../../services/scheduler/nats/job-store.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'

let server: NatsServer
let nc: NatsConnection
let store: JobStore
beforeAll(async () => {
  server = await natsServer()
  nc = await connect({ servers: server.url })
  store = await natsJobStore({
    ...{ connection: nc, subjects: subjects('llm'), names: storeNames('llm'), replicas: 1 },
    ...{ clock: systemClock, backlogBytes: null, resultsAgeMs: 3_600_000, deadAgeMs: 3_600_000 },
  })
})
afterAll(async () => {
  await nc.close()
  await server.stop()
})

const job = (id: string, more: Partial<NewJob> = {}): NewJob => ({
  ...{ tenant: 'acme', lane: 'batch', id, group: '_', hash: 'h' },
  ...{ acceptedAt: 1_767_225_600_000, deadlineMs: 60_000, notBeforeMs: 0 },
  ...{ degrade: [], maxAttempts: 2, headers: { version: '2023-06-01' } },
  ...more,
})
const body = new TextEncoder().encode('{"model":"m"}')

test('stored jobs come in pages, of one kind, lane or tenant', async () => {
  const kinds: Partial<NewJob>[] = [
    {},
    { notBeforeMs: 60_000 },
    { lane: 'premium' },
    { tenant: 'globex' },
  ]
  const made: { id: string; seq: number }[] = []
  for (let n = 0; n < 40; n++) {
    const id = `j${n}`
    const added = await store.add(job(id, kinds[n % 4]), body)
    made.push({ id, seq: 'seq' in added ? added.seq : -1 })
  }
  const seen: { id: string; seq: number }[] = []
  for (let from = 0; ;) {
    const heads = await store.heads('*', from, 7)
    seen.push(...heads.map(({ id, seq }) => ({ id, seq })))
    if (heads.length < 7) break
    from = heads.at(-1)!.seq + 1
  }
  expect(seen).toEqual(made)
  const ids = async (...asked: Parameters<JobStore['heads']>) =>
    (await store.heads(...asked)).map(({ id }) => Number(id.slice(1)) % 4)
  expect(new Set(await ids('later', 0, 100))).toEqual(new Set([1]))
  expect(new Set(await ids('now', 0, 100))).toEqual(new Set([0, 2, 3]))
  expect(new Set(await ids('*', 0, 100, { lane: 'premium' }))).toEqual(new Set([2]))
  expect(new Set(await ids('*', 0, 100, { tenant: 'acme', lane: 'batch' }))).toEqual(
    new Set([0, 1]),
  )
  expect(await store.heads('*', seen.at(-1)!.seq + 1, 5)).toEqual([])
  const [head] = await store.heads('now', 0, 1)
  expect(head).toEqual({ ...job('j0'), seq: made[0]?.seq })
})

test('a dead job is found by its name, listed with its reason, and forgotten once', async () => {
  for (const id of ['d1', 'd2', 'd3']) {
    const made = job(id)
    await store.bury({ ...made, seq: 1, body }, 'claims_exhausted')
  }
  await store.bury({ ...job('d4', { tenant: 'globex' }), seq: 1, body }, 'unreadable')
  const first = await store.graves(0, 2)
  const rest = await store.graves(first.at(-1)!.seq + 1, 2)
  expect([...first, ...rest].map(({ id, reason }) => [id, reason])).toEqual([
    ['d1', 'claims_exhausted'],
    ['d2', 'claims_exhausted'],
    ['d3', 'claims_exhausted'],
    ['d4', 'unreadable'],
  ])
  expect((await store.graves(0, 9, { tenant: 'globex' })).map(({ id }) => id)).toEqual(['d4'])
  const grave = await store.grave('acme', 'd2')
  expect(grave).toMatchObject({ ...job('d2'), reason: 'claims_exhausted' })
  expect(Buffer.from(grave!.body).toString()).toBe('{"model":"m"}')
  expect(await store.grave('globex', 'd2')).toBe(null)
  expect(await store.unbury(grave!.seq)).toBe(true)
  expect(await store.unbury(grave!.seq)).toBe(false)
  expect(await store.grave('acme', 'd2')).toBe(null)
})

test('what is gone already is gone: a job is taken away as often as one likes', async () => {
  const added = await store.add(job('twice'), body)
  const seq = 'seq' in added ? added.seq : -1
  const claim = { by: 'one', claims: 1, attempts: 0, calling: false, ambiguous: 0 }
  const revision = await store.claim({ tenant: 'acme', id: 'twice' }, claim, 0)
  for (let times = 0; times < 2; times++) await store.remove({ seq, revision })
  expect(await store.find('acme', 'twice')).toBe(null)
  expect(await store.claimOf('acme', 'twice')).toBe(null)
})

test('a result that is taken away may be stored again', async () => {
  const result = {
    ...{ tenant: 'acme', id: 'r', group: '_', hash: 'h', body },
    headers: [['Headgate-Outcome', 'refused']] as const,
  }
  expect(await store.settle(result)).toBe(true)
  expect(await store.settle(result)).toBe(false)
  await store.unsettle('acme', 'r')
  expect(await store.result('acme', 'r')).toBe(null)
  expect(await store.settle(result)).toBe(true)
  await store.unsettle('acme', 'nobody')
})
