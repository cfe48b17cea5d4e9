/** Durable jobs in virtual time: the real room over a store that outlives the process. A run repeats to the byte, no
 *  promise is forgotten between two instants, and what a death does to jobs and to callers is what it does in life. */
import { describe, expect, test } from 'vitest'
import type { Config } from '#contracts/config'
import { backlogSource } from '../../services/simulator/backlog.ts'
import { HeadgatePolicy } from '../../services/simulator/headgate-policy.ts'
import type { Backlog, Restart } from '../../services/simulator/job.ts'
import type { JobFacts } from '../../services/simulator/policy.ts'
import type { ProviderSettings } from '../../services/simulator/provider-model.ts'
import { promisesKept } from '../../services/simulator/system.ts'
import type { How } from '../../services/simulator/sim-request.ts'
import { merged, poisson, type Arrival, type Source } from '../../services/simulator/workload.ts'
import { World } from '../../services/simulator/world.ts'
import { configOf } from '../support/core-world.ts'
import { arrivalOf, drawn, type ArrivalSketch } from '../support/simulated.ts'

interface Of {
  source?: Source
  provider?: ProviderSettings
  until?: number
  config?: object
  restarts?: readonly Restart[]
  /** Follow every job to its end. */
  follow?: boolean
  policy?: typeof HeadgatePolicy
}

interface End {
  id: string
  durable: boolean
  at: number
  how: How
  code: string | null
}

async function played(of: Of): Promise<{ world: World; facts: JobFacts; ends: End[] }> {
  const { until = 120, restarts = [], policy: Policy = HeadgatePolicy } = of
  const config: Config = configOf({ settled_max: 0, ...SMALL, ...of.config })
  const ends: End[] = []
  const world: World = new World({
    seed: 1,
    source: of.source ?? merged([traffic(until), backlog({})]),
    provider: of.provider ?? { capacity: () => 20 },
    until,
    policy: (parts) =>
      new Policy({
        ...{ ...parts, config, seed: 1, predictions: false, film: null, restarts },
        found: (findings) => world.found(findings),
        jobs: { until: of.follow === true ? null : until },
      }),
    onEnd: ({ id, durable }, how, code) =>
      ends.push({ id, durable, at: world.clock.instant / 1_000, how, code }),
  })
  await world.runThrough()
  return { world, facts: world.policy.facts.jobs!, ends }
}

const SMALL = {
  llm_gateway: { max_inflight_global: 20 },
  concurrency_limit: { initial: 20, ceiling: 20 },
}

const traffic = (until: number, per = 1.5): Source =>
  poisson(
    {
      ...{ lane: 'interactive', tenants: { prefix: 'i', count: 5 }, service: 4, until },
      ...{ rate: () => per, rateMost: per },
    },
    1,
    'traffic',
  )

const SOME: Backlog = { jobs: 60, tenants: 3, lane: 'batch', deadlineS: null, overS: 0 }
const backlog = (of: Partial<Backlog>, like: readonly ArrivalSketch[] = [{}], seed = 1): Source =>
  backlogSource({ backlog: { ...SOME, ...of }, like: listed(like.map(arrivalOf)), seed })

function listed(arrivals: readonly Arrival[]): Source {
  let next = 0
  return { next: () => arrivals[next++] ?? null }
}

const THREE_SECONDS = [{ serviceMs: 3_000 }]
const deaths: Restart[] = [
  { atS: 20, forS: 3 },
  { atS: 40, forS: 10 },
]

describe('a run with jobs', () => {
  const busy = (seed: number): Of => ({
    source: merged([traffic(120), backlog({ overS: 50 }, [{}, { serviceMs: 9_000 }], seed)]),
    restarts: deaths,
  })

  test('repeats to the byte, and another seed is another', async () => {
    const [one, same, other] = [await played(busy(1)), await played(busy(1)), await played(busy(2))]
    expect(same.world.hash).toBe(one.world.hash)
    expect([same.facts, same.ends]).toEqual([one.facts, one.ends])
    expect(other.world.hash).not.toBe(one.world.hash)
  })

  test('is the same run where promises are kept after every instant', async () => {
    class Patient extends HeadgatePolicy {
      override settled(): Promise<void> {
        super.settled()
        return promisesKept()
      }
    }
    const faults = [{ kind: 'overloaded', share: 0.3, from: 10, until: 30 }] as const
    // Some end in their call, some while they wait for a slot, some in the store.
    const of = (): Of => ({
      source: merged([
        traffic(120),
        backlog({ jobs: 90, overS: 50, deadlineS: 9 }, [{}, { serviceMs: 9_500 }]),
      ]),
      restarts: deaths,
      provider: { capacity: () => 12, faults },
    })
    const plain = await played(of())
    const patient = await played({ ...of(), policy: Patient })
    expect(patient.world.hash).toBe(plain.world.hash)
    expect(patient.facts).toEqual(plain.facts)
    expect(plain.world.findings).toEqual([])
    expect(plain.facts.expired).toBeGreaterThan(10)
    expect(plain.facts.expired).toBeLessThan(80)
  })

  test('ends each of them once, those that find no time left too', async () => {
    const { world, facts, ends } = await played({
      source: backlog({ jobs: 200, deadlineS: 20 }, THREE_SECONDS),
      follow: true,
    })
    expect(world.findings).toEqual([])
    expect(new Set(ends.map(({ id }) => id)).size).toBe(200)
    expect(ends.length).toBe(200)
    expect(facts).toMatchObject({ asked: 200, stored: 200, ended: 200, kept: 0, beyondOne: 0 })
    // Twenty at once, of three seconds each.
    expect(facts.expired).toBeGreaterThan(50)
    expect(facts.expired).toBe(ends.filter(({ code }) => code === 'deadline_exceeded').length)
    for (const { at } of ends) expect(at).toBeLessThanOrEqual(20 + 15)
  })

  test('takes nothing more from the store when the traffic ends, and says what is left', async () => {
    const { world, facts } = await played({
      source: merged([traffic(30), backlog({ jobs: 500 }, THREE_SECONDS)]),
      until: 30,
    })
    expect(world.findings).toEqual([])
    expect(facts.kept).toBeGreaterThan(100)
    expect(facts.ended + facts.kept).toBe(500)
    expect(world.clock.instant).toBeLessThan(60_000)
  })

  test('is beside the calls of its lane, not among them', async () => {
    const { world } = await played({ source: backlog({ jobs: 7 }) })
    expect([...world.tally.lanes.keys()]).toEqual(['batch jobs'])
    expect(world.tally.lane('batch jobs')).toMatchObject({ offered: 7, completed: 7, inTime: 7 })
  })
})

describe('a death of the process', () => {
  test('loses the answers of callers, and turns away who comes while nobody is there', async () => {
    const { world, ends } = await played({
      source: listed([
        arrivalOf({ at: 1_000, serviceMs: 3_000 }),
        arrivalOf({ at: 8_000, serviceMs: 5_000 }),
        arrivalOf({ at: 11_000 }),
        arrivalOf({ at: 14_000 }),
      ]),
      restarts: [{ atS: 10, forS: 3 }],
    })
    expect(world.findings).toEqual([])
    expect(ends.map(({ at, how, code }) => [at, how, code])).toEqual([
      [4, 'completed', null],
      [10, 'failed', 'connection_lost'],
      [11, 'failed', 'nobody_there'],
      [15, 'completed', null],
    ])
    expect(world.policy.facts.deaths).toEqual([
      { at: 10, forS: 3, lost: 1, turnedAway: 1, cut: 0, thrownAway: 2 },
    ])
    expect(world.tally.lane('interactive')).toMatchObject({ completed: 2, failed: 2, refused: 0 })
  })

  test('costs a job a call beyond the first, and it is told: taken over when its owner was silent for 6 s', async () => {
    const { world, facts, ends } = await played({
      source: backlog({ jobs: 1 }, THREE_SECONDS),
      restarts: [{ atS: 2, forS: 3 }],
    })
    expect(world.findings).toEqual([])
    expect(facts).toMatchObject({ ended: 1, beyondOne: 1, told: 1, takenOver: 1 })
    expect(world.policy.facts.deaths[0]).toMatchObject({ cut: 1, thrownAway: 2 })
    // Back at 5 s; silent since then for more than six, one beat, and the call itself.
    const [end] = ends
    expect(end!.at).toBeGreaterThan(5 + 6 + 3)
    expect(end!.at).toBeLessThan(5 + 6 + 2 + 3)
  })

  test('makes no job younger: its deadline goes on', async () => {
    const { ends, facts } = await played({
      source: backlog({ jobs: 1, deadlineS: 12 }, [{ serviceMs: 8_000 }]),
      restarts: [{ atS: 2, forS: 3 }],
      follow: true,
    })
    expect(facts).toMatchObject({ ended: 1, expired: 1, beyondOne: 0 })
    expect(ends[0]).toMatchObject({ how: 'failed', code: 'deadline_exceeded' })
    expect(ends[0]!.at).toBeLessThanOrEqual(12 + 1)
  })

  test('gives no job more tries: those of all its owners count', async () => {
    const faults = [{ kind: 'overloaded', share: 1, from: 0, until: Infinity }] as const
    const { facts, world } = await played({
      source: backlog({ jobs: 1 }),
      provider: { capacity: () => 20, faults },
      config: {
        llm_gateway: { circuit_breaker: { error_rate_threshold: 1 } },
        lanes: { batch: { max_attempts: 3, base_backoff_ms: 4_000, cap_backoff_ms: 4_000 } },
      },
      restarts: [{ atS: 1, forS: 1 }],
      follow: true,
    })
    expect(facts).toMatchObject({ ended: 1, failed: 1 })
    expect(world.tally.allAttempts).toBe(3)
  })

  test('keeps whoever has a job at it: what comes while nobody is there is stored afterwards', async () => {
    const { facts, world } = await played({
      source: backlog({ jobs: 30, overS: 30 }),
      restarts: [{ atS: 5, forS: 20 }],
      follow: true,
    })
    expect(world.findings).toEqual([])
    expect(facts).toMatchObject({ asked: 30, stored: 30, ended: 30, expired: 0 })
  })

  test('leaves jobs in the store where nobody comes back before the end', async () => {
    const { facts, world } = await played({
      source: backlog({ jobs: 100 }, [{ serviceMs: 9_000 }]),
      restarts: [{ atS: 15, forS: 1_000 }],
      until: 60,
    })
    expect(world.findings).toEqual([])
    expect(facts.ended + facts.kept).toBe(100)
    expect(facts.kept).toBeGreaterThan(50)
  })
})

describe('the checks can fail', () => {
  test('a job that nobody has is found', async () => {
    const { world } = await played({ source: backlog({ jobs: 3 }) })
    expect(world.findings).toEqual([])
    world.policy.facts.jobs!.ended--
    expect(world.policy.atRest()).toEqual([
      'I9: of 3 stored jobs 2 have a result and 0 wait',
      'I9: 0 of 3 jobs are open; 2 ended, 0 refused',
    ])
  })
})

describe('a backlog', () => {
  test('is made like calls of its lane, else like all, of tenants in turn, evenly over its time', () => {
    const like = [
      arrivalOf({ lane: 'batch', outputTokens: 7 }),
      arrivalOf({ lane: 'interactive', outputTokens: 8 }),
    ]
    const of = { jobs: 6, tenants: 2, overS: 60, deadlineS: 30 }
    const jobs = drawn(backlogSource({ backlog: { ...SOME, ...of }, like: listed(like), seed: 1 }))
    expect(jobs.map(({ at }) => at)).toEqual([0, 10_000, 20_000, 30_000, 40_000, 50_000])
    expect(jobs.map(({ asked }) => asked.tenant).slice(0, 3)).toEqual([
      ...['backlog1', 'backlog2', 'backlog1'],
    ])
    for (const { asked, work, durable } of jobs)
      expect([durable, asked.lane, asked.deadlineMs, work.outputTokens]).toEqual([
        ...[true, 'batch', 30_000, 7],
      ])
    const others = drawn(
      backlogSource({ backlog: { ...SOME, tenants: 1 }, like: listed(like.slice(1)), seed: 1 }),
    )
    expect(new Set(others.map(({ work }) => work.outputTokens))).toEqual(new Set([8]))
    expect(new Set(others.map(({ asked }) => asked.tenant))).toEqual(new Set(['backlog']))
    const none = { backlog: SOME, like: listed([]), seed: 1 }
    expect(() => backlogSource(none)).toThrow('there is no call in the workload')
  })
})
