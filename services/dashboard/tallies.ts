/** What events add up to since the start: counts, by route where it matters, and whose the trouble is.
 *  Bound: `ROUTES_MAX` routes, `LANES_MAX` lanes. */
import type { Frame, Preemption, Transition } from '#contracts/dashboard'
import type { HeadgateEvent } from '#contracts/events'
import { DecayingCounts, Fading } from './decaying-counts.ts'
import { Recent } from './recent.ts'

export const ROUTES_MAX = 1_000
export const LANES_MAX = 64
export const TRANSITIONS_MAX = 50
export const PREEMPTIONS_MAX = 20
export const ALARMS_MAX = 20
export const JOB_MOVES_MAX = 20
/** Over how long the queue waits of a frame are. */
export const WAIT_WINDOW_MS = 60_000

type JobMove = Frame['job_moves'][number]

/** Quantiles of what was added lately. */
export interface QuantileWindow {
  add(value: number, now: number): void
  quantile(p: number, now: number): number | null
}

export interface Answers {
  attempts: number
  http429: number
  http529: number
}

/** Of those who have most. */
const CULPRITS_LOOKED_AT = 5

/** Of one route, the last seconds. */
interface Lately {
  readonly ended: Fading
  readonly failed: Map<string, Fading>
  /** Null: it does not fail. */
  failingSince: number | null
}

/** So fast a storm shows, and is forgotten. */
const LATELY_HALF_LIFE_MS = 8_000
/** Fewer failures, or a smaller part, are what retries are for. */
const FAILING = { count: 4, part: 0.2 }
/** The key is ours: one refusal of it says all, and fades within seconds. */
const KEY_REFUSED = { cause: '401', count: 0.5 }
/** Causes of a route; what comes after is `other`. */
const CAUSES_MAX = 16

type Counted = keyof Frame['rates']

export class Tallies {
  readonly counts: Record<Counted, number> = {
    accepted: 0,
    refused: 0,
    settled: 0,
    attempts: 0,
    retries: 0,
    preempted: 0,
    http_429: 0,
    http_529: 0,
    completed: 0,
    failed: 0,
  }
  readonly transitions = new Recent<Transition>(TRANSITIONS_MAX, ({ machine }) => machine)
  readonly preemptions = new Recent<Preemption>(PREEMPTIONS_MAX)
  readonly alarms = new Recent<Frame['alarms'][number]>(ALARMS_MAX)
  readonly jobMoves = new Recent<JobMove>(JOB_MOVES_MAX, ({ what }) => what)
  readonly #throttledRoutes = new DecayingCounts()
  readonly #throttledTenants = new DecayingCounts()
  readonly #calledRoutes = new DecayingCounts()
  readonly #calledTenants = new DecayingCounts()
  readonly #retriedRoutes = new DecayingCounts()
  readonly #retriedTenants = new DecayingCounts()
  readonly #routes = new Map<string, Answers & Lately>()
  readonly #waits = new Map<string, QuantileWindow>()
  readonly #quantiles: (windowMs: number) => QuantileWindow

  constructor(quantiles: (windowMs: number) => QuantileWindow) {
    this.#quantiles = quantiles
  }

  note(event: HeadgateEvent, now: number): void {
    const { counts } = this
    switch (event.name) {
      case 'request.queued':
        counts.accepted++
        return
      case 'request.dispatched':
        // A retry's wait is back-off, not the queue's doing.
        if (event.data.attempt === 1) this.#waitOf(event.data.lane)?.add(event.data.queue_ms, now)
        return
      case 'request.retrying':
        counts.retries++
        this.#retriedRoutes.add(event.data.route, now)
        this.#retriedTenants.add(event.data.tenant, now)
        return
      case 'request.settled':
        counts.settled++
        if (event.data.outcome === 'refused') counts.refused++
        else if (event.data.outcome === 'completed') counts.completed++
        else if (event.data.outcome === 'failed' || event.data.outcome === 'expired')
          counts.failed++
        return
      case 'attempt.ended':
        return this.#answered(event.data, now)
      case 'request.preempted': {
        counts.preempted++
        const { tenant, lane, id, route, wasted_ms } = event.data
        this.preemptions.push({ at: Math.round(event.at), tenant, lane, id, route, wasted_ms })
        return
      }
      case 'breaker': {
        const { route, from, state, reason } = event.data
        return this.#moved({ at: event.at, machine: 'breaker', route, from, to: state, reason })
      }
      case 'limit': {
        const { route, from, limit, reason } = event.data
        const [before, after] = [String(from), String(limit)]
        return this.#moved({
          at: event.at,
          machine: 'limit',
          route,
          from: before,
          to: after,
          reason,
        })
      }
      case 'job.taken_over': {
        const { from, ambiguous } = event.data
        return this.#jobMoved(event, { what: 'taken_over', detail: from, ambiguous })
      }
      case 'job.returned': {
        const { instance } = event.data
        return this.#jobMoved(event, { what: 'returned', detail: instance, ambiguous: false })
      }
      case 'job.dead': {
        const { reason } = event.data
        return this.#jobMoved(event, { what: 'dead', detail: reason, ambiguous: false })
      }
      case 'alarm':
        this.alarms.push({ at: Math.round(event.at), ...event.data })
        return
    }
  }

  /** Null: no attempt of it has ended. */
  answersOf(route: string): Answers | null {
    return this.#routes.get(route) ?? null
  }

  wait(lane: string, p: number, now: number): number | null {
    const value = this.#waits.get(lane)?.quantile(p, now) ?? null
    return value === null ? null : Math.round(value)
  }

  /** Whose the 429s of the last minutes are, beside how much of all calls are theirs. */
  throttled(most: number, now: number): Frame['concentration_429'] {
    return {
      count: Math.round(this.#throttledRoutes.total(now) * 100) / 100,
      routes: beside(this.#throttledRoutes, this.#calledRoutes, most, now),
      tenants: beside(this.#throttledTenants, this.#calledTenants, most, now),
    }
  }

  /** Who has far more of the 429s, or of the retries, of the last minutes than its calls explain; null: nobody. */
  culprits(of: '429' | 'retry', now: number): { route: string | null; tenant: string | null } {
    const [routes, tenants] =
      of === '429'
        ? [this.#throttledRoutes, this.#throttledTenants]
        : [this.#retriedRoutes, this.#retriedTenants]
    const culprit = (some: DecayingCounts, all: DecayingCounts): string | null =>
      beside(some, all, CULPRITS_LOOKED_AT, now).find((one) => one.concentrated)?.name ?? null
    return {
      route: culprit(routes, this.#calledRoutes),
      tenant: culprit(tenants, this.#calledTenants),
    }
  }

  /** What most attempts of a route fail with just now, and since when; null: they do not. Asked once a second. */
  failing(id: string, now: number): { cause: string; part: number; since: number } | null {
    const route = this.#routes.get(id)
    if (route === undefined) return null
    const counts = [...route.failed].map(([cause, one]) => ({ cause, count: one.read(now) }))
    const failed = counts.reduce((sum, { count }) => sum + count, 0)
    const [most] = counts.sort((a, b) => b.count - a.count)
    const part = failed / Math.max(failed, route.ended.read(now), 1)
    const least = most?.cause === KEY_REFUSED.cause ? KEY_REFUSED.count : FAILING.count
    if (most === undefined || failed < least || part < FAILING.part) {
      route.failingSince = null
      return null
    }
    const since = (route.failingSince ??= now)
    return { cause: most.cause, part: Math.round(part * 1_000) / 1_000, since }
  }

  #answered(of: Extract<HeadgateEvent, { name: 'attempt.ended' }>['data'], now: number): void {
    const { counts } = this
    const route = this.#answersOf(of.route)
    counts.attempts++
    route.attempts++
    route.ended.add(1, now)
    const cause = causeOf(of)
    if (cause !== null) failedBy(route, cause).add(1, now)
    this.#calledRoutes.add(of.route, now)
    this.#calledTenants.add(of.tenant, now)
    if (of.status === 429) {
      counts.http_429++
      route.http429++
      this.#throttledRoutes.add(of.route, now)
      this.#throttledTenants.add(of.tenant, now)
    } else if (of.status === 529) {
      counts.http_529++
      route.http529++
    }
  }

  #jobMoved(
    { at, data }: { at: number; data: { tenant: string; lane: string; id: string } },
    of: Pick<JobMove, 'what' | 'detail' | 'ambiguous'>,
  ): void {
    const { tenant, lane, id } = data
    this.jobMoves.push({ at: Math.round(at), tenant, lane, id, ...of })
  }

  #moved(of: Omit<Transition, 'seq'>): void {
    this.transitions.push({ ...of, at: Math.round(of.at) })
  }

  #answersOf(route: string): Answers & Lately {
    let one = this.#routes.get(route)
    if (one === undefined) {
      const lately = {
        ended: new Fading(LATELY_HALF_LIFE_MS),
        failed: new Map(),
        failingSince: null,
      }
      one = { attempts: 0, http429: 0, http529: 0, ...lately }
      if (this.#routes.size >= ROUTES_MAX) {
        const [oldest] = this.#routes.keys()
        if (oldest !== undefined) this.#routes.delete(oldest)
      }
      this.#routes.set(route, one)
    }
    return one
  }

  #waitOf(lane: string): QuantileWindow | null {
    let one = this.#waits.get(lane) ?? null
    if (one === null && this.#waits.size < LANES_MAX) {
      one = this.#quantiles(WAIT_WINDOW_MS)
      this.#waits.set(lane, one)
    }
    return one
  }
}

/** Of all, at least this part; and its calls meet it so many times as often as the others' do. */
const CONCENTRATED = { part: 0.25, times: 2 }
/** Standard deviations above what chance gives. */
const CHANCE = 2

function beside(
  some: DecayingCounts,
  all: DecayingCounts,
  most: number,
  now: number,
): Frame['concentration_429']['tenants'] {
  const count = some.total(now)
  return some.largest(most, now).map(({ name, part }) => {
    const ofCalls = all.partOf(name, now)
    return { name, part, of_calls: ofCalls, concentrated: isConcentrated({ part, ofCalls, count }) }
  })
}

/** By rates, not by counts: whoever makes most calls has most of everything. */
function isConcentrated(of: { part: number; ofCalls: number; count: number }): boolean {
  const { part, ofCalls, count } = of
  // The only one there is has all of it.
  if (part < CONCENTRATED.part || ofCalls >= 1) return false
  const often = part * (1 - ofCalls) >= CONCENTRATED.times * ofCalls * (1 - part)
  return often && (part - ofCalls) * count >= CHANCE * Math.sqrt(count * ofCalls * (1 - ofCalls))
}

function failedBy({ failed }: Lately, asked: string): Fading {
  const cause = failed.size < CAUSES_MAX || failed.has(asked) ? asked : 'other'
  let one = failed.get(cause)
  if (one === undefined) failed.set(cause, (one = new Fading(LATELY_HALF_LIFE_MS)))
  return one
}

/** Null: no failure of the upstream's. */
function causeOf(of: { verdict: string; status: number | null }): string | null {
  switch (of.verdict) {
    case 'hang':
    case 'ended_silent':
      return 'silent'
    case 'overloaded':
    case 'cut_overloaded':
      return of.status === null || of.status < 400 ? '529' : String(of.status)
    case 'fault':
      return of.status === null || of.status < 400 ? 'connection' : String(of.status)
    case 'broken':
    case 'cut':
      return 'broken'
    default:
      return of.status === 401 || of.status === 403 ? String(of.status) : null
  }
}
