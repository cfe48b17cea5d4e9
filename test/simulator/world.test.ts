/** A run as a whole: it repeats to the byte, its checks can fail, and whoever schedules, every request gets
 *  one answer. */
import { describe, expect, test } from 'vitest'
import { Baseline } from '../../services/simulator/baselines.ts'
import { HeadgatePolicy } from '../../services/simulator/headgate-policy.ts'
import { POLICIES, type Policy, type RunResult } from '../../services/simulator/job.ts'
import type { ProviderSettings } from '../../services/simulator/provider-model.ts'
import { SCENARIOS } from '../../services/simulator/scenarios.ts'
import { PARAMETERS, simulateScenario } from '../../services/simulator/simulate.ts'
import type { SimRequest } from '../../services/simulator/sim-request.ts'
import { VirtualClock } from '../../services/simulator/virtual-clock.ts'
import { merged, poisson, type Source } from '../../services/simulator/workload.ts'
import { World, type WorldOptions } from '../../services/simulator/world.ts'
import type { Gate } from '#core/model/inputs'
import type { Route, State } from '#core/model/state'
import { configOf } from '../support/core-world.ts'
import { PlainPolicy, sourceOf, worldOf, type ArrivalSketch } from '../support/simulated.ts'

const short = (of: {
  name: string
  policy?: Policy
  seed?: number
  part?: number
}): Promise<RunResult> =>
  simulateScenario(
    { label: 'test', policy: of.policy ?? 'headgate', config: null },
    { name: of.name, part: of.part ?? 0.05, load: null, reserved: null, noise: null },
    [of.seed ?? 1],
  )

/** Callers without an answer; jobs may be left in the store. */
const open = ({ lanes }: RunResult): number =>
  Object.entries(lanes)
    .filter(([name]) => !name.endsWith(' jobs'))
    .reduce((sum, [, one]) => sum + one.offered - one.completed - one.refused - one.failed, 0)
const offered = (result: RunResult): Record<string, number> =>
  Object.fromEntries(Object.entries(result.lanes).map(([name, lane]) => [name, lane.offered]))

describe('a run repeats', () => {
  test.each(POLICIES)(
    'equal seeds give equal runs under %s, and another seed another',
    async (policy) => {
      const figures = ({ wall_ms: _, ...result }: RunResult) => result
      const first = await short({ name: 'S4', policy })
      expect(figures(await short({ name: 'S4', policy }))).toEqual(figures(first))
      const other = await short({ name: 'S4', policy, seed: 2 })
      expect(other.trace_hash).not.toBe(first.trace_hash)
    },
  )

  test('all policies meet the same arrivals, and no two do the same with them', async () => {
    const results: RunResult[] = []
    for (const policy of POLICIES) results.push(await short({ name: 'S4', policy, part: 0.2 }))
    for (const result of results) expect(offered(result)).toEqual(offered(results[0]!))
    const hashes = results.map((result) => result.trace_hash)
    expect(new Set(hashes).size).toBe(POLICIES.length)
  })

  test('what goes wrong in S1, and when, follows from the seed', () => {
    const faults = (seed: number) => {
      const [part] = SCENARIOS.find(({ name }) => name === 'S1')!.parts(PARAMETERS)
      const { provider } = part!
      return typeof provider === 'function' ? provider(seed).faults : provider.faults
    }
    expect(faults(1)).toEqual(faults(1))
    expect(faults(1)).not.toEqual(faults(2))
  })

  test('several seeds are one result of them all', async () => {
    const job = { label: 'test', policy: 'fixed', config: null } as const
    const what = { name: 'S2', part: 0.05, load: null, reserved: null, noise: null }
    const plotted = { record: null, series: true }
    const one = await simulateScenario(job, what, [1], plotted)
    const two = await simulateScenario(job, what, [2], plotted)
    const both = await simulateScenario(job, what, [1, 2], plotted)
    expect(both.simulated_requests).toBe(one.simulated_requests + two.simulated_requests)
    expect(both.simulated_s).toBe(120)
    expect(both.seed).toBe(1)
    expect(both.series).toEqual(one.series)
  })

  test('what must be met is asked of whole scenarios only', async () => {
    expect((await short({ name: 'S7' })).acceptance).toEqual([])
    const { acceptance } = await short({ name: 'drain', part: 1 })
    expect(acceptance.map((one) => one.figure)).toEqual(['last_start_s', 'over_s'])
  })
})

describe('the laws hold', () => {
  const cases = SCENARIOS.flatMap(({ name, policies = POLICIES }) =>
    policies.map((policy) => ({ name, policy })),
  )

  test.each(cases)('$name under $policy: one outcome each, no law broken', async (of) => {
    const result = await short(of)
    expect(result.findings).toEqual([])
    expect(result.violations).toBe(0)
    expect(open(result)).toBe(0)
    expect(result.simulated_requests).toBe(
      Object.values(offered(result)).reduce((sum, n) => sum + n, 0),
    )
  })

  test.each([
    // Long enough to see their trouble begin and end.
    { name: 'S4', part: 0.2 },
    { name: 'S5', part: 0.4 },
    { name: 'S6', part: 0.4 },
    { name: 'models', part: 0.25 },
    { name: 'drain', part: 1 },
  ])('$name through its trouble, under every policy', async ({ name, part }) => {
    for (const policy of POLICIES) {
      const result = await short({ name, part, policy })
      expect({ policy, findings: result.findings, open: open(result) }).toEqual({
        policy,
        findings: [],
        open: 0,
      })
    }
  })
})

const traffic = (of: { per?: number; until?: number; deadline?: number } = {}): Source => {
  const { per = 6, until = 120, deadline = null } = of
  const calls = (lane: string, rate: number): Source =>
    poisson(
      {
        lane,
        tenants: { prefix: lane[0]!, count: 5 },
        rate: () => rate,
        rateMost: rate,
        service: 6,
        until,
        deadline,
      },
      1,
      lane,
    )
  return merged([calls('interactive', per), calls('premium', per / 3)])
}

/** What Headgate needs beside what its world gives it. */
const ours = (world: () => World, config: object = {}) => ({
  config: configOf({ settled_max: 0, ...config }),
  seed: 1,
  found: (findings: readonly string[]) => world().found(findings),
  predictions: false,
  film: null,
})

/** Headgate in a world of the test's own. */
function headgate(of: {
  provider?: ProviderSettings
  source?: Source
  until?: number
  config?: object
  events?: NonNullable<WorldOptions['events']>
}): { world: World; policy: HeadgatePolicy } {
  const world: World = new World({
    seed: 1,
    source: of.source ?? traffic(),
    provider: of.provider ?? { capacity: () => 60 },
    until: of.until ?? 120,
    policy: (parts) => new HeadgatePolicy({ ...parts, ...ours(() => world, of.config) }),
    ...(of.events === undefined ? {} : { events: of.events }),
  })
  world.run()
  return { world, policy: world.policy as HeadgatePolicy }
}
const outcomes = ({ tally }: World): number =>
  [...tally.lanes.values()].reduce((sum, one) => sum + one.completed + one.refused + one.failed, 0)

describe('a clock that goes wrong', () => {
  const skew = (at: number, by: number) => ({
    at,
    act: (world: World) => void (world.clock.skewMs += by * 1_000),
  })

  const day = { timeout_ms: 86_400_000 }
  const unhurried = { premium: day, interactive: day, batch: day }

  test.each([
    ['stands still while it goes back', [skew(20, -5), skew(60, 5)]],
    ['jumps ahead an hour', [skew(30, 3_600)]],
    ['goes back and forth', [skew(20, -5), skew(21, 10), skew(40, -7), skew(41, 30)]],
  ])('%s: no law is broken and the limit stays', (_, events) => {
    const { world, policy } = headgate({ events, config: { lanes: unhurried } })
    expect(world.findings).toEqual([])
    expect(outcomes(world)).toBe(world.requests)
    expect(policy.limit()).toBe(60)
    expect(policy.facts).toMatchObject({ decreases: 0, trips: 0 })
  })

  test('one that goes back after a pause brings the pause not back', () => {
    // The pause ends 5 s after the last 429, before 16 s; the clock then shows 11 s again.
    const { world } = headgate({
      provider: {
        capacity: () => Infinity,
        faults: [{ kind: 'ramp_limited', share: 1, from: 10, until: 10.5 }],
      },
      events: [skew(16, -5)],
    })
    expect(world.tally.answers429).toBeGreaterThan(0)
    expect(world.findings).toEqual([])
    expect(outcomes(world)).toBe(world.requests)
  })

  test('shows what it is told to show, while instants go on', () => {
    const clock = new VirtualClock()
    const seen: [number, number][] = []
    clock.after(1_000, () => void (clock.skewMs = -500))
    clock.after(2_000, () => seen.push([clock.instant, clock.now()]))
    while (clock.next(5_000));
    expect(seen).toEqual([[2_000, 1_500]])
    expect(clock.instant).toBe(5_000)
    expect(clock.wall() - clock.now()).toBe(Date.UTC(2026, 0, 1))
  })

  test('delays that fall together run in the order of their setting', () => {
    const clock = new VirtualClock()
    const seen: string[] = []
    clock.after(10, () => seen.push('first'))
    clock.after(5, () => clock.after(5, () => seen.push('third')))
    clock.after(10, () => seen.push('second'))
    const cancel = clock.after(10, () => seen.push('never'))
    cancel()
    while (clock.next(100));
    expect(seen).toEqual(['first', 'second', 'third'])
  })
})

describe('a drain', () => {
  test('lets nothing start after it, and what runs ends within 30 s', () => {
    const { world } = headgate({ events: [{ at: 60, act: (one) => one.drain() }] })
    expect(world.findings).toEqual([])
    const lane = world.tally.lane('interactive')
    expect(lane.starts.at(lane.starts.length - 1)).toBeLessThanOrEqual(60)
    expect(world.lastEndAt).toBeGreaterThan(60_000)
    expect(world.lastEndAt).toBeLessThanOrEqual(90_100)
    expect(outcomes(world)).toBe(world.requests)
    expect(world.tally.codes.get('draining')).toBeGreaterThan(0)
  })
})

describe('what one attempt does to the count', () => {
  test('a streamed answer shows its first byte when it is due, an aborted one closes after 20 ms', () => {
    const seen: [string, number][] = []
    class Watching extends PlainPolicy {
      override start(request: SimRequest): void {
        const attempt = world.send(request, {
          firstByte: () => {
            seen.push(['first byte', world.clock.instant])
            if (request.tenant === 'b') {
              attempt.abort({ ...attempt.plan.verdict, kind: 'ended', cause: 'cancel' })
              attempt.abort({ ...attempt.plan.verdict, kind: 'fault', cause: 'again' })
            }
          },
          ended: (verdict) => {
            seen.push([verdict.cause, world.clock.instant])
            this.live--
            request.ended('completed', null)
          },
        })
      }
    }
    const streamed = { stream: true, serviceMs: 900, ttftMs: 300 }
    const world: World = new World({
      seed: 1,
      source: sourceOf({ ...streamed, tenant: 'a' }, { ...streamed, tenant: 'b', at: 2_000 }),
      provider: { capacity: () => 1 },
      until: 5,
      policy: ({ wire }) => new Watching(wire),
    })
    world.run()
    expect(seen).toEqual([
      ['first byte', 300],
      ['ok', 900],
      ['first byte', 2_300],
      ['cancel', 2_320],
    ])
    expect(world.findings).toEqual([])
    expect(world.provider.inflight).toBe(0)
    expect(world.lastEndAt).toBe(2_320)
  })
})

describe('a provider that says nothing', () => {
  test('is given up after the time that the scheduler gives it, and the slot is free again', () => {
    const streamed = { stream: true, serviceMs: 900, ttftMs: 300 }
    const { world } = headgate({
      source: sourceOf({ ...streamed, model: 'm' }, { ...streamed, at: 30_000, model: 'm' }),
      until: 100,
      provider: {
        capacity: () => 1,
        faults: [{ kind: 'hang', share: 1, from: 0, until: 25 }],
      },
      config: {
        concurrency_limit: { initial: 1, floor: 1 },
        lanes: { interactive: { timeout_ms: 40_000, max_attempts: 1 } },
      },
    })
    expect(world.findings).toEqual([])
    // Half of the lane's timeout, and 20 ms to close; then the second call.
    const lane = world.tally.lane('interactive')
    expect([lane.failed, lane.completed]).toEqual([1, 1])
    expect(lane.starts.at(1)).toBe(30)
    expect(world.tally.codes.get('retries_exhausted')).toBe(1)
  })
})

describe('a reload that gives a model to another upstream', () => {
  test('I13 is asked of the route that a call starts on, not of the one that came after it', () => {
    const config = (upstream: string) => ({
      upstreams: { default: {}, second: {} },
      llm_gateway: { max_inflight_global: 4 },
      routes: [{ model: 'claude', upstream }],
    })
    const { world } = headgate({
      source: traffic({ per: 9, until: 60 }),
      until: 60,
      provider: {
        capacity: () => 60,
        faults: [{ kind: 'throttled', share: 1, from: 30, until: 32, retryAfterMs: 10_000 }],
      },
      config: config('default'),
      events: [
        {
          at: 29,
          act: (one) => one.policy.configure(configOf({ settled_max: 0, ...config('second') })),
        },
      ],
    })
    expect(world.tally.answers429).toBeGreaterThan(0)
    expect(world.findings).toEqual([])
  })
})

describe('the checks can fail', () => {
  const three: ArrivalSketch[] = [{ at: 1_000 }, { at: 2_000 }, { at: 3_000 }]
  const play = (policy: WorldOptions['policy']): World =>
    worldOf({ source: sourceOf(...three), policy })

  test('an honest policy is found to break nothing', () => {
    const world = play(({ wire }) => new PlainPolicy(wire))
    expect([world.violations, world.findings]).toEqual([0, []])
    expect(world.tally.lane('interactive').completed).toBe(3)
  })

  test('a second answer is found', () => {
    class Twice extends PlainPolicy {
      override start(request: SimRequest): void {
        super.start(request)
        if (request.arrivedAt === 2_000) request.ended('refused', 'cancelled')
      }
    }
    const world = play(({ wire }) => new Twice(wire))
    expect(world.violations).toBe(1)
    expect(world.findings).toEqual(['I9: r1 has 2 outcomes'])
  })

  test('a request that is never answered is found', () => {
    class Forgetful extends PlainPolicy {
      override start(request: SimRequest): void {
        if (request.arrivedAt !== 2_000) super.start(request)
      }
    }
    const world = play(({ wire }) => new Forgetful(wire))
    expect(world.violations).toBe(1)
    expect(world.findings[0]).toMatch(/^I9: 1 requests had no outcome/)
  })

  test('a request that is never answered is found, even if its policy does not know it any more', () => {
    class Denying extends PlainPolicy {
      override start(request: SimRequest): void {
        if (request.arrivedAt === 2_000) this.live--
        else super.start(request)
      }
    }
    const world = play(({ wire }) => new Denying(wire))
    expect(world.violations).toBe(1)
    expect(world.findings[0]).toMatch(/^I9: 1 request/)
  })

  test('an attempt that is left with the provider is found', () => {
    class Careless extends PlainPolicy {
      override submit(request: SimRequest): void {
        // It answers at once what takes until after the end, and looks away.
        this.start(request)
        request.ended('completed', null)
        this.live = 0
      }
    }
    const world = worldOf({
      source: sourceOf({ at: 9_000, serviceMs: 3_600_000 }),
      until: 10,
      policy: ({ wire }) => new Careless(wire),
    })
    expect(world.findings).toEqual(['I9: 1 attempts are still with the provider'])
  })

  test('what a policy finds itself, while it runs and at rest, is counted', () => {
    class Honest extends PlainPolicy {
      override check = (): string[] => ['I2: above G']
      override atRest = (): string[] => ['I9: a slot is held']
    }
    const source = sourceOf({ at: 1_000, serviceMs: 14_000 })
    const world = worldOf({ source, until: 15, policy: ({ wire }) => new Honest(wire) })
    // Checked every ten seconds.
    expect(world.findings).toEqual(['I2: above G', 'I9: a slot is held'])
  })

  test('only the first twenty are told in words, all are counted', () => {
    const world = play(({ wire }) => new PlainPolicy(wire))
    world.found(Array.from({ length: 50 }, (_, i) => `finding ${i}`))
    expect([world.violations, world.findings.length]).toEqual([50, 20])
  })

  test('a slot that is still held is found by the baselines', () => {
    const world = worldOf({
      source: sourceOf({ at: 1_000, serviceMs: 5_000 }),
      until: 2,
      policy: ({ wire, clock }) => new Baseline({ clock, wire, seed: 1, slots: 1, rank: () => 0 }),
      events: [{ at: 2, act: (one) => one.found(one.policy.atRest()) }],
    })
    expect(world.findings).toEqual(['1 slots are held at rest'])
  })

  test.each([
    ['I1', 'above the limit', (state: State): void => void (routeOf(state).limit = 0)],
    ['I1', 'above the breaker', (state: State): void => void (routeOf(state).gate = shut)],
    ['I2', 'above G', (state: State): void => void (state.inflight = 900)],
    ['I13', 'in a pause', (state: State): void => void (routeOf(state).quota.pausedUntil = 1e9)],
  ] as const)('%s: a start of Headgate %s is found from outside', (law, what, spoil) => {
    /** Between the decision and the wire, somebody turns the state. */
    class Spoiled extends HeadgatePolicy {
      override send(...of: Parameters<HeadgatePolicy['send']>): ReturnType<HeadgatePolicy['send']> {
        const state: State = this.loop.state
        const before = {
          ...state,
          route: { ...routeOf(state) },
          quota: { ...routeOf(state).quota },
        }
        spoil(state)
        try {
          return super.send(...of)
        } finally {
          state.inflight = before.inflight
          Object.assign(routeOf(state), { limit: before.route.limit, gate: before.route.gate })
          routeOf(state).quota.pausedUntil = before.quota.pausedUntil
        }
      }
    }
    const world: World = new World({
      seed: 1,
      source: sourceOf({ at: 1_000 }),
      provider: { capacity: () => Infinity },
      until: 5,
      policy: (parts) => new Spoiled({ ...parts, ...ours(() => world) }),
    })
    world.run()
    expect(world.findings).toHaveLength(1)
    expect(world.findings[0]).toMatch(new RegExp(`^${law}: .*${what}$`))
  })
})

const routeOf = (state: State): Route => [...state.routes.values()][0]!
const shut: Gate = { state: 'open', cap: 0, generation: 0, until: null }
