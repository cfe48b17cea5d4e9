/** A share in force in the loop: what may start under it, what its lapse ends, what other instances say. */
import { expect, test } from 'vitest'
import { OUTLIVES } from '#core/laws/shares'
import { ALONE, type Share } from '#core/model/share'
import { LoopWorld } from '../../support/loop-world.ts'
import type { Act } from '../../support/scripted-provider.ts'

const half = (until: number, slots = 6): Share => ({
  ...{ slots, until, safe: 2, safeUntil: until + 300_000 },
  portion: { from: 0.5, to: 0.6 },
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
