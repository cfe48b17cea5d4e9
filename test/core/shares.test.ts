/** The law by which instances divide a whole (control-laws §14), against the plainest thing that could replace it. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decideShare,
  GUARD,
  heldBy,
  LEASE,
  OUTLIVES,
  SAFE_FOR,
  safePart,
  standingOf,
  waterFill,
  type Holder,
} from '#core/laws/shares'
import { portionOf } from '#core/model/share'

const members = fc
  .array(fc.record({ want: fc.nat({ max: 80 }), floor: fc.nat({ max: 5 }) }), {
    minLength: 1,
    maxLength: 8,
  })
  .map((all) => all.map((one, i) => ({ ...one, name: `m${i}` })))

/** One unit at a time to whoever has least of those who want more; then one to each in turn. */
function byHand(whole: number, of: { name: string; want: number; floor: number }[]): number[] {
  const most = Math.floor(whole / of.length)
  const parts = of.map(({ floor }) => Math.min(floor, most))
  let left = whole - parts.reduce((a, b) => a + b, 0)
  for (; left > 0; left--) {
    const wanting = of.flatMap(({ want }, i) => (parts[i]! < want ? [i] : []))
    if (wanting.length === 0) break
    const least = wanting.reduce((a, b) => (parts[b]! < parts[a]! ? b : a))
    parts[least]!++
  }
  for (let i = 0; left > 0; i = (i + 1) % of.length, left--) parts[i]!++
  return parts
}

describe('a whole is divided', () => {
  test('as by hand, one unit at a time', () => {
    fc.assert(
      fc.property(fc.nat({ max: 200 }), members, (whole, of) => {
        const filled = waterFill(whole, of)
        expect(of.map(({ name }) => filled.get(name))).toEqual(byHand(whole, of))
      }),
      { numRuns: 2_000 },
    )
  })

  test('whole, whatever is wanted', () => {
    fc.assert(
      fc.property(fc.nat({ max: 200 }), members, (whole, of) => {
        const sum = [...waterFill(whole, of).values()].reduce((a, b) => a + b, 0)
        expect(sum).toBe(whole)
      }),
    )
  })

  test('into portions that meet: no slot is lost to rounding, and none is given twice', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.nat({ max: 300 }),
        members,
        (whole, limit, of) => {
          let from = 0
          let sum = 0
          for (const part of waterFill(whole, of).values()) {
            sum += portionOf(limit, { from: from / whole, to: (from + part) / whole })
            from += part
          }
          expect(sum).toBe(limit)
        },
      ),
    )
  })
})

const holders = fc.array(
  fc.record({
    held: fc.nat({ max: 60 }),
    want: fc.nat({ max: 60 }),
    standing: fc.constantFrom<Holder['standing'][]>('alive', 'silent', 'safe', 'gone'),
  }),
  { maxLength: 6 },
)

test('whatever one member decides, all together hold no more than the whole', () => {
  fc.assert(
    fc.property(
      fc.record({
        whole: fc.integer({ min: 1, max: 120 }),
        unit: fc.double({ min: 1, max: 6, noNaN: true }),
      }),
      fc.record({
        held: fc.nat({ max: 60 }),
        want: fc.nat({ max: 120 }),
        inUse: fc.nat({ max: 60 }),
      }),
      holders,
      ({ whole, unit }, { held, want, inUse }, rest) => {
        const others = rest.map((one, i): Holder => ({ ...one, name: `o${i}` }))
        const taken = others.reduce((sum, one) => sum + heldBy(one, whole), 0)
        fc.pre(taken + held <= whole && inUse <= held)
        const own = { name: 'me', held, want }
        const { use, write, later } = decideShare({ whole, unit, own, inUse, others })
        expect(taken + write).toBeLessThanOrEqual(whole)
        // Shrinks before it writes, grows after.
        expect(use).toBeLessThanOrEqual(held)
        expect(later).toBeLessThanOrEqual(write)
        expect(write).toBeGreaterThanOrEqual(Math.min(inUse, held))
      },
    ),
    { numRuns: 5_000 },
  )
})

test('a newcomer that wants something is made room for, however small the moves would be', () => {
  const others = Array.from({ length: 9 }, (_, i) => ({
    ...{ name: `m${i}`, want: 60, standing: 'alive' as const },
    held: i < 6 ? 7 : 6,
  }))
  const newcomer: Holder = { name: 'new', held: 0, want: 60, standing: 'alive' }
  const [first, ...rest] = others
  const { use } = decideShare({
    whole: 60,
    unit: 1,
    own: first!,
    inUse: 7,
    others: [...rest, newcomer],
  })
  expect(use).toBe(6)
})

test('nobody moves for one slot', () => {
  const own = { name: 'a', held: 31, want: 30 }
  const others: Holder[] = [{ name: 'b', held: 29, want: 30, standing: 'alive' }]
  expect(decideShare({ whole: 60, unit: 1, own, inUse: 31, others })).toMatchObject({
    use: 31,
    write: 31,
  })
})

test('who is silent keeps what it may still use, for as long as it may', () => {
  const at = (ms: number): string => standingOf(ms, LEASE)
  expect(at(LEASE + GUARD)).toBe('alive')
  expect(at(LEASE + GUARD + 1)).toBe('silent')
  expect(at(LEASE + GUARD + OUTLIVES)).toBe('silent')
  expect(at(LEASE + GUARD + OUTLIVES + 1)).toBe('safe')
  expect(at(LEASE + SAFE_FOR + GUARD + OUTLIVES + 1)).toBe('gone')
  const held = (standing: Holder['standing']): number =>
    heldBy({ name: 'm', held: 20, want: 0, standing }, 60)
  expect([held('alive'), held('silent'), held('safe'), held('gone')]).toEqual([
    20,
    20,
    safePart(60),
    0,
  ])
})
