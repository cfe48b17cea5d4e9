/** Who asks for what and when: Poisson streams, bursts, or a recorded trace, by seeded rules that a reader
 *  can see. All policies meet the same arrivals with the same services. */
import type { Millis, Seconds, Tokens } from '#contracts/units'
import { exponential, lognormal, seeded, zipf, type Throw } from './chance.ts'
import type { Marked } from './prompt-cache.ts'
import type { Asked, Work } from './sim-request.ts'
import type { TraceArrival } from './trace-file.ts'

/** Output speed of the simulated provider. */
export const TOKENS_PER_SECOND = 60
/** Shortest service of a scenario. */
const SERVICE_LEAST: Seconds = 0.3
/** An answer ends at `max_tokens`; scenarios ask for so many times their mean. */
const MAX_OVER_MEAN = 24

export interface Arrival {
  at: Millis
  /** It is stored as a durable job. */
  durable?: true
  asked: Asked
  work: Work
}

/** Gives arrivals in order of time; null: no more. */
export interface Source {
  next(): Arrival | null
}

/** A class of callers in a scenario. */
export interface Stream {
  lane: string
  tenants: { prefix: string; count: number }
  model?: string
  /** Arrivals per second at an instant; `rateMost` bounds it. */
  rate: (at: Seconds) => number
  rateMost: number
  /** Mean service; lognormal, at least 0.3 s. */
  service: Seconds
  /** Its coefficient of variation; absent: 1. */
  serviceCv?: number
  serviceLeast?: Seconds
  input?: Tokens
  deadline?: Seconds | null
  until: Seconds
  /** Streamed answers, with this time to the first byte; absent: not streamed. */
  ttft?: Seconds
}

/** Poisson by thinning: a stream at the highest rate, of which dice keep what the rate of the moment asks. */
export function poisson(of: Stream, seed: number, name: string): Source {
  const gaps = seeded(seed, `${name} arrivals`)
  const who = seeded(seed, `${name} tenants`)
  const serve = serviceOf(of, seeded(seed, `${name} services`))
  let at: Seconds = 0
  return {
    next() {
      for (;;) {
        at += exponential(1 / of.rateMost, gaps)
        if (at >= of.until) return null
        const rate = of.rate(at)
        if (rate < of.rateMost && gaps() * of.rateMost >= rate) continue
        const tenant = `${of.tenants.prefix}${Math.floor(who() * of.tenants.count)}`
        return { at: Math.round(at * 1_000), asked: askedOf(of, tenant), work: serve() }
      }
    },
  }
}

/** `size` requests in the same instant, every `every` seconds from `from` on. */
export function bursts(
  of: Stream & { from: Seconds; every: Seconds; size: number },
  seed: number,
  name: string,
): Source {
  const who = seeded(seed, `${name} tenants`)
  const serve = serviceOf(of, seeded(seed, `${name} services`))
  let at = of.from
  let left = of.size
  return {
    next() {
      if (left === 0) {
        at += of.every
        left = of.size
      }
      if (at >= of.until) return null
      left--
      const tenant = `${of.tenants.prefix}${Math.floor(who() * of.tenants.count)}`
      return { at: Math.round(at * 1_000), asked: askedOf(of, tenant), work: serve() }
    },
  }
}

function askedOf(of: Stream, tenant: string): Asked {
  return {
    tenant,
    lane: of.lane,
    model: of.model ?? MODEL,
    stream: of.ttft !== undefined,
    maxTokens: Math.ceil(of.service * TOKENS_PER_SECOND * MAX_OVER_MEAN),
    deadlineMs: of.deadline === undefined || of.deadline === null ? null : of.deadline * 1_000,
  }
}

function serviceOf(of: Stream, dice: Throw): () => Work {
  const draw = lognormal({ mean: of.service, cv: of.serviceCv ?? 1 })
  const least = of.serviceLeast ?? SERVICE_LEAST
  const most = 0.95 * of.service * MAX_OVER_MEAN
  const inputTokens = of.input ?? 1_000
  return () => {
    const seconds = Math.min(most, Math.max(least, draw(dice)))
    const serviceMs = Math.round(seconds * 1_000)
    const outputTokens = Math.max(1, Math.round(seconds * TOKENS_PER_SECOND))
    const ttftMs = Math.min(serviceMs, Math.round((of.ttft ?? 0) * 1_000))
    return { serviceMs, ttftMs, inputTokens, outputTokens }
  }
}

/** Several sources as one, in order of time; at equal times, in order of the list. */
export function merged(sources: readonly Source[]): Source {
  const heads = sources.map((source) => source.next())
  return {
    next() {
      let first = -1
      for (let i = 0; i < heads.length; i++) {
        const head = heads[i]
        if (head === null || head === undefined) continue
        if (first < 0 || head.at < heads[first]!.at) first = i
      }
      if (first < 0) return null
      const arrival = heads[first]!
      heads[first] = sources[first]!.next()
      return arrival
    },
  }
}

/** Time to first token of a trace's calls: lognormal around the median of the simulated provider. */
const TRACE_TTFT = { mean: 0.4 * Math.exp(0.4 ** 2 / 2), cv: Math.sqrt(Math.exp(0.4 ** 2) - 1) }
/** Room over the answer that was given, in steps that callers choose. */
const MAX_TOKENS = [256, 1_024, 4_096, 16_384, 65_536]
export const ZIPF_EXPONENT = 1.1
/** That all ask for where nothing says another. */
export const MODEL = 'claude'

/** A trace's arrivals, `scale` times as dense. A row without tenant or lane gets them by dice, every second
 *  call is streamed, and a call holds its slot for a time to first token and 60 tokens a second. Rows that mark the same
 *  prefix are of one tenant: that of the first of them. */
export function traced(
  rows: readonly TraceArrival[],
  of: {
    seed: number
    scale: number
    tenants: number
    lanes: readonly { name: string; share: number }[]
    /** That is asked where the row does not say; absent: `claude`. */
    model?: string
    until: Seconds
  },
): Source {
  const tenants = zipf({
    count: of.tenants,
    exponent: ZIPF_EXPONENT,
    dice: seeded(of.seed, 'trace tenants'),
  })
  const lanes = seeded(of.seed, 'trace lanes')
  const streams = seeded(of.seed, 'trace streams')
  const times = seeded(of.seed, 'trace services')
  const ttft = lognormal(TRACE_TTFT)
  const names = Array.from({ length: of.tenants }, (_, i) => `t${i + 1}`)
  /** Whose a prefix is; at most one for each row. */
  const owners = new Map<string, string>()
  let row = 0
  return {
    next() {
      const one = rows[row++]
      if (one === undefined || one.atMs > of.until * of.scale * 1_000) return null
      const tenant = ownerOf(owners, one.marked, names[tenants()]!)
      const lane = drawnLane(of.lanes, lanes())
      const stream = streams() < 0.5
      const ttftMs = Math.max(1, Math.round(ttft(times) * 1_000))
      const outputTokens = Math.max(1, one.outputTokens)
      return {
        at: Math.round(one.atMs / of.scale),
        asked: {
          tenant: one.tenant ?? tenant,
          lane: one.lane ?? lane,
          model: one.model ?? of.model ?? MODEL,
          stream: one.stream ?? stream,
          maxTokens:
            one.maxTokens ?? MAX_TOKENS.find((most) => most >= outputTokens) ?? outputTokens,
          deadlineMs: one.deadlineMs,
          ...(one.marked === null ? {} : { marked: one.marked }),
        },
        work: {
          serviceMs: ttftMs + Math.round((outputTokens / TOKENS_PER_SECOND) * 1_000),
          ttftMs,
          inputTokens: one.inputTokens,
          outputTokens,
        },
      }
    },
  }
}

function ownerOf(owners: Map<string, string>, marked: Marked | null, drawn: string): string {
  if (marked === null) return drawn
  const owner = owners.get(marked.name) ?? drawn
  owners.set(marked.name, owner)
  return owner
}

function drawnLane(lanes: readonly { name: string; share: number }[], drawn: number): string {
  let sum = 0
  for (const { name, share } of lanes) {
    sum += share
    if (drawn < sum) return name
  }
  return lanes.at(-1)!.name
}
