/** What events add up to since the start: counts, by route where it matters, and whose the trouble is.
 *  Bound: `ROUTES_MAX` routes, `LANES_MAX` lanes. */
import type { Frame, Preemption, Transition } from '#contracts/dashboard'
import type { HeadgateEvent } from '#contracts/events'
import { DecayingCounts } from './decaying-counts.ts'
import { Recent } from './recent.ts'

export const ROUTES_MAX = 1_000
export const LANES_MAX = 64
export const TRANSITIONS_MAX = 50
export const PREEMPTIONS_MAX = 20
export const ALARMS_MAX = 20
/** Over how long the queue waits of a frame are. */
export const WAIT_WINDOW_MS = 60_000

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
  }
  readonly transitions = new Recent<Transition>(TRANSITIONS_MAX)
  readonly preemptions = new Recent<Preemption>(PREEMPTIONS_MAX)
  readonly alarms = new Recent<Frame['alarms'][number]>(ALARMS_MAX)
  readonly throttledRoutes = new DecayingCounts()
  readonly throttledTenants = new DecayingCounts()
  readonly #retriedRoutes = new DecayingCounts()
  readonly #retriedTenants = new DecayingCounts()
  readonly #routes = new Map<string, Answers>()
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

  /** Who has most of the 429s, or of the retries, of the last minutes. */
  culprits(of: '429' | 'retry', now: number): { route: string | null; tenant: string | null } {
    const [routes, tenants] =
      of === '429'
        ? [this.throttledRoutes, this.throttledTenants]
        : [this.#retriedRoutes, this.#retriedTenants]
    return {
      route: routes.largest(1, now)[0]?.name ?? null,
      tenant: tenants.largest(1, now)[0]?.name ?? null,
    }
  }

  #answered(of: Extract<HeadgateEvent, { name: 'attempt.ended' }>['data'], now: number): void {
    const { counts } = this
    const route = this.#answersOf(of.route)
    counts.attempts++
    route.attempts++
    if (of.status === 429) {
      counts.http_429++
      route.http429++
      this.throttledRoutes.add(of.route, now)
      this.throttledTenants.add(of.tenant, now)
    } else if (of.status === 529) {
      counts.http_529++
      route.http529++
    }
  }

  #moved(of: Omit<Transition, 'seq'>): void {
    this.transitions.push({ ...of, at: Math.round(of.at) })
  }

  #answersOf(route: string): Answers {
    let one = this.#routes.get(route)
    if (one === undefined) {
      one = { attempts: 0, http429: 0, http529: 0 }
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
