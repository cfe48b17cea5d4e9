/** A world from one number: a configuration, callers, a provider, and what goes wrong with it, all at random and all
 *  over by `faultsEnd`. What comes after is for `liveness` to look at. */
import type { Config } from '#contracts/config'
import type { Seconds, Tokens } from '#contracts/units'
import { seeded } from './chance.ts'
import { FAULTS, type Fault, type ProviderSettings } from './provider-model.ts'
import type { PerMinute } from './quota-bucket.ts'
import { randomConfig, type Needs } from './random-config.ts'
import { outputOf, reachOf, tenantMay, type Given } from './reach.ts'
import { Throws } from './throws.ts'

/** Calls of one kind. */
export interface Calls {
  lane: string
  model: string
  tenants: readonly string[]
  /** By chance, or by the clock, the first after `first`. */
  come: { perSecond: number } | { every: Seconds; first: Seconds }
  /** Mean and variation of what a call takes. */
  service: Seconds
  cv: number
  input: Tokens
  /** Of a streamed answer; null: not streamed. */
  ttft: Seconds | null
  /** Null: the lane's. */
  deadline: Seconds | null
}

/** So often somebody calls where little is asked for. */
const QUIET: Seconds = 30

export interface RandomWorld {
  seed: number
  config: Config
  reloads: readonly { at: Seconds; config: Config }[]
  /** What is in force when the faults are over. */
  last: Config
  provider: ProviderSettings
  given: Given
  faultsEnd: Seconds
  paused: readonly { lane: string; from: Seconds; until: Seconds }[]
  /** Callers take back every n-th call. */
  cancels: readonly { at: Seconds; everyNth: number }[]
  /** The clock goes wrong by so much. */
  skews: readonly { at: Seconds; by: Seconds }[]
  /** An operator has a blocked account tested when the faults are over; else its own time must come. */
  mends: boolean
  turmoil: readonly Calls[]
  /** Little work, and every route has some. */
  calm: readonly Calls[]
  /** More than there is room for, on one route. */
  push: readonly Calls[]
}

const CAPACITY = { least: 1, most: 40 }
/** Calls per second that a world serves at most, and asks for at most, so that thousands of worlds can be run. */
const BUSY = { serves: 8, asks: 14 }
const CALM = 0.3
const PUSH = 1.6

export function randomWorld(seed: number): RandomWorld {
  const dice = new Throws(seeded(seed, 'random world'))
  const capacity = dice.logInt(CAPACITY.least, CAPACITY.most)
  const service = Math.max(dice.log(0.4, 8), capacity / BUSY.serves)
  const needs: Needs = {
    models: ['m0', 'm1', 'm2'].slice(0, dice.pick([1, 1, 1, 2, 2, 3])),
    lanes: ['fourth', 'fifth'].slice(0, dice.pick([0, 0, 1, 2])),
    tenants: Array.from({ length: dice.logInt(1, 12) }, (_, i) => `t${i}`),
    service,
    inputTokens: dice.logInt(50, 20_000),
    outputTokens: Math.ceil(outputOf(service)),
    slots: capacity,
    perSecond: capacity / service,
  }
  const faultsEnd = Math.round(dice.log(40, 240))
  const provider = randomProvider(dice, { ...needs, faultsEnd })
  const config = randomConfig(dice, needs)
  const reloads = instants(dice, dice.pick([0, 0, 0, 1, 2]), faultsEnd).map((at) => ({
    at,
    config: randomConfig(dice, needs),
  }))
  const last = reloads.at(-1)?.config ?? config
  const asks = callsOf(dice, needs)
  const names = last.lanes.map((lane) => lane.name)
  const { given } = provider
  return {
    seed,
    config,
    reloads,
    last,
    provider: provider.settings,
    given,
    faultsEnd,
    paused: windows(dice, dice.pick([0, 0, 0, 1, 2]), faultsEnd).map((window) => ({
      lane: dice.pick(names),
      ...window,
    })),
    cancels: instants(dice, dice.pick([0, 0, 1, 2]), faultsEnd).map((at) => ({
      at,
      everyNth: dice.int(1, 4),
    })),
    skews: instants(dice, dice.pick([0, 0, 0, 0, 0, 1]), faultsEnd).map((at) => ({
      at,
      by: dice.pick([-5, 7, 60, 3_600]),
    })),
    mends: dice.chance(0.5),
    turmoil: turmoilOf(dice, asks, needs),
    calm: calmOf(dice, asks, { last, given, needs }),
    push: pushOf(dice, asks, { last, given, needs }),
  }
}

// ---- callers ----

/** Calls of a lane on a model, whose rate is still open. */
type Ask = (lane: string, model: string) => Calls

function callsOf(dice: Throws, needs: Needs): Ask {
  const cv = dice.pick([0.2, 0.6, 1])
  const ttft = dice.chance(0.5) ? Math.min(needs.service, dice.log(0.1, 1)) : null
  const deadline = dice.chance(0.4) ? dice.log(20 * needs.service + 20, 600) : null
  const kinds = new Map<string, Calls>()
  return (lane, model) => {
    const key = `${lane} ${model}`
    const known = kinds.get(key)
    if (known !== undefined) return known
    const few = dice.chance(0.3) ? [dice.pick(needs.tenants)] : needs.tenants
    const one: Calls = {
      lane,
      model,
      tenants: few,
      come: { perSecond: 0 },
      service: needs.service * (lane === 'batch' ? 1 : dice.log(0.3, 1)),
      cv,
      input: needs.inputTokens,
      ttft,
      deadline,
    }
    kinds.set(key, one)
    return one
  }
}

/** Who calls: everybody, one lane alone, the two ends. Lanes of the first configuration, some of which a later one
 *  may not have: then its calls are refused. */
function lanesOf(dice: Throws, names: readonly string[]): readonly string[] {
  const kind = dice.pick(['batch', 'premium', 'all', 'ends', 'one'] as const)
  if (kind === 'all') return names
  if (kind === 'ends') return ['premium', 'batch']
  return [kind === 'one' ? dice.pick(names) : kind]
}

function turmoilOf(dice: Throws, ask: Ask, needs: Needs): Calls[] {
  const lanes = lanesOf(dice, ['premium', 'interactive', 'batch', ...needs.lanes])
  const load = dice.pick([0.05, 0.5, 0.9, 1.5, 3])
  const kinds = lanes.flatMap((lane) => needs.models.map((model) => ask(lane, model)))
  if (dice.chance(0.15)) return inTurn(kinds, QUIET)
  const all = Math.min(BUSY.asks, load * needs.perSecond)
  return kinds.map((one) => ({ ...one, come: { perSecond: all / kinds.length } }))
}

/** Models of this world that are served at its end. */
const served = ({ last, needs }: After): readonly string[] =>
  last.routes === null
    ? needs.models
    : needs.models.filter((model) => last.routes?.some((one) => one.model === model))

interface After {
  last: Config
  given: Given
  needs: Needs
}

/** Far below what the calls may have, however it is shared, and with time enough. */
function calmOf(dice: Throws, ask: Ask, of: After): Calls[] {
  const lanes = lanesOf(
    dice,
    of.last.lanes.map((lane) => lane.name),
  )
  const kinds = served(of).flatMap((model) => lanes.map((lane) => ask(lane, model)))
  const all = kinds.map((one) => ({ ...one, deadline: unhurried(of.last, one) }))
  const most = all.map((one) => {
    const { slots, perSecond } = reachOf(of.last, one, of.given)
    // They come from its tenants in equal parts, and one of them may have less than another.
    const least = Math.min(...one.tenants.map((name) => tenantMay(of.last, name)))
    const evenly = Math.min(slots, one.tenants.length * least)
    return CALM * Math.min(evenly / one.service, perSecond, BUSY.asks)
  })
  if (dice.chance(0.3)) return inTurn(all, Math.max(QUIET, 1 / Math.min(...most)))
  return all.map((one, i) => ({ ...one, come: { perSecond: most[i]! / kinds.length } }))
}

/** One call after the other, so far apart. */
const inTurn = (kinds: readonly Calls[], gap: Seconds): Calls[] =>
  kinds.map((one, i) => ({ ...one, come: { every: kinds.length * gap, first: 1 + i * gap } }))

function pushOf(dice: Throws, ask: Ask, of: After): Calls[] {
  const lanes = lanesOf(
    dice,
    of.last.lanes.map((lane) => lane.name),
  )
  const model = dice.pick(served(of))
  return lanes.map((lane) => {
    const one = ask(lane, model)
    const calls = { ...one, deadline: unhurried(of.last, one) }
    const { slots, perSecond } = reachOf(of.last, calls, of.given)
    const most = Math.min(BUSY.asks, PUSH * Math.min(slots / calls.service, perSecond))
    return { ...calls, come: { perSecond: most / lanes.length } }
  })
}

/** A deadline that only a sick house misses. */
function unhurried(config: Config, { lane, service }: Calls): Seconds | null {
  const enough = 40 * service + 60
  const own = (config.lanes.find((one) => one.name === lane)?.timeoutMs ?? 0) / 1_000
  return own >= enough ? null : enough
}

// ---- the provider ----

function randomProvider(
  dice: Throws,
  of: Needs & { faultsEnd: Seconds },
): { settings: ProviderSettings; given: Given } {
  const { slots: capacity, faultsEnd } = of
  const steps = windows(dice, dice.pick([0, 0, 1, 2, 3]), faultsEnd).map((window) => ({
    ...window,
    factor: dice.pick([0, 0.25, 0.5, 2]),
  }))
  const quota = randomQuota(dice, of)
  const settings: ProviderSettings = {
    overload: dice.pick(['hard', 'hard', 'soft', 'slow']),
    capacity: (at) => {
      const step = steps.find((one) => at >= one.from && at < one.until)
      return step === undefined ? capacity : Math.floor(capacity * step.factor)
    },
    apart: dice.chance(0.4),
    faults: windows(dice, dice.int(1, 6), faultsEnd).map((window) => randomFault(dice, window, of)),
    ...(quota === null ? {} : { quota: quota.settings }),
  }
  const none = { requests: Infinity, input: Infinity, output: Infinity }
  return { settings, given: { capacity, quota: quota?.given ?? none } }
}

interface Dimension {
  given: number
  settings?: PerMinute
}
/** Of tokens a minute, that a provider gives to anybody. */
const LEAST_TOKENS = 8_000

function randomQuota(
  dice: Throws,
  of: Needs & { faultsEnd: Seconds },
): { settings: NonNullable<ProviderSettings['quota']>; given: Given['quota'] } | null {
  const cuts = windows(dice, dice.pick([0, 1, 2]), of.faultsEnd).map((window) => ({
    ...window,
    factor: dice.real(0.1, 0.6),
  }))
  const cutTo = (at: Seconds): number =>
    cuts.find((one) => at >= one.from && at < one.until)?.factor ?? 1
  const dimension = (p: number, each: number, least: number): Dimension => {
    const limit = Math.max(least, Math.ceil(60 * of.perSecond * each * dice.log(0.3, 10)))
    if (!dice.chance(p)) return { given: Infinity }
    return { given: limit, settings: { limit: (at) => limit * cutTo(at), burst: limit } }
  }
  const requests = dimension(0.6, 1, 5)
  const input = dimension(0.3, of.inputTokens, LEAST_TOKENS)
  const output = dimension(0.3, of.outputTokens, LEAST_TOKENS)
  const headers = dice.chance(0.6)
  if (dice.chance(0.5)) return null
  return {
    settings: {
      headers,
      ...(requests.settings === undefined ? {} : { requests: requests.settings }),
      ...(input.settings === undefined ? {} : { input: input.settings }),
      ...(output.settings === undefined ? {} : { output: output.settings }),
    },
    given: { requests: requests.given, input: input.given, output: output.given },
  }
}

function randomFault(
  dice: Throws,
  window: { from: Seconds; until: Seconds },
  { models }: Needs,
): Fault {
  const kind = dice.pick(FAULTS)
  const share = dice.pick([0.05, 0.3, 0.9, 1])
  const model = dice.pick(models)
  const only = dice.chance(0.3)
  return {
    ...window,
    kind,
    // One answer of these stops the account, so that a small share does as much.
    share: kind === 'spent' ? 0.1 * share : share,
    ...(only ? { model } : {}),
    retryAfterMs: Math.round(1_000 * dice.log(0.5, 300)),
    factor: dice.log(2, 20),
    plain: dice.chance(0.5),
  }
}

// ---- times ----

const instants = (dice: Throws, many: number, until: Seconds): Seconds[] =>
  Array.from({ length: many }, () => dice.int(1, until - 1)).toSorted((a, b) => a - b)

const windows = (dice: Throws, many: number, end: Seconds): { from: Seconds; until: Seconds }[] =>
  Array.from({ length: many }, () => {
    const from = dice.real(0, 0.9) * end
    return { from, until: Math.min(end, from + dice.log(2, 120)) }
  })
