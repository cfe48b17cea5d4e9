/** How the instances of a fleet divide the limit of one route (control-laws §14). A member has of each route what it has
 *  of the whole, until somebody wants more of one than that: then this route's limit is divided by what each could use
 *  of it, by the law of the whole (`shares.ts`). So whoever asks for a route alone may use all but the floors of it.
 *  A member whose line says nothing of a route holds of it what it holds of the whole. */
import { decideShare, safePart, targetOf, type Holder, type ShareCase } from './shares.ts'

/** A limit has so many parts, however many slots it is: it moves, and what is held of it does not. */
export const PARTS = 1_000
/** Most routes that one member asks for more of; of others it has what it has of the whole. */
export const ROUTES_MOST = 64
/** What is wanted of a route is written again when it has changed by more than this share. */
export const WANT_MOVES = 0.25

/** What a member's line says of a route, in parts of its limit. */
export interface RouteLine {
  readonly held: number
  readonly want: number
}

export interface RouteHolder extends Pick<Holder, 'name' | 'standing'> {
  /** What it holds of the whole, in parts. */
  readonly base: number
  /** Null: it holds its base, and wants no more as far as it says. */
  readonly line: RouteLine | null
}

export interface RouteCase {
  /** Slots of the whole fleet. */
  readonly limit: number
  readonly own: {
    readonly name: string
    readonly base: number
    /** Its base once the line is written that is planned. */
    readonly next: number
    readonly line: RouteLine | null
    /** Parts that it could use. */
    readonly want: number
  }
  /** Slots in use here. */
  readonly inUse: number
  readonly others: readonly RouteHolder[]
  /** Whether more than the base may be asked for: all know this law, and this member asks for few enough routes. */
  readonly mayAsk: boolean
  /** It takes nothing new. */
  readonly leaving: boolean
}

/** As `Decision`, of one route. */
export interface RouteDecision {
  readonly use: number
  /** Null: its line need not speak of the route. */
  readonly write: RouteLine | null
  readonly later: number
}

/** Parts of the whole are no whole numbers of parts of a route. */
const same = (a: number, b: number): boolean => Math.abs(a - b) < 1e-6

/** Slots of a limit as parts of it. */
export const partsOf = (slots: number, limit: number): number =>
  (slots * PARTS) / Math.max(1, limit)

export function decideRoute(of: RouteCase): RouteDecision {
  const { own, limit, leaving } = of
  const want = Math.min(PARTS, own.want)
  const asked = isAsked(of, want)
  const shares: ShareCase = {
    whole: PARTS,
    unit: partsOf(1, limit),
    own: { name: own.name, held: own.line?.held ?? own.base, want },
    inUse: partsOf(of.inUse, limit),
    others: of.others.map(holderOf),
  }
  const target = leaving ? 0 : asked ? slotsAway(targetOf(shares), own.next, shares.unit) : own.next
  const { use, write, later } = decideShare(shares, target)
  // As nobody asks, its line is as if it had never spoken of the route.
  const silent = !asked && same(write, own.next)
  return { use, later, write: silent ? null : { held: write, want: Math.ceil(want) } }
}

/** Nothing moves for a slot: the cuts of the route then are those of the whole, and none is lost between them. */
const slotsAway = (target: number, base: number, unit: number): number =>
  Math.abs(target - base) <= unit ? base : target

/** Somebody who lives wants more of the route than its part of the whole is. */
function isAsked({ own, others, mayAsk }: RouteCase, want: number): boolean {
  if (others.some((one) => asks(one))) return true
  return mayAsk && want > own.next && others.some(({ standing }) => standing === 'alive')
}

const asks = ({ standing, line, base }: RouteHolder): boolean =>
  standing === 'alive' && line !== null && line.want > base && !same(line.want, base)

/** Who does not say what it wants of the route wants what it holds. */
const holderOf = ({ name, standing, base, line }: RouteHolder): Holder => ({
  name,
  standing,
  held: line?.held ?? base,
  want: line?.want ?? base,
})

/** What a line keeps of a route when its member may still use its safe part only. */
export const safeRoute = (line: RouteLine): RouteLine => ({
  ...line,
  held: Math.min(line.held, safePart(PARTS)),
})
