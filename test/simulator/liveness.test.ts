/** Whatever goes wrong: when it is over, the house comes to life again. Thousands of worlds: `npm run sim --
 *  liveness`. */
import { describe, expect, test } from 'vitest'
import { resolve } from '#contracts/config'
import { liveness, livenessOf, type LivenessResult } from '../../services/simulator/liveness.ts'
import type { Fault } from '../../services/simulator/provider-model.ts'
import { randomWorld, type Calls, type RandomWorld } from '../../services/simulator/random-world.ts'
import { reachOf } from '../../services/simulator/reach.ts'
import { configOf } from '../support/core-world.ts'

const WORLDS = 60
/** Of many more: those that showed something that the first ones do not. */
const FURTHER = [105, 772, 1622, 5054, 5136, 5390]
/** Worlds that do not come to life again as they should. There may only be fewer of them. */
const TROUBLED: readonly number[] = []

const seeds = (many: number): number[] => Array.from({ length: many }, (_, i) => i + 1)

describe('random worlds come to life again', () => {
  const results = [...seeds(WORLDS), ...FURTHER].map((seed) => liveness(seed, { moreS: 0 }))

  test('no law is broken in any', () => {
    expect(
      results.flatMap(({ seed, findings }) => findings.map((one) => `${seed}: ${one}`)),
    ).toEqual([])
  })

  test('all that waits is served, breakers close, limits grow back, nothing is held', () => {
    const troubled = results.filter(({ trouble }) => trouble !== null)
    const fresh = troubled.filter(({ seed }) => !TROUBLED.includes(seed)).map(wordsOf)
    expect(fresh).toEqual([])
  })

  test('a world repeats', () => {
    expect(liveness(7, { moreS: 0 })).toEqual(results[6])
  })
})

const wordsOf = ({ seed, trouble }: LivenessResult): string =>
  `seed ${seed}: ${trouble?.phase}: ${trouble?.what}; ${JSON.stringify(trouble?.waiting)}`

/** One model, one lane, a sound provider of ten slots. */
const world = (of: Partial<RandomWorld> = {}): RandomWorld => {
  const calls: Calls = {
    lane: 'interactive',
    model: 'm0',
    tenants: ['t0', 't1'],
    come: { perSecond: 2 },
    service: 1,
    cv: 0.5,
    input: 500,
    ttft: 0.2,
    deadline: 60,
  }
  const config = of.config ?? configOf({})
  return {
    seed: 1,
    config,
    reloads: [],
    last: config,
    provider: { capacity: () => 10 },
    given: { capacity: 10, quota: { requests: Infinity, input: Infinity, output: Infinity } },
    faultsEnd: 40,
    paused: [],
    cancels: [],
    skews: [],
    mends: false,
    turmoil: [calls],
    calm: [calls],
    push: [{ ...calls, come: { perSecond: 14 } }],
    ...of,
  }
}
const fault = (of: Partial<Fault> & Pick<Fault, 'kind'>): RandomWorld['provider'] => ({
  capacity: () => 10,
  faults: [{ share: 1, from: 5, until: 40, ...of }],
})
const troubleOf = (of: Partial<RandomWorld>) => livenessOf(world(of), { moreS: 0 }).trouble

describe('the look at a world', () => {
  test('finds nothing where nothing is wrong', () => {
    const { trouble, took, requests } = livenessOf(world(), { moreS: 0 })
    expect(trouble).toBeNull()
    expect(Object.keys(took)).toEqual(['calm', 'push', 'rest'])
    expect(requests).toBeGreaterThan(100)
  })

  test.each(['overloaded', 'reset', 'unauthorised', 'throttled', 'slow'] as const)(
    'finds that %s was survived',
    (kind) => expect(troubleOf({ provider: fault({ kind }) })).toBeNull(),
  )

  test('finds that a fault does not end', () => {
    const trouble = troubleOf({ provider: fault({ kind: 'overloaded', until: Infinity }) })
    expect(trouble).toMatchObject({ phase: 'calm' })
    expect(trouble?.routes).toMatchObject([{ route: 'default-m0', provider: 'full' }])
    expect(trouble?.routes[0]?.breaker).not.toBe('closed')
  })

  test('finds who is kept waiting, and by what', () => {
    const config = configOf({ llm_gateway: { max_inflight_global: 2 } })
    // More comes, says the yardstick, than there is room for.
    const lavish = { ...configOf({}), maxInflight: 60 }
    const trouble = troubleOf({ config, last: lavish })
    expect(trouble).toMatchObject({ phase: 'push', waiting: [{ reason: 'global', bound: 2 }] })
    expect(trouble?.what).toMatch(/^2\.0 of 10\.0 slots/)
  })

  test('waits for an account that is blocked, as long as a block lasts', () => {
    const { trouble, took } = livenessOf(
      world({ provider: fault({ kind: 'spent', share: 0.1 }) }),
      {
        moreS: 0,
      },
    )
    expect(trouble).toBeNull()
    expect(took.calm?.s).toBeGreaterThan(600)
  })

  test('an operator ends the block at once', () => {
    const provider = fault({ kind: 'spent', share: 0.1 })
    const { took } = livenessOf(world({ provider, mends: true }), { moreS: 0 })
    expect(took.calm?.s).toBeLessThan(120)
  })
})

describe('what calls may have', () => {
  const calls = world().push[0]!
  const { given } = world()
  const slots = (config: object, own: Partial<Calls> = {}): number =>
    reachOf(configOf(config), { ...calls, ...own }, given).slots
  const free = { llm_gateway: { max_inflight_global: 100 } }

  test.each([
    ['what the provider has', free, 10],
    ['the global limit', { llm_gateway: { max_inflight_global: 4 } }, 4],
    ['the ceiling', { concurrency_limit: { initial: 3, ceiling: 6, floor: 1 } }, 6],
    ['a cap of its tenants together', { llm_gateway: { max_inflight_per_tenant: 3 } }, 6],
    ['the cap of its lane, in parts of the base', { lanes: { interactive: { cap: 30 } } }, 5],
    ['what another lane does not hold', { lanes: { premium: { reserved_slots: 20 } } }, 6],
    ['one slot at least', { lanes: { interactive: { cap: 1 } } }, 1],
  ])('%s', (_, config, expected) => expect(slots(config)).toBe(expected))

  test('who may not use a limit to the full needs no more of it than there was', () => {
    const config = {
      concurrency_limit: { initial: 4, floor: 1 },
      lanes: { interactive: { cap: 30 } },
    }
    expect(slots(config)).toBe(2)
  })

  test('headroom is left by preemptible lanes only', () => {
    const config = { scheduling: { headroom: 30 } }
    expect(slots(config)).toBe(10)
    expect(slots(config, { lane: 'batch' })).toBe(5)
  })

  test('starts a second are those of the scarcest quota, configured or not', () => {
    const routes = [
      { model: 'm0', rpm: 120, quota: 'q' },
      { model: 'm1', quota: 'q', itpm: 30_000 },
    ]
    const { perSecond } = reachOf(configOf({ routes }), calls, given)
    // 30,000 tokens a minute for calls of 500, of which 95 % are used.
    expect(perSecond).toBeCloseTo(0.95)
    const poor = { ...given, quota: { ...given.quota, requests: 30 } }
    expect(reachOf(configOf({}), calls, poor).perSecond).toBeCloseTo(0.475)
  })
})

describe('worlds at random', () => {
  const worlds = seeds(400).map(randomWorld)
  const configs = worlds.flatMap(({ config, reloads }) => [
    config,
    ...reloads.map((one) => one.config),
  ])

  test('have configurations without contradictions', () => {
    for (const { file, emergency } of configs)
      expect(resolve(file, { emergency }).contradictions).toEqual([])
  })

  test('end their faults when they say so', () => {
    for (const { provider, faultsEnd, given } of worlds) {
      for (const one of provider.faults ?? []) expect(one.until).toBeLessThanOrEqual(faultsEnd)
      expect(provider.capacity(faultsEnd)).toBe(given.capacity)
    }
  })

  test('have every thing that can be different', () => {
    const some = (of: (one: RandomWorld) => boolean): number => worlds.filter(of).length
    const lane = (of: (one: RandomWorld['last']['lanes'][number]) => boolean) =>
      some(({ last }) => last.lanes.some(of))
    const seen = {
      emergency: some(({ last }) => last.emergency),
      reloads: some(({ reloads }) => reloads.length > 0),
      paused: some(({ paused }) => paused.length > 0),
      skews: some(({ skews }) => skews.length > 0),
      limitOfOne: some(({ last }) => last.routeDefaults.initial === 1),
      routesNamed: some(({ last }) => last.routes !== null),
      sharedQuota: some(
        ({ last }) => last.routes?.some(({ quota }) => quota === 'shared') === true,
      ),
      tenantCap: some(({ last }) => last.tenantCap !== null),
      headroom: some(({ last }) => last.file.scheduling.headroom !== undefined),
      customLane: lane(({ name }) => name === 'fourth'),
      holds: lane(({ reservedSlots }) => reservedSlots > 0),
      delayControl: lane(({ delayControl }) => delayControl),
      apart: some(({ provider }) => provider.apart === true),
      quota: some(({ provider }) => provider.quota !== undefined),
      quiet: some(({ calm }) => calm.every(({ come }) => 'every' in come)),
      batchAlone: some(({ push }) => push.every((one) => one.lane === 'batch')),
    }
    expect(Object.entries(seen).filter(([, n]) => n < 5)).toEqual([])
    expect(new Set(worlds.map(({ provider }) => provider.overload)).size).toBe(3)
    const kinds = new Set(
      worlds.flatMap(({ provider }) => provider.faults?.map(({ kind }) => kind)),
    )
    expect(kinds.size).toBe(12)
  })
})
