/** The laws of half the price: who may wait in a batch, when it goes, when it is looked at, and how each entry ends. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { customIdOf, heldByBatch, jobClaim, seqOf } from '#contracts/jobs'
import { seededDice } from '#core/estimators/dice'
import {
  closes,
  fateOf,
  fits,
  giveUpAt,
  listedSince,
  mayBeOurs,
  MOST_TAKE,
  notGathered,
  pollIn,
  restAfterRefusal,
  ROUNDS_MAX,
  wasNotMade,
  type BatchKnobs,
} from '#core/laws/batches'

const RUNS = { numRuns: 300, seed: Number(process.env['HEADGATE_SEED'] ?? 7) }
const HOUR = 3_600_000
const KNOBS: BatchKnobs = {
  deadlineMinMs: 24 * HOUR,
  waitMs: 600_000,
  gatherMs: 300_000,
  reserveMs: 2 * HOUR,
  entriesMax: 100,
  bytesMax: 10_000,
  pollMaxMs: 300_000,
  findMs: 600_000,
}
const job = (of: Partial<Parameters<typeof notGathered>[0]> = {}) => ({
  ...{ acceptedAt: 0, deadlineMs: 24 * HOUR, notBeforeMs: 0 },
  ...of,
})

describe('a job is gathered', () => {
  test.each([
    ['when it waited for as long as a slot had', job(), 600_000, null],
    ['not before', job(), 599_999, 'waited_less'],
    [
      'not with a deadline that is shorter',
      job({ deadlineMs: 24 * HOUR - 1 }),
      HOUR,
      'deadline_near',
    ],
    ['not when too little of it is left', job(), 21 * HOUR + 1, 'deadline_near'],
    ['until then', job(), 21 * HOUR, null],
    [
      'with its wait counted from when it may start',
      job({ notBeforeMs: HOUR }),
      HOUR,
      'waited_less',
    ],
    ['once it may', job({ notBeforeMs: HOUR }), HOUR + 600_000, null],
  ] as const)('%s', (_when, of, wall, why) => {
    expect(notGathered(of, KNOBS, wall)).toBe(why)
  })

  test('only where a batch of the usual length leaves it its reserve', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 7 * 24 * HOUR }),
        fc.integer({ min: 0, max: 24 * HOUR }),
        fc.integer({ min: 0, max: 8 * 24 * HOUR }),
        (deadlineMs, notBeforeMs, wall) => {
          const of = job({ deadlineMs, notBeforeMs })
          if (notGathered(of, KNOBS, wall) !== null) return
          expect(wall - notBeforeMs).toBeGreaterThanOrEqual(KNOBS.waitMs)
          expect(giveUpAt([of], KNOBS) - wall).toBeGreaterThanOrEqual(MOST_TAKE)
        },
      ),
      RUNS,
    )
  })
})

test('a gathering never holds more than it may, and closes when it is full or old', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 9_000 }), { maxLength: 300 }), (sizes) => {
      const of = { since: 0, entries: 0, bytes: 0 }
      for (const bytes of sizes) {
        if (!fits(of, bytes, KNOBS)) {
          // Whoever does not fit begins the next one.
          expect(of.entries === KNOBS.entriesMax || of.bytes + bytes > KNOBS.bytesMax).toBe(true)
          break
        }
        of.entries += 1
        of.bytes += bytes
        expect(of.entries).toBeLessThanOrEqual(KNOBS.entriesMax)
        if (of.entries > 1) expect(of.bytes).toBeLessThanOrEqual(KNOBS.bytesMax)
      }
      const full = of.entries >= KNOBS.entriesMax || of.bytes >= KNOBS.bytesMax
      expect(closes(of, KNOBS, KNOBS.gatherMs - 1)).toBe(full ? 'full' : null)
      expect(closes(of, KNOBS, KNOBS.gatherMs)).toBe(full ? 'full' : 'time')
    }),
    RUNS,
  )
})

test('a body larger than a whole batch goes alone', () => {
  expect(fits({ since: 0, entries: 0, bytes: 0 }, 1_000_000, KNOBS)).toBe(true)
  expect(fits({ since: 0, entries: 1, bytes: 1 }, 1_000_000, KNOBS)).toBe(false)
})

test('looks have full jitter: between a second and a bound that grows with age, and all of it is used', () => {
  const dice = seededDice(RUNS.seed)
  for (const [age, most] of [
    [0, 15_000],
    [60_000, 15_000],
    [HOUR / 2, 225_000],
    [HOUR, 300_000],
    [20 * HOUR, 300_000],
  ] as const) {
    const drawn = Array.from({ length: 2_000 }, () => pollIn(age, KNOBS, dice))
    expect(Math.min(...drawn)).toBeGreaterThanOrEqual(1_000)
    expect(Math.max(...drawn)).toBeLessThanOrEqual(most)
    expect(Math.max(...drawn)).toBeGreaterThan(0.95 * most)
    expect(Math.min(...drawn)).toBeLessThan(1_001 + 0.05 * most)
  }
})

test('a batch is given up in time for the job whose deadline is first', () => {
  const jobs = [job(), job({ acceptedAt: -HOUR }), job({ deadlineMs: 48 * HOUR })]
  expect(giveUpAt(jobs, KNOBS)).toBe(21 * HOUR)
})

describe('a create that was not answered', () => {
  const notedAt = 10 * HOUR
  test('may be any batch of the list with as many entries that was made since', () => {
    const create = { notedAt, entries: 5 }
    expect(mayBeOurs({ createdAt: notedAt + 1, entries: 5 }, create)).toBe(true)
    expect(mayBeOurs({ createdAt: notedAt + 1, entries: 4 }, create)).toBe(false)
    // Their clock may be a little behind ours.
    expect(mayBeOurs({ createdAt: listedSince(notedAt), entries: 5 }, create)).toBe(true)
    expect(mayBeOurs({ createdAt: listedSince(notedAt) - 1, entries: 5 }, create)).toBe(false)
    expect(listedSince(notedAt)).toBeLessThan(notedAt)
  })

  test('counts as not made only when it was looked for long enough', () => {
    expect(wasNotMade(notedAt, KNOBS, notedAt + KNOBS.findMs - 1)).toBe(false)
    expect(wasNotMade(notedAt, KNOBS, notedAt + KNOBS.findMs)).toBe(true)
  })
})

describe('an entry', () => {
  const ENDS = ['errored', 'expired', 'canceled'] as const
  const fate = (end: (typeof ENDS)[number], of: Partial<Parameters<typeof fateOf>[1]> = {}) =>
    fateOf(end, { errorType: null, round: 1, leftMs: 20 * HOUR, ...of }, KNOBS)

  test.each([
    [
      'with a fault of its own is refused',
      fate('errored', { errorType: 'invalid_request_error' }),
      'refuse',
    ],
    [
      'with a fault of the server goes in line',
      fate('errored', { errorType: 'api_error' }),
      'line',
    ],
    [
      'that the account may not goes in line',
      fate('errored', { errorType: 'billing_error' }),
      'line',
    ],
    ['of no type goes in line', fate('errored'), 'line'],
    ['that was cancelled with its batch goes in line', fate('canceled', { round: 2 }), 'line'],
    ['whose turn never came is sent again', fate('expired'), 'again'],
    [
      'goes in line if there is no time for that',
      fate('expired', { leftMs: 3 * HOUR - 1 }),
      'line',
    ],
    ['whose turn never came twice is given up', fate('expired', { round: ROUNDS_MAX }), 'dead'],
  ] as const)('%s', (_what, got, wanted) => {
    expect(got).toBe(wanted)
  })

  test('is never sent again after the last round, whatever happens to it', () => {
    for (const end of ENDS)
      for (const leftMs of [0, HOUR, 100 * HOUR])
        expect(fate(end, { round: ROUNDS_MAX, leftMs })).not.toBe('again')
  })
})

test('after a refusal it rests longer each time, with jitter, and never less than was asked', () => {
  const dice = seededDice(RUNS.seed)
  for (let inRow = 0; inRow < 20; inRow++) {
    const full = Math.min(1_800_000, 30_000 * 2 ** inRow)
    for (let i = 0; i < 50; i++) {
      const rest = restAfterRefusal(inRow, null, dice)
      expect(rest).toBeGreaterThanOrEqual(full / 2)
      expect(rest).toBeLessThanOrEqual(full)
    }
  }
  expect(restAfterRefusal(0, HOUR, dice)).toBe(HOUR)
})

test('a custom id fits the API, and says which job of which round it is', () => {
  const id = 'z'.repeat(32)
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.constantFrom(1, 2), (seq, round) => {
      const customId = customIdOf({ id, round }, seq)
      expect(customId).toMatch(/^[a-zA-Z0-9_-]{1,64}$/)
      expect(seqOf({ id, round }, customId)).toBe(seq)
      expect(seqOf({ id, round: 3 - round }, customId)).toBeNull()
    }),
    RUNS,
  )
  expect(seqOf({ id, round: 1 }, 'somebody-elses')).toBeNull()
  expect(jobClaim.shape.by.safeParse(heldByBatch(id)).success).toBe(true)
})
