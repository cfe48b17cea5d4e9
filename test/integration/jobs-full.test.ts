/** The store of jobs is full: what had a receipt is done all the same, what has none is refused in words, and with
 *  room all goes on by itself. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterEach, expect, test, vi } from 'vitest'
import { HeadgateError } from '#client'
import type { Snapshot } from '#contracts/snapshot'
import { heardResults } from '../support/heard-results.ts'
import { body, openHouse, type House } from '../support/house.ts'

const open: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close()
})

const sized = (chars: number) => body({ messages: [{ role: 'user', content: 'x'.repeat(chars) }] })

/** The receipt's id, or why there is none. */
async function submitted(
  { client }: House,
  id: string,
  of: { chars?: number; notBeforeMs?: number } = {},
): Promise<{ id: string; duplicate: boolean } | HeadgateError> {
  const { chars = 10, ...more } = of
  try {
    return await client.submit(sized(chars), { id, lane: 'batch', ...more })
  } catch (error) {
    if (error instanceof HeadgateError) return error
    throw error
  }
}

/** Every result that is published, by id. */
async function results(house: House): Promise<Map<string, number>> {
  const { nc, heard } = await heardResults(house.nats.url)
  open.push(() => nc.close())
  return heard
}

const until = (is: () => void): Promise<void> => vi.waitFor(is, { timeout: 50_000, interval: 20 })

test('a stream full of jobs is worked off, each has one result, and new ones find room again', async () => {
  const house = await openHouse({ jobs: true, yaml: 'jobs: { backlog_bytes: 1000000 }\n' })
  open.push(() => house.close())
  const heard = await results(house)
  const kept: string[] = []
  let said: HeadgateError | null = null
  // Down to the last gap: none of them may start before all of it is taken.
  for (const chars of [20_000, 1_000, 10]) {
    for (let n = 0; n < 500; n++) {
      const id = `j${chars}-${n}`
      const answer = await submitted(house, id, { chars, notBeforeMs: 2_500 })
      if (answer instanceof HeadgateError) {
        said = answer
        expect(await submitted(house, kept[0]!, { chars: 20_000 })).toMatchObject({
          duplicate: true,
        })
        await expect(house.client.status(id)).rejects.toMatchObject({ code: 'unknown_id' })
        break
      }
      kept.push(id)
    }
  }
  expect(said).toMatchObject({ code: 'queue_full', retryable: true })
  expect(said?.message).toContain('the store of jobs is full')
  await until(() => expect(heard.size).toBe(kept.length))
  expect(new Set(heard.values())).toEqual(new Set([1]))
  await until(async () => expect(await submitted(house, 'after')).toMatchObject({ id: 'after' }))
  expect((await house.client.result('after', { waitMs: 20_000 })).accounting.outcome).toBe(
    'completed',
  )
})

/** A server with so little room in all, and something else of it that takes what is left. */
async function crowdedHouse(): Promise<{
  house: House
  fill(): Promise<void>
  clear(): Promise<void>
}> {
  const dir = await mkdtemp(join(tmpdir(), 'headgate-full-'))
  open.push(() => rm(dir, { recursive: true, force: true }))
  const house = await openHouse({
    jobs: true,
    provider: { ttftMs: 1_000 },
    nats: {
      jetstream: false,
      config: `jetstream { store_dir: ${JSON.stringify(dir)}, max_file_store: 4MB }`,
    },
  })
  open.push(() => house.close())
  const nc = await connect({ servers: house.nats.url })
  open.push(() => nc.close())
  const manager = await jetstreamManager(nc)
  await manager.streams.add({ name: 'other', subjects: ['other'], discard: 'new' as never })
  return {
    house,
    async fill() {
      for (const bytes of [100_000, 1_000, 10]) while (await stores(nc, bytes));
    },
    clear: async () => void (await manager.streams.purge('other')),
  }
}

async function stores(nc: NatsConnection, bytes: number): Promise<boolean> {
  const answer = await nc.request('other', new Uint8Array(bytes), { timeout: 5_000 })
  return answer.json<{ error?: object }>().error === undefined
}

test('of a server whose disk is full nothing is lost, and results in flight are stored with the first room', async () => {
  const { house, fill, clear } = await crowdedHouse()
  const heard = await results(house)
  const calls = () => house.provider.ledger().entries.length
  for (const id of ['a', 'b']) expect(await submitted(house, id)).toMatchObject({ id })
  await until(() => expect(calls()).toBe(2))
  expect(await submitted(house, 'later', { notBeforeMs: 500 })).toMatchObject({ id: 'later' })
  await fill()
  const refused = await submitted(house, 'refused')
  expect(refused).toMatchObject({ code: 'queue_full' })
  // Both results were tried, and so was the claim of the third.
  const jobs = () => (house.scheduler.operator.snapshot() as Snapshot).jobs
  await until(() => expect(jobs()?.counts.store_errors).toBeGreaterThan(4))
  expect(jobs()?.store).toMatchObject({ full: true, last_error: { reason: 'full' } })
  expect(heard.size).toBe(0)
  await clear()
  await until(() =>
    expect([...heard]).toEqual(
      expect.arrayContaining([
        ['a', 1],
        ['b', 1],
        ['later', 1],
      ]),
    ),
  )
  expect(calls()).toBe(3)
  await until(async () =>
    expect(await submitted(house, 'refused')).toMatchObject({ id: 'refused', duplicate: false }),
  )
  await until(() => expect(heard.get('refused')).toBe(1))
  expect(new Set(heard.values())).toEqual(new Set([1]))
})
