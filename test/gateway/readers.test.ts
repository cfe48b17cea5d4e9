/** What callers leave unread, with readers and a clock that are the test's. */
import { beforeEach, expect, test } from 'vitest'
import { readers, type Readers } from '../../services/gateway/readers.ts'
import { manualClock, type ManualClock } from '../support/manual-clock.ts'

const LIMITS = { eachBytesMax: 1_000, allBytesMax: 2_500, stallMs: 5_000 }

let clock: ManualClock
let limits: typeof LIMITS
let all: Readers
beforeEach(() => {
  clock = manualClock()
  limits = { ...LIMITS }
  all = readers({ limits: () => limits, after: (ms, call) => clock.after(ms, call) })
})

/** Reads when told; its end lets go of what it held, as a response that is destroyed does. */
function reader() {
  const to = { unread: 0, taken: 0 }
  let ends = 0
  const handle = all.open(to, () => {
    ends++
    to.unread = 0
  })
  return {
    ended: () => ends,
    write(bytes: number): boolean {
      to.unread += bytes
      return handle.wrote()
    },
    writeAll(bytes: number): boolean {
      to.unread += bytes
      return handle.wroteAll()
    },
    read(bytes: number) {
      to.unread -= bytes
      to.taken += bytes
    },
    close() {
      to.unread = 0
      handle.close()
    },
  }
}

function connection() {
  const from = { writableLength: 0, bytesWritten: 0 }
  let ends = 0
  const handle = all.watch(from, () => ends++)
  return {
    ended: () => ends,
    write(bytes: number): void {
      from.writableLength += bytes
      from.bytesWritten += bytes
    },
    read: (bytes: number) => void (from.writableLength -= bytes),
    close: () => handle.close(),
  }
}

test('who leaves more than its bound unread and takes nothing is ended, once, and what it held is given back', () => {
  const slow = reader()
  expect(slow.write(1_001)).toBe(true)
  expect(all.bytes).toBe(1_001)
  clock.advance(4_999)
  expect(slow.ended()).toBe(0)
  clock.advance(1)
  expect(slow.ended()).toBe(1)
  expect(slow.write(500)).toBe(false)
  clock.advance(60_000)
  expect(slow.ended()).toBe(1)
  slow.close()
  expect(all.bytes).toBe(0)
})

test('what was just written is not held against a reader, however large it is and however slowly it reads', () => {
  const slow = reader()
  expect(slow.write(2_400)).toBe(true)
  for (let second = 0; second < 60; second++) {
    slow.read(20)
    clock.advance(1_000)
  }
  expect(slow.ended()).toBe(0)
  clock.advance(6_000)
  expect(slow.ended()).toBe(1)
})

test('who takes nothing while several times its bound come is ended at once; one that takes a little is not', () => {
  limits.allBytesMax = 1_000_000
  const [still, sips] = [reader(), reader()]
  let writes = 0
  while (still.write(100)) writes++
  expect(writes).toBe(81)
  for (let i = 0; i < 1_000; i++) {
    expect(sips.write(100)).toBe(true)
    sips.read(1)
  }
  const one = reader()
  one.write(100)
  expect(one.write(900_000 - 100_000)).toBe(true)
  expect(one.write(100)).toBe(true)
})

test('within its bound one may take nothing for as long as its connection may', () => {
  const slow = reader()
  slow.write(1_000)
  clock.advance(60_000)
  expect(slow.ended()).toBe(0)
})

test('past the common bound one that takes nothing goes before one that reads more', () => {
  const [still, reads] = [reader(), reader()]
  still.write(800)
  reads.write(1_600)
  reads.read(100)
  clock.advance(1_000)
  reads.read(100)
  clock.advance(1_000)
  expect(reader().write(900)).toBe(true)
  expect([still.ended(), reads.ended()]).toEqual([1, 0])
})

test('who reads as fast as is written may have any amount', () => {
  const quick = reader()
  for (let i = 0; i < 100; i++) {
    expect(quick.write(900)).toBe(true)
    quick.read(900)
  }
  clock.advance(60_000)
  expect(quick.ended()).toBe(0)
})

test('an answer that is written at once may be larger than the bound of one, not than that of all', () => {
  const one = reader()
  expect(one.writeAll(2_400)).toBe(true)
  expect(one.ended()).toBe(0)
  const other = reader()
  expect(other.writeAll(2_501)).toBe(false)
  expect(other.ended()).toBe(1)
  expect(one.ended()).toBe(0)
  expect(all.bytes).toBe(2_400)
})

test('an answer that is written at once has no bound of its own', () => {
  const one = reader()
  one.writeAll(2_400)
  clock.advance(3_600_000)
  expect(one.ended()).toBe(0)
})

test('past the common bound the one who leaves most goes first, and only as many as must', () => {
  const people = [300, 900, 700, 500].map((bytes) => {
    const one = reader()
    one.write(bytes)
    return one
  })
  const last = reader()
  expect(last.write(200)).toBe(true)
  expect(people.map((one) => one.ended())).toEqual([0, 1, 0, 0])
  expect(all.bytes).toBe(1_700)
})

test('what has been read meanwhile does not count against the common bound', () => {
  const one = reader()
  const two = reader()
  one.write(1_000)
  two.write(1_000)
  one.read(1_000)
  const three = reader()
  expect(three.write(900)).toBe(true)
  expect([one, two, three].map((each) => each.ended())).toEqual([0, 0, 0])
  expect(all.bytes).toBe(1_900)
})

test('a connection that takes nothing for the stall time is gone; one byte gives it the whole time again', () => {
  const still = connection()
  const sips = connection()
  still.write(100)
  sips.write(100)
  clock.advance(4_000)
  sips.read(1)
  clock.advance(999)
  expect([still.ended(), sips.ended()]).toEqual([0, 0])
  clock.advance(1)
  expect([still.ended(), sips.ended()]).toEqual([1, 0])
  // The next look is the first that finds something taken.
  clock.advance(4_999)
  expect(sips.ended()).toBe(0)
  clock.advance(1)
  expect(sips.ended()).toBe(1)
  clock.advance(60_000)
  expect([still.ended(), sips.ended()]).toEqual([1, 1])
})

test('more that is written is no sign that anything is taken', () => {
  const still = connection()
  for (let second = 0; second < 7; second++) {
    still.write(10)
    clock.advance(1_000)
  }
  expect(still.ended()).toBe(1)
})

test('a connection for which nothing waits is never ended for it', () => {
  const waits = connection()
  clock.advance(3_600_000)
  waits.write(100)
  waits.read(100)
  clock.advance(3_600_000)
  expect(waits.ended()).toBe(0)
})

test('an answer that waits behind another is not held against its reader', () => {
  const waits = connection()
  const second = reader()
  second.write(900)
  clock.advance(3_600_000)
  expect([waits.ended(), second.ended()]).toEqual([0, 0])
})

test('a changed bound counts at once', () => {
  const one = reader()
  one.write(900)
  limits.eachBytesMax = 500
  const two = connection()
  two.write(100)
  limits.stallMs = 1_000
  clock.advance(2_000)
  expect([one.ended(), two.ended()]).toEqual([1, 1])
})

test('no timer runs while nobody is there, nor after the end', () => {
  expect(clock.pending()).toBe(0)
  const one = connection()
  expect(clock.pending()).toBe(1)
  one.close()
  clock.advance(1_000)
  expect(clock.pending()).toBe(0)
  connection().write(10)
  all.close()
  expect(clock.pending()).toBe(0)
})

test('readers that go after the end leave no debt', () => {
  const one = reader()
  one.write(700)
  all.close()
  one.close()
  expect(all.bytes).toBe(0)
})

test('a connection has all of the stall time, also where that ends between two looks', () => {
  limits.stallMs = 1_001
  const still = connection()
  still.write(100)
  clock.advance(1_000)
  expect(still.ended()).toBe(0)
  clock.advance(1_000)
  expect(still.ended()).toBe(1)
})
