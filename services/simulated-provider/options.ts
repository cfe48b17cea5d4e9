/** What the simulated provider can be told at its start; every default stands here. */
import type { Millis, Tokens } from '#contracts/units'
import { systemClock, type Clock } from './system.ts'

/** Rate limits per minute of one model class; what is absent is unlimited. */
export interface Limits {
  /** Requests per minute. */
  rpm?: number
  /** Input tokens per minute, cache reads excluded. */
  itpm?: Tokens
  /** Output tokens per minute. */
  otpm?: Tokens
  /** A bucket holds this many seconds of its limit. 60 is the documented burst; 1 enforces 60 per
   *  minute as 1 per second. */
  burstSeconds?: number
}

export interface SimulatedProviderOptions {
  /** TCP port; 0 takes any free one. */
  port?: number
  /** Address to listen on. */
  host?: string
  /** Same seed, same order of requests: same answers. */
  seed?: number
  /** Hidden concurrency: above it some requests get 529, more the further above. */
  capacity?: number
  /** Limits of the organisation, for each model class separately. */
  limits?: Limits
  /** Limits of each API key within the organisation, for each model class separately. */
  workspaceLimits?: Limits
  /** Divides every wait of the provider's own (service, faults, refusals); never a quota's refill. */
  speed?: number
  /** Median time to first token; 0 answers at once. */
  ttftMs?: Millis
  /** Output speed; 0 means all at once. */
  tokensPerSecond?: number
  /** Mean length of an answer; 0 makes every answer one token long. */
  outputTokens?: Tokens
  /** A stream that is silent while the model thinks sends a ping this often. */
  pingEveryMs?: Millis
  /** How long a message batch takes at least; the default lets it take as long as its longest answer. */
  batchMs?: Millis
  /** API keys that are known; absent: any. */
  keys?: readonly string[]
  /** Requests that the ledger remembers; past it the oldest is dropped and counted. */
  ledgerMax?: number
  clock?: Clock
}

export type Settings = Required<Omit<SimulatedProviderOptions, 'keys'>> & {
  keys: ReadonlySet<string> | null
}

const defaults = {
  port: 0,
  host: '127.0.0.1',
  seed: 1,
  capacity: Infinity,
  limits: {},
  workspaceLimits: {},
  speed: 1,
  ttftMs: 400,
  tokensPerSecond: 60,
  outputTokens: 300,
  pingEveryMs: 10_000,
  batchMs: 0,
  ledgerMax: 100_000,
  clock: systemClock,
} as const satisfies Omit<Settings, 'keys'>

/** Lowest value that makes sense, per number. */
const lowest = {
  port: 0,
  capacity: 0,
  speed: Number.MIN_VALUE,
  ttftMs: 0,
  tokensPerSecond: 0,
  outputTokens: 0,
  pingEveryMs: 1,
  batchMs: 0,
  ledgerMax: 1,
} as const

/** Options with defaults; throws when one makes no sense, saying what is allowed. */
export function settle(options: SimulatedProviderOptions): Settings {
  const given = Object.fromEntries(Object.entries(options).filter(([, v]) => v !== undefined))
  const settings: Settings = {
    ...defaults,
    ...given,
    keys: options.keys === undefined ? null : new Set(options.keys),
  }
  for (const [name, least] of Object.entries(lowest)) {
    const value = settings[name as keyof typeof lowest]
    if (!(value >= least)) {
      throw new RangeError(`${name}: expected a number of at least ${least}, got ${value}`)
    }
  }
  for (const name of ['limits', 'workspaceLimits'] as const) {
    const problem = limitsProblem(settings[name])
    if (problem !== null) throw new RangeError(`${name}.${problem}`)
  }
  return settings
}

export const LIMIT_NAMES = ['rpm', 'itpm', 'otpm', 'burstSeconds'] as const

/** What is wrong with some limits, or null. */
export function limitsProblem(limits: object): string | null {
  for (const [name, value] of Object.entries(limits) as [string, unknown][]) {
    if (!LIMIT_NAMES.some((known) => known === name)) {
      return `${name}: unknown; allowed: ${LIMIT_NAMES.join(', ')}`
    }
    if (typeof value !== 'number' || !(value > 0)) {
      return `${name}: expected a number above 0, got ${JSON.stringify(value)}`
    }
  }
  return null
}
