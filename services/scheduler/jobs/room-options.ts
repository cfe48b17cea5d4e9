/** What the room of jobs is made of. */
import type {
  Clock,
  Dice,
  Incoming,
  JobNews,
  JobStore,
  Scheduler,
  Settings,
  StoredJob,
} from '#ports'
import type { JobReplyOptions } from './job-reply.ts'
import type { RoomLimits } from './room-limits.ts'

export interface RoomOptions {
  store: JobStore
  scheduler: Scheduler
  /** Where instances say that they live. */
  members: Settings
  clock: Clock
  dice: Dice
  instance: string
  limits: () => RoomLimits
  words: JobReplyOptions['words']
  /** The stored body and headers as a request; null: they are none any more. */
  read: (job: StoredJob) => Omit<Incoming, 'reply' | 'past'> | null
  news: (news: JobNews) => void
  /** Tells the other instances that a job is to be had. */
  tell: (of: { lane: string; tenant: string; seq: number }) => void
}
