/** What is drawn of a budget, and the days and months that it counts (control-laws §21). */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { draw, PORTION, putBack, recordFor, windowAt } from '#core/laws/budgets'

const at = (text: string): number => Date.parse(text)
const empty = recordFor('w', null)
const asked = { most: 1_600, owes: 0, short: 10, softMark: 0.8 }

describe('draw', () => {
  test('gives a portion of what is left, or what is short if that is more', () => {
    expect(draw(empty, asked)).toMatchObject({ granted: 100, overall: 1_500, exhausted: false })
    expect(draw(empty, { ...asked, short: 700 })).toMatchObject({ granted: 700, overall: 900 })
    expect(PORTION).toBe(1 / 16)
  })

  test('never gives more than there is, but a debt is written down', () => {
    const last = { ...empty, drawn: 1_595 }
    expect(draw(last, asked)).toMatchObject({ granted: 5, overall: 0, exhausted: true })
    const paid = draw({ ...empty, drawn: 1_600 }, { ...asked, owes: 40, short: 90 })
    expect(paid).toMatchObject({ granted: 40, exhausted: true, record: { drawn: 1_640 } })
  })

  test('tells the mark once and the end once, in each window', () => {
    const heard: unknown[] = []
    let record = empty
    for (let i = 0; i < 20; i++) {
      const { record: next, tell } = draw(record, { ...asked, short: 100 })
      record = next
      if (tell !== null) heard.push([record.drawn, tell])
    }
    expect(heard).toEqual([
      [1_300, 'mark'],
      [1_600, 'end'],
    ])
    expect(recordFor('next', record)).toMatchObject({ drawn: 0, told: 'nothing' })
  })

  test('what an operator adds is there to draw', () => {
    const done = { ...empty, drawn: 1_600, told: 'end' as const }
    expect(draw(done, asked).granted).toBe(0)
    expect(draw({ ...done, added: 1_600 }, asked)).toMatchObject({ granted: 100, overall: 1_500 })
  })

  test('what goes back can be drawn again', () => {
    const { record } = draw(empty, asked)
    expect(putBack(record, 60).drawn).toBe(40)
    expect(putBack(record, 1_000).drawn).toBe(0)
    expect(putBack(record, -60).drawn).toBe(160)
  })
})

describe('days and months', () => {
  const utc = { timeZone: 'UTC', resetDay: 1 }
  test.each([
    ['2026-11-30T10:00:00Z', 'day', utc, '2026-11-30', '2026-12-01T00:00:00Z'],
    ['2026-11-30T10:00:00Z', 'month', utc, '2026-11', '2026-12-01T00:00:00Z'],
    ['2026-12-31T23:59:59.999Z', 'month', utc, '2026-12', '2027-01-01T00:00:00Z'],
    ['2027-01-04T00:00:00Z', 'month', { ...utc, resetDay: 5 }, '2026-12', '2027-01-05T00:00:00Z'],
    ['2027-01-05T00:00:00Z', 'month', { ...utc, resetDay: 5 }, '2027-01', '2027-02-05T00:00:00Z'],
    [
      '2026-11-30T23:30:00Z',
      'day',
      { ...utc, timeZone: 'Europe/Zurich' },
      '2026-12-01',
      '2026-12-01T23:00:00Z',
    ],
    // The day on which clocks are put back has 25 hours, the one on which they go forward 23.
    [
      '2026-10-25T00:00:00Z',
      'day',
      { ...utc, timeZone: 'Europe/Zurich' },
      '2026-10-25',
      '2026-10-25T23:00:00Z',
    ],
    [
      '2026-03-28T23:00:00Z',
      'day',
      { ...utc, timeZone: 'Europe/Zurich' },
      '2026-03-29',
      '2026-03-29T22:00:00Z',
    ],
    [
      '2026-11-30T10:00:00Z',
      'day',
      { ...utc, timeZone: 'Asia/Kathmandu' },
      '2026-11-30',
      '2026-11-30T18:15:00Z',
    ],
  ] as const)('%s is in the %s of %o', (wall, span, zone, name, end) => {
    expect(windowAt(at(wall), { span, ...zone })).toEqual({ name, endsAt: at(end) })
  })

  test('windows meet: the end of one is the beginning of the next', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: at('2024-01-01T00:00:00Z'), max: at('2030-01-01T00:00:00Z') }),
        fc.constantFrom(
          'UTC',
          'Europe/Zurich',
          'America/New_York',
          'Pacific/Apia',
          'Asia/Kathmandu',
        ),
        fc.constantFrom('day' as const, 'month' as const),
        fc.integer({ min: 1, max: 28 }),
        (wall, timeZone, span, resetDay) => {
          const of = { span, timeZone, resetDay }
          const { name, endsAt } = windowAt(wall, of)
          expect(endsAt).toBeGreaterThan(wall)
          expect(windowAt(endsAt - 1, of)).toEqual({ name, endsAt })
          expect(windowAt(endsAt, of).name).not.toBe(name)
        },
      ),
    )
  })
})
