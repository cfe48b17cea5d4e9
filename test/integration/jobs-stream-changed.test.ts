/** The streams of jobs are changed under a scheduler that runs: deleted, closed, made smaller, restored. It says what
 *  it cannot do, and goes on by itself when it can. */
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream'
import { afterEach, expect, test, vi } from 'vitest'
import type { Snapshot } from '#contracts/snapshot'
import { heardResults } from '../support/heard-results.ts'
import { body, endOf, openHouse, type House, type HouseOptions } from '../support/house.ts'

const JOBS = 'HEADGATE_JOBS_llm'

const open: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close()
})

/** With every result that is published, by id. */
async function place(options: HouseOptions = {}) {
  const house = await openHouse({ jobs: true, ...options })
  open.push(() => house.close())
  const { nc, heard } = await heardResults(house.nats.url)
  open.push(() => nc.close())
  return { house, heard, manager: await jetstreamManager(nc) }
}

const until = (is: () => unknown): Promise<unknown> =>
  vi.waitFor(is, { timeout: 50_000, interval: 20 })
const submit = ({ client }: House, id: string) => client.submit(body(), { id, lane: 'batch' })
const calls = ({ provider }: House): number => provider.ledger().entries.length
const store = ({ scheduler }: House) => (scheduler.operator.snapshot() as Snapshot).jobs?.store
const pause = ({ scheduler }: House, paused: boolean) =>
  scheduler.operator.lane({ lane: 'batch', paused })

test('deleted: what was in a call ends, what is gone is unknown, and may be submitted anew', async () => {
  const { house, heard, manager } = await place({
    yaml: 'llm_gateway: { max_inflight_global: 1 }\n',
    provider: { ttftMs: 1_000 },
  })
  const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
  await submit(house, 'a')
  await until(() => expect(calls(house)).toBe(1))
  for (const id of ids.slice(1)) await submit(house, id)
  await manager.streams.delete(JOBS)
  await until(() => expect(heard.get('a')).toBe(1))
  // Those that were in memory are let go at the write before their call.
  await until(async () => {
    for (const id of ids.slice(1)) expect(await endOf(house.client.result(id))).toBe('unknown_id')
  })
  expect(calls(house)).toBe(1)
  for (const id of ids.slice(1)) expect(await submit(house, id)).toMatchObject({ duplicate: false })
  expect(await submit(house, 'a')).toMatchObject({ duplicate: true })
  await until(() => expect(heard.size).toBe(ids.length))
  expect(new Set(heard.values())).toEqual(new Set([1]))
  expect(calls(house)).toBe(ids.length)
})

async function change(manager: JetStreamManager, to: object): Promise<void> {
  const { config } = await manager.streams.info(JOBS)
  await manager.streams.update(JOBS, { ...config, ...to })
}

test('nothing of it can be read: that is told, nothing is lost, and then all goes on', async () => {
  const { house, heard, manager } = await place()
  await change(manager, { allow_direct: false })
  for (const id of ['a', 'b']) expect(await submit(house, id)).toMatchObject({ duplicate: false })
  await until(() => expect(store(house)).toMatchObject({ reachable: false }))
  expect(calls(house)).toBe(0)
  await change(manager, { allow_direct: true })
  await until(() => expect(store(house)).toMatchObject({ reachable: true }))
  await submit(house, 'c')
  await until(() => expect(heard.size).toBe(3))
  expect(new Set(heard.values())).toEqual(new Set([1]))
  expect(calls(house)).toBe(3)
})

test('made smaller than what it holds: new ones are refused until it is larger, and those there are done', async () => {
  const { house, heard, manager } = await place()
  pause(house, true)
  for (const id of ['a', 'b', 'c']) await submit(house, id)
  await change(manager, { max_bytes: 1_000 })
  await until(async () => expect(await endOf(submit(house, 'new'))).toBe('queue_full'))
  await change(manager, { max_bytes: -1 })
  await until(async () => expect(await endOf(submit(house, 'new'))).toBe('completed'))
  pause(house, false)
  await until(() => expect(heard.size).toBe(4))
  expect(new Set(heard.values())).toEqual(new Set([1]))
})

test('an old backup of all of the server: what had ended stays so, what had not is done again, once', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'headgate-restored-'))
  open.push(() => rm(dir, { recursive: true, force: true }))
  const [now, backup] = [join(dir, 'now'), join(dir, 'backup')]
  const first = await place({ nats: { dir: now } })
  await submit(first.house, 'before')
  await until(() => expect(first.heard.get('before')).toBe(1))
  pause(first.house, true)
  for (const id of ['a', 'b']) await submit(first.house, id)
  await first.house.nats.kill('SIGTERM')
  await cp(now, backup, { recursive: true })
  await first.house.nats.restart()
  pause(first.house, false)
  await until(async () => {
    for (const id of ['a', 'b']) expect((await first.house.client.status(id)).state).toBe('settled')
  })
  expect(calls(first.house)).toBe(3)
  for (const close of open.splice(1).toReversed()) await close()

  await rm(now, { recursive: true, force: true })
  await cp(backup, now, { recursive: true })
  const second = await place({ nats: { dir: now } })
  await until(() => expect([...second.heard.keys()].toSorted()).toEqual(['a', 'b']))
  expect(new Set(second.heard.values())).toEqual(new Set([1]))
  expect(calls(second.house)).toBe(2)
  expect(await submit(second.house, 'before')).toMatchObject({ duplicate: true })
  expect(calls(second.house)).toBe(2)
})
