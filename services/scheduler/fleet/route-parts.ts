/** This member's part of the routes that somebody wants more of than of the whole. */
import {
  decideRoute,
  PARTS,
  partsOf,
  ROUTES_MOST,
  WANT_MOVES,
  type RouteDecision,
  type RouteHolder,
  type RouteLine,
} from '#core/laws/route-shares'
import { safePart } from '#core/laws/shares'
import type { LimitWord, Portion } from '#core/model/share'
import type { Millis } from '#ports'
import { DecayingPeak } from './decaying-peak.ts'
import { holderOf, type SeenMember } from './observed.ts'
import type { FleetLine, FleetRecord } from './record.ts'

/** What this instance has of a route: in slots, in flight, and with what waits. */
export interface RouteDemand {
  readonly inflight: number
  readonly live: number
}

export type RouteLines = Record<string, RouteLine>
export type RoutePlans = ReadonlyMap<string, RouteDecision>

export interface RoutesCase {
  readonly name: string
  /** Our line; undefined: there is none, or it is of a process that is gone. */
  readonly line: FleetLine | undefined
  readonly others: readonly SeenMember[]
  readonly whole: number
  /** Slots of the whole that we hold, and shall hold. */
  readonly held: number
  readonly next: number
  /** What one may hold more of is given away. */
  readonly settled: boolean
  readonly leaving: boolean
  readonly routes: ReadonlyMap<string, RouteDemand>
  readonly limits: ReadonlyMap<string, LimitWord>
  readonly now: Millis
}

export class RouteParts {
  readonly #wants = new DecayingPeak()
  /** Parts that we may use, of the routes of which lines speak. */
  #uses = new Map<string, number>()

  note(routes: ReadonlyMap<string, RouteDemand>, now: Millis): void {
    const known = [...this.#wants.names]
    for (const route of new Set([...routes.keys(), ...known]))
      this.#wants.note(route, routes.get(route)?.live ?? 0, now)
  }

  plan(of: RoutesCase): RoutePlans {
    const spoken = this.#spoken(of)
    const asked = this.#asked(of, spoken)
    const plans = new Map<string, RouteDecision>()
    for (const route of new Set([...spoken, ...asked])) {
      const plan = this.#planOf(route, of, asked.has(route))
      if (plan.write !== null || spoken.has(route)) plans.set(route, plan)
    }
    return plans
  }

  /** What may be used from now on. `valid`: under a lease; else never more than before. */
  obey(plans: RoutePlans, valid: boolean): void {
    this.#uses = new Map(
      [...plans].map(([route, { use }]) => {
        const before = this.#uses.get(route)
        return [route, valid || before === undefined ? use : Math.min(use, before)]
      }),
    )
  }

  /** What was planned is written. */
  confirmed(plans: RoutePlans): void {
    this.#uses = new Map([...plans].map(([route, { later }]) => [route, later]))
  }

  forget(): void {
    this.#uses.clear()
  }

  /** Our portions of the routes of which lines speak. `safe`: no more than a member without a lease may use. */
  portions(record: FleetRecord, name: string, whole: number, safe: boolean): Map<string, Portion> {
    return new Map(
      [...this.#uses].map(([route, parts]) => {
        let from = 0
        for (const [other, line] of Object.entries(record.members))
          if (other < name) from += line.routes?.[route]?.held ?? baseOf(line.held, whole)
        const use = safe ? Math.min(parts, safePart(PARTS)) : parts
        return [route, { from: from / PARTS, to: (from + use) / PARTS }]
      }),
    )
  }

  /** A record that does not know us says nothing of what we use. */
  #spoken({ line, others }: RoutesCase): Set<string> {
    const spoken = new Set(line === undefined ? this.#uses.keys() : Object.keys(line.routes ?? {}))
    for (const other of others)
      for (const route of Object.keys(other.line.routes ?? {})) spoken.add(route)
    return spoken
  }

  /** Routes that we may ask more of than our part of the whole. */
  #asked({ others, routes }: RoutesCase, spoken: ReadonlySet<string>): Set<string> {
    const allKnow = others.every((one) => one.standing !== 'alive' || one.line.routes !== undefined)
    if (!allKnow) return new Set()
    const fresh = [...routes.keys()].filter((route) => !spoken.has(route))
    return new Set([...spoken, ...fresh.slice(0, Math.max(0, ROUTES_MOST - spoken.size))])
  }

  #planOf(route: string, of: RoutesCase, mayAsk: boolean): RouteDecision {
    const { name, whole, held, next, settled, leaving, now } = of
    const limit = limitOf(route, of)
    const line = of.line === undefined ? this.#usedLine(route) : (of.line.routes?.[route] ?? null)
    const own = {
      ...{ name, line, base: baseOf(held, whole), next: baseOf(next, whole) },
      // It can use no more of a route than it has slots of all.
      want: partsOf(leaving ? 0 : Math.min(next, this.#wants.of(route, now)), limit),
    }
    const decided = decideRoute({
      ...{ limit, own, mayAsk, leaving },
      inUse: of.routes.get(route)?.inflight ?? 0,
      others: of.others.map((one) => routeHolder(one, route, whole)),
    })
    const has = line?.held ?? own.base
    if (settled || (decided.write?.held ?? own.next) <= has) return decided
    const want = Math.min(PARTS, Math.ceil(own.want))
    return { use: has, write: { held: has, want }, later: has }
  }

  /** A record that does not know us: we hold what we may use. */
  #usedLine(route: string): RouteLine | null {
    const used = this.#uses.get(route)
    return used === undefined ? null : { held: used, want: used }
  }
}

/** What somebody holds of a route of which his line says nothing. */
export const baseOf = (held: number, whole: number): number => (held * PARTS) / whole

function limitOf(route: string, { limits, others }: RoutesCase): number {
  const own = limits.get(route)?.limit
  if (own !== undefined) return own
  return Math.max(1, ...others.map(({ line }) => line.limits[route]?.limit ?? 0))
}

function routeHolder(of: SeenMember, route: string, whole: number): RouteHolder {
  const { name, standing } = holderOf(of)
  const { line } = of
  return { name, standing, base: baseOf(line.held, whole), line: line.routes?.[route] ?? null }
}

/** What a line says of the routes, once the plans are carried out. */
export function linesOf(plans: RoutePlans): RouteLines {
  const lines: RouteLines = {}
  for (const [route, { write }] of plans) if (write !== null) lines[route] = write
  return lines
}

/** Whether others should hear at once what has changed. */
export function routesMoved(before: RouteLines, next: RouteLines): boolean {
  const names = new Set([...Object.keys(before), ...Object.keys(next)])
  for (const name of names) {
    const [one, other] = [before[name], next[name]]
    if (one === undefined || other === undefined || one.held !== other.held) return true
    if (Math.abs(one.want - other.want) > WANT_MOVES * Math.max(1, one.want)) return true
  }
  return false
}
