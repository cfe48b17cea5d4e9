/** Random worlds with a backlog, a provider that fails, and a scheduler that dies: every job ends with exactly one
 *  result, by its deadline and what follows from it, and every call beyond one is told. */
import { expect, test } from 'vitest'
import { backlogSource } from '../../services/simulator/backlog.ts'
import { seeded } from '../../services/simulator/chance.ts'
import { HeadgatePolicy } from '../../services/simulator/headgate-policy.ts'
import type { Backlog, Restart } from '../../services/simulator/job.ts'
import { FAULTS, type Fault } from '../../services/simulator/provider-model.ts'
import { Throws } from '../../services/simulator/throws.ts'
import { merged, poisson, type Source, type Stream } from '../../services/simulator/workload.ts'
import { World } from '../../services/simulator/world.ts'
import { configOf } from '../support/core-world.ts'

/** Runs in `npm test`; HEADGATE_RUNS raises it. */
const WORLDS = Math.ceil(Number(process.env['HEADGATE_RUNS'] ?? 400) / 10)
/** Traffic, faults and deaths come and go in this time, in seconds. */
const TURMOIL = 120
/** Whoever comes after a death waits so long until it takes over, a beat and a rescan with it. */
const SILENT = 7.5
/** From a deadline to its result: a round of the sweep, an attempt that is closed, a store that is asked once more. */
const SOON = 20

interface Turmoil {
  capacity: number
  config: object
  calls: Stream
  backlog: Backlog
  faults: Fault[]
  restarts: Restart[]
}

function turmoil(seed: number): Turmoil {
  const dice = new Throws(seeded(seed, 'jobs world'))
  const capacity = dice.logInt(2, 30)
  const service = dice.log(0.5, 12)
  const lane = dice.pick(['batch', 'batch', 'interactive'])
  const rate = (dice.log(0.1, 1.5) * capacity) / service
  const restarts: Restart[] = []
  for (let at = dice.log(1, TURMOIL); at < TURMOIL && restarts.length < 6;) {
    const forS = dice.log(0.2, 30)
    restarts.push({ atS: at, forS })
    at += forS + dice.log(0.1, TURMOIL)
  }
  return {
    capacity,
    config: {
      llm_gateway: { max_inflight_global: dice.logInt(2, 60) },
      concurrency_limit: { initial: dice.logInt(1, 60), floor: 1, ceiling: 60 },
      jobs: { window: dice.logInt(1, 8), window_total: dice.logInt(4, 100), claims_max: 100 },
    },
    calls: {
      ...{ lane: 'interactive', tenants: { prefix: 'backlog', count: 3 }, service, until: TURMOIL },
      ...{ rate: () => rate, rateMost: rate, deadline: 60 },
    },
    backlog: {
      ...{ jobs: dice.logInt(1, 120), tenants: dice.logInt(1, 6), lane },
      ...{ deadlineS: dice.log(5, 600), overS: dice.pick([0, 0, 30, TURMOIL - 1]) },
    },
    faults: Array.from({ length: dice.logInt(1, 4) }, () => {
      const from = dice.log(1, TURMOIL)
      const kind = dice.pick(FAULTS)
      return { kind, share: dice.log(0.02, 1), from, until: from + dice.log(1, 60) }
    }),
    restarts,
  }
}

test(`${WORLDS} worlds: each job has one result, in time`, async () => {
  const seen = { deaths: 0, beyondOne: 0, expired: 0, completed: 0 }
  for (let seed = 1; seed <= WORLDS; seed++) {
    const of = turmoil(seed)
    const say = `world ${seed}`
    const ends = new Map<string, number>()
    const late: string[] = []
    const away = of.restarts.reduce((sum, { forS }) => sum + forS + SILENT, 0)
    const world: World = new World({
      seed,
      source: sourceOf(of, seed),
      provider: { capacity: () => of.capacity, faults: of.faults },
      until: TURMOIL,
      policy: (parts) =>
        new HeadgatePolicy({
          ...{ ...parts, seed, predictions: false, film: null, restarts: of.restarts },
          config: configOf({ settled_max: 0, ...of.config }),
          found: (findings) => world.found(findings),
          jobs: { until: null },
        }),
      onEnd({ id, durable, arrivedAt }) {
        if (!durable) return
        ends.set(id, (ends.get(id) ?? 0) + 1)
        const tookS = (world.clock.instant - arrivedAt) / 1_000
        // Nobody can end it while nobody is there, or while its owner may live.
        if (tookS > of.backlog.deadlineS! + away + SOON) late.push(`${id} after ${tookS} s`)
      },
    })
    await world.runThrough()

    const facts = world.policy.facts.jobs!
    expect(world.findings, say).toEqual([])
    expect(late, say).toEqual([])
    expect([...ends.values()], say).toEqual(Array.from({ length: of.backlog.jobs }, () => 1))
    expect(facts, say).toMatchObject({ asked: ends.size, stored: ends.size, ended: ends.size })
    expect([facts.kept, facts.refused], say).toEqual([0, 0])
    const { deaths } = world.policy.facts
    const cut = deaths.reduce((sum, one) => sum + one.cut, 0)
    expect(facts.beyondOne, `${say}: each call beyond one is told`).toBeLessThanOrEqual(facts.told)
    expect(facts.told, `${say}: and no more than a death can do`).toBeLessThanOrEqual(cut)
    seen.deaths += deaths.length
    seen.beyondOne += facts.beyondOne
    seen.expired += facts.expired
    seen.completed += facts.ended - facts.expired - facts.failed
  }
  // Else the worlds are too kind to show anything.
  for (const [what, n] of Object.entries(seen)) expect(n, what).toBeGreaterThan(WORLDS / 10)
}, 600_000)

function sourceOf({ calls, backlog }: Turmoil, seed: number): Source {
  const like = poisson({ ...calls, until: Infinity }, seed, 'like')
  return merged([poisson(calls, seed, 'calls'), backlogSource({ backlog, like, seed })])
}
