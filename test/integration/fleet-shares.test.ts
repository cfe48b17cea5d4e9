/** Instances behind one nats-server divide one set of limits: what they have in flight together is counted at the
 *  provider's end. */
import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { expect, test } from 'vitest'
import type { Wired } from '../../services/scheduler/compose/wire.ts'
import { body, endOf, openHouse, type House } from '../support/house.ts'

const WHOLE = 12
const YAML = `llm_gateway: { max_inflight_global: ${WHOLE}, timeout_ms: 60000 }\n`

/** In a house of its own. */
const at = (what: string, play: (house: House) => Promise<void>): void =>
  test.concurrent(
    what,
    async () => {
      const house = await openHouse({
        yaml: YAML,
        fleet: true,
        provider: { ttftMs: 300, capacity: Infinity },
      })
      try {
        await play(house)
      } finally {
        await house.close()
      }
    },
    60_000,
  )

/** Resolves when it holds, asked again with every event of any instance and twice a second. */
async function until(wireds: readonly Wired[], holds: () => boolean): Promise<void> {
  const heard = wireds.map((one) => one.recording.listen({ queueMax: 10_000 }))
  const ticks = setInterval(() => look(), 500)
  let look = (): void => {}
  try {
    await new Promise<void>((resolve) => {
      look = () => {
        if (holds()) resolve()
      }
      look()
      for (const one of heard)
        void (async () => {
          while ((await one.next()) !== null) look()
        })()
    })
  } finally {
    clearInterval(ticks)
    for (const one of heard) one.close()
  }
}

const shareOf = ({ loop }: Wired): number => loop.state.share.slots
const total = (wireds: readonly Wired[]): number =>
  wireds.reduce((sum, one) => sum + shareOf(one), 0)

at(
  'three instances never have more in flight than one would, and use all of it',
  async ({ scheduler, another, client, provider }) => {
    const all = [scheduler, await another(), await another()]
    await until(all, () => all.every((one) => shareOf(one) > 0))
    const ends = await Promise.all(
      Array.from({ length: 120 }, (_, i) => endOf(client.request(body(), { id: `r${i}` }))),
    )
    const { peak } = provider.stats()
    expect(ends.filter((end) => end !== 'completed')).toEqual([])
    expect(total(all)).toBeLessThanOrEqual(WHOLE)
    expect(peak).toBeLessThanOrEqual(WHOLE)
    expect(peak).toBeGreaterThan(WHOLE - 3)
  },
)

at('what an instance held that leaves is the others’ at once', async ({ scheduler, another }) => {
  const second = await another()
  const both = [scheduler, second]
  await until(both, () => both.every((one) => shareOf(one) > 0))
  expect(total(both)).toBeLessThanOrEqual(WHOLE)
  await second.stop()
  await until([scheduler], () => shareOf(scheduler) === WHOLE)
})

at(
  'a refusal that one instance meets reaches the others',
  async ({ scheduler, another, client, provider }) => {
    const all = [scheduler, await another()]
    const routesOf = ({ loop }: Wired) => [...loop.state.routes.values()]
    // Until the queue group has given each of them one.
    for (let i = 0; all.some((one) => routesOf(one).length === 0); i++)
      await client.request(body(), { id: `warm${i}` })
    provider.fault({ kind: 'rate_limited_requests', retryAfter: 20, times: 1 })
    void endOf(client.request(body(), { id: 'throttled' }))
    await until(all, () =>
      all.every((one) => routesOf(one)[0]!.quota.pausedUntil > one.loop.state.now),
    )
    client.cancel('throttled').catch(() => {})
  },
)

at(
  'the record is lost: nobody has more than before, and service goes on',
  async ({ scheduler, another, client, nats }) => {
    const all = [scheduler, await another()]
    await until(all, () => all.every((one) => shareOf(one) > 0))
    const nc = await connect({ servers: nats.url })
    await (await jetstreamManager(nc)).streams.delete('KV_headgate_fleet_llm')
    await nc.close()
    const said = all.map((one) => one.loop.state.share.until)
    await until(all, () => all.every((one, i) => one.loop.state.share.until > said[i]!))
    expect(total(all)).toBeLessThanOrEqual(WHOLE)
    expect(await endOf(client.request(body(), { id: 'after' }))).toBe('completed')
  },
)
