/** Random fleets under random traffic, at a provider that fails, whose instances are killed: every call has one outcome,
 *  all together are never above what one instance may have in flight, and when it is over all that waited is served. */
import { expect, test } from 'vitest'
import { seeded } from '../../services/simulator/chance.ts'
import { FleetPolicy } from '../../services/simulator/fleet-policy.ts'
import type { Restart } from '../../services/simulator/job.ts'
import { FAULTS, type Fault } from '../../services/simulator/provider-model.ts'
import { sdkCaller } from '../../services/simulator/sdk-caller.ts'
import { Throws } from '../../services/simulator/throws.ts'
import { merged, poisson, type Source, type Stream } from '../../services/simulator/workload.ts'
import { World } from '../../services/simulator/world.ts'
import { configOf } from '../support/core-world.ts'

/** Runs in `npm test`; HEADGATE_RUNS raises it. */
const WORLDS = Math.ceil(Number(process.env['HEADGATE_RUNS'] ?? 400) / 25)
/** Traffic, faults and deaths come and go in this time, in seconds. */
const TURMOIL = 120
/** Longest time of a call, from its arrival to the end of its time. */
const DEADLINE = 90
/** Beyond it: a death that is noticed, the wait after a second one, an attempt that is closed. */
const SOON = 2 * 4.25 + 15 + 20

interface Turmoil {
  whole: number
  capacity: number
  instances: number
  calls: Stream[]
  faults: Fault[]
  kills: Restart[]
  sameName: boolean
  sdk: boolean
}

function turmoil(seed: number): Turmoil {
  const dice = new Throws(seeded(seed, 'fleet world'))
  const whole = dice.logInt(4, 40)
  const service = dice.log(1, 12)
  const rate = (dice.log(0.1, 1.5) * whole) / service
  const calm = { tenants: { prefix: 't', count: 5 }, service, until: TURMOIL, deadline: DEADLINE }
  const kind = (lane: string, part: number): Stream => ({
    ...{ ...calm, lane, rate: () => rate * part, rateMost: rate * part },
    ...(dice.pick([true, false]) ? { ttft: Math.min(0.5, service / 2) } : {}),
  })
  return {
    whole,
    capacity: dice.pick([whole, whole, 2 * whole, Math.ceil(whole / 2)]),
    instances: dice.logInt(2, 6),
    calls: [kind('interactive', 0.6), kind('premium', 0.2), kind('batch', 0.2)],
    faults: Array.from({ length: dice.logInt(1, 3) }, () => {
      const from = dice.log(1, TURMOIL)
      return {
        kind: dice.pick(FAULTS),
        share: dice.log(0.02, 1),
        from,
        until: from + dice.log(1, 30),
      }
    }),
    kills: killsOf(dice),
    sameName: dice.pick([true, false]),
    sdk: dice.pick([true, false]),
  }
}

/** Never two at once who are away: somebody lives at each. */
function killsOf(dice: Throws): Restart[] {
  const kills: Restart[] = []
  for (let at = dice.log(1, TURMOIL); at < TURMOIL && kills.length < 5;) {
    const forS = dice.log(0.2, 30)
    kills.push({ atS: at, forS })
    at += forS + dice.log(0.1, TURMOIL / 2)
  }
  return kills
}

const sourceFor = ({ calls }: Turmoil, seed: number): Source =>
  merged(calls.map((one) => poisson(one, seed, one.lane)))

test(`${WORLDS} worlds: each call has one outcome, and all together no more than one alone`, async () => {
  const seen = { deaths: 0, askedAgain: 0, broken: 0, unanswered: 0, full: 0, served: 0 }
  for (let seed = 1; seed <= WORLDS; seed++) {
    const of = turmoil(seed)
    const say = `world ${seed}`
    const ends = new Map<string, number>()
    let lastEnd = 0
    const world: World = new World({
      seed,
      source: sourceFor(of, seed),
      provider: { capacity: () => of.capacity, faults: of.faults },
      until: TURMOIL,
      policy: (parts) => {
        const policy = new FleetPolicy({
          ...{ ...parts, seed, predictions: false },
          ...{ instances: of.instances, kills: of.kills, sameName: of.sameName },
          config: configOf({
            settled_max: 0,
            llm_gateway: { max_inflight_global: of.whole },
            concurrency_limit: { initial: of.whole, floor: 1, ceiling: of.whole },
          }),
          found: (findings) => world.found(findings),
        })
        return of.sdk ? sdkCaller(policy, { clock: parts.clock, seed }) : policy
      },
      onEnd({ id, arrivedAt }) {
        ends.set(id, (ends.get(id) ?? 0) + 1)
        lastEnd = Math.max(lastEnd, (world.clock.instant - arrivedAt) / 1_000)
      },
    })
    await world.runThrough()

    const fleet = world.policy.facts.fleet!
    expect(world.findings, say).toEqual([])
    expect([...ends.values()], say).toEqual(Array.from({ length: world.requests }, () => 1))
    expect(lastEnd, say).toBeLessThan(DEADLINE + SOON)
    expect(fleet.most, say).toBeLessThanOrEqual(of.whole)
    expect(fleet.given, say).toBeLessThanOrEqual(of.whole)
    expect(fleet.kills, say).toHaveLength(of.kills.length)
    for (const { lost, askedAgain, broken, unanswered } of fleet.kills)
      expect(askedAgain + broken + unanswered, say).toBeLessThanOrEqual(lost)
    for (const kill of fleet.kills)
      for (const what of ['askedAgain', 'broken', 'unanswered'] as const) seen[what] += kill[what]
    seen.deaths += fleet.kills.length
    seen.full += fleet.most === of.whole ? 1 : 0
    seen.served += world.tally.lane('interactive').completed
  }
  // Else the worlds are too kind to show anything.
  for (const [what, n] of Object.entries(seen)) expect(n, what).toBeGreaterThan(WORLDS / 10)
}, 600_000)
