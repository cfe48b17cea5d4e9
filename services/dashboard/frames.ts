/** One second of the scheduler: what it says of itself, and what events add to it. */
import { BANDS, type Frame, type FrameRoute } from '#contracts/dashboard'
import type { BucketSnapshot, Snapshot } from '#contracts/snapshot'
import type { Dials } from './dials.ts'
import type { FeedOptions } from './feed.ts'
import type { Second } from './history.ts'
import type { Readers } from './readers.ts'
import type { Tallies } from './tallies.ts'

/** Where a machine stands, on the clock's `now`. */
export interface MachineView {
  state: string
  since: number
  counts: readonly number[]
}

/** Tenants in a frame; the table has them all. */
const BUSIEST = 20
const PARTS = 5

type Rates = Frame['rates']

export class Frames {
  readonly #of: FeedOptions & { tallies: Tallies; dials: Dials; readers: Readers }
  readonly #edgesAtStart: readonly number[]
  #edges: readonly number[]
  #counts: Rates
  #answers = new Map<string, { http429: number; http529: number }>()
  #last: Frame | null = null
  #seq = 0

  constructor(of: FeedOptions & { tallies: Tallies; dials: Dials; readers: Readers }) {
    this.#of = of
    this.#edgesAtStart = of.lifecycleCounts()
    this.#edges = this.#edgesAtStart
    this.#counts = { ...of.tallies.counts }
  }

  last(): Frame | null {
    return this.#last
  }

  next(): Frame {
    const { clock, tallies, dials, readers, ...of } = this.#of
    const now = clock.now()
    const at = Math.round(clock.wall())
    const { lanes, routes, requests_by_state, guardrails, tenants, ...rest } = of.snapshot()
    const machines = of.machines()
    const offset = clock.wall() - now
    const frame: Frame = {
      at,
      seq: ++this.#seq,
      uptime_ms: rest.uptime_ms,
      draining: rest.draining,
      emergency: rest.emergency,
      bus: rest.bus,
      doors: rest.doors,
      global: rest.global,
      lanes: lanes.map((lane) => ({
        ...lane,
        wait_p50_ms: tallies.wait(lane.name, 0.5, now),
        wait_p95_ms: tallies.wait(lane.name, 0.95, now),
      })),
      routes: routes.map((route) => this.#route(route, machines.get(route.id), offset)),
      tenants: tenants.slice(0, BUSIEST),
      held: rest.held,
      jobs: rest.jobs && { ...rest.jobs, tenants: rest.jobs.tenants.slice(0, BUSIEST) },
      waiting: rest.waiting,
      conditions: rest.conditions,
      lifecycle: this.#lifecycle(requests_by_state),
      rates: this.#rates(),
      concentration_429: tallies.throttled(PARTS, now),
      guardrails: dials.read(guardrails, at),
      breaches: [...dials.breaches()],
      transitions: [...tallies.transitions.all()],
      preemptions: [...tallies.preemptions.all()],
      alarms: [...tallies.alarms.all()],
      job_moves: [...tallies.jobMoves.all()],
      faults: of.faults?.() ?? [],
      fleet: rest.fleet,
      budgets: rest.budgets,
      readers: { open: readers.open, skipped: readers.skipped },
    }
    this.#last = frame
    return frame
  }

  /** A frame as a row of the history; once for each frame. */
  second(frame: Frame): Second {
    const { rates } = frame
    const before = this.#answers
    this.#answers = new Map(
      frame.routes.map(({ id, http_429, http_529 }) => [
        id,
        { http429: http_429, http529: http_529 },
      ]),
    )
    return {
      at: frame.at,
      total: {
        limit: frame.routes.reduce((sum, { limit }) => sum + limit, 0),
        inflight: frame.global.inflight,
        queued: frame.global.queued,
        attempts: rates.attempts,
        settled: rates.settled,
        http_429: rates.http_429,
        http_529: rates.http_529,
      },
      lanes: new Map(frame.lanes.map((lane) => [lane.name, lane])),
      ...(frame.jobs === null ? {} : { jobs: jobsOf(frame.jobs) }),
      routes: new Map(
        frame.routes.map((route) => [
          route.id,
          {
            limit: route.limit,
            inflight: route.inflight,
            band: bandOf(route.breaker),
            http_429: route.http_429 - (before.get(route.id)?.http429 ?? 0),
            http_529: route.http_529 - (before.get(route.id)?.http529 ?? 0),
            requests: fill(route.buckets.requests),
            input_tokens: fill(route.buckets.input_tokens),
            output_tokens: fill(route.buckets.output_tokens),
          },
        ]),
      ),
    }
  }

  #route(
    route: Snapshot['routes'][number],
    machines: { breaker: MachineView; limit: MachineView } | undefined,
    offset: number,
  ): FrameRoute {
    const answers = this.#of.tallies.answersOf(route.id)
    const failing = this.#of.tallies.failing(route.id, this.#of.clock.now())
    const shown = (view: MachineView | undefined, state: string) => ({
      state: view?.state ?? state,
      since: Math.round((view?.since ?? 0) + offset),
      counts: [...(view?.counts ?? [])],
    })
    return {
      ...route,
      breaker_machine: shown(machines?.breaker, route.breaker),
      limit_machine: shown(machines?.limit, route.limit_state),
      http_429: answers?.http429 ?? 0,
      http_529: answers?.http529 ?? 0,
      attempts: answers?.attempts ?? 0,
      failing: failing && { ...failing, since: Math.round(failing.since + offset) },
    }
  }

  #lifecycle(states: Snapshot['requests_by_state']): Frame['lifecycle'] {
    const edges = this.#of.lifecycleCounts()
    const before = this.#edges
    this.#edges = edges
    return {
      states: states as Frame['lifecycle']['states'],
      counts: edges.map((count, i) => count - (this.#edgesAtStart[i] ?? 0)),
      flow: edges.map((count, i) => count - (before[i] ?? 0)),
    }
  }

  #rates(): Rates {
    const { counts } = this.#of.tallies
    const before = this.#counts
    this.#counts = { ...counts }
    const since = Object.entries(counts).map(([name, count]) => [
      name,
      count - before[name as keyof Rates],
    ])
    return Object.fromEntries(since) as Rates
  }
}

/** By lane, and by tenant over its lanes. */
function jobsOf({ lanes, tenants }: NonNullable<Frame['jobs']>): NonNullable<Second['jobs']> {
  const stored = new Map<string, number>()
  for (const one of tenants)
    stored.set(one.tenant, (stored.get(one.tenant) ?? 0) + one.stored + one.taken)
  return {
    lanes: new Map(lanes.map((one) => [one.lane, one])),
    tenants: new Map([...stored].map(([tenant, count]) => [tenant, { stored: count }])),
  }
}

const bandOf = (breaker: string): number | null => {
  const band = BANDS.findIndex((name) => name === breaker)
  return band < 0 ? null : band
}

const fill = (bucket: BucketSnapshot): number | null =>
  bucket === null || bucket.burst === 0 ? null : bucket.level / bucket.burst
