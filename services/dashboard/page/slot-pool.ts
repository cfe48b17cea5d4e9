/** How the pool divides: what each lane uses within its guarantee and beyond it, and what of an unused
 *  guarantee is free or lent. Pure. Bound: `SQUARES_MAX` squares, whatever the limit. */
import type { Frame } from '#contracts/dashboard'

export interface LaneSlots {
  lane: string
  guarantee: number
  cap: number
  /** In use, within the guarantee. */
  own: number
  borrowed: number
  /** Of the guarantee, not in use: still free, */
  kept: number
  /** or in somebody else's use. */
  lent: number
}

export interface Pool {
  lanes: LaneSlots[]
  /** Free and guaranteed to nobody. */
  headroom: number
  perSquare: number
}

const SQUARES_MAX = 240

export function allot({ global, lanes }: Pick<Frame, 'global' | 'lanes'>): Pool {
  const free = Math.max(0, global.limit - global.inflight)
  const unused = lanes.map((lane) => Math.max(0, lane.guarantee - lane.inflight))
  const allUnused = unused.reduce((sum, one) => sum + one, 0)
  let lentLeft = Math.max(0, allUnused - free)
  // From the last lane on: the least urgent lends first.
  const lent = unused.map(() => 0)
  for (let at = unused.length - 1; at >= 0; at--) {
    lent[at] = Math.min(unused[at] ?? 0, lentLeft)
    lentLeft -= lent[at] ?? 0
  }
  return {
    lanes: lanes.map((lane, at) => ({
      lane: lane.name,
      guarantee: lane.guarantee,
      cap: lane.cap,
      own: Math.min(lane.inflight, lane.guarantee),
      borrowed: Math.max(0, lane.inflight - lane.guarantee),
      kept: (unused[at] ?? 0) - (lent[at] ?? 0),
      lent: lent[at] ?? 0,
    })),
    headroom: Math.max(0, free - allUnused),
    perSquare: Math.max(1, Math.ceil(Math.max(global.limit, global.inflight) / SQUARES_MAX)),
  }
}
