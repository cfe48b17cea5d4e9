/** The acceptance scenarios of control-laws §17 and those beyond it, as data: who asks, what the provider
 *  gives, what is measured, what must be met. A scenario has one or more parts, each a run of its own. */
import type { Seconds } from '#contracts/units'
import { COMMON, configOf, type Tree } from './common.ts'
import { shareMean } from './figures.ts'
import type * as measure from './figures.ts'
import { overloads } from './scenarios-overload.ts'
import { seeded, type Throw } from './chance.ts'
import type { Fault, ProviderSettings } from './provider-model.ts'
import type { World } from './world.ts'
import { bursts, merged, poisson, type Source, type Stream } from './workload.ts'

export interface ScenarioParameters {
  load: number
  reserved: number
  noise: number
}

export interface Part {
  name: string
  /** Arrivals end here. */
  until: Seconds
  /** In the words of `headgate.yaml`, over the common setting. */
  config?: Record<string, unknown>
  /** Over what Headgate ships with, not over the common setting. */
  shipped?: boolean
  source: (seed: number, until: Seconds) => Source
  /** May follow from the seed, as arrivals do. */
  provider: ProviderSettings | ((seed: number) => ProviderSettings)
  events?: PartEvents | ((seed: number) => PartEvents)
  /** What the best possible is counted in. */
  unit: 'work' | 'requests' | 'inputTokens' | 'outputTokens'
  /** Compare predicted waits with real ones. */
  predictions?: boolean
  /** Keep a row for each call. */
  calls?: boolean
  /** Callers of Headgate ask again as an SDK does; those of the others do anyway. */
  asksAgain?: boolean
  /** Let in what a prediction would refuse. */
  unpredicted?: boolean
}

type PartEvents = { at: Seconds; act: (world: World) => void }[]

export interface Scenario {
  name: string
  title: string
  parameters: (keyof ScenarioParameters)[]
  parts: (parameters: ScenarioParameters) => Part[]
  figures: (run: measure.Run) => Record<string, number | null>
  /** By figure, `<= 0.3` or `>= 0.85`; a number may depend on the parameters. */
  must: (parameters: ScenarioParameters) => Record<string, string>
}

const I = { prefix: 'i', count: 20 }
const P = { prefix: 'p', count: 5 }
const B = { prefix: 'b', count: 5 }
const SERVICE = { I: 6, P: 6, B: 25 }

type Rate = number | ((at: Seconds) => number)
type Caller = Partial<Stream> & { per: Rate }

function stream(lane: string, of: Caller, until: Seconds, most?: number): Stream {
  const { per, ...more } = of
  const letter = lane === 'premium' ? 'P' : lane === 'batch' ? 'B' : 'I'
  return {
    lane,
    tenants: { I, P, B }[letter],
    service: SERVICE[letter],
    rate: typeof per === 'number' ? () => per : per,
    rateMost: typeof per === 'number' ? per : (most ?? 0),
    until,
    ...more,
  }
}

/** Interactive, premium and batch callers, each by its rate. */
function callers(of: { I?: Caller; P?: Caller; B?: Caller; most?: number }): Part['source'] {
  return (seed, until) => {
    const lanes = { I: 'interactive', P: 'premium', B: 'batch' } as const
    const sources = (['I', 'P', 'B'] as const).flatMap((letter) => {
      const caller = of[letter]
      return caller === undefined
        ? []
        : [poisson(stream(lanes[letter], caller, until, of.most), seed, letter)]
    })
    return merged(sources)
  }
}

const atLoad = (load: number): { I: Caller; P: Caller } => ({
  I: { per: 7.5 * load },
  P: { per: 2.5 * load },
})
/** As many slots as the common setting may use, and not one more. */
const sixty: ProviderSettings = { capacity: () => 60 }
const within = (at: Seconds, from: Seconds, until: Seconds): boolean => at >= from && at < until

/** Everything at once: all faults, quotas, cancels, changed configurations, a bad clock, many lanes, routes
 *  and tenants, with every law looked at each second. The same over random commands on the bare core, step by
 *  step: test/core/step.property.test.ts. */
const S1: Scenario = {
  name: 'S1',
  title: 'everything goes wrong, and no law is broken',
  parameters: [],
  parts: () => [turmoil(1, 1, 1, 'soft'), turmoil(3, 2, 8, 'hard'), turmoil(6, 4, 50, 'slow')],
  figures: (run) => ({
    completed: run.sum((tally) =>
      [...tally.lanes.values()].reduce((n, lane) => n + lane.completed, 0),
    ),
    preemptions_s: run.sum((tally) => tally.wasted),
    trips: run.mostOf((part) => part.facts.trips),
    decreases: run.mostOf((part) => part.facts.decreases),
  }),
  must: () => ({ trips: '>= 1', decreases: '>= 1' }),
}

function turmoil(
  lanes: number,
  routes: number,
  tenants: number,
  overload: 'hard' | 'slow' | 'soft',
): Part {
  const until = 600
  const names = ['premium', 'interactive', 'batch', 'fourth', 'fifth', 'sixth'].slice(0, lanes)
  const models = Array.from({ length: routes }, (_, i) => `m${i}`)
  const file = (of: { slots: number; rpm: number; reserved: number; delay: boolean }): Tree => ({
    llm_gateway: { max_inflight_global: of.slots },
    lanes: {
      premium: { reserved_slots: of.reserved, queue_max: 40 },
      interactive: { delay_control: of.delay, timeout_ms: 20_000, queue_max: 60 },
      batch: { queue_max: 100 },
      ...Object.fromEntries(names.slice(3).map((name, i) => [name, { weight: i + 0.5 }])),
    },
    routes: models.map((model, i) => ({
      model,
      quota: i < 2 ? 'shared' : model,
      ...(i % 2 === 0 ? { rpm: of.rpm } : {}),
    })),
    tenants: { x1: { weight: 3, max_inflight: 2 } },
  })
  const files = [
    file({ slots: 60, rpm: 600, reserved: 0, delay: false }),
    file({ slots: 20, rpm: 200, reserved: 4, delay: true }),
    file({ slots: 40, rpm: 90, reserved: 20, delay: true }),
  ]
  const kinds = [
    'overloaded',
    'fault',
    'hang',
    'broken',
    'unexplained',
    'ramp_limited',
    'rejected',
  ] as const
  return {
    name: `${lanes} lanes, ${routes} routes, ${tenants} tenants`,
    until,
    config: files[0]!,
    source: (seed, end) =>
      merged(
        names.flatMap((lane, i) =>
          models.map((model, j) =>
            poisson(
              {
                lane,
                model,
                tenants: { prefix: 'x', count: tenants },
                rate: () => 12 / lanes / routes,
                rateMost: 12 / lanes / routes,
                service: lane === 'batch' ? 12 : 4,
                until: end,
                ...(i % 2 === j % 2 ? { ttft: 0.5 } : {}),
                deadline: i % 3 === 0 ? 15 : null,
              },
              seed,
              `${lane} ${model}`,
            ),
          ),
        ),
      ),
    provider: (seed) => ({
      overload,
      capacity: wave(seeded(seed, 'turmoil capacity'), until, [
        { value: 60, for: 100 },
        { value: 12, for: 30 },
        { value: 0, for: 20 },
      ]),
      quota: {
        requests: {
          limit: wave(seeded(seed, 'turmoil quota'), until, [
            { value: 900, for: 120 },
            { value: 120, for: 80 },
          ]),
          burst: 20,
        },
        output: { limit: () => 200_000, burst: 100_000 },
        headers: routes % 2 === 0,
      },
      faults: faultsOf(seeded(seed, 'turmoil faults'), kinds, until),
    }),
    events: (seed) => [
      ...Array.from({ length: until }, (_, at) => ({ at, act: (world: World) => world.check() })),
      ...instants(seeded(seed, 'turmoil cancels'), 5, until).map((at) => ({
        at,
        act: (world: World) => world.policy.cancel(3),
      })),
      ...instants(seeded(seed, 'turmoil reloads'), 5, until).map((at, i) => ({
        at,
        act: (world: World) => world.policy.configure(configOf(files[(i + 1) % files.length]!)),
      })),
      ...instants(seeded(seed, 'turmoil clock'), 2, until).map((at, i) => ({
        at,
        act: (world: World) => void (world.clock.skewMs += [-5_000, 3_600_000][i]!),
      })),
    ],
    unit: 'work',
  }
}

/** Each kind now and then over much of the time, and once in a short while for half of all calls. */
function faultsOf(dice: Throw, kinds: readonly Fault['kind'][], until: Seconds): Fault[] {
  return kinds.flatMap((kind) => {
    const [from = 0, end = until] = instants(dice, 2, until - 60)
    const worst = dice() * (until - 90)
    return [
      { kind, share: 0.5, from: worst, until: worst + 30 * dice() },
      { kind, share: 0.03, from, until: end },
    ]
  })
}

/** Values that follow one another round and round, each for about as long as it says: half of it to half as much
 *  again, from the seed. */
function wave(
  dice: Throw,
  until: Seconds,
  steps: readonly { value: number; for: Seconds }[],
): (at: Seconds) => number {
  const ends: { value: number; end: Seconds }[] = []
  for (let end = 0, i = 0; end < until; i++) {
    const step = steps[i % steps.length]!
    end += step.for * (0.5 + dice())
    ends.push({ value: step.value, end })
  }
  return (at) => (ends.find(({ end }) => at < end) ?? { value: steps[0]!.value }).value
}

const instants = (dice: Throw, many: number, until: Seconds): Seconds[] =>
  Array.from({ length: many }, () => Math.round(dice() * until)).toSorted((a, b) => a - b)

const S2: Scenario = {
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

const S3: Scenario = {
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

const S4: Scenario = {
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
const slow: Scenario = {
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

const soft: Scenario = {
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

const S5: Scenario = {
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

const S6: Scenario = {
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

const S7: Scenario = {
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

const S8: Scenario = {
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

const S10: Scenario = {
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

/** No rate is above 1. */
const BREAKER_OFF = { llm_gateway: { circuit_breaker: { error_rate_threshold: 1 } } }

const HOUR = 3_600
const S11: Scenario = {
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

const churn = (): Part => ({
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

const shutdown = (): Part => ({
  name: 'shutdown under load',
  until: 400,
  source: callers(atLoad(0.8)),
  provider: { capacity: () => 60 },
  events: [{ at: 300, act: (world) => world.drain() }],
  unit: 'work',
})

// ---- beyond §17 ----

/** More work than slots, at a provider that gives as much as we may use, or less and does not say so. */
const steady: Scenario = {
  name: 'steady',
  title: 'more work than slots, without end: 60 hidden slots, then 40',
  parameters: [],
  parts: () =>
    [60, 40].map((slots) => ({
      name: `${slots} slots`,
      until: 3_600,
      source: callers({ I: { per: 9, deadline: 60 }, P: { per: 2.5, deadline: 60 } }),
      provider: { capacity: () => slots },
      unit: 'work',
    })),
  figures: (run) => ({
    goodput_60: run.part(0).goodput(),
    goodput_40: run.part(1).goodput(),
    ratio_529_40: run.part(1).common()['ratio_529'] ?? null,
    p_wait_p99_s: run.part(1).wait('premium', 0.99),
  }),
  must: () => ({ goodput_60: '>= 0.95', goodput_40: '>= 0.95' }),
}

const morning: Scenario = {
  name: 'morning',
  title: 'a limit that was driven down in the evening meets the morning',
  parameters: [],
  parts: () => [
    {
      name: 'all',
      until: 5 * HOUR,
      source: callers({
        I: { per: (at) => (within(at, HOUR, 4 * HOUR) ? 0.3 : 6) },
        P: { per: (at) => (within(at, HOUR, 4 * HOUR) ? 0.1 : 2) },
        most: 6,
      }),
      provider: { capacity: (at) => (within(at, 3_300, 3_600) ? 15 : 60) },
      unit: 'work',
    },
  ],
  figures: (run) => ({
    morning_i_wait_p99_s: run.waitWithin('interactive', 0.99, 4 * HOUR + 300, 5 * HOUR),
    morning_use: run.use(4 * HOUR + 300, 5 * HOUR) / 48,
  }),
  must: () => ({ morning_i_wait_p99_s: '<= 5', morning_use: '>= 0.95' }),
}

const swinging: Scenario = {
  name: 'swinging',
  title: 'the capacity itself swings between 60 and 30 every five minutes',
  parameters: [],
  parts: () => [
    {
      name: 'all',
      until: 2 * HOUR,
      source: callers({
        I: { per: 7.5, deadline: 60 },
        P: { per: 2.5, deadline: 60 },
        B: { per: 1 },
      }),
      provider: { capacity: (at) => (at % 600 < 300 ? 60 : 30) },
      unit: 'work',
    },
  ],
  figures: (run) => ({
    p_wait_p99_s: run.wait('premium', 0.99),
    amplification: run.amplification(),
  }),
  must: () => ({ amplification: '<= 1.3' }),
}

const churning: Scenario = {
  name: 'churn',
  title: 'ten thousand tenants, each for a moment',
  parameters: [],
  parts: () => [churn()],
  figures: (run) => ({ tenants_left: run.mostOf((part) => part.tenantsLeft) }),
  must: () => ({ tenants_left: '<= 100', goodput_of_optimum: '>= 0.95' }),
}

const models: Scenario = {
  name: 'models',
  title: 'three models on one key; one of them fails, and one hangs',
  parameters: [],
  parts: () => {
    const of = (model: string, prefix: string): Part['source'] =>
      callers({
        I: { per: 2, model, tenants: { prefix, count: 10 }, deadline: 60 },
        P: { per: 0.7, model, tenants: { prefix: `${prefix}p`, count: 3 }, deadline: 60 },
      })
    const all = [
      ['opus', 'o'],
      ['sonnet', 's'],
      ['haiku', 'h'],
    ] as const
    return [
      {
        name: 'all',
        until: 1_800,
        config: {
          routes: all.map(([model]) => ({ model })),
        },
        source: (seed, until) =>
          merged(all.map(([model, prefix], i) => of(model, prefix)(seed * 3 + i, until))),
        provider: {
          capacity: () => 60,
          faults: [
            { kind: 'overloaded', share: 1, from: 300, until: 420, model: 'opus' },
            { kind: 'hang', share: 1, from: 900, until: 1_020, model: 'haiku' },
          ],
        },
        unit: 'work',
      },
    ]
  },
  figures: (run) => ({
    sonnet_wait_p99_s: run.waitOf('interactive', 0.99, (tenant) => tenant.startsWith('s')),
    amplification: run.amplification(),
  }),
  must: () => ({ sonnet_wait_p99_s: '<= 6', amplification: '<= 1.3' }),
}

const draining: Scenario = {
  name: 'drain',
  title: 'shutdown under load',
  parameters: [],
  parts: () => [shutdown()],
  figures: (run) => ({
    last_start_s: run.lastStart('interactive'),
    over_s: run.mostOf((part) => part.overAt),
  }),
  must: () => ({ last_start_s: '<= 300', over_s: '<= 331' }),
}

/** Output tokens bind, not slots; the provider tells its limits in headers, and nothing is configured. */
const tokens: Scenario = {
  name: 'tokens',
  title: 'output tokens per minute bind, told by headers alone',
  parameters: [],
  parts: () => [
    {
      name: 'all',
      until: 1_800,
      source: callers({
        I: { per: 5, deadline: 60 },
        P: { per: 1.5, deadline: 60 },
        B: { per: 0.2 },
      }),
      provider: {
        capacity: () => Infinity,
        quota: {
          requests: { limit: () => 4_000, burst: 4_000 },
          input: { limit: () => 2_000_000, burst: 2_000_000 },
          // 25 answers at a time.
          output: { limit: () => 90_000, burst: 90_000 },
          headers: true,
        },
      },
      unit: 'outputTokens',
    },
  ],
  figures: (run) => ({
    ratio_429: run.ratio429(0, 1_800),
    p_wait_p95_s: run.wait('premium', 0.95),
    trips: run.mostOf((part) => part.facts.trips),
  }),
  must: () => ({ ratio_429: '< 0.02', trips: '<= 0', goodput_of_optimum: '>= 0.9' }),
}

/** Prompts of 200,000 tokens among small ones, with an input quota that holds few of them. */
const giants: Scenario = {
  name: 'giants',
  title: 'prompts of 200,000 tokens among small ones',
  parameters: [],
  parts: () => [
    {
      name: 'all',
      until: 1_800,
      source: (seed, until) =>
        merged([
          poisson(stream('interactive', { per: 4, deadline: 60 }, until), seed, 'I'),
          poisson(
            stream(
              'interactive',
              {
                per: 0.05,
                input: 200_000,
                tenants: { prefix: 'g', count: 2 },
                deadline: 120,
              },
              until,
            ),
            seed,
            'G',
          ),
          poisson(
            stream(
              'batch',
              { per: 0.05, input: 200_000, tenants: { prefix: 'gb', count: 2 } },
              until,
            ),
            seed,
            'GB',
          ),
        ]),
      provider: {
        capacity: () => 60,
        quota: {
          requests: { limit: () => 4_000, burst: 4_000 },
          input: { limit: () => 1_200_000, burst: 1_200_000 },
          output: { limit: () => 400_000, burst: 400_000 },
          headers: true,
        },
      },
      unit: 'inputTokens',
    },
  ],
  figures: (run) => ({
    small_wait_p95_s: run.waitOf('interactive', 0.95, (tenant) => tenant.startsWith('i')),
    ratio_429: run.ratio429(0, 1_800),
  }),
  must: () => ({ small_wait_p95_s: '<= 6', ratio_429: '< 0.02', goodput_of_optimum: '>= 0.9' }),
}

export const SCENARIOS: readonly Scenario[] = [
  S1,
  S2,
  S3,
  S4,
  slow,
  soft,
  S5,
  S6,
  S7,
  S8,
  S10,
  S11,
  steady,
  morning,
  swinging,
  churning,
  models,
  draining,
  tokens,
  giants,
  ...overloads,
]

export const scenarioList = (): { name: string; title: string; parameters: string[] }[] =>
  SCENARIOS.map(({ name, title, parameters }) => ({ name, title, parameters: [...parameters] }))

export const scenarioOf = (name: string): Scenario | undefined =>
  SCENARIOS.find((one) => one.name.toLowerCase() === name.toLowerCase())

const round = (value: number): number => Math.round(value * 1_000) / 1_000
