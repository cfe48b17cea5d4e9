/** What the record and the law say to this member now: what it may use, and what to write. */
import { decideShare, GUARD, LEASE, OUTLIVES, type Decision } from '#core/laws/shares'
import type { LimitWord } from '#core/model/share'
import type { Millis } from '#ports'
import { holderOf, swept, type Observed, type SeenMember } from './observed.ts'
import type { FleetRecord } from './record.ts'
import type { RouteDemand, RouteParts, RoutePlans } from './route-parts.ts'

/** What this instance could use now. */
export interface Demand {
  readonly inflight: number
  readonly queued: number
  /** The global limit of the configuration. */
  readonly whole: number
  /** What of it all instances together can use, by the limits of the routes. */
  readonly capacity: number
  readonly config: string
  readonly limits: ReadonlyMap<string, LimitWord>
  /** By route; those that are open here. */
  readonly routes: ReadonlyMap<string, RouteDemand>
}

/** What to do next, on a record in which the dead hold less. */
export interface Plan extends Decision {
  readonly record: FleetRecord
  /** What is divided: of several configurations the smallest. */
  readonly whole: number
  readonly routes: RoutePlans
}

export function planOf(of: {
  record: FleetRecord
  /** Since when this record is known. */
  since: Millis
  now: Millis
  observed: Observed
  name: string
  incarnation: string
  /** It has written its line before. */
  joined: boolean
  /** Under a lease that is valid. */
  mayUse: number
  leaving: boolean
  demand: Demand
  want: number
  parts: RouteParts
}): Plan {
  const { since, now, demand, name, observed } = of
  const whole = wholeOf(demand.whole, observed.others(of.record, name, now))
  const settled = of.record.settled || now - since >= LEASE + GUARD + OUTLIVES
  const settles = settled && !of.record.settled
  const record = settles ? observed.withMissing(of.record, name, whole) : of.record
  const others = observed.others(record, name, now)
  const line = record.members[name]
  // The line of our name is of a process that is gone: whoever has its place has proved that. Once we have written
  // ourselves, another's line means that two have one name.
  const ours = line !== undefined && (line.incarnation === of.incarnation || !of.joined)
  // A record that was made anew does not know us yet: we hold what we may use.
  const held = ours ? line.held : of.mayUse
  const decided = decideShare({
    whole,
    unit: unitOf(whole, demand.capacity),
    own: { name, held, want: of.want },
    inUse: demand.inflight,
    others: others.map(holderOf),
  })
  const plan = of.leaving
    ? { use: 0, later: 0, write: Math.min(held, demand.inflight) }
    : settled || decided.write <= held
      ? decided
      : { use: held, write: held, later: held }
  const routes = of.parts.plan({
    ...{ name, others, whole, held, settled, now, leaving: of.leaving },
    ...{ next: plan.write, line: ours ? line : undefined },
    ...{ routes: demand.routes, limits: demand.limits },
  })
  return { ...plan, whole, routes, record: swept({ ...record, settled }, others, whole) }
}

/** In units of the whole: what can be used is divided, and not what the routes would not take. */
export const wantOf = ({ inflight, queued, whole, capacity }: Demand): number =>
  (inflight + queued) * unitOf(whole, capacity)

/** Of several configured limits the smallest holds. */
const wholeOf = (own: number, others: readonly SeenMember[]): number =>
  Math.min(
    own,
    ...others.filter(({ standing }) => standing === 'alive').map(({ line }) => line.whole),
  )

/** Units of the whole that one slot in use takes. */
const unitOf = (whole: number, capacity: number): number =>
  capacity <= 0 ? 1 : Math.max(1, whole / Math.min(whole, capacity))
