/** Our part of what the instances of a fleet divide (control-laws §14). One record names who holds how much; every
 *  member runs the same law on what it reads there, writes by compare-and-set, and obeys before it writes when its
 *  part shrinks, after it has written when it grows. So the parts in the record never sum to more than the whole, and
 *  nobody uses more than the record says. Who is silent keeps what it may still be using, for as long as it may. */
import type { Millis } from '#contracts/units'

/** A part is valid for so long after the write that renewed it was sent. */
export const LEASE: Millis = 10_000
/** How much longer others wait: clocks and stores are never exact. */
export const GUARD: Millis = 3_000
/** The longest that an attempt outlives the lease it started under. */
export const OUTLIVES: Millis = 30_000
/** A member whose lease has lapsed may use its safe part for so long: the store may be away for everybody. */
export const SAFE_FOR: Millis = 300_000
/** The safe part is the whole over twice so many members. */
export const MEMBERS = 10
/** What every member has that wants as much, in slots. */
export const FLOOR = 2
/** Smaller moves are not made: each takes two writes. */
export const MOVE = { slots: 1, part: 0.05 }
/** What is wanted rises at once and falls by half in so long. */
export const WANT_HALVES: Millis = 10_000

/** The part that a member may use without anybody's word. */
export const safePart = (whole: number): number => Math.floor(whole / (2 * MEMBERS))

/** How the record's line of another member counts. */
export type Standing =
  /** It renews its lease. */
  | 'alive'
  /** It does not, and may still use all that it held. */
  | 'silent'
  /** It may still use its safe part. */
  | 'safe'
  | 'gone'

/** Of a member that was last heard so long ago, under a lease of this length. All on the observer's own clock. */
export function standingOf(silentFor: Millis, lease: Millis): Standing {
  if (silentFor <= lease + GUARD) return 'alive'
  if (silentFor <= lease + GUARD + OUTLIVES) return 'silent'
  return silentFor <= lease + SAFE_FOR + GUARD + OUTLIVES ? 'safe' : 'gone'
}

/** One member as one resource sees it. */
export interface Holder {
  readonly name: string
  /** What the record says it holds. */
  readonly held: number
  /** What it could use. */
  readonly want: number
  readonly standing: Standing
}

/** What a line still keeps from others. */
export const heldBy = ({ held, standing }: Holder, whole: number): number =>
  standing === 'gone' ? 0 : standing === 'safe' ? Math.min(held, safePart(whole)) : held

export interface ShareCase {
  /** All that there is to divide. */
  readonly whole: number
  /** Units of it that one slot in use takes: more than 1 where less can be used than the whole. */
  readonly unit: number
  readonly own: { readonly name: string; readonly held: number; readonly want: number }
  /** What our attempts use of it now. */
  readonly inUse: number
  readonly others: readonly Holder[]
}

/** What the law says to one member. */
export interface Decision {
  /** What it may use from now on: never more than it holds. */
  readonly use: number
  /** What it should hold: more only of what is free. */
  readonly write: number
  /** What it may use once that is written. */
  readonly later: number
}

/** A part that shrinks is not used any more at once, and is held for as long as attempts still run on it; one that
 *  grows is used when it is written. `wished`: what it should hold. */
export function decideShare(of: ShareCase, wished = targetOf(of)): Decision {
  const { whole, own, inUse, others } = of
  const taken = others.reduce((sum, other) => sum + heldBy(other, whole), 0)
  const free = Math.max(0, whole - taken)
  // A whole that has become smaller binds at once.
  const target = Math.min(wished, free)
  if (target > own.held) return { use: own.held, write: target, later: target }
  return { use: target, write: Math.min(own.held, Math.max(target, inUse)), later: target }
}

/** What it should hold by what all want. */
export function targetOf({ whole, unit, own, others }: ShareCase): number {
  const alive = [
    { ...own, standing: 'alive' as const },
    ...others.filter((one) => one.standing === 'alive'),
  ]
  const kept = others.reduce(
    (sum, one) => (one.standing === 'alive' ? sum : sum + heldBy(one, whole)),
    0,
  )
  const floorOf = (want: number): number =>
    Math.max(safePart(whole), Math.min(want, Math.ceil(FLOOR * unit)))
  const filled = waterFill(
    Math.floor(Math.max(0, whole - kept)),
    alive.map(({ name, want }) => ({ name, want, floor: floorOf(want) })),
  )
  const target = filled.get(own.name) ?? 0
  const small = Math.max(MOVE.slots * unit, MOVE.part * own.held)
  const needy = others.some((one) => one.standing === 'alive' && one.held < floorOf(one.want))
  return own.held > 0 && Math.abs(target - own.held) < small && !needy ? own.held : target
}

/** Divides a whole: everybody's floor first, then the least served first up to what each wants, then what is left to
 *  all alike. Of a whole number, integers that sum to it; odd units by name. Source: max-min fairness (Bertsekas, Gallager 1992). */
export function waterFill(
  whole: number,
  members: readonly { name: string; want: number; floor: number }[],
): Map<string, number> {
  const sorted = members.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  const most = Math.floor(whole / Math.max(1, sorted.length))
  const floors = sorted.map(({ floor }) => Math.min(Math.floor(floor), most))
  const wants = sorted.map(({ want }, i) => Math.max(floors[i]!, Math.floor(want)))
  const at = (level: number): number[] =>
    wants.map((want, i) => Math.max(floors[i]!, Math.min(want, level)))
  const sum = (parts: readonly number[]): number => parts.reduce((a, b) => a + b, 0)
  let [low, high] = [0, whole]
  while (low < high) {
    const level = Math.ceil((low + high) / 2)
    if (sum(at(level)) <= whole) low = level
    else high = level - 1
  }
  const parts = at(low)
  let left = whole - sum(parts)
  // Not all can have one more: the first by name do.
  for (let i = 0; i < parts.length && left > 0; i++)
    if (parts[i]! < wants[i]!) {
      parts[i]!++
      left--
    }
  for (let i = 0; i < parts.length; i++) {
    const more = Math.floor(left / parts.length) + (i < left % parts.length ? 1 : 0)
    parts[i]! += more
  }
  return new Map(sorted.map(({ name }, i) => [name, parts[i]!]))
}
