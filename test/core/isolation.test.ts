/** One sick route does not take the slots that the others live on. */
import { describe, expect, test } from 'vitest'
import { keptForOthers, lacking } from '#core/laws/isolation'
import { Reserve } from '#core/estimators/reserve'
import type { Route } from '#core/model/state'
import { CoreWorld } from '../support/core-world.ts'
import { attemptOf } from '#core/model/place'

/** Seconds of `perSecond` arrivals each, then what is kept. */
function reserved(
  of: { perSecond: number; seconds: number; most?: number; usual?: number },
  reserve = new Reserve(),
): Reserve {
  for (let second = 0; second < of.seconds; second++) {
    for (let i = 0; i < of.perSecond; i++) reserve.arrived()
    reserve.review(1, of.most ?? 1_000, of.usual ?? 4.1)
  }
  return reserve
}

describe('what a route needs', () => {
  test('is its arrivals times its service, and a quarter more', () => {
    // 5 a second for 4.1 s are 20.5 slots.
    expect(reserved({ perSecond: 5, seconds: 300 }).slots).toBe(25)
  })

  test('uses the service that was seen, once any was', () => {
    const reserve = new Reserve()
    reserve.served(2)
    reserved({ perSecond: 5, seconds: 300 }, reserve)
    // 6.25 x 2
    expect(reserve.slots).toBe(12)
    reserve.served(22)
    reserved({ perSecond: 5, seconds: 1 }, reserve)
    // 2 + 0.05 x 20 = 3; 6.25 x 3
    expect(reserve.slots).toBe(18)
  })

  test('is believed slowly: one second of arrivals is a fifteenth of it', () => {
    // 5 x (1 - e^(-1/15)) = 0.3225; times 1.25 and 4.1 s.
    expect(reserved({ perSecond: 5, seconds: 1 }).slots).toBe(1)
    expect(reserved({ perSecond: 50, seconds: 1 }).slots).toBe(16)
  })

  test('is forgotten quickly once its callers have gone', () => {
    const reserve = reserved({ perSecond: 5, seconds: 300 })
    reserved({ perSecond: 0, seconds: 3 }, reserve)
    // The last seconds speak: 1.7 x 5 / e x 4.1.
    expect(reserve.slots).toBe(12)
    reserved({ perSecond: 0, seconds: 9 }, reserve)
    expect(reserve.slots).toBe(0)
  })

  test('is never more than its part', () => {
    expect(reserved({ perSecond: 50, seconds: 300, most: 30 }).slots).toBe(30)
  })

  test('is not reviewed while no time passes', () => {
    const reserve = reserved({ perSecond: 5, seconds: 300 })
    for (let i = 0; i < 50; i++) reserve.arrived()
    reserve.review(0, 0, 4.1)
    expect(reserve.slots).toBe(25)
  })

  test('counts arrivals per second, however long the tick', () => {
    const reserve = new Reserve()
    for (let round = 0; round < 100; round++) {
      for (let i = 0; i < 15; i++) reserve.arrived()
      reserve.review(3, 1_000, 4.1)
    }
    expect(reserve.slots).toBe(25)
  })
})

describe('what a route lacks', () => {
  const route = (of: { slots: number; limit: number; cap?: number; inflight: number }): Route =>
    ({
      reserve: { slots: of.slots },
      limit: of.limit,
      gate: { cap: of.cap ?? Infinity },
      inflight: of.inflight,
    }) as Route

  test('is what it needs and may use, less what it has', () => {
    expect(lacking(route({ slots: 20, limit: 60, inflight: 5 }))).toBe(15)
    expect(lacking(route({ slots: 20, limit: 12, inflight: 5 }))).toBe(7)
    expect(lacking(route({ slots: 20, limit: 60, cap: 0, inflight: 0 }))).toBe(0)
    expect(lacking(route({ slots: 20, limit: 60, inflight: 25 }))).toBe(0)
  })

  test('is kept from those that have their own, not from those that lack too', () => {
    const { state } = new CoreWorld()
    state.lacking = 7
    expect(keptForOthers(state, route({ slots: 5, limit: 60, inflight: 5 }))).toBe(7)
    expect(keptForOthers(state, route({ slots: 5, limit: 60, inflight: 4 }))).toBe(0)
  })
})

describe('in the core', () => {
  /** Ten slots over all; `well` is asked twice a second and answers after 2 s. */
  function world(models: readonly string[]): CoreWorld {
    return new CoreWorld({
      llm_gateway: { max_inflight_global: 10, max_inflight_per_tenant: 100 },
      routes: models.map((model) => ({ model })),
      priors: { ttft_ms: 1_000, tokens_per_s: 60, output_tokens: 60 },
      lanes: { premium: { guarantee: 0 }, interactive: { queue_max: 10_000 }, batch: {} },
      scheduling: { tenant_queue_share: 1, base: 10 },
    })
  }
  const inflight = (of: CoreWorld, model: string): number =>
    of.state.routesByModel.get(model)?.inflight ?? 0

  /** `sick` is asked three times a second from `from` on and never answers. */
  function play(of: CoreWorld, seconds: number, from: number): number[] {
    const waits: number[] = []
    for (let second = 0; second < seconds; second++) {
      for (let half = 0; half < 2; half++) {
        of.submit({ tenant: 'w', model: 'well', id: `w${second}-${half}`, deadlineMs: 3_600_000 })
        for (let i = 0; i < 3 && second >= from; i++)
          of.submit({ tenant: 's', model: 'sick', id: `s${second}-${half}-${i}`, deadlineMs: 3_600_000 }) // prettier-ignore
        of.advance(500)
        for (const [key, request] of of.state.requests) {
          const { route } = request
          const attempt = attemptOf(request)
          if (
            route.config.model === 'well' &&
            attempt !== null &&
            of.now - attempt.startedAt >= 2_000
          )
            of.end(key)
        }
      }
      of.tick()
    }
    for (const effect of of.effects)
      if (effect.type === 'start-attempt' && effect.request.route.config.model === 'well')
        waits.push(effect.attempt.startedAt - effect.request.acceptedAt)
    return waits
  }

  test('a route that hangs leaves the others what their callers need', () => {
    const both = world(['well', 'sick'])
    const waits = play(both, 90, 60)
    // Two a second for 2 s are four slots; at most half of the ten are ever kept.
    expect(inflight(both, 'sick')).toBe(6)
    // One of them has just answered: its slot is kept.
    expect(inflight(both, 'well')).toBe(3)
    expect(Math.max(...waits)).toBeLessThanOrEqual(500)
    expect(waits.length).toBe(180)
  })

  test('what nobody needs any more is lent again', () => {
    const both = world(['well', 'sick'])
    play(both, 70, 60)
    for (const key of both.running()) if (key.startsWith('w/')) both.end(key)
    for (let second = 0; second < 15; second++) {
      both.advance(1_000)
      both.tick()
    }
    expect(inflight(both, 'sick')).toBe(10)
  })

  test('a lone route is not touched', () => {
    const lone = world(['well'])
    play(lone, 30, Infinity)
    for (let i = 0; i < 20; i++) lone.submit({ tenant: 'w', model: 'well', id: `more${i}` })
    expect([inflight(lone, 'well'), lone.state.lacking]).toEqual([10, 0])
  })
})
