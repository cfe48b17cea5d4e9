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
  lapses: number
  whole: number
  reason: string | null
}): FleetView {
  const { record, name, lapses, whole, reason } = of
  const line = record?.members[name]
  const own: SeenMember[] =
    line === undefined ? [] : [{ name, line, standing: 'alive', silentFor: 0 }]
  const others = record === null ? [] : of.observed.others(record, name, of.now)
  const members = [
    ...own.map((one) => ({ ...one, own: true })),
    ...others.map((one) => ({ ...one, own: false })),
  ]
  return { name, lapses, whole, reason, members }
}
