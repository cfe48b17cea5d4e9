/** The server goes and comes back. */
import { expect, test } from 'vitest'
import { caller, instance, LLM, natsWorld, SMALL_MAX_PAYLOAD, textOf } from '../support/doors.ts'
import { accounted } from '../support/fake-scheduler.ts'
import { natsServer } from '../support/nats-server.ts'

const REQUEST = LLM.request('acme', 'interactive')
const bytes = (text: string) => new TextEncoder().encode(text)
const body = () =>
  JSON.stringify({ model: 'claude-x', max_tokens: 10, messages: [{ role: 'user', content: 'x' }] })

test('after the server was killed and is back, requests arrive and answers leave', async () => {
  const own = await natsServer({ jetstream: false, maxPayload: SMALL_MAX_PAYLOAD })
  const world = natsWorld(own)
  const ours = await instance(world, { id: 'one' })
  const theirs = await caller(world)
  const before = await theirs.ask(REQUEST, body(), [['Headgate-Id', 'before']])
  const kept = await ours.scheduler.requests.find(({ id }) => id === 'before')
  await own.kill()
  await world.away()
  kept.reply.answer(bytes('{"kept":true}'), accounted({ id: 'before' }))
  await own.restart()
  expect(textOf((await before.messages.take(1))[0])).toBe('{"kept":true}')
  await until(() => ours.bus.connected() && theirs.bus.connected())
  await ours.bus.flush()
  await theirs.ask(REQUEST, body(), [['Headgate-Id', 'after']])
  await ours.scheduler.requests.find(({ id }) => id === 'after')
  await world.stop()
  await own.stop()
})

async function until(is: () => boolean): Promise<void> {
  while (!is()) await new Promise((resolve) => setImmediate(resolve))
}
