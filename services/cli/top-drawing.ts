/** What the parts of `headgate top`'s picture are drawn from, and how much of it there is room for. */
import type { Snapshot } from '#contracts/snapshot'
import type { WholeFleet } from '#contracts/whole-fleet'
import type { TopMemory } from './top-memory.ts'
import { number, shown, type Paint } from './top-text.ts'

export interface PageOptions {
  snapshot: Snapshot
  /** What all members of the fleet do; null or absent: nobody was asked. */
  whole?: WholeFleet | null
  memory: TopMemory
  /** Wall time. */
  now: number
  columns: number
  /** Infinity: as many as it takes. */
  rows: number
  paint: Paint
  /** False: one picture alone, without what only time tells. */
  live: boolean
  /** Why the picture is old, or what cannot be shown; one sentence. */
  trouble?: string | undefined
}

/** How much is listed at most. */
export interface Room {
  troubles: number
  routes: number
  lanes: number
  tenants: number
  moves: number
  airy: boolean
}

export type Drawing = PageOptions & { width: number; room: Room }

export const words = (token: string): string => shown(token).replaceAll('_', ' ')

/** The first ones, and how many are not listed. */
export function most<T>(
  all: readonly T[],
  room: number,
  what: string,
): { listed: T[]; more: string[] } {
  const left = all.length - room
  return {
    listed: all.slice(0, room),
    more: left > 0 ? [`  and ${number(left)} ${what} more`] : [],
  }
}
