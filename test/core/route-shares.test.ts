/** The law by which instances divide the limit of one route (control-laws §14). */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decideRoute,
  PARTS,
  partsOf,
  type RouteCase,
  type RouteHolder,
} from '#core/laws/route-shares'
import { heldBy, safePart } from '#core/laws/shares'

const parts = fc.nat({ max: PARTS })
const line = fc.option(fc.record({ held: parts, want: fc.nat({ max: 2 * PARTS }) }), { nil: null })
const rest = fc.array(
  fc.record({
    base: parts,
    line,
    standing: fc.constantFrom<RouteHolder['standing'][]>('alive', 'silent', 'safe', 'gone'),
  }),
  { maxLength: 5 },
)
const holds = ({ name, standing, base, line: said }: RouteHolder): number =>
  heldBy({ name, standing, held: said?.held ?? base, want: 0 }, PARTS)

const ask = (of: Partial<RouteCase['own']>, others: RouteHolder[], more: Partial<RouteCase> = {}) =>
  decideRoute({
    ...{ limit: 100, inUse: 0, mayAsk: true, leaving: false, others, ...more },
    own: { name: 'me', base: 500, next: 500, line: null, want: 0, ...of },
  })
const other = (of: Partial<RouteHolder> = {}): RouteHolder => ({
  ...{ name: 'other', base: 500, line: null, standing: 'alive' },
  ...of,
})

test('whatever one member decides, all together hold no more than the limit', () => {
  fc.assert(
    fc.property(
      fc.record({ base: parts, next: parts, line, want: fc.nat({ max: 2 * PARTS }) }),
      fc.record({ limit: fc.integer({ min: 1, max: 300 }), inUse: fc.nat({ max: 300 }) }),
      fc.record({ mayAsk: fc.boolean(), leaving: fc.boolean() }),
      rest,
      (own, { limit, inUse }, how, all) => {
        const others = all.map((one, i): RouteHolder => ({ ...one, name: `o${i}` }))
        const taken = others.reduce((sum, one) => sum + holds(one), 0)
        const held = own.line?.held ?? own.base
        fc.pre(taken + held <= PARTS)
        // What is free of the whole is free of a route on which nobody holds more.
        fc.pre(others.some((one) => one.line !== null) || taken + own.next <= PARTS)
        const decided = decideRoute({ limit, inUse, others, ...how, own: { name: 'me', ...own } })
        const { use, write, later } = decided
        const written = write?.held ?? own.next
        expect(taken + written).toBeLessThanOrEqual(PARTS + 1e-6)
        expect(use).toBeLessThanOrEqual(held)
        expect(later).toBeLessThanOrEqual(written + 1e-6)
        if (how.leaving) expect(later).toBe(0)
      },
    ),
    { numRuns: 5_000 },
  )
})

describe('a route that nobody wants more of than of the whole', () => {
  test('needs no word', () => {
    expect(ask({ want: 300 }, [other()])).toEqual({ use: 500, write: null, later: 500 })
  })

  test('nor does just its part of the whole', () => {
    expect(ask({ want: 500 }, [other()]).write).toBeNull()
    expect(ask({ want: 501 }, [other()]).write).toEqual({ held: 500, want: 501 })
    // Nor when another's line says it.
    expect(ask({}, [other({ line: { held: 500, want: 500 } })]).write).toBeNull()
  })

  test('follows the whole', () => {
    expect(ask({ want: 100, next: 600 }, [other({ base: 400 })])).toEqual({
      ...{ use: 500, write: null, later: 600 },
    })
  })

  test('is held for as long as attempts run on it, though the whole went elsewhere', () => {
    const { use, write } = ask({ want: 400, next: 100 }, [other()], { inUse: 40, mayAsk: false })
    expect(use).toBe(100)
    expect(write).toEqual({ held: 400, want: 400 })
  })

  test('has nobody to ask while it is alone', () => {
    expect(ask({ want: 900 }, []).write).toBeNull()
    expect(ask({ want: 900 }, [other({ standing: 'silent' })]).write).toBeNull()
  })

  test('is not asked for where somebody does not know how', () => {
    expect(ask({ want: 900 }, [other()], { mayAsk: false }).write).toBeNull()
  })
})

describe('a route that one wants more of', () => {
  test('is asked for: what is held is said with what is wanted, and nothing grows before it is free', () => {
    expect(ask({ want: 900 }, [other()])).toEqual({
      ...{ use: 500, later: 500 },
      write: { held: 500, want: 900 },
    })
  })

  test('is given by who does not want it, but for a floor', () => {
    const asking = other({ line: { held: 500, want: 900 } })
    const { use, write } = ask({ want: 0 }, [asking])
    expect(use).toBeLessThanOrEqual(100)
    expect(use).toBeGreaterThanOrEqual(safePart(PARTS))
    expect(write).toEqual({ held: use, want: 0 })
  })

  test('is kept as far as attempts run on it', () => {
    const asking = other({ line: { held: 500, want: 900 } })
    expect(ask({ want: 200 }, [asking], { inUse: 20 }).write?.held).toBe(200)
    expect(ask({ want: 200 }, [asking], { inUse: 30 }).write?.held).toBe(300)
  })

  test('then is taken, from what is free', () => {
    const gave = other({ line: { held: 100, want: 0 } })
    expect(ask({ want: 900, line: { held: 500, want: 900 } }, [gave])).toEqual({
      ...{ use: 500, later: 900 },
      write: { held: 900, want: 900 },
    })
  })

  test('does not move for one slot, so that its cuts are those of the whole', () => {
    const all = { held: 300, want: PARTS }
    const own = { base: 490, next: 490, want: PARTS, line: { held: 700, want: PARTS } }
    expect(ask(own, [other({ base: 510, line: all })]).later).toBe(490)
    const two = { base: 480, next: 480, want: PARTS, line: { held: 700, want: PARTS } }
    expect(ask(two, [other({ base: 520, line: all })]).later).toBe(500)
    const far = other({ base: 600, line: { held: 500, want: PARTS } })
    expect(ask({ base: 400, next: 400, want: PARTS }, [far]).later).toBe(500)
  })

  test('is divided evenly when all want all of it', () => {
    const all = { held: 500, want: PARTS }
    expect(ask({ want: 5 * PARTS, line: all }, [other({ line: all })]).later).toBe(500)
  })
})

test('a slot of a small limit is all of it, or more than what there is', () => {
  expect([4, 2, 1, 0].map((limit) => partsOf(1, limit))).toEqual([250, 500, PARTS, PARTS])
})

test('when nobody asks any more, each goes back to what it has of the whole, and then is silent', () => {
  const more = { held: 900, want: 100 }
  const less = { held: 100, want: 0 }
  expect(ask({ want: 100, line: more }, [other({ line: less })])).toEqual({
    ...{ use: 500, later: 500 },
    write: null,
  })
  // What is not free yet is said.
  expect(ask({ want: 0, line: less }, [other({ line: more })]).write).toEqual({
    held: 100,
    want: 0,
  })
  expect(ask({ want: 0, line: less }, [other()]).write).toBeNull()
})

test('what does not live is divided no further, and its safe part is left to it', () => {
  const dead = other({ standing: 'safe', line: { held: 700, want: 900 } })
  const { later } = ask({ want: 900, base: 300, next: 300 }, [
    dead,
    other({ name: 'idle', base: 0, line: { held: 0, want: 0 } }),
  ])
  expect(later).toBe(PARTS - 2 * safePart(PARTS))
})
