/** What a scenario is, and what they are made of: who asks, by which rates. */
import type { Seconds } from '#contracts/units'
import type * as measure from './figures.ts'
import type { Backlog, Fleet, Policy, Restart } from './job.ts'
import type { ProviderSettings } from './provider-model.ts'
import type { World } from './world.ts'
import { merged, poisson, type Source, type Stream } from './workload.ts'

export interface ScenarioParameters {
  load: number
  reserved: number
  noise: number
}

export interface Part {
  name: string
  /** Arrivals end here. */
  until: Seconds
  /** In the words of `headgate.yaml`, over the common setting. */
  config?: Record<string, unknown>
  /** Over what Headgate ships with, not over the common setting. */
  shipped?: boolean
  source: (seed: number, until: Seconds) => Source
  /** May follow from the seed, as arrivals do. */
  provider: ProviderSettings | ((seed: number) => ProviderSettings)
  events?: PartEvents | ((seed: number) => PartEvents)
  /** What the best possible is counted in. */
  unit: 'work' | 'requests' | 'inputTokens' | 'outputTokens'
  /** Compare predicted waits with real ones. */
  predictions?: boolean
  /** Keep a row for each call. */
  calls?: boolean
  /** Callers of Headgate ask again as an SDK does; those of the others do anyway. */
  asksAgain?: boolean
  /** Let in what a prediction would refuse. */
  unpredicted?: boolean
  /** Durable jobs beside the traffic; then it is also played without them. */
  backlog?: Backlog
  /** Calls that its jobs are like; absent: those of the traffic. */
  like?: Part['source']
  /** The scheduler's process dies. */
  restarts?: readonly Restart[]
  /** Instances that share the limits; absent: one alone. */
  fleet?: Fleet
}

type PartEvents = { at: Seconds; act: (world: World) => void }[]

export interface Scenario {
  name: string
  title: string
  parameters: (keyof ScenarioParameters)[]
  /** Whose columns a report has; absent: everybody's. */
  policies?: readonly Policy[]
  parts: (parameters: ScenarioParameters) => Part[]
  figures: (run: measure.Run) => Record<string, number | null>
  /** By figure, `<= 0.3` or `>= 0.85`; a number may depend on the parameters. */
  must: (parameters: ScenarioParameters) => Record<string, string>
}

const I = { prefix: 'i', count: 20 }
const P = { prefix: 'p', count: 5 }
const B = { prefix: 'b', count: 5 }
const SERVICE = { I: 6, P: 6, B: 25 }

type Rate = number | ((at: Seconds) => number)
export type Caller = Partial<Stream> & { per: Rate }

export function stream(lane: string, of: Caller, until: Seconds, most?: number): Stream {
  const { per, ...more } = of
  const letter = lane === 'premium' ? 'P' : lane === 'batch' ? 'B' : 'I'
  return {
    lane,
    tenants: { I, P, B }[letter],
    service: SERVICE[letter],
    rate: typeof per === 'number' ? () => per : per,
    rateMost: typeof per === 'number' ? per : (most ?? 0),
    until,
    ...more,
  }
}

/** Interactive, premium and batch callers, each by its rate. */
export function callers(of: { I?: Caller; P?: Caller; B?: Caller; most?: number }): Part['source'] {
  return (seed, until) => {
    const lanes = { I: 'interactive', P: 'premium', B: 'batch' } as const
    const sources = (['I', 'P', 'B'] as const).flatMap((letter) => {
      const caller = of[letter]
      return caller === undefined
        ? []
        : [poisson(stream(lanes[letter], caller, until, of.most), seed, letter)]
    })
    return merged(sources)
  }
}

export const atLoad = (load: number): { I: Caller; P: Caller } => ({
  I: { per: 7.5 * load },
  P: { per: 2.5 * load },
})
/** As many slots as the common setting may use, and not one more. */
export const sixty: ProviderSettings = { capacity: () => 60 }
export const within = (at: Seconds, from: Seconds, until: Seconds): boolean =>
  at >= from && at < until

/** No rate is above 1. */
export const BREAKER_OFF = { llm_gateway: { circuit_breaker: { error_rate_threshold: 1 } } }

export const HOUR = 3_600

export const round = (value: number): number => Math.round(value * 1_000) / 1_000
