/** Everything at once (S1). */
import type { Seconds } from '#contracts/units'
import { configOf, type Tree } from './common.ts'
import { seeded, type Throw } from './chance.ts'
import type { Fault } from './provider-model.ts'
import { type Part, type Scenario } from './scenario.ts'
import type { World } from './world.ts'
import { merged, poisson } from './workload.ts'

/** Everything at once: all faults, quotas, cancels, changed configurations, a bad clock, many lanes, routes
 *  and tenants, with every law looked at each second. The same over random commands on the bare core, step by
 *  step: test/core/step.property.test.ts. */
export const S1: Scenario = {
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
  const files = filesOf(names, models)
  return {
    name: `${lanes} lanes, ${routes} routes, ${tenants} tenants`,
    until,
    config: files[0]!,
    source: everybody({ names, models, tenants }),
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
      faults: faultsOf(seeded(seed, 'turmoil faults'), until),
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

/** Three configurations, each of which may come into force at any time. */
function filesOf(names: readonly string[], models: readonly string[]): Tree[] {
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
  return [
    file({ slots: 60, rpm: 600, reserved: 0, delay: false }),
    file({ slots: 20, rpm: 200, reserved: 4, delay: true }),
    file({ slots: 40, rpm: 90, reserved: 20, delay: true }),
  ]
}

/** Every tenant asks in each lane for each model. */
const everybody =
  ({
    names,
    models,
    tenants,
  }: {
    names: string[]
    models: string[]
    tenants: number
  }): Part['source'] =>
  (seed, end) =>
    merged(
      names.flatMap((lane, i) =>
        models.map((model, j) =>
          poisson(
            {
              lane,
              model,
              tenants: { prefix: 'x', count: tenants },
              rate: () => 12 / names.length / models.length,
              rateMost: 12 / names.length / models.length,
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
    )

const KINDS = [
  'overloaded',
  'fault',
  'hang',
  'broken',
  'unexplained',
  'ramp_limited',
  'rejected',
] as const

/** Each kind now and then over much of the time, and once in a short while for half of all calls. */
function faultsOf(dice: Throw, until: Seconds): Fault[] {
  return KINDS.flatMap((kind) => {
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
