/** What a member tells of itself and of the others. */
import type { Millis } from '#ports'
import type { Observed, SeenMember } from './observed.ts'
import type { FleetRecord } from './record.ts'

export type MembershipNews =
  | { kind: 'joined' | 'left' | 'dead'; member: string }
  | { kind: 'lapsed' | 'renewed'; member: string }
  /** Another process has the same name. */
  | { kind: 'superseded'; member: string }
  | { kind: 'trouble'; member: string; reason: string }

/** What operators see. */
export interface FleetView {
  readonly name: string
  readonly lapses: number
  /** It has no lease that is valid. */
  readonly lapsed: boolean
  /** Slots that it may use now. */
  readonly usable: number
  /** The name that it was given, where another process has it. */
  readonly nameTaken: string | null
  readonly whole: number
  readonly reason: string | null
  readonly members: readonly (SeenMember & { readonly own: boolean })[]
}

/** Itself first, then the others by name. */
export function viewOf(of: {
  record: FleetRecord | null
  observed: Observed
  now: Millis
  name: string
  /** The name that it began with. */
  given: string
  lapses: number
  /** Of the last write that was confirmed; before the first, so long after the start. */
  leaseEnds: Millis
  usable: number
  whole: number
  reason: string | null
}): FleetView {
  const { record, name, given, lapses, usable, whole, reason } = of
  const line = record?.members[name]
  const own: SeenMember[] =
    line === undefined ? [] : [{ name, line, standing: 'alive', silentFor: 0 }]
  const others = record === null ? [] : of.observed.others(record, name, of.now)
  const members = [
    ...own.map((one) => ({ ...one, own: true })),
    ...others.map((one) => ({ ...one, own: false })),
  ]
  const nameTaken = given !== name && record?.members[given] !== undefined ? given : null
  const lapsed = of.now >= of.leaseEnds
  return { name, lapses, lapsed, usable, nameTaken, whole, reason, members }
}
