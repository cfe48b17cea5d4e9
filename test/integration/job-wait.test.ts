/** Waiting for a job over a real nats-server that ends and comes back meanwhile. */
import { describe, expect, test, vi } from 'vitest'
import { HeadgateClient } from '#client'
import { startSimulatedProvider } from '../../services/simulated-provider/listener.ts'
import { body, endOf, openHouse, type House } from '../support/house.ts'
import { natsServer } from '../support/nats-server.ts'
import { launch } from '../support/program.ts'

/** Long enough for a server to go and come back. */
const CALL_MS = 1_000

interface Place {
  house: House
  client: HeadgateClient
}
const stateOf = async (client: HeadgateClient, id: string) => (await client.status(id)).state
const runs = (client: HeadgateClient, id: string) =>
  vi.waitFor(async () => expect(await stateOf(client, id)).toBe('running'), { timeout: 15_000 })

describe.concurrent('over a server that goes', () => {
  const at = (what: string, play: (place: Place) => Promise<void>): void =>
    test(what, async () => {
      const house = await openHouse({ jobs: true, provider: { ttftMs: CALL_MS } })
      const client = new HeadgateClient({ tenant: 'acme', servers: house.nats.url })
      try {
        await play({ house, client })
      } finally {
        await client.close()
        await house.close()
      }
    })

  at(
    'a result that comes while the connection of who waits is away is found',
    async ({ house, client }) => {
      const receipt = await client.submit(body(), { id: 'away', lane: 'batch' })
      const waiting = client.jobs.wait(receipt)
      await runs(client, 'away')
      await house.nats.restart('SIGKILL')
      expect((await waiting).accounting).toMatchObject({ id: 'away', outcome: 'completed' })
    },
  )

  at(
    'many that wait over restarts hear their own result, each of them',
    async ({ house, client }) => {
      const ids = Array.from({ length: 40 }, (_, n) => `many-${n}`)
      // Some may start at once, some later: each kind goes its own way through the store.
      for (const [n, id] of ids.entries())
        await client.submit(body(), { id, lane: 'batch', notBeforeMs: n % 2 === 0 ? 0 : n * 50 })
      const all = Promise.all(ids.map(async (id) => (await client.jobs.wait(id)).accounting.id))
      for (const id of ['many-5', 'many-25']) {
        await client.jobs.wait(id)
        await house.nats.restart('SIGKILL')
      }
      expect(await all).toEqual(ids)
    },
  )

  test('no job is lost when the scheduler is killed, running ones and those that may not start yet', async () => {
    const nats = await natsServer()
    const provider = await startSimulatedProvider({ ttftMs: CALL_MS, tokensPerSecond: 0 })
    const scheduler = () =>
      launch('scheduler', {
        NATS_URL: nats.url,
        ANTHROPIC_BASE_URL: provider.url,
        ANTHROPIC_API_KEY: 'sk-planted-key',
        HEADGATE_HTTP_PORT: '0',
      })
    const first = scheduler()
    await first.told
    const caller = new HeadgateClient({ tenant: 'acme', servers: nats.url })
    const ids = Array.from({ length: 12 }, (_, n) => `killed-${n}`)
    for (const [n, id] of ids.entries())
      await caller.submit(body(), { id, lane: 'batch', notBeforeMs: n % 2 === 0 ? 0 : 8_000 })
    const all = Promise.all(ids.map(async (id) => (await caller.jobs.wait(id)).accounting.id))
    // The last that may start at once: the first may have ended by now.
    await runs(caller, 'killed-10')
    await first.kill()
    const second = scheduler()
    await second.told
    expect(await all).toEqual(ids)
    await caller.close()
    await second.kill()
    await provider.close()
    await nats.stop()
  })

  at('a wait with a time of its own ends while the server is away', async ({ house, client }) => {
    await client.submit(body(), { id: 'long', lane: 'batch', notBeforeMs: 600_000 })
    const waiting = endOf(client.jobs.wait('long', { timeoutMs: 1_000 }))
    await house.nats.kill()
    expect(await waiting).toBe('pending')
    await house.nats.restart()
  })
})
