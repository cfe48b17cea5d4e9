/** One tenant's jobs in one lane, as far as they are in memory. The rest is in the store, from `cursor` on. */
import { Rate } from '#core/estimators/rate'
import type { JobFlow, JobHead, Millis } from '#ports'

export class Flow implements JobFlow {
  readonly lane: string
  readonly tenant: string
  /** Where the store is read next. */
  cursor = 0
  /** Nothing was there from `cursor` on when it was last read, and nothing is known to have come since. */
  drained = false
  /** Places of jobs whose time has come, from those that were not to start before. */
  readonly due: number[] = []
  /** Jobs that are being taken, or wait in the core. */
  waiting = 0
  /** Jobs that are taken, in whatever state. */
  taken = 0
  /** Jobs in the store that are not taken, as far as is known. */
  stored = 0
  /** When the next of them was accepted, ms since 1970; null: there is none, or it was not read yet. */
  oldestAt: Millis | null = null
  /** How often one of them ends. */
  readonly ends = new Rate()
  /** Turned away, in a row. */
  rests = 0
  resting = false
  reading = false
  /** When the store was last told of the flow; -Infinity: never. */
  notedAt: Millis = -Infinity

  constructor({ lane, tenant }: JobFlow) {
    this.lane = lane
    this.tenant = tenant
  }

  /** A job is to be read again. One that waited for its time is not among those from `cursor` on. */
  again({ seq, notBeforeMs }: Pick<JobHead, 'seq' | 'notBeforeMs'>): void {
    if (notBeforeMs === 0) this.back(seq)
    else if (!this.due.includes(seq)) this.due.push(seq)
  }

  /** The store is to be read from this place on, if not from an earlier one. */
  back(seq: number): void {
    if (seq < this.cursor) this.cursor = seq
    this.drained = false
  }

  get idle(): boolean {
    return this.drained && this.due.length === 0
  }
}

export const flowKey = ({ lane, tenant }: JobFlow): string => `${lane}/${tenant}`
