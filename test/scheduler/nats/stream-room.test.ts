/** New jobs leave room for the claims of those that are stored. */
import { expect, test } from 'vitest'
import { StreamRoom, type StreamHeld } from '#scheduler/nats/stream-room'

const MB = 1_000_000

function roomOf(held: StreamHeld | null) {
  const time = { now: 0, asked: 0 }
  const room = new StreamRoom({
    clock: { now: () => time.now },
    held: async () => {
      time.asked += 1
      if (held === null) throw new Error('away')
      return held
    },
  })
  return { room, time }
}

test('a twentieth of the bound is not for new jobs', async () => {
  const held = { bytes: 0, bytesMax: MB }
  const { room } = roomOf(held)
  while (held.bytes < MB && (await room.takes(10_000))) held.bytes += 10_000
  expect(held.bytes).toBe(950_000)
})

test('what somebody else stored counts', async () => {
  const held = { bytes: 0, bytesMax: MB }
  const { room, time } = roomOf(held)
  expect(await room.takes(1_000)).toBe(true)
  held.bytes = 950_000
  time.now = 1_001
  expect(await room.takes(1_000)).toBe(false)
  held.bytes = 0
  expect(await room.takes(1_000)).toBe(true)
})

test('with room enough it asks once a second, and with none of its own bound as seldom', async () => {
  for (const bytesMax of [1_000 * MB, -1]) {
    const { room, time } = roomOf({ bytes: 0, bytesMax })
    for (let n = 0; n < 100; n++) expect(await room.takes(1_000)).toBe(true)
    expect(time.asked).toBe(1)
    time.now = 1_001
    await room.takes(1_000)
    expect(time.asked).toBe(2)
  }
})

test('where nobody answers, the act itself is to say so', async () => {
  const { room } = roomOf(null)
  expect(await room.takes(1_000)).toBe(true)
})

test('after a claim or a result that did not fit, new jobs wait until one did, or five seconds', async () => {
  const { room, time } = roomOf({ bytes: 0, bytesMax: -1 })
  room.refused()
  expect(await room.takes(1)).toBe(false)
  room.fits()
  expect(await room.takes(1)).toBe(true)
  room.refused()
  time.now = 5_000
  expect(await room.takes(1)).toBe(true)
})
