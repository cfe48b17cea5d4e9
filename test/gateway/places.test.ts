/** Places whose clients have gone: how long and how many are kept, and who finds one again. */
import { beforeEach, describe, expect, test } from 'vitest'
import type { AnswerAccounting, RelaySink } from '#client'
import { Place, places, type Places } from '../../services/gateway/places.ts'
import { readers } from '../../services/gateway/readers.ts'
import { sameCall, type SameCall } from '../../services/gateway/same-call.ts'
import { manualClock, type ManualClock } from '../support/manual-clock.ts'

const KEEP_MS = 10_000

let clock: ManualClock
let limits: { keepMs: number; most: number }
let all: Places
/** Ids of calls that were withdrawn. */
let left: string[]

beforeEach(() => {
  clock = manualClock()
  limits = { keepMs: KEEP_MS, most: 2 }
  left = []
  const bounds = () => ({ eachBytesMax: 100, allBytesMax: 200, stallMs: 3_600_000 })
  all = places({
    limits: () => limits,
    after: clock.after,
    readers: readers({ limits: bounds, after: clock.after }),
  })
})

const callOf = (body: string): SameCall =>
  sameCall({ tenant: 'acme', shown: 'key', options: {}, body: Buffer.from(body) })
const sink = (on: Partial<RelaySink> = {}): RelaySink => ({
  ...{ answer() {}, event() {}, ping() {}, end() {}, fail() {} },
  ...on,
})
const placeOf = (id: string): Place =>
  new Place(() => ({ id, leave: () => void left.push(id) }), sink())
const settle = () => new Promise<void>((resolve) => setImmediate(resolve))
const keep = (id: string, runs = false): Place => {
  const place = placeOf(id)
  all.keep(place, callOf(id), async () => runs)
  return place
}

describe('a place is kept', () => {
  test('for its time, and then nobody works for it any more', () => {
    keep('a')
    clock.advance(KEEP_MS - 1)
    expect(left).toEqual([])
    clock.advance(1)
    expect([left, all.back(callOf('a'))]).toEqual([['a'], null])
  })

  test('not at all where that time is none', () => {
    limits.keepMs = 0
    keep('a')
    expect([left, all.back(callOf('a')), clock.pending()]).toEqual([['a'], null, 0])
  })

  test('while there are fewer than may be', () => {
    for (const id of ['a', 'b', 'c']) keep(id)
    expect(left).toEqual(['c'])
  })

  test('unless it runs: its slot is given back', async () => {
    keep('a', true)
    await settle()
    expect(left).toEqual(['a'])
  })
})

test('the same call finds it, once, and has the answer that came meanwhile', async () => {
  const place = keep('a')
  place.answer(Buffer.from('late'), {} as AnswerAccounting)
  await settle()
  expect(all.back(callOf('b'))).toBe(null)
  expect(all.back(callOf('a'))).toBe(place)
  expect(all.back(callOf('a'))).toBe(null)
  let got = ''
  place.takenBy(sink({ answer: (bytes) => (got = Buffer.from(bytes).toString()) }))
  clock.advance(10 * KEEP_MS)
  expect([got, left, clock.pending()]).toEqual(['late', [], 0])
})

test('a stream, whose client would have heard it, is left', () => {
  const place = keep('a')
  place.event(Buffer.from('{}'))
  expect(left).toEqual(['a'])
})

test('one whose id is asked for anew is given up, and at the end all are', () => {
  for (const id of ['a', 'b']) keep(id)
  all.release('other', 'a')
  expect(left).toEqual([])
  all.release('acme', 'a')
  expect(left).toEqual(['a'])
  all.close()
  expect([left, clock.pending()]).toEqual([['a', 'b'], 0])
})

describe('an answer that waits for a client', () => {
  const answered = (id: string, bytes: number): void =>
    keep(id).answer(Buffer.alloc(bytes), {} as AnswerAccounting)
  const waits = (id: string): boolean => all.back(callOf(id)) !== null

  test('is as large as it is: past the bound of one reader it waits as long as any', () => {
    answered('a', 199)
    clock.advance(KEEP_MS - 1)
    expect(waits('a')).toBe(true)
  })

  test('goes at once where all that is unread is more than it may be', () => {
    answered('a', 201)
    expect(waits('a')).toBe(false)
    answered('b', 120)
    answered('c', 100)
    expect([waits('b'), waits('c')]).toEqual([false, true])
  })
})
