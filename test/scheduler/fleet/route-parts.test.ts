/** What a member plans for routes that are divided by themselves, from what the record says (control-laws §14). */
import { expect, test } from 'vitest'
import { PARTS, ROUTES_MOST } from '#core/laws/route-shares'
import { safePart } from '#core/laws/shares'
import type { SeenMember } from '#scheduler/fleet/observed'
import { newRecord, type FleetLine } from '#scheduler/fleet/record'
import { linesOf, RouteParts, routesMoved, type RoutesCase } from '#scheduler/fleet/route-parts'

const WHOLE = 100
const LIMIT = 30

const line = (of: Partial<FleetLine> = {}): FleetLine => ({
  ...{ incarnation: 'i', seq: 1, lease: 10_000, held: 50, want: 50, inflight: 0, whole: WHOLE },
  ...{ config: 'c', version: '1', leaving: false, limits: {}, routes: {} },
  ...of,
})
const other = (of: Partial<FleetLine> = {}): SeenMember => ({
  ...{ name: 'other', line: line(of), standing: 'alive', silentFor: 0 },
})

/** Member `me` under this demand. */
function wanting(live: Record<string, number>) {
  const parts = new RouteParts()
  const routes = new Map(
    Object.entries(live).map(([route, n]) => [route, { inflight: 0, live: n }]),
  )
  parts.note(routes, 0)
  const plan = (of: Partial<RoutesCase> = {}) =>
    parts.plan({
      ...{ name: 'me', line: line(), others: [other()], whole: WHOLE, held: 50, next: 50 },
      ...{ settled: true, leaving: false, routes, now: 0 },
      limits: new Map([...routes.keys()].map((route) => [route, { epoch: 0, limit: LIMIT }])),
      ...of,
    })
  return { parts, plan }
}

test('it wants no more of a route than it has slots of all', () => {
  const { plan } = wanting({ x: 60 })
  const asked = (held: number) =>
    plan({ held, next: held, others: [other({ held: WHOLE - held })] }).get('x')?.write
  expect(asked(20)).toEqual({ held: 200, want: 667 })
  expect(asked(5)).toEqual({ held: 50, want: 167 })
})

test('what it wants fades by half in 10 s', () => {
  const { plan } = wanting({ x: 24 })
  const want = (now: number) => plan({ now, others: asking }).get('x')?.write?.want
  const asking = [other({ routes: { x: { held: 500, want: 900 } } })]
  expect([want(0), want(10_000)]).toEqual([800, 400])
})

test('while it is not known who holds what, nothing grows', () => {
  const { plan } = wanting({ x: 60 })
  const gave = [other({ routes: { x: { held: 100, want: 0 } } })]
  const asked = line({ routes: { x: { held: 500, want: 900 } } })
  expect(plan({ others: gave, line: asked }).get('x')).toMatchObject({ later: 900 })
  const held = { use: 500, later: 500, write: { held: 500, want: PARTS } }
  expect(plan({ others: gave, line: asked, settled: false }).get('x')).toEqual(held)
})

test('a member of the version before this one keeps all from being asked', () => {
  const { plan } = wanting({ x: 60 })
  expect(plan().size).toBe(1)
  const { routes: _, ...before } = line()
  expect(plan({ others: [{ ...other(), line: before }] }).size).toBe(0)
})

test(`no more than ${ROUTES_MOST} routes are asked for`, () => {
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`r${i}`, 60]))
  const { plan } = wanting(many)
  expect(plan().size).toBe(ROUTES_MOST)
  // Those that others speak of count, and are answered.
  const spoken = Array.from({ length: 30 }, (_, i) => [`s${i}`, { held: 500, want: 900 }])
  const plans = plan({ others: [other({ routes: Object.fromEntries(spoken) })] })
  expect(plans.size).toBe(ROUTES_MOST)
  expect([...plans.keys()].filter((route) => route.startsWith('s'))).toHaveLength(30)
})

test('what others ask is obeyed before it is written; what is given to us is used after', () => {
  const { parts, plan } = wanting({ x: 0 })
  const record = { ...newRecord('r', true), members: { me: line(), other: line() } }
  const width = (safe = false): number => {
    const { from, to } = parts.portions(record, 'me', WHOLE, safe).get('x')!
    return (to - from) * PARTS
  }
  const asking = [other({ routes: { x: { held: 500, want: PARTS } } })]
  parts.obey(plan({ others: asking }), true)
  expect(width()).toBeCloseTo(50)
  const gave = [other({ routes: { x: { held: 100, want: 0 } } })]
  const more = plan({ others: gave, line: line({ routes: { x: { held: 300, want: 0 } } }) })
  // Without a lease it is never more than before, though more is held.
  parts.obey(more, false)
  expect(width()).toBeCloseTo(50)
  parts.obey(more, true)
  expect(width()).toBeCloseTo(300)
  parts.confirmed(more)
  expect(width()).toBeCloseTo(500)
  expect(width(true)).toBeCloseTo(safePart(PARTS))
})

test('a record that does not know it is told what it uses, not what it could hold', () => {
  const { parts, plan } = wanting({ x: 60 })
  const asking = [other({ routes: { x: { held: 700, want: PARTS } } })]
  const asked = line({ routes: { x: { held: 300, want: PARTS } } })
  parts.confirmed(plan({ others: asking, line: asked }))
  // Nor does it matter that the route is not open any more.
  for (const routes of [new Map([['x', { inflight: 0, live: 60 }]]), new Map()]) {
    const anew = plan({ others: [], line: undefined, settled: false, routes })
    expect(linesOf(anew)['x']).toMatchObject({ held: 300 })
  }
})

test('portions lie side by side, in the order of names', () => {
  const { parts, plan } = wanting({ x: 60 })
  const before = line({ routes: { x: { held: 100, want: 0 } } })
  const record = {
    ...newRecord('r', true),
    members: { a: before, b: line({ held: 20 }), me: line(), z: line() },
  }
  parts.confirmed(plan())
  expect(parts.portions(record, 'me', WHOLE, false).get('x')).toEqual({ from: 0.3, to: 0.8 })
})

test('others hear of what is held at once, of what is wanted when it has moved', () => {
  const of = (held: number, want: number) => ({ x: { held, want } })
  expect(routesMoved(of(1, 100), of(1, 120))).toBe(false)
  expect(routesMoved(of(1, 100), of(1, 126))).toBe(true)
  expect(routesMoved(of(1, 100), of(2, 100))).toBe(true)
  expect(routesMoved(of(1, 100), {})).toBe(true)
  expect(routesMoved({}, of(1, 100))).toBe(true)
})
