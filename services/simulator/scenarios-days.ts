/** Long times and odd ones (S11). */
import type { Seconds } from '#contracts/units'
import { shareMean } from './figures.ts'
import {
  atLoad,
  BREAKER_OFF,
  callers,
  HOUR,
  sixty,
  stream,
  type Part,
  type Scenario,
} from './scenario.ts'
import type { World } from './world.ts'
import { merged, poisson, type Source } from './workload.ts'

export const S11: Scenario = {
  name: 'S11',
  title: 'a quiet night, swinging load, a minimum share, two routes, a bad clock, churn, shutdown',
  parameters: [],
  parts: () => [
    {
      name: 'a quiet night',
      until: 8 * HOUR + 600,
      source: callers({
        I: { per: (at) => (at < 8 * HOUR ? 0.75 : 6) },
        P: { per: (at) => (at < 8 * HOUR ? 0.25 : 2) },
        most: 6,
      }),
      provider: { capacity: () => 60 },
      unit: 'work',
    },
    {
      name: 'swinging load',
      until: 4 * HOUR,
      config: BREAKER_OFF,
      source: callers({
        I: { per: (at) => 7.5 * (at % 240 < 120 ? 0.3 : 0.95) },
        P: { per: (at) => 2.5 * (at % 240 < 120 ? 0.3 : 0.95) },
        most: 7.5,
      }),
      provider: {
        capacity: () => 60,
        faults: [{ kind: 'overloaded', share: 0.002, from: 0, until: Infinity }],
      },
      unit: 'work',
    },
    {
      name: 'a minimum share',
      until: 900,
      source: callers({ I: { per: 20 }, B: { per: 2 } }),
      provider: sixty,
      unit: 'work',
    },
    twoRoutes(),
    badClock(),
    churn(),
    shutdown(),
  ],
  figures: (run) => {
    const [a, b, c, d, , f] = [0, 1, 2, 3, 4, 5].map((part) => run.part(part))
    return {
      a_lowest_limit: a!.leastOf((part) => part.tally.perSecond.limit.least(1, 8 * HOUR)),
      a_i_wait_p99_s: a!.waitWithin('interactive', 0.99, 8 * HOUR, 8 * HOUR + 300),
      b_mean_limit: b!.meanOf((part) => part.tally.perSecond.limit.mean(1, 4 * HOUR)),
      c_batch_slots: shareMean(c!, 'batch', 60, 900),
      d_b_i_wait_p99_s: d!.waitWithin('interactive', 0.99, 300, 900),
      e_lowest_limit: run.part(4).leastOf((part) => part.tally.perSecond.limit.least(1, 900)),
      e_trips: run.part(4).mostOf((part) => part.facts.trips),
      f_tenants_left: f!.mostOf((part) => part.tenantsLeft),
      g_last_start_s: run.part(6).lastStart('interactive'),
      g_over_s: run.part(6).mostOf((part) => part.overAt),
    }
  },
  must: () => ({
    a_lowest_limit: '>= 60',
    a_i_wait_p99_s: '<= 1.5',
    b_mean_limit: '>= 57',
    c_batch_slots: '>= 1.9',
    d_b_i_wait_p99_s: '<= 1',
    e_lowest_limit: '>= 60',
    e_trips: '<= 0',
    f_tenants_left: '<= 100',
    g_last_start_s: '<= 300',
    g_over_s: '<= 331',
  }),
}

/** Load 0.8 moves from one model to another; the first is then out of order for a minute. */
function twoRoutes(): Part {
  const on = (model: string, from: Seconds, until: Seconds, seed: number): Source[] => [
    poisson(
      {
        ...stream('interactive', { per: (at) => (at < from ? 0 : 6), model }, until, 6),
      },
      seed,
      `I ${model}`,
    ),
    poisson(
      { ...stream('premium', { per: (at) => (at < from ? 0 : 2), model }, until, 2) },
      seed,
      `P ${model}`,
    ),
  ]
  return {
    name: 'two routes',
    until: 900,
    config: { routes: [{ model: 'a' }, { model: 'b' }] },
    source: (seed, until) =>
      merged([
        ...on('a', 0, Math.min(until, 300), seed),
        ...on('b', 300, until, seed),
        // Some still ask for the first.
        poisson(
          {
            ...stream(
              'interactive',
              { per: (at) => (at < 300 ? 0 : 0.5), model: 'a', tenants: { prefix: 'a', count: 5 } },
              Math.min(until, 400),
              0.5,
            ),
            lane: 'premium',
          },
          seed,
          'rest a',
        ),
      ]),
    provider: {
      capacity: () => 60,
      faults: [{ kind: 'overloaded', share: 1, from: 300, until: 360, model: 'a' }],
    },
    unit: 'work',
  }
}

/** The clock stands still, goes back 5 s, and jumps ahead an hour. */
function badClock(): Part {
  const skew = (by: Seconds) => (world: World) => void (world.clock.skewMs += by * 1_000)
  return {
    name: 'a bad clock',
    until: 900,
    source: callers(atLoad(0.8)),
    provider: { capacity: () => 60 },
    events: [
      { at: 200, act: skew(-5) },
      { at: 400, act: skew(5) },
      { at: 600, act: skew(HOUR) },
    ],
    unit: 'work',
  }
}

export const churn = (): Part => ({
  name: 'ten thousand tenants come and go',
  until: 600,
  source: callers({
    I: {
      per: 100,
      tenants: { prefix: 'c', count: 10_000 },
      service: 0.01,
      serviceLeast: 0.001,
    },
  }),
  provider: sixty,
  unit: 'work',
})

export const shutdown = (): Part => ({
  name: 'shutdown under load',
  until: 400,
  source: callers(atLoad(0.8)),
  provider: { capacity: () => 60 },
  events: [{ at: 300, act: (world) => world.drain() }],
  unit: 'work',
})
