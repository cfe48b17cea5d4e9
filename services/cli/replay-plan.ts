/** Who asks for what and when: a trace or a Poisson stream made into arrivals, by rules that a reader can
 *  see and a seed that repeats them.
 *
 *  Demand is slot-seconds per second: a call holds a slot for the simulated provider's time to first token
 *  (median 0.4 s, lognormal, so 0.43 s on average) plus its tokens at 60 per second. A trace that asks for
 *  less than the load wanted is laid over itself, each copy shifted by an equal part of its length; what that
 *  is too much is thinned by dice. A trace shorter than the run begins again.
 *  Tenants: a Zipf law, exponent 1.1; with a noisy one: 20 equal tenants, the first of them noisy.
 *  Lanes: 20 % premium, 50 % interactive, 30 % batch. Every second call is streamed, by dice. */
import type { Trace } from '#contracts/trace-file'
import { exponential, lognormal, seeded, zipf, type Throw } from './seeded.ts'

export interface PlanOptions {
  seed: number
  speed: number
  /** Share of the slots that is asked for. */
  load: number
  slots: number
  /** Real seconds. */
  forS: number
  tenants: number
  flood: { lane: string; factor: number } | null
  noisy: number | null
}

export interface Arrival {
  /** Real milliseconds since the start. */
  atMs: number
  input: number
  output: number
  stream: boolean
  tenant: string
  lane: string
  /** Where it is counted. */
  row: string
  /** Beside the load: cancelled when the run ends. */
  extra: boolean
}

export interface Plan {
  arrivals: Arrival[]
  /** Slot-seconds per second that the arrivals ask for, extras apart. */
  demand: number
  /** What was done to the trace, for people. */
  rule: string
}

export const LANES = [
  { name: 'premium', share: 0.2 },
  { name: 'interactive', share: 0.5 },
  { name: 'batch', share: 0.3 },
] as const
export const ZIPF_EXPONENT = 1.1
export const NOISY_TENANTS = 20
/** As the simulated provider has them by default. */
const TTFT_MEAN_S = 0.4 * Math.exp(0.4 ** 2 / 2)
const TOKENS_PER_SECOND = 60
/** A steady stream's calls; about those of the Azure conversation trace. */
const STEADY = { input: 1_000, output: 210, sigma: 0.9 }
/** More than this is another machine's work. */
export const ARRIVALS_MAX = 2_000_000

/** Mean seconds that a call holds a slot, at speed 1. */
export const serviceS = (output: number): number => TTFT_MEAN_S + output / TOKENS_PER_SECOND

export class PlanError extends Error {
  override readonly name = 'PlanError'
}

export function planTrace(trace: Trace, of: PlanOptions): Plan {
  const windowS = of.forS * of.speed
  const period = trace.lastS + trace.lastS / (trace.rows.length - 1)
  const natural = trace.rows.reduce((sum, row) => sum + serviceS(row.output), 0) / period
  const factor = (of.load * of.slots) / natural
  const copies = Math.max(1, Math.ceil(factor))
  const keep = factor / copies
  const dice = seeded(of.seed, 'thinning')
  const calls: Call[] = []
  for (let begin = 0; begin < windowS; begin += period) {
    for (const row of trace.rows) {
      for (let copy = 0; copy < copies; copy++) {
        if (dice() >= keep) continue
        const atS = begin + ((row.atS + (copy * period) / copies) % period)
        if (atS < windowS) checked(calls).push({ atS, input: row.input, output: row.output })
      }
    }
  }
  calls.sort((a, b) => a.atS - b.atS)
  const rule =
    `${trace.rows.length} rows of ${Math.round(trace.lastS)} s ask for ${natural.toFixed(1)} slots; ` +
    `${copies} ${copies === 1 ? 'copy' : 'shifted copies'}, ${(keep * 100).toFixed(1)} % kept`
  return assign(calls, of, rule)
}

export function planSteady(of: PlanOptions): Plan {
  const meanGapS = serviceS(STEADY.output) / (of.load * of.slots)
  const calls = poisson({ meanGapS, windowS: of.forS * of.speed, seed: of.seed, purpose: 'steady' })
  return assign(calls, of, `Poisson arrivals, ${(1 / meanGapS).toFixed(1)} per second at speed 1`)
}

interface Call {
  atS: number
  input: number
  output: number
}

function poisson(of: { meanGapS: number; windowS: number; seed: number; purpose: string }): Call[] {
  const dice = seeded(of.seed, of.purpose)
  const calls: Call[] = []
  let atS = 0
  while ((atS += exponential(of.meanGapS, dice)) < of.windowS) {
    const output = Math.max(
      1,
      Math.round(lognormal({ mean: STEADY.output, sigma: STEADY.sigma, dice })),
    )
    checked(calls).push({ atS, input: STEADY.input, output })
  }
  return calls
}

function assign(calls: readonly Call[], of: PlanOptions, rule: string): Plan {
  const laneOf = laneDice(seeded(of.seed, 'lanes'))
  const streams = seeded(of.seed, 'streams')
  const tenantOf = tenantDice(of)
  const arrivals = calls.map(({ atS, input, output }): Arrival => {
    const lane = laneOf()
    const tenant = tenantOf()
    const noisy = of.noisy !== null && tenant === 0
    return {
      atMs: (atS / of.speed) * 1_000,
      input,
      output,
      stream: streams() < 0.5,
      tenant: tenantName(tenant),
      lane,
      row: noisy ? NOISY_ROW : lane,
      extra: false,
    }
  })
  const demand = calls.reduce((sum, call) => sum + serviceS(call.output), 0) / (of.forS * of.speed)
  const extras = [...flood(of), ...noise(of, demand)]
  const all = extras.length === 0 ? arrivals : merged(arrivals, extras)
  return { arrivals: all, demand, rule }
}

export const NOISY_ROW = 'noisy tenant'
export const floodRow = (lane: string): string => `flood of ${lane}`
export const tenantName = (number: number): string => `t${String(number + 1).padStart(3, '0')}`

/** FACTOR x capacity of one lane's work, from five tenants of their own. */
function flood(of: PlanOptions): Arrival[] {
  if (of.flood === null) return []
  const { lane, factor } = of.flood
  const meanGapS = serviceS(STEADY.output) / (factor * of.slots)
  const calls = poisson({ meanGapS, windowS: of.forS * of.speed, seed: of.seed, purpose: 'flood' })
  return calls.map(({ atS, input, output }, n) => ({
    atMs: (atS / of.speed) * 1_000,
    input,
    output,
    stream: false,
    tenant: `flood${(n % 5) + 1}`,
    lane,
    row: floodRow(lane),
    extra: true,
  }))
}

/** What lifts the first of the equal tenants to FACTOR times each other. */
function noise(of: PlanOptions, demand: number): Arrival[] {
  if (of.noisy === null || of.noisy <= 1) return []
  const meanGapS = (serviceS(STEADY.output) * NOISY_TENANTS) / ((of.noisy - 1) * demand)
  const calls = poisson({ meanGapS, windowS: of.forS * of.speed, seed: of.seed, purpose: 'noise' })
  const laneOf = laneDice(seeded(of.seed, 'noise lanes'))
  return calls.map(({ atS, input, output }) => ({
    atMs: (atS / of.speed) * 1_000,
    input,
    output,
    stream: false,
    tenant: tenantName(0),
    lane: laneOf(),
    row: NOISY_ROW,
    extra: true,
  }))
}

function merged(some: readonly Arrival[], others: readonly Arrival[]): Arrival[] {
  const all = some.concat(others)
  checked(all)
  return all.sort((a, b) => a.atMs - b.atMs)
}

function tenantDice(of: PlanOptions): () => number {
  const dice = seeded(of.seed, 'tenants')
  if (of.noisy !== null) return () => Math.floor(dice() * NOISY_TENANTS)
  return zipf({ count: of.tenants, exponent: ZIPF_EXPONENT, dice })
}

function laneDice(dice: Throw): () => string {
  return () => {
    let left = dice()
    for (const { name, share } of LANES) if ((left -= share) < 0) return name
    return LANES[2].name
  }
}

function checked<T>(list: T[]): T[] {
  if (list.length < ARRIVALS_MAX) return list
  throw new PlanError(
    `more than ${ARRIVALS_MAX} arrivals: lower --speed, --for, --load or the factor`,
  )
}
