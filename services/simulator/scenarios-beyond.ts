/** Beyond the acceptance scenarios: what people meet. */
import { HOUR, callers, stream, within, type Part, type Scenario } from './scenario.ts'
import { churn, shutdown } from './scenarios-days.ts'
import { merged, poisson } from './workload.ts'

/** More work than slots, at a provider that gives as much as we may use, or less and does not say so. */
export const steady: Scenario = {
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

export const morning: Scenario = {
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

export const swinging: Scenario = {
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

export const churning: Scenario = {
  name: 'churn',
  title: 'ten thousand tenants, each for a moment',
  parameters: [],
  parts: () => [churn()],
  figures: (run) => ({ tenants_left: run.mostOf((part) => part.tenantsLeft) }),
  must: () => ({ tenants_left: '<= 100', goodput_of_optimum: '>= 0.95' }),
}

export const models: Scenario = {
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

export const draining: Scenario = {
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
export const tokens: Scenario = {
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
export const giants: Scenario = {
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
