/** Several instances that share one quota, in virtual time: a run repeats to the byte, what a death does to callers is
 *  what `headgate/client` makes of it, and all together use no more than one alone. */
import { describe, expect, test } from 'vitest'
import { fleetFigures, fleetWords } from '../../services/simulator/fleet-figures.ts'
import { FleetPolicy } from '../../services/simulator/fleet-policy.ts'
import { Run, type PartRun } from '../../services/simulator/figures.ts'
import type { FleetFigures, Restart } from '../../services/simulator/job.ts'
import type { ProviderSettings } from '../../services/simulator/provider-model.ts'
import { sdkCaller } from '../../services/simulator/sdk-caller.ts'
import { simulateScenario } from '../../services/simulator/simulate.ts'
import type { How } from '../../services/simulator/sim-request.ts'
import { promisesKept } from '../../services/simulator/system.ts'
import { poisson, type Source } from '../../services/simulator/workload.ts'
import { World, type WorldOptions } from '../../services/simulator/world.ts'
import { configOf } from '../support/core-world.ts'
import { sourceOf } from '../support/simulated.ts'

interface Of {
  source?: Source
  provider?: ProviderSettings
  until?: number
  seed?: number
  instances?: number
  kills?: readonly Restart[]
  policy?: typeof FleetPolicy
  /** Callers leave at their deadline. */
  sdk?: boolean
  sameName?: boolean
  unpredicted?: boolean
  events?: NonNullable<WorldOptions['events']>
}

interface End {
  id: string
  at: number
  how: How
  code: string | null
}

const SMALL = {
  llm_gateway: { max_inflight_global: 30 },
  concurrency_limit: { initial: 30, ceiling: 30 },
}

async function played(of: Of): Promise<{ world: World; fleet: FleetFigures; ends: End[] }> {
  const { until = 120, seed = 1, instances = 3, kills = [], policy: Policy = FleetPolicy } = of
  const ends: End[] = []
  const world: World = new World({
    ...{ seed, until, source: of.source ?? traffic(until, seed), events: of.events ?? [] },
    provider: of.provider ?? { capacity: () => 30 },
    policy: (parts) => {
      const policy = new Policy({
        ...{ ...parts, seed, instances, kills, predictions: true, sameName: of.sameName ?? false },
        config: configOf({ settled_max: 0, ...SMALL }),
        found: (findings) => world.found(findings),
        unpredicted: of.unpredicted ?? false,
      })
      return of.sdk === true ? sdkCaller(policy, { clock: parts.clock, seed }) : policy
    },
    onEnd: ({ id }, how, code) => ends.push({ id, at: world.clock.instant / 1_000, how, code }),
  })
  await world.runThrough()
  const run = { facts: world.policy.facts, tally: world.tally, until } as PartRun
  return { world, fleet: fleetFigures(new Run([run]))!, ends }
}

const traffic = (until: number, seed: number, per = 5): Source =>
  poisson(
    {
      ...{ lane: 'interactive', tenants: { prefix: 'i', count: 5 }, service: 5, until },
      ...{ rate: () => per, rateMost: per, ttft: 0.5, deadline: 60 },
    },
    seed,
    'traffic',
  )

const KILLS: Restart[] = [
  { atS: 30, forS: 10 },
  { atS: 33, forS: 20 },
  { atS: 80, forS: 5 },
]

describe('a run of a fleet', () => {
  test('repeats to the byte, and another seed is another', async () => {
    const once = (seed: number) => played({ seed, kills: KILLS })
    const [one, same, other] = [await once(1), await once(1), await once(2)]
    expect(same.world.hash).toBe(one.world.hash)
    expect([same.fleet, same.ends]).toEqual([one.fleet, one.ends])
    expect(other.world.hash).not.toBe(one.world.hash)
    expect(one.world.findings).toEqual([])
  })

  test('is the same run where promises are kept after every instant', async () => {
    class Patient extends FleetPolicy {
      override settled(): Promise<void> {
        void super.settled()
        return promisesKept()
      }
    }
    const plain = await played({ kills: KILLS })
    const patient = await played({ kills: KILLS, policy: Patient })
    expect(patient.world.hash).toBe(plain.world.hash)
    expect(patient.fleet).toEqual(plain.fleet)
  })

  test('divides the calls, and the slots of one instance', async () => {
    const { world, fleet } = await played({ source: traffic(120, 1, 9) })
    expect(world.findings).toEqual([])
    expect(fleet).toMatchObject({ instances: 3, whole: 30, most_inflight: 30, lapses: 0 })
    expect(fleet.most_given).toBe(30)
    const asked = fleet.members.map(({ requests }) => requests)
    expect(asked.reduce((sum, n) => sum + n, 0)).toBe(world.requests)
    for (const n of asked) expect(n / world.requests).toBeCloseTo(1 / 3, 1)
    for (const { most_inflight: most } of fleet.members) expect(most).toBeGreaterThan(5)
  })

  test('whom the seed has killed is not always the same', async () => {
    const first = new Set<string>()
    for (let seed = 1; seed <= 12; seed++) {
      const { fleet } = await played({ seed, until: 5, kills: [{ atS: 3, forS: 10 }] })
      first.add(fleet.kills[0]!.member)
    }
    expect([...first].toSorted()).toEqual(['i1', 'i2', 'i3'])
  })

  test.each([
    { name: 'S2', part: 0.25 },
    { name: 'S4', part: 0.2 },
    { name: 'S5', part: 0.4 },
  ])('$name: three do nearly what one does', async ({ name, part }) => {
    const goodput = async (
      fleet: { instances: number; kills: []; sameName: false } | null,
    ): Promise<number> => {
      const job = { label: '', policy: 'headgate', config: null, fleet } as const
      const what = { name, part, load: null, reserved: null, noise: null }
      const result = await simulateScenario(job, what, [1])
      expect(result.findings).toEqual([])
      return result.figures['goodput_of_optimum']!
    }
    const [one, three] = [
      await goodput(null),
      await goodput({ instances: 3, kills: [], sameName: false }),
    ]
    expect(Math.abs(three / one - 1)).toBeLessThan(0.05)
  })
})

describe('the death of an instance', () => {
  const at = 10
  const kills: Restart[] = [{ atS: at, forS: 10 }]
  /** So many that each instance has some. */
  const many = (of: object): object[] => Array.from({ length: 12 }, () => of)

  test('costs a plain call a second one, asked of another within 2 to 4.25 s', async () => {
    const { world, fleet, ends } = await played({
      source: sourceOf(...many({ at: 9_000, serviceMs: 3_000 })),
      kills,
    })
    expect(world.findings).toEqual([])
    const [kill] = fleet.kills
    expect(kill).toMatchObject({ broken: 0, unanswered: 0, thrown_away_s: kill!.cut })
    expect(kill!.lost).toBeGreaterThan(0)
    expect(kill!.asked_again).toBe(kill!.lost)
    expect(ends.every(({ how }) => how === 'completed')).toBe(true)
    const late = ends.filter((one) => one.at > 12)
    expect(late).toHaveLength(kill!.lost)
    for (const one of late) {
      expect(one.at).toBeGreaterThanOrEqual(at + 2 + 3)
      expect(one.at).toBeLessThanOrEqual(at + 4.25 + 3)
    }
    expect(world.tally.allAttempts).toBe(12 + kill!.lost)
  })

  test('breaks a stream that had begun, and no other', async () => {
    const stream = { at: 9_000, serviceMs: 8_000, stream: true }
    const { world, fleet, ends } = await played({
      source: sourceOf(...many({ ...stream, ttftMs: 500 }), ...many({ ...stream, ttftMs: 2_000 })),
      kills,
    })
    expect(world.findings).toEqual([])
    const [kill] = fleet.kills
    const broken = ends.filter(({ code }) => code === 'stream_broken')
    expect(broken.length).toBeGreaterThan(0)
    expect(kill).toMatchObject({ broken: broken.length, unanswered: 0 })
    expect(kill!.asked_again).toBe(kill!.lost - broken.length)
    for (const { at: when, id } of broken) {
      expect(Number(id.slice(1))).toBeLessThan(12)
      expect(when).toBeLessThanOrEqual(at + 4.25)
    }
  })

  test('leaves without an answer who has no time to ask again', async () => {
    const { fleet, ends } = await played({
      source: sourceOf(...many({ at: 9_500, serviceMs: 3_500, deadlineMs: 2_400 })),
      kills,
    })
    const [kill] = fleet.kills
    expect(kill!.unanswered).toBe(kill!.lost)
    expect(ends.filter(({ code }) => code === 'no_answer')).toHaveLength(kill!.lost)
  })

  test('ends a call that has met one before, 15 s after its caller knows', async () => {
    const { world, fleet, ends } = await played({
      source: sourceOf(...many({ at: 9_000, serviceMs: 30_000 })),
      instances: 2,
      kills: [...kills, { atS: 18, forS: 1 }],
      seed: 2,
    })
    expect(world.findings).toEqual([])
    const unanswered = ends.filter(({ code }) => code === 'no_answer')
    expect(unanswered).toHaveLength(fleet.kills[1]!.unanswered)
    expect(unanswered.length).toBeGreaterThan(0)
    for (const one of unanswered) {
      expect(one.at).toBeGreaterThanOrEqual(18 + 2 + 15)
      expect(one.at).toBeLessThanOrEqual(18 + 4.25 + 15)
    }
  })

  test('of all of them turns away who comes, and who waits is asked again when one is there', async () => {
    const { world, fleet, ends } = await played({
      source: sourceOf({ at: 9_000, serviceMs: 3_000 }, { at: 15_000 }, { at: 40_000 }),
      instances: 2,
      kills: [
        { atS: 10, forS: 20 },
        { atS: 10, forS: 20 },
      ],
    })
    expect(world.findings).toEqual([])
    expect(fleet.turned_away).toBe(1)
    const end = (id: string): End | undefined => ends.find((one) => one.id === id)
    expect(end('r1')).toMatchObject({ at: 15, code: 'nobody_there' })
    expect(end('r2')).toMatchObject({ how: 'completed' })
    expect(end('r0')).toMatchObject({ how: 'completed' })
    // Newcomers have nothing before the shares of the dead are free, 43 s after they first saw them.
    expect(end('r0')!.at).toBeGreaterThan(30 + 43 + 3)
    expect(end('r0')!.at).toBeLessThan(30 + 43 + 3 + 1)
  })

  test.each([{ sdk: true }, { unpredicted: true }])(
    'a caller that leaves before it knows has one end: %j',
    async (how) => {
      const { world, fleet, ends } = await played({
        source: sourceOf(...many({ at: 9_500, serviceMs: 3_500, deadlineMs: 1_500 })),
        kills,
        ...how,
      })
      expect(world.findings).toEqual([])
      expect(ends).toHaveLength(12)
      for (const end of ends) expect(end).toMatchObject({ at: 11, code: 'cancelled' })
      const [kill] = fleet.kills
      expect(kill).toMatchObject({ asked_again: 0, broken: 0, unanswered: 0 })
      expect(kill!.lost).toBeGreaterThan(0)
    },
  )

  test('gives its share at once to whoever comes under its name', async () => {
    const { world, fleet } = await played({
      source: traffic(120, 1, 12),
      kills: [{ atS: 30, forS: 5 }],
      sameName: true,
    })
    expect(world.findings).toEqual([])
    const [kill] = fleet.kills
    expect(kill!.recovered_s).toBeGreaterThanOrEqual(5)
    expect(kill!.recovered_s).toBeLessThan(8)
    expect(fleet.members[3]).toMatchObject({ member: kill!.member, from_s: 35, lapses: 0 })
    for (const { member } of fleet.members) expect(['i1', 'i2', 'i3']).toContain(member)
  })

  test('keeps its share from the others for 43 s; then a newcomer has its part of all', async () => {
    const { world, fleet } = await played({
      source: traffic(120, 1, 12),
      kills: [{ atS: 30, forS: 5 }],
    })
    expect(world.findings).toEqual([])
    const inflight = (second: number) => world.tally.perSecond.inflight.at(second)
    expect(inflight(29)).toBe(30)
    for (let second = 32; second <= 72; second++) expect(inflight(second)).toBeLessThanOrEqual(21)
    expect(fleet.kills[0]!.recovered_s).toBeGreaterThan(42)
    expect(fleet.kills[0]!.recovered_s).toBeLessThan(60)
    expect(fleet.members.map(({ from_s: from }) => from)).toEqual([0, 0, 0, 35])
    expect(fleet.members[3]!.most_inflight).toBeGreaterThanOrEqual(8)
  })
})

describe('what is looked at from outside', () => {
  test('a start above what one alone may have in flight is found', async () => {
    const more = (by: number) => (world: World) => void (world.tally.inflight += by)
    const { world } = await played({
      source: sourceOf({ at: 5_000 }),
      events: [
        { at: 4, act: more(100) },
        { at: 5.5, act: more(-100) },
      ],
    })
    expect(world.findings).toEqual(['I15: r0 started above G, 101 are in flight'])
  })
})

describe('its words', () => {
  const figures: FleetFigures = {
    ...{
      instances: 3,
      whole: 60,
      same_name: false,
      most_inflight: 57,
      most_given: 60,
      turned_away: 0,
      lapses: 0,
    },
    members: [],
    kills: [
      {
        ...{ at_s: 600, for_s: 10, member: 'i2', lost: 23, asked_again: 10, broken: 12 },
        ...{ unanswered: 0, noticed_s: 4.1524, cut: 23, thrown_away_s: 59.98, recovered_s: 44 },
      },
    ],
  }

  test('say what was shared, and what each death did', () => {
    expect(fleetWords(figures)).toEqual([
      '3 instances share 60 slots: at most 57 calls were in flight together, no share ran out before it was renewed',
      'i2 was killed at 600 s, and another came 10 s later: 23 calls lost it; their callers knew within 4.152 s; ' +
        '10 were asked again of another instance, 12 were streams that had begun, and broke, 1 was given up by their callers; ' +
        '59.98 s of 23 attempts were thrown away; after 44 s nine tenths of the slots were in use again',
    ])
  })

  test('say what else there was', () => {
    const [kill] = figures.kills
    const named = fleetWords({ ...figures, same_name: true }).join('\n')
    expect(named).toContain('another came 10 s later under its name: 23')
    const idle = { ...kill!, lost: 0, asked_again: 0, broken: 0, noticed_s: 0, recovered_s: null }
    const said = fleetWords({ ...figures, turned_away: 4, lapses: 2, kills: [idle] }).join('\n')
    expect(said).toContain('2 shares ran out before it was renewed, 4 calls came while nobody')
    expect(said).toContain('0 calls lost it; 59.98 s of 23')
    expect(said).toContain('the fleet did not use as many slots again')
  })
})
