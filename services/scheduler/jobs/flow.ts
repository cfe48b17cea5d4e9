/** One tenant's jobs in one lane, as far as they are in memory: those that are taken, and the places of the others. */
import type { WaitReason } from '#contracts/waiting'
import { Rate } from '#core/estimators/rate'
import type { JobFlow, Millis } from '#ports'
import { Line } from './line.ts'

export class Flow implements JobFlow {
  readonly lane: string
  readonly tenant: string
  /** Jobs in the store that are not taken. */
  readonly line = new Line()
  /** From this place on the store has jobs that may not be in the line; null: all are. */
  unread: number | null
  /** Its places from `unread` on were passed over by the walk that is under way: there was no room for them. */
  skipped = false
  /** In which page of a walk somebody told us of a job that is not in the line. */
  toldIn = -1
  /** The store was asked for its first job, which no walk had met yet. */
  asked = false
  /** Jobs that are being taken, or wait in the core. */
  waiting = 0
  /** Jobs that are taken, in whatever state. */
  taken = 0
  /** When the next of them was accepted, ms since 1970; null: there is none, or it was not read yet. */
  oldestAt: Millis | null = null
  /** How often one of them ends. */
  readonly ends = new Rate()
  /** Turned away, in a row. */
  rests = 0
  /** What it waits for since it was turned away; null: it was not, or for no one thing. */
  waitsFor: WaitReason | null = null
  resting = false
  reading = false
  /** When the store was last told of the flow; -Infinity: never. */
  notedAt: Millis = -Infinity
  /** When somebody last had to do with it. */
  usedAt: Millis

  constructor({ lane, tenant }: JobFlow, of: { unread: number | null; usedAt: Millis }) {
    this.lane = lane
    this.tenant = tenant
    this.unread = of.unread
    this.usedAt = of.usedAt
  }

  /** Jobs in the store that are not taken, as far as is known. */
  get stored(): number {
    return this.line.length
  }

  /** There is nothing to read, as far as is known. */
  get idle(): boolean {
    return this.line.length === 0 && (this.unread === null || this.asked)
  }

  /** Nothing of it is in memory that would be missed. */
  get forgettable(): boolean {
    const held = this.taken + this.waiting + this.line.length
    return held === 0 && this.unread === null && !this.resting && !this.reading
  }
}

export const flowKey = ({ lane, tenant }: JobFlow): string => `${lane}/${tenant}`
