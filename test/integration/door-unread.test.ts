/** Callers who take nothing of what they asked for, many of them, and what they cost. Alone in its file: what
 *  other tests leave would be measured with it. */
import { expect, test } from 'vitest'
import { configFile } from '#contracts/config'
import { subjects } from '#contracts/subjects'
import { memoryBus } from '#scheduler/memory/bus'
import type { Gateway } from '#gateway'
import type { Bus } from '#ports'
import { systemClock, systemDice } from '../../services/platform/system.ts'
import { wireGateway } from '../../services/scheduler/compose/wire-gateway.ts'
import { params } from '../support/door.ts'
import { memoryHeld } from '../support/garbage.ts'
import { post, rawCall } from '../support/raw-http.ts'

const STREAM = JSON.stringify(params({ stream: true }))
const BUFFER = 20_000_000
const EACH = 1_000_000
const PEOPLE = 50
/** One event, one frame for each reader, and what a measurement of memory cannot tell apart. */
const SLACK = 20_000_000

test(`${PEOPLE} readers that take nothing cannot make the process larger than the bound`, async () => {
  const bus = memoryBus()
  const file = configFile.parse({ gateway: { buffer_bytes: BUFFER, stream_buffer_bytes: EACH } })
  const asked = answering(bus)
  const gateway: Gateway = await wireGateway({
    host: '127.0.0.1',
    port: 0,
    tls: null,
    bus,
    file: () => file,
    keys: () => new Map(),
    ready: () => [],
    clock: systemClock,
    dice: systemDice,
    onFault: (error) => {
      throw error
    },
  })
  const people = Array.from({ length: PEOPLE }, () =>
    rawCall(gateway.url, post('/v1/messages', STREAM)),
  )
  while (asked.replies.size < PEOPLE) await asked.next()
  asked.say(Buffer.from('{"type":"message_start"}'))
  await Promise.all(people.map((one) => one.until((so) => so.includes('message_start'))))
  for (const { socket } of people) socket.pause()
  const before = memoryHeld()
  const event = Buffer.from(`{"type":"content_block_delta","text":"${'x'.repeat(60_000)}"}`)
  let unread = 0
  let memory = 0
  for (let round = 0; asked.replies.size > 0; round++) {
    asked.say(event)
    unread = Math.max(unread, gateway.unreadBytes)
    if (round % 5 === 0) memory = Math.max(memory, memoryHeld())
    await new Promise(setImmediate)
  }
  // It was the bound that ended them, and it held.
  expect(unread).toBeGreaterThan(BUFFER / 2)
  expect(unread).toBeLessThanOrEqual(BUFFER + event.length + 100)
  for (const { socket } of people) socket.destroy()
  await Promise.all(people.map(({ closed }) => closed))
  expect(gateway.unreadBytes).toBe(0)
  // Whatever was there before, and went meanwhile, must not hide what came.
  const grown = memory - Math.min(before, memoryHeld())
  expect(grown).toBeGreaterThan(BUFFER / 4)
  expect(grown).toBeLessThan(BUFFER + SLACK)
  await gateway.close()
  await bus.close()
})

/** A scheduler that says to everybody what it is told to say, until they are gone. */
function answering(bus: Bus) {
  const to = subjects('llm')
  const replies = new Map<string, string>()
  let heard = (): void => {}
  bus.subscribe(to.every.request, (message) => {
    replies.set(message.header('Headgate-Id') ?? '', message.reply ?? '')
    heard()
  })
  bus.subscribe(
    to.every.cancel,
    (message) => void replies.delete(message.subject.split('.').at(-1) ?? ''),
  )
  return {
    replies,
    next: () => new Promise<void>((resolve) => (heard = resolve)),
    say(event: Uint8Array) {
      for (const reply of replies.values()) bus.publish(reply, event)
    },
  }
}
