/** The load of the overload benchmark, and what it is judged by: one provider with a capacity that it does not
 *  tell, half as much again asked for, a storm of 529 and a cut of the quota. `npm run bench -- overload` meets
 *  it on real parts, the scenario `overload` in virtual time; both read their figures here. */
import type { Millis, Seconds } from '#contracts/units'
import type { ProviderSettings } from './provider-model.ts'
import { merged, poisson, type Source } from './workload.ts'

export interface OverloadOptions {
  seed: number
  /** Length of the run; storm and cut keep their places and shares of it. */
  seconds: Seconds
  /** Calls that the provider serves at once; one more is refused at once. */
  capacity: number
  /** What the quota allows in the cut, as a share of what the capacity would serve; absent: half. */
  cut?: number
}

/** Times as parts of the run: of 240 s, a storm from 60 s to 84 s and a cut from 144 s to 180 s. */
const STORM = { from: 0.25, until: 0.35 }
const CUT = { from: 0.6, until: 0.75 }
/** Share of calls that a storm lets through. */
export const STORM_PASSES = 0.1
const CUT_SHARE = 0.5
/** Calls that a quota which has rested lets through at once. */
export const CUT_BURST = 10
/** Mean service, and how much it varies. */
export const SERVICE = { mean: 1, cv: 0.3 } as const
/** Asked for, over what the capacity serves. Interactive alone asks for three quarters of it. */
const OFFERED = 1.5
const TENANTS = 20
/** One tenant asks so many times what each of the others asks. */
const GREED = 20
export const GREEDY = 'greedy0'
export const LANES = { interactive: 8, batch: 120 } as const
export const PHASES = ['before', 'storm', 'between', 'cut', 'after'] as const
export type Phase = (typeof PHASES)[number]

export const isStorm = (at: Seconds, seconds: Seconds): boolean =>
  at >= STORM.from * seconds && at < STORM.until * seconds
export const isCut = (at: Seconds, seconds: Seconds): boolean =>
  at >= CUT.from * seconds && at < CUT.until * seconds
export const stormEnd = (seconds: Seconds): Seconds => STORM.until * seconds

export function phaseOf(at: Seconds, seconds: Seconds): Phase {
  if (at < STORM.from * seconds) return 'before'
  if (at < STORM.until * seconds) return 'storm'
  if (at < CUT.from * seconds) return 'between'
  return at < CUT.until * seconds ? 'cut' : 'after'
}

/** Calls per second that the quota allows in the cut. */
export const cutRate = (of: Pick<OverloadOptions, 'capacity' | 'cut'>): number =>
  ((of.cut ?? CUT_SHARE) * of.capacity) / SERVICE.mean

/** The same provider in virtual time; chance in the storm is the provider's own. */
export const overloadProvider = (of: Omit<OverloadOptions, 'seed'>): ProviderSettings => ({
  capacity: () => of.capacity,
  quota: {
    requests: {
      limit: (at) => (isCut(at, of.seconds) ? 60 * cutRate(of) : Infinity),
      burst: CUT_BURST,
    },
    headers: false,
  },
  faults: [
    {
      kind: 'overloaded',
      share: 1 - STORM_PASSES,
      from: STORM.from * of.seconds,
      until: STORM.until * of.seconds,
      afterMs: 5,
    },
  ],
})

export const overloadTenants = (): string[] => [
  GREEDY,
  ...Array.from({ length: TENANTS - 1 }, (_, i) => `quiet${i}`),
]

export function overloadSource(of: OverloadOptions): Source {
  const perLane = (OFFERED * of.capacity) / SERVICE.mean / 2
  const share = perLane / (TENANTS - 1 + GREED)
  const parts = [
    { prefix: 'greedy', count: 1, rate: GREED * share },
    { prefix: 'quiet', count: TENANTS - 1, rate: (TENANTS - 1) * share },
  ]
  return merged(
    (['interactive', 'batch'] as const).flatMap((lane) =>
      parts.map(({ rate, ...tenants }) =>
        poisson(
          {
            lane,
            tenants,
            rate: () => rate,
            rateMost: rate,
            service: SERVICE.mean,
            serviceCv: SERVICE.cv,
            deadline: LANES[lane],
            until: of.seconds,
          },
          of.seed,
          `overload ${lane} ${tenants.prefix}`,
        ),
      ),
    ),
  )
}

/** One call and what became of it. */
export interface OverloadRow {
  /** When it was asked. */
  at: Millis
  lane: string
  model: string
  tenant: string
  serviceMs: Millis
  /** When it was over; null: not before the run was. */
  endedAt: Millis | null
  /** Answered, and by its deadline. */
  inTime: boolean
  /** Tries that reached the provider. */
  attempts: number
  /** Of these, answered 429 or 529. */
  refused: number
  /** What it was refused with at last; null or absent: it was not, or nobody knows. */
  code?: string | null
}

export interface OverloadFigures {
  interactiveInTime: number
  byPhase: Record<Phase, number>
  /** The same for the tenants that ask for little, outside storm and cut. */
  quietInTime: number
  /** Answers in time per second. */
  batchPerS: number
  /** Useful slot-seconds within the run over all that the provider has, and over what storm and quota leave. */
  ofCapacity: number
  ofPossible: number
  refusedUpstream: number
  attemptsPerStarted: number
  /** From the storm's end until answers come at 90 % of their rate before it; null: never. */
  recoveryS: Seconds | null
}

/** Answers are counted over so many seconds at a time, so that chance moves their rate by little. */
const RECOVERY = { window: 3, share: 0.9, warmUp: 0.05 }

export function overloadFigures(
  rows: readonly OverloadRow[],
  of: Omit<OverloadOptions, 'seed'>,
): OverloadFigures {
  const { seconds, capacity } = of
  const end = seconds * 1_000
  const interactive = rows.filter((row) => row.lane === 'interactive')
  const phases = Map.groupBy(interactive, (row) => phaseOf(row.at / 1_000, seconds))
  const calm = (row: OverloadRow): boolean =>
    !isStorm(row.at / 1_000, seconds) && !isCut(row.at / 1_000, seconds)
  const within = rows.filter((row) => row.inTime && row.endedAt !== null && row.endedAt <= end)
  const useful = within.reduce((sum, row) => sum + row.serviceMs, 0) / 1_000
  const started = rows.filter((row) => row.attempts > 0)
  const attempts = started.reduce((sum, row) => sum + row.attempts, 0)
  return {
    interactiveInTime: share(interactive),
    byPhase: Object.fromEntries(
      PHASES.map((phase) => [phase, share(phases.get(phase) ?? [])]),
    ) as Record<Phase, number>,
    quietInTime: share(interactive.filter((row) => row.tenant !== GREEDY && calm(row))),
    batchPerS: within.filter((row) => row.lane === 'batch').length / seconds,
    ofCapacity: useful / (capacity * seconds),
    ofPossible: useful / possible(of),
    refusedUpstream: started.reduce((sum, row) => sum + row.refused, 0) / Math.max(1, attempts),
    attemptsPerStarted: attempts / Math.max(1, started.length),
    recoveryS: recovery(rows, seconds),
  }
}

const share = (rows: readonly OverloadRow[]): number =>
  rows.length === 0 ? 0 : rows.filter((row) => row.inTime).length / rows.length

/** Slot-seconds: all slots, in the cut what the quota fills, in the storm the share of calls that pass, with as
 *  many calls as slots. */
function possible(of: Omit<OverloadOptions, 'seed'>): number {
  const { seconds, capacity } = of
  const storm = (STORM.until - STORM.from) * seconds
  const cut = (CUT.until - CUT.from) * seconds
  const inCut = Math.min(capacity, cutRate(of) * SERVICE.mean)
  return capacity * (seconds - storm - cut) + inCut * cut + STORM_PASSES * capacity * storm
}

function recovery(rows: readonly OverloadRow[], seconds: Seconds): Seconds | null {
  const perSecond = new Float64Array(Math.ceil(seconds) + 1)
  for (const { inTime, endedAt } of rows) {
    const second = Math.floor((endedAt ?? Infinity) / 1_000)
    if (inTime && second < seconds) perSecond[second]! += 1
  }
  const mean = (from: number, until: number): number => {
    let sum = 0
    for (let i = from; i < until; i++) sum += perSecond[i]!
    return sum / (until - from)
  }
  const mark =
    RECOVERY.share * mean(Math.ceil(RECOVERY.warmUp * seconds), Math.floor(STORM.from * seconds))
  const from = Math.ceil(stormEnd(seconds))
  for (let at = from; at + RECOVERY.window <= Math.floor(CUT.from * seconds); at++)
    if (mean(at, at + RECOVERY.window) >= mark) return at - from
  return null
}

/** Headgate's configuration: defaults, but for bounds that a large provider would never reach. */
export function overloadConfig(of: { initial: number | null; capacity: number }): {
  [key: string]: unknown
} {
  const { initial } = of
  const most = Math.max(initial ?? 0, Math.ceil(ROOM * of.capacity))
  return {
    ...(most > DEFAULTS.global ? { llm_gateway: { max_inflight_global: most } } : {}),
    concurrency_limit: {
      ...(initial === null ? {} : { initial }),
      ...(most > DEFAULTS.ceiling ? { ceiling: most } : {}),
    },
  }
}

/** Defaults of the bounds that would stand in the way of a large provider, and the room above its capacity. */
const DEFAULTS = { global: 60, ceiling: 128 }
const ROOM = 1.25

// ---- as a table ----

export const OVERLOAD_HEAD = [
  '',
  'interactive in time',
  'before, storm, between, cut, after',
  'quiet tenants outside storm and cut',
  'batch/s in time',
  'useful share of capacity',
  'of capacity and quota',
  'calls refused upstream',
  'attempts per started',
  'recovery s',
] as const

export function overloadCells(name: string, of: OverloadFigures): string[] {
  const percent = (value: number, digits = 1): string => (100 * value).toFixed(digits)
  return [
    name,
    `${percent(of.interactiveInTime)} %`,
    `${PHASES.map((phase) => percent(of.byPhase[phase], 0)).join(', ')} %`,
    `${percent(of.quietInTime)} %`,
    of.batchPerS.toFixed(1),
    `${percent(of.ofCapacity)} %`,
    `${percent(of.ofPossible)} %`,
    `${percent(of.refusedUpstream)} %`,
    of.attemptsPerStarted.toFixed(2),
    of.recoveryS === null ? 'never' : String(of.recoveryS),
  ]
}

export function markdownTable(rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const [head = [], ...body] = rows
  return [line(head), line(head.map(() => '---')), ...body.map(line)].join('\n')
}
