/** Pages that read slowly, and many of them. */
import { expect, test } from 'vitest'
import { PATIENCE, READERS_MAX } from '../../services/dashboard/readers.ts'
import { fed, Page } from '../support/fed.ts'

test('all pages get the same bytes, made once', () => {
  const { feed, clock, page } = fed()
  const other = new Page()
  feed.connect(other)
  clock.advance(1_000)
  expect(other.got.at(-1)).toBe(page.got.at(-1))
})

test('a frame is made of nothing when no page is open', () => {
  let asked = 0
  const { feed, clock, page } = fed({ faults: () => ({ toJSON: () => (asked++, []) }) as never })
  feed.disconnect(page)
  clock.advance(5_000)
  expect(asked).toBe(0)
})

test('a slow page misses frames, holds none back, and is whole again after', () => {
  const { clock, page } = fed()
  clock.advance(2_000)
  page.busy = true
  clock.advance(10_000)
  const before = page.got.length
  page.busy = false
  clock.advance(1_000)
  expect(page.got.length).toBe(before + 1)
  const [last, previous] = [page.frames().at(-1)!, page.frames().at(-2)!]
  expect(last.seq - previous.seq).toBe(11)
  expect(last.readers.skipped).toBe(10)
})

test('a page that takes nothing for long is let go', () => {
  const { clock, page } = fed()
  page.busy = true
  clock.advance(PATIENCE * 1_000)
  expect(page.ended).toBe(true)
  page.busy = false
  const got = page.got.length
  clock.advance(5_000)
  expect(page.got.length).toBe(got)
})

/** Takes so many bytes a second of what it is sent, and misses what comes while more than two frames wait. */
class SlowPage extends Page {
  readonly pace: number
  #unread = 0
  constructor(pace: number) {
    super()
    this.pace = pace
  }
  override ready = () => this.#unread < 6_000
  unread = () => (this.#unread = Math.max(0, this.#unread - this.pace))
  override send(bytes: Uint8Array): void {
    super.send(bytes)
    this.#unread += bytes.length
  }
}

test('a page that takes a little of what comes is let go, one that takes most of it is not', () => {
  const { feed, clock, page } = fed()
  clock.advance(2_000)
  const size = page.got.at(-1)!.length
  const [drips, half, reads] = [0.1, 0.6, 2].map((part) => new SlowPage(size * part))
  for (const one of [drips!, half!, reads!]) feed.connect(one)
  clock.advance(120_000)
  expect([drips!.ended, half!.ended, reads!.ended]).toEqual([true, false, false])
})

test('a page that takes nothing of frames that the kernel keeps for it is let go', () => {
  const { feed, clock } = fed()
  const still = new SlowPage(0)
  still.ready = () => true
  feed.connect(still)
  clock.advance(29_000)
  expect(still.ended).toBe(false)
  clock.advance(3_000)
  expect(still.ended).toBe(true)
})

test('no more pages than are served', () => {
  const { feed } = fed()
  const more = Array.from({ length: READERS_MAX }, () => feed.connect(new Page()))
  expect(more.filter(Boolean).length).toBe(READERS_MAX - 1)
})

test('a frame that cannot be made is said, and the next one comes', () => {
  const errors: unknown[] = []
  let broken = true
  const { clock, page } = fed({
    machines() {
      if (broken) throw new Error('no machines')
      return new Map()
    },
    onError: (error) => errors.push(error),
  })
  clock.advance(2_000)
  expect(errors.length).toBe(2)
  broken = false
  clock.advance(1_000)
  expect(page.frames().length).toBe(1)
})
