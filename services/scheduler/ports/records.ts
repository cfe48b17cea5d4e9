/** Who hears of what happened and of what was used. */
import type { HeadgateEvent } from '#contracts/events'
import type { Day, UsageKind, UsageRow } from '#contracts/usage-report'
import type { Usage } from '#contracts/verdict'

/** Takes every event, in order; must not throw and must not wait. */
export interface Recorder {
  record(event: HeadgateEvent): void
}

/** One call that has ended. */
export interface Used {
  tenant: string
  lane: string
  /** That was asked. */
  model: string
  kind: UsageKind
  /** Null: the upstream said nothing of it. */
  usage: Usage | null
  /** In a batch of the provider's. */
  batch?: boolean
  /** It waited for another to write the prefix that both share. */
  waitedForPrefix?: boolean
}

/** Hears of each call once, when it has ended; must not throw and must not wait. */
export interface Meter {
  count(used: Used): void
}

/** Rows of a day that one life of an instance writes together. */
export interface UsagePlace {
  readonly day: Day
  /** Of a process, from its start to its end: what a former one wrote is never written over. */
  readonly life: string
  readonly part: number
}

/** Where rows of usage are kept for as long as they are reported. Each writer has places of its own, so that no write
 *  has to know another. Both acts reject with a reason, in bounded time. */
export interface UsageStore {
  /** Others write and read it too, and it outlives this process. */
  readonly shared: boolean
  /** Why not; null: it is shared. */
  readonly reason: string | null
  put(place: UsagePlace, rows: readonly UsageRow[]): Promise<void>
  /** Everybody's rows of a day. */
  read(day: Day): Promise<UsageRow[]>
  close(): Promise<void>
}
