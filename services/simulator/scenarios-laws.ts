/** One law each, S2 to S10 of control-laws §17, and the storm of S4 at providers of other kinds. */
import { COMMON } from './common.ts'
import { shareMean } from './figures.ts'
import type * as measure from './figures.ts'
import type { ProviderSettings } from './provider-model.ts'
import {
  atLoad,
  BREAKER_OFF,
  callers,
  round,
  sixty,
  stream,
  within,
  type Part,
  type Scenario,
} from './scenario.ts'
import { bursts, merged, poisson } from './workload.ts'

export const S2: Scenario = {
  name: 'S2',
  title: 'lanes under load, with a batch backlog that never ends',
  parameters: ['load'],
  parts: ({ load }) => [
    {
      name: 'all',
      until: 1_200,
      source: callers({ ...atLoad(load), B: { per: 4 } }),
      provider: sixty,
      unit: 'work',
    },
  ],
  figures: (run) => ({
    i_wait_p99_s: run.wait('interactive', 0.99),
    p_wait_p99_s: run.wait('premium', 0.99),
    waste: run.sum((tally) => tally.wasted) / run.sum((tally) => tally.useful),
    use: run.use(0) / 60,
  }),
  must: ({ load }) => ({
    i_wait_p99_s: `<= ${load <= 0.6 ? 0.3 : load <= 0.7 ? 0.6 : 2.5}`,
    ...(load === 0.8 ? { p_wait_p99_s: '<= 0.6', waste: '<= 0.02', use: '>= 0.85' } : {}),
  }),
}

export const S3: Scenario = {
  name: 'S3',
  title: 'one greedy tenant among light ones; tenants of unequal service; lanes two to one',
  parameters: [],
  parts: () => [greedy(60), greedy(12), unequal(), lanesTwoToOne()],
  figures: (run) => ({
    light_wait_p99_s: run.part(0).waitOf('interactive', 0.99, (tenant) => tenant !== 'heavy0'),
    light_wait_p99_cap12_s: run.part(1).waitOf('interactive', 0.99, (one) => one !== 'heavy0'),
    jain: run.part(2).rawJain(),
    lane_ratio:
      shareMean(run.part(3), 'premium', 60, 900) / shareMean(run.part(3), 'interactive', 60, 900),
  }),
  must: () => ({
    light_wait_p99_s: '<= 2',
    light_wait_p99_cap12_s: '<= 0.5',
    jain: '>= 0.98',
    lane_ratio: '1.9 to 2.1',
  }),
}

const greedy = (cap: number): Part => ({
  name: `greedy, cap ${cap}`,
  until: 900,
  config: { llm_gateway: { max_inflight_per_tenant: cap } },
  source: (seed, until) =>
    merged([
      poisson(
        stream('interactive', { per: 19 * 0.25, tenants: { prefix: 'light', count: 19 } }, until),
        seed,
        'light',
      ),
      poisson(
        stream('interactive', { per: 10, tenants: { prefix: 'heavy', count: 1 } }, until),
        seed,
        'heavy',
      ),
    ]),
  provider: sixty,
  unit: 'work',
})

const unequal = (): Part => ({
  name: 'unequal services',
  until: 1_800,
  config: {
    llm_gateway: { max_inflight_per_tenant: 60 },
    lanes: { interactive: { timeout_ms: 86_400_000, queue_max: 1_000_000 } },
    scheduling: { tenant_queue_share: 1 },
  },
  source: (seed, until) =>
    merged(
      Array.from({ length: 20 }, (_, k) =>
        poisson(
          stream(
            'interactive',
            {
              per: k === 0 ? 36 : 10.8 / (2 + k),
              service: 2 + k,
              tenants: { prefix: `k${k}-`, count: 1 },
            },
            until,
          ),
          seed,
          `tenant ${k}`,
        ),
      ),
    ),
  provider: sixty,
  unit: 'work',
})

const lanesTwoToOne = (): Part => ({
  name: 'two lanes',
  until: 900,
  source: callers({ I: { per: 20 }, P: { per: 20, tenants: { prefix: 'p', count: 20 } } }),
  provider: sixty,
  unit: 'work',
})

const quarter = (overload: NonNullable<ProviderSettings['overload']>): Part => ({
  name: `${overload} overload`,
  until: 2_400,
  source: callers({ I: { per: 9 }, P: { per: 2.5 }, B: { per: 2 } }),
  provider: { overload, capacity: (at) => (within(at, 300, 420) ? 15 : 60) },
  unit: 'work',
})

const stormFigures = (run: measure.Run): Record<string, number | null> => ({
  count_529: run.meanOf((part) => part.tally.perSecond.answers529.sum(300, 426)),
  failed_ratio: run.failedRatio(),
  recovery_s: run.recovery({ from: 420, mark: 52.2 }),
  lowest_limit: run.meanOf((part) => part.lowestLimit(300, 440)),
  amplification: run.amplification(),
})

export const S4: Scenario = {
  name: 'S4',
  title: 'two minutes at a quarter of the capacity',
  parameters: [],
  parts: () => [quarter('hard')],
  figures: stormFigures,
  must: () => ({
    count_529: '<= 100',
    failed_ratio: '<= 0.001',
    recovery_s: '<= 120',
    lowest_limit: '>= 9',
    amplification: '<= 1.15',
    goodput_of_optimum: '>= 0.9',
  }),
}

/** The same storm at providers of other kinds. */
export const slow: Scenario = {
  name: 'slow',
  title:
    'the storm of S4 at a provider that slows down under overload, and refuses only beyond twice its slots',
  parameters: [],
  parts: () => [quarter('slow')],
  figures: stormFigures,
  must: () => ({
    failed_ratio: '<= 0.001',
    amplification: '<= 1.15',
    goodput_of_optimum: '>= 0.9',
  }),
}

export const soft: Scenario = {
  name: 'soft',
  title: 'the storm of S4 at a provider that gives more to whoever pushes: its optimum is no bound',
  parameters: [],
  parts: () => [quarter('soft')],
  figures: stormFigures,
  must: () => ({
    count_529: '<= 100',
    failed_ratio: '<= 0.001',
    recovery_s: '<= 120',
    lowest_limit: '>= 9',
    amplification: '<= 1.15',
  }),
}

export const S5: Scenario = {
  name: 'S5',
  title: 'the request quota falls to a quarter for ten minutes, told by retry-after alone',
  parameters: [],
  parts: () => [
    {
      name: 'all',
      until: 1_200,
      config: { routes: [{ model: 'claude', rpm: 600 }] },
      source: callers({ I: { per: 5, deadline: 60 }, P: { per: 1.67, deadline: 60 } }),
      provider: {
        capacity: () => Infinity,
        quota: {
          requests: { limit: (at) => (within(at, 300, 900) ? 150 : 600), burst: 10 },
          headers: false,
        },
      },
      unit: 'requests',
    },
  ],
  figures: (run) => ({
    ratio_429: run.ratio429(300, 900),
    ratio_429_last_5min: run.ratio429(600, 900),
    // The bucket holds its burst when the quota falls, and refills by 2.5 a second.
    ok_of_quota: run.meanOf((part) => part.tally.perSecond.ok.sum(300, 900)) / (600 * 2.5 + 10),
    decreases: run.mostOf((part) => part.facts.decreases),
    trips: run.mostOf((part) => part.facts.trips),
  }),
  must: () => ({
    ratio_429: '<= 0.06',
    ratio_429_last_5min: '< 0.02',
    ok_of_quota: '>= 0.97',
    decreases: '<= 0',
    trips: '<= 0',
    goodput_of_optimum: '>= 0.9',
  }),
}

export const S6: Scenario = {
  name: 'S6',
  title: 'one minute of outage',
  parameters: [],
  parts: () => [
    {
      name: 'all',
      until: 1_200,
      source: callers({ I: { per: 6, deadline: 30 }, P: { per: 2, deadline: 30 } }),
      provider: { capacity: (at) => (within(at, 300, 360) ? 0 : 60) },
      unit: 'work',
    },
  ],
  figures: (run) => ({
    attempts_per_arrival: run.ratio(
      (tally) => tally.perSecond.attempts.sum(300, 360),
      (tally) => tally.perSecond.arrivals.sum(300, 360),
    ),
    recovery_s: run.recovery({ from: 360, mark: 38.9 }),
    amplification: run.amplification(),
  }),
  must: () => ({
    attempts_per_arrival: '<= 0.25',
    recovery_s: '<= 90',
    amplification: '<= 1.15',
  }),
}

export const S7: Scenario = {
  name: 'S7',
  title: 'bursts of premium over a full house, with a guarantee lent or held',
  parameters: ['reserved'],
  parts: ({ reserved }) => [
    {
      name: 'all',
      until: 900,
      config: {
        lanes: { ...COMMON.lanes, premium: { ...COMMON.lanes.premium, reserved_slots: reserved } },
      },
      source: (seed, until) =>
        merged([
          poisson(stream('interactive', { per: 12, deadline: 30 }, until), seed, 'I'),
          bursts(
            { ...stream('premium', { per: 0 }, until), from: 100, every: 60, size: 20 },
            seed,
            'P',
          ),
        ]),
      provider: sixty,
      unit: 'work',
    },
  ],
  figures: (run) => ({
    p_wait_p95_s: run.wait('premium', 0.95),
    use: run.use(0) / 60,
  }),
  must: ({ reserved }) => ({ p_wait_p95_s: `<= ${round((1.2 * (20 - reserved)) / 10 + 0.1)}` }),
}

export const S8: Scenario = {
  name: 'S8',
  title: 'twice the load, and nobody waits longer than 20 s',
  parameters: [],
  parts: () => [
    {
      name: 'all',
      until: 900,
      source: callers({ I: { per: 20, deadline: 20 } }),
      provider: sixty,
      unit: 'work',
      predictions: true,
    },
  ],
  figures: (run) => ({
    in_time_of_capacity: run.meanOf((part) => part.tally.inTime) / (900 * 10),
    late_ratio: run.ratio(
      (tally) => tally.late,
      (tally) => tally.inTime + tally.late,
    ),
    prediction_error_p95_s: run.predictionError(0.95),
  }),
  must: () => ({
    in_time_of_capacity: '>= 0.8',
    late_ratio: '<= 0.08',
    prediction_error_p95_s: '<= 6',
  }),
}

export const S10: Scenario = {
  name: 'S10',
  title: 'errors at random are noise, not congestion',
  parameters: ['noise'],
  parts: ({ noise }) => [
    {
      name: 'all',
      until: 1_800,
      config: BREAKER_OFF,
      source: callers({ I: { per: 6 }, P: { per: 2.5 } }),
      provider: {
        capacity: () => 60,
        faults: [{ kind: 'overloaded', share: noise, from: 0, until: Infinity }],
      },
      unit: 'work',
    },
  ],
  figures: (run) => ({
    mean_limit: run.meanOf((part) => part.tally.perSecond.limit.mean(1, 1_800)),
    i_wait_p99_s: run.wait('interactive', 0.99),
  }),
  must: ({ noise }) => ({
    mean_limit: noise <= 0.01 ? '>= 57' : '>= 50',
    ...(noise <= 0.01 ? { i_wait_p99_s: '<= 5' } : {}),
  }),
}
