/** What was, in rings: nothing grows, nothing is mixed up. */
import { describe, expect, test } from 'vitest'
import {
  DAY_POINTS,
  HistoryRings,
  JOB_TENANTS_MAX,
  LIVE_POINTS,
  ROUTES_MAX,
  type Second,
} from '../../services/dashboard/history.ts'

const route = (limit: number, band = 0) => ({
  limit,
  inflight: 1,
  band,
  http_429: 0,
  http_529: 0,
  requests: 0.5,
  input_tokens: null,
  output_tokens: -0.25,
})
const second = (at: number, routes: Record<string, ReturnType<typeof route>> = {}): Second => ({
  at: at * 1_000,
  total: {
    limit: at,
    inflight: 0,
    queued: 0,
    attempts: 0,
    settled: 0,
    http_429: 0,
    http_529: 0,
  },
  lanes: new Map([['batch', { inflight: 1, queued: 2, wait_p50_ms: null, wait_p95_ms: at % 60 }]]),
  routes: new Map(Object.entries(routes)),
})

describe('the live ring', () => {
  test('keeps the last 15 minutes, oldest first', () => {
    const rings = new HistoryRings()
    for (let at = 0; at < 2_000; at++) rings.add(second(at))
    const { t, total, lanes } = rings.read('live', null)
    expect(t.length).toBe(LIVE_POINTS)
    expect(t).toEqual(Array.from({ length: LIVE_POINTS }, (_, i) => 2_000 - LIVE_POINTS + i))
    expect(total.limit).toEqual(t)
    expect(lanes[0]!.wait_p50_ms.every((value) => value === null)).toBe(true)
  })

  test('a route that comes late has no past, one that is gone no present', () => {
    const rings = new HistoryRings()
    rings.add(second(1))
    rings.add(second(2, { a: route(7) }))
    rings.add(second(3))
    const { route: read } = rings.read('live', 'a')
    expect(read!.limit).toEqual([null, 7, null])
    expect(read!.output_tokens).toEqual([null, -0.25, null])
    expect(rings.read('live', 'b').route).toBe(null)
  })

  test('when routes are too many, the one gone longest makes room; present ones never do', () => {
    const rings = new HistoryRings()
    const all = Object.fromEntries(
      Array.from({ length: ROUTES_MAX }, (_, i) => [`r${i}`, route(i)]),
    )
    rings.add(second(1, all))
    rings.add(second(2, { ...all, more: route(1) }))
    expect(rings.read('live', null).routes).not.toContain('more')
    const { r3: _, ...rest } = all
    rings.add(second(3, rest))
    rings.add(second(4, { ...rest, more: route(1) }))
    const { routes } = rings.read('live', null)
    expect(routes.length).toBe(ROUTES_MAX)
    expect(routes).toContain('more')
    expect(routes).not.toContain('r3')
  })
})

describe('the day ring', () => {
  test('holds means of minutes, and the worst of bands and waits', () => {
    const rings = new HistoryRings()
    for (let at = 0; at < 120; at++) rings.add(second(at, { a: route(at, at === 30 ? 3 : 0) }))
    const day = rings.read('day', 'a')
    expect(day.t.length).toBe(2)
    expect(day.route!.limit).toEqual([29.5, 89.5])
    expect(day.route!.band).toEqual([3, 0])
    expect(day.lanes[0]!.wait_p95_ms).toEqual([59, 59])
    expect(day.route!.input_tokens).toEqual([null, null])
  })

  test('keeps 24 hours', () => {
    const rings = new HistoryRings()
    for (let at = 0; at < 60 * (DAY_POINTS + 5); at++) rings.add(second(at))
    const { t } = rings.read('day', null)
    expect(t.length).toBe(DAY_POINTS)
    expect(t.at(-1)! - t[0]!).toBe(60 * (DAY_POINTS - 1))
  })
})

describe('durable jobs', () => {
  const jobs = (batch: number | null, tenants: Record<string, number>): Pick<Second, 'jobs'> => ({
    jobs: {
      lanes: new Map([['batch', { stored: batch, oldest_ms: batch }]]),
      tenants: new Map(Object.entries(tenants).map(([name, stored]) => [name, { stored }])),
    },
  })

  test('are kept by lane and by tenant; who comes late has no past, and who is gone no present', () => {
    const rings = new HistoryRings()
    rings.add(second(1))
    rings.add({ ...second(2), ...jobs(7, { acme: 5 }) })
    rings.add({ ...second(3), ...jobs(8, { globex: 8 }) })
    expect(rings.read('live', null).jobs).toEqual({
      lanes: [{ name: 'batch', stored: [null, 7, 8], oldest_ms: [null, 7, 8] }],
      tenants: [
        { name: 'acme', stored: [null, 5, null] },
        { name: 'globex', stored: [null, null, 8] },
      ],
    })
  })

  test('of too many tenants, the one that is gone longest makes room', () => {
    const rings = new HistoryRings()
    const all = Object.fromEntries(Array.from({ length: JOB_TENANTS_MAX }, (_, i) => [`t${i}`, 1]))
    rings.add({ ...second(1), ...jobs(1, { first: 1 }) })
    rings.add({ ...second(2), ...jobs(1, all) })
    const names = rings.read('live', null).jobs.tenants.map(({ name }) => name)
    expect(names.toSorted()).toEqual(Object.keys(all).toSorted())
  })

  test('a minute is as old as its worst second', () => {
    const rings = new HistoryRings()
    for (let at = 0; at < 60; at++) rings.add({ ...second(at), ...jobs(at, {}) })
    const [batch] = rings.read('day', null).jobs.lanes
    expect(batch).toEqual({ name: 'batch', stored: [29.5], oldest_ms: [59] })
  })
})
