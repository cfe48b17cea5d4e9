/** A share in force in the loop: what may start under it, what its lapse ends, what other instances say. */
import { expect, test } from 'vitest'
import { OUTLIVES } from '#core/laws/shares'
import { quotaPart } from '#core/laws/quota-part'
import { ALONE, type Share } from '#core/model/share'
import { LoopWorld } from '../../support/loop-world.ts'
import type { Act } from '../../support/scripted-provider.ts'

const half = (until: number, slots = 6): Share => ({
  ...{ slots, until, safe: 2, safeUntil: until + 300_000 },
  portion: { from: 0.5, to: 0.6 },
  routes: new Map(),
})

const slow: Act = { endMs: 100_000, end: { kind: 'ok', status: 200 } }
const world = (): LoopWorld => new LoopWorld({ script: () => slow })

test('no more start than the share has slots', () => {
  const { loop, ...of } = parts(world())
  loop.share(half(60_000))
  for (let i = 0; i < 20; i++) of.request()
  expect(loop.state.inflight).toBe(6)
})

test('after the lease nothing starts above the safe part; batch gives way at once, the rest after D', () => {
  const { loop, request, clock } = parts(world())
  loop.share(half(10_000))
  for (let i = 0; i < 4; i++) request()
  for (let i = 0; i < 2; i++) request('batch')
  expect(loop.state.inflight).toBe(6)
  clock.advance(11_000)
  expect(loop.state.inflight).toBe(4)
  clock.advance(OUTLIVES)
  expect(loop.state.inflight).toBe(2)
})

test('a process that stood still between the decision and the call does not call', () => {
  let sent = 0
  const of: LoopWorld = new LoopWorld({
    script: () => {
      sent++
      return slow
    },
    onEvent: (event) => {
      if (event.name === 'request.dispatched') of.jumpMs = 60_000
    },
  })
  of.loop.share({ ...half(5_000), safe: 0 })
  of.request({ lane: 'interactive' })
  of.clock.advance(10)
  expect(sent).toBe(0)
  expect(of.bugs).toEqual([])
})

test('a quota that another instance has used up is paused here', () => {
  const { loop, request } = parts(world())
  request()
  const [route] = loop.state.routes.values()
  loop.hear({ kind: 'paused', quota: route!.quota.name, forMs: 4_000 })
  expect(route!.quota.pausedUntil).toBe(loop.state.now + 4_000)
  request()
  expect(loop.state.inflight).toBe(1)
})

test('an account that another instance found blocked is tested by one attempt', () => {
  const { loop, request } = parts(world())
  request()
  const [upstream] = loop.state.upstreams.values()
  loop.hear({
    kind: 'blocked',
    upstream: upstream!.name,
    status: 401,
    spendLimit: false,
    cause: 'x',
  })
  for (let i = 0; i < 5; i++) request('batch')
  expect(loop.state.inflight).toBe(2)
})

test('a cut that another instance made is one decrease here, and an older word changes nothing', () => {
  const { loop, request } = parts(world())
  request()
  const [route] = loop.state.routes.values()
  loop.hear({ kind: 'limit', route: route!.id, word: { epoch: 1, limit: 30 } })
  expect(route!.limit).toBe(30)
  loop.hear({ kind: 'limit', route: route!.id, word: { epoch: 0, limit: 50 } })
  expect(route!.limit).toBe(30)
  loop.hear({ kind: 'limit', route: route!.id, word: { epoch: 1, limit: 34 } })
  expect(route!.limit).toBe(34)
})

test('a breaker that another instance opened is open here, for as long', () => {
  const { loop, request } = parts(world())
  request()
  const [route] = loop.state.routes.values()
  loop.hear({ kind: 'opened', route: route!.id, openFor: 9_000 })
  expect(route!.gate.state).toBe('open')
})

test('a route that is divided by itself has its own portion, and so has what its quota gives', () => {
  const { loop, request } = parts(world())
  request()
  const [route] = loop.state.routes.values()
  const given = (routes: Share['routes']): { limit: number; part: number } => {
    loop.share({ ...half(60_000), routes })
    return { limit: route!.limit, part: quotaPart(loop.state, route!.quota, loop.state.now) }
  }
  expect(given(new Map())).toEqual({ limit: 6, part: expect.closeTo(0.1) as number })
  const own = new Map([[route!.id, { from: 0, to: 0.75 }]])
  expect(given(own)).toEqual({ limit: 45, part: 0.75 })
  const others = new Map([['another', { from: 0, to: 0.75 }]])
  expect(given(others)).toEqual({ limit: 6, part: expect.closeTo(0.1) as number })
})

test('of a quota of several routes it has what it has of those that are divided, on average', () => {
  const route = (model: string) => ({ model, quota: 'q' })
  const others = { model: 'o', quota: 'another' }
  const of = new LoopWorld({
    script: () => slow,
    file: { routes: [others, route('m'), route('n')] },
  })
  of.request({ model: 'm', lane: 'interactive' })
  const [open] = of.loop.state.routes.values()
  const n = open!.id.replace(/m$/, 'n')
  const routes = new Map([
    [open!.id, { from: 0, to: 0.8 }],
    [n, { from: 0.5, to: 0.7 }],
  ])
  of.loop.share({ ...half(60_000), routes })
  expect(quotaPart(of.loop.state, open!.quota, of.loop.state.now)).toBeCloseTo(0.5)
})

test('after the lease a route is left its safe part: what ran above it ends when others count on it', () => {
  const { loop, request, clock } = parts(world())
  loop.share({ ...half(10_000, 40), portion: { from: 0, to: 0.4 } })
  for (let i = 0; i < 20; i++) request()
  expect(loop.state.inflight).toBe(20)
  const [route] = loop.state.routes.values()
  // Of the whole more is left to it than of this route.
  const until = loop.state.now + 10_000
  loop.share({
    ...{ slots: 10, until, safe: 10, safeUntil: until + 300_000 },
    portion: { from: 0, to: 0.1 },
    routes: new Map([[route!.id, { from: 0, to: 0.05 }]]),
  })
  expect(route!.limit).toBe(3)
  clock.advance(10_500 + OUTLIVES - 1_000)
  expect(loop.state.inflight).toBe(20)
  clock.advance(2_000)
  expect(loop.state.inflight).toBe(3)
})

test('alone again, it has all', () => {
  const { loop, request } = parts(world())
  loop.share(half(60_000))
  loop.share(ALONE)
  for (let i = 0; i < 20; i++) request()
  expect(loop.state.inflight).toBeGreaterThan(10)
})

function parts(of: LoopWorld) {
  const request = (lane = 'interactive'): void => void of.request({ lane, deadlineMs: 200_000 })
  return { loop: of.loop, clock: of.clock, request }
}
