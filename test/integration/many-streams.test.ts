/** Many streams at once through every way to Headgate, of frames that are there to be taken for something else:
 *  what an upstream says to one caller comes to that one, whole and in order, and ends as it ended there. A
 *  thousand at once: `npm run bench -- streams`. */
import { describe, expect, test } from 'vitest'
import { hostileStream } from '../support/hostile-streams.ts'
import { check, manyStreams, WAY_NAMES, type Heard, type Tally } from '../support/many-streams.ts'

const COUNT = 60

test.each(WAY_NAMES)(
  `${COUNT} at once, by the %s: none lost, none mixed up, none ended by what it says`,
  { timeout: 60_000 },
  async (way) => {
    const [tally] = await manyStreams({ count: COUNT, ways: [way] })
    const { lost, mixed, ended, openMax, events, notes } = tally!
    expect({ lost, mixed, ended, notes }).toEqual({ lost: 0, mixed: 0, ended: 0, notes: [] })
    expect(openMax).toBe(COUNT)
    expect(events).toBeGreaterThan(COUNT * 10)
  },
)

describe('the measure', () => {
  const numbersOf = (ending: string): number[] =>
    Array.from({ length: COUNT }, (_, n) => n).filter((n) => hostileStream(n).ending === ending)
  const judged = (n: number, heard: Partial<Heard>): Omit<Tally, 'notes'> => {
    const { events } = hostileStream(n)
    const zero = { way: '', streams: 1, events: 0, openMax: 0, lost: 0, mixed: 0, ended: 0 }
    const tally: Tally = { ...zero, seconds: 0, notes: [] }
    check(n, { events, error: null, ...heard }, tally)
    return tally
  }
  const [whole = NaN, other = NaN] = numbersOf('whole')
  const { events } = hostileStream(whole)

  test('has streams of every ending', () => {
    for (const ending of ['whole', 'cut', 'no_stop', 'error', 'left'])
      expect(numbersOf(ending)).not.toEqual([])
  })

  test("sees what is lost, what is another stream's, and an end that is none", () => {
    expect(judged(whole, {})).toMatchObject({ lost: 0, mixed: 0, ended: 0 })
    expect(judged(whole, { events: events.toSpliced(3, 1) }).lost).toBeGreaterThan(0)
    expect(judged(whole, { events: events.slice(0, -1) })).toMatchObject({ lost: 1 })
    const strange = hostileStream(other).events[0] ?? ''
    expect(judged(whole, { events: events.with(2, strange) })).toMatchObject({ mixed: 1 })
    expect(judged(whole, { error: 'gap' })).toMatchObject({ ended: 1 })
    for (const ending of ['cut', 'no_stop', 'error'])
      expect(judged(numbersOf(ending)[0] ?? NaN, { error: null })).toMatchObject({ ended: 1 })
  })
})
