/** What was: 15 minutes at a second and 24 hours at a minute, in rings of fixed size.
 *  Source: round-robin archives, as in RRDtool. Bound: `LANES_MAX` lanes, `ROUTES_MAX` routes and
 *  `JOB_TENANTS_MAX` tenants with durable jobs, of `LIVE_POINTS` and `DAY_POINTS` numbers of 4 bytes per column; a route that is gone longest makes room. */
import type { History } from '#contracts/dashboard'

export const LIVE_POINTS = 900
export const DAY_POINTS = 1_440
export const LANES_MAX = 32
export const ROUTES_MAX = 64
export const JOB_TENANTS_MAX = 20
const PER_MINUTE = 60

const TOTAL = [
  'limit',
  'inflight',
  'queued',
  'attempts',
  'settled',
  'http_429',
  'http_529',
] as const
const LANE = ['inflight', 'queued', 'wait_p50_ms', 'wait_p95_ms'] as const
const JOB_LANE = ['stored', 'oldest_ms'] as const
const JOB_TENANT = ['stored'] as const
const ROUTE = [
  'limit',
  'inflight',
  'band',
  'http_429',
  'http_529',
  'requests',
  'input_tokens',
  'output_tokens',
] as const
/** A minute is as bad as its worst second, of these. */
const WORST = new Set<string>(['band', 'wait_p50_ms', 'wait_p95_ms', 'oldest_ms'])

/** One second's values; null: none. */
type Values<C extends readonly string[]> = Record<C[number], number | null>
export interface Second {
  /** Wall time, ms. */
  at: number
  total: Values<typeof TOTAL>
  lanes: ReadonlyMap<string, Values<typeof LANE>>
  routes: ReadonlyMap<string, Values<typeof ROUTE>>
  /** Absent: no durable jobs are kept. */
  jobs?: {
    lanes: ReadonlyMap<string, Values<typeof JOB_LANE>>
    tenants: ReadonlyMap<string, Values<typeof JOB_TENANT>>
  }
}

export class HistoryRings {
  readonly #live = new Times(LIVE_POINTS)
  readonly #day = new Times(DAY_POINTS)
  readonly #total = new Columns(TOTAL)
  readonly #lanes = new Map<string, Columns<typeof LANE>>()
  readonly #routes = new Map<string, Columns<typeof ROUTE>>()
  readonly #jobLanes = new Map<string, Columns<typeof JOB_LANE>>()
  readonly #jobTenants = new Map<string, Columns<typeof JOB_TENANT>>()
  #seconds = 0

  add(second: Second): void {
    const live = this.#live.add(second.at)
    this.#total.add(live, second.total)
    addAll(this.#lanes, second.lanes, { names: LANE, most: LANES_MAX, live })
    addAll(this.#routes, second.routes, { names: ROUTE, most: ROUTES_MAX, live })
    const { lanes = NONE, tenants = NONE } = second.jobs ?? {}
    addAll(this.#jobLanes, lanes, { names: JOB_LANE, most: LANES_MAX, live })
    addAll(this.#jobTenants, tenants, { names: JOB_TENANT, most: JOB_TENANTS_MAX, live })
    if (++this.#seconds % PER_MINUTE !== 0) return
    const day = this.#day.add(second.at)
    for (const columns of this.#every()) columns.endMinute(day)
  }

  read(span: 'live' | 'day', route: string | null): History {
    const times = span === 'live' ? this.#live : this.#day
    const of = route === null ? undefined : this.#routes.get(route)
    return {
      span,
      step_ms: span === 'live' ? 1_000 : 60_000,
      t: times.read(),
      total: this.#total.read(span, times),
      lanes: [...this.#lanes].map(([name, one]) => ({ name, ...one.read(span, times) })),
      jobs: {
        lanes: [...this.#jobLanes].map(([name, one]) => ({ name, ...one.read(span, times) })),
        tenants: [...this.#jobTenants].map(([name, one]) => ({ name, ...one.read(span, times) })),
      },
      routes: [...this.#routes.keys()],
      route: route === null || of === undefined ? null : { id: route, ...of.read(span, times) },
    }
  }

  *#every(): Generator<{ endMinute(place: number): void }> {
    yield this.#total
    yield* this.#lanes.values()
    yield* this.#routes.values()
    yield* this.#jobLanes.values()
    yield* this.#jobTenants.values()
  }
}

const NONE: ReadonlyMap<string, never> = new Map<string, never>()

function addAll<const C extends readonly string[]>(
  known: Map<string, Columns<C>>,
  now: ReadonlyMap<string, Values<C>>,
  of: { names: C; most: number; live: number },
): void {
  for (const name of now.keys()) {
    if (known.has(name)) continue
    if (known.size >= of.most && !forgetAbsent(known, now)) continue
    known.set(name, new Columns(of.names))
  }
  for (const [name, columns] of known) columns.add(of.live, now.get(name) ?? null)
}

/** False: all are present. */
function forgetAbsent<C extends readonly string[]>(
  known: Map<string, Columns<C>>,
  now: ReadonlyMap<string, unknown>,
): boolean {
  let longest: string | null = null
  let absent = 0
  for (const [name, columns] of known)
    if (!now.has(name) && columns.absent >= absent) {
      longest = name
      absent = columns.absent
    }
  return longest !== null && known.delete(longest)
}

/** When each point was, and where in the ring. */
class Times {
  readonly #at: Float64Array
  #points = 0

  constructor(size: number) {
    this.#at = new Float64Array(size)
  }

  /** The place of the new point. */
  add(wall: number): number {
    const place = this.#points++ % this.#at.length
    this.#at[place] = Math.round(wall) / 1_000
    return place
  }

  read(): number[] {
    return this.inOrder(this.#at)
  }

  inOrder(ring: Float32Array | Float64Array): number[] {
    const size = this.#at.length
    if (this.#points <= size) return Array.from(ring.subarray(0, this.#points))
    const oldest = this.#points % size
    return [...ring.subarray(oldest), ...ring.subarray(0, oldest)]
  }
}

/** Some columns over both spans; NaN where there is no value. */
class Columns<C extends readonly string[]> {
  readonly #columns: readonly {
    name: C[number]
    live: Float32Array
    day: Float32Array
    sum: number
    count: number
    worst: number
  }[]
  /** Seconds without a value. */
  absent = 0

  constructor(names: C) {
    this.#columns = names.map((name: C[number]) => ({
      name,
      live: new Float32Array(LIVE_POINTS).fill(NaN),
      day: new Float32Array(DAY_POINTS).fill(NaN),
      sum: 0,
      count: 0,
      worst: -Infinity,
    }))
  }

  add(place: number, values: Values<C> | null): void {
    this.absent = values === null ? this.absent + 1 : 0
    for (const column of this.#columns) {
      const value = values?.[column.name] ?? null
      column.live[place] = value ?? NaN
      if (value === null) continue
      column.sum += value
      column.count++
      if (value > column.worst) column.worst = value
    }
  }

  endMinute(place: number): void {
    for (const column of this.#columns) {
      const mean = column.count === 0 ? NaN : column.sum / column.count
      column.day[place] = column.count > 0 && WORST.has(column.name) ? column.worst : mean
      column.sum = 0
      column.count = 0
      column.worst = -Infinity
    }
  }

  read(span: 'live' | 'day', times: Times): Record<C[number], (number | null)[]> {
    const read = this.#columns.map((one) => [one.name, times.inOrder(one[span]).map(shown)])
    return Object.fromEntries(read) as Record<C[number], (number | null)[]>
  }
}

const shown = (value: number): number | null =>
  Number.isNaN(value) ? null : Math.round(value * 1_000) / 1_000
