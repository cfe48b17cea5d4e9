/** Durable jobs, and what may be asked about them. */
import type { Tally } from '#contracts/batches'
import type { JobLife } from '#contracts/dashboard'
import type { DeadReason, JobsList, JobsPage } from '#contracts/jobs'
import type {
  CancelAnswer,
  DegradeStep,
  JobReceipt,
  Refusal,
  StatusAnswer,
  UpstreamHeaders,
} from '#contracts/messages'
import type { Outcome } from '#contracts/outcome'
import type { Millis } from '#contracts/units'
import type { BusHeaders } from './bus.ts'
import type { Incoming } from './requests.ts'

/** A tenant's jobs in one lane. */
export interface JobFlow {
  readonly lane: string
  readonly tenant: string
}

/** A job before it is stored. */
export interface NewJob extends JobFlow {
  readonly id: string
  readonly group: string
  readonly hash: string
  /** Ms since 1970. */
  readonly acceptedAt: Millis
  /** From `acceptedAt`. */
  readonly deadlineMs: Millis
  /** From `acceptedAt`; 0: at once. */
  readonly notBeforeMs: Millis
  readonly degrade: readonly DegradeStep[]
  readonly maxAttempts: number | null
  /** What of its prompt it shares with others, as its caller names it; absent: it does not. */
  readonly prefix?: string
  readonly headers: UpstreamHeaders
}

/** What is known of a stored job without its body. */
export interface JobHead extends NewJob {
  /** Its place in the store: later ones have larger numbers. */
  readonly seq: number
}

/** A job that was given up. */
export interface DeadHead extends JobHead {
  readonly reason: DeadReason
}

export interface StoredJob extends JobHead {
  readonly body: Uint8Array
}

/** A result as it is stored, and as whoever fetches it is answered. */
export interface JobResult {
  readonly tenant: string
  readonly id: string
  readonly group: string
  /** Of the job's body. */
  readonly hash: string
  readonly headers: BusHeaders
  readonly body: Uint8Array
}

/** What happened to jobs, for counters and events. */
export type JobNews =
  | { kind: 'batch'; what: BatchNews; entries: number; job: null }
  | ({ kind: 'message_batch'; job: null } & MessageBatchNews)
  | { kind: 'accepted'; job: JobName; bytes: number; deadlineMs: Millis; notBeforeMs: Millis }
  | { kind: 'duplicate' | 'ambiguous' | 'late_result'; job: JobName }
  | ({ kind: 'claimed'; ageMs: Millis; ambiguous: boolean } & JobWork)
  | ({ kind: 'taken_over'; from: string; ageMs: Millis; ambiguous: boolean } & JobWork)
  | ({ kind: 'returned' } & JobWork)
  | ({ kind: 'settled'; outcome: Outcome; ageMs: Millis } & JobWork)
  | ({ kind: 'dead'; reason: DeadReason } & JobWork)
  | { kind: 'store_error'; job: JobName | null; error: unknown }

/** `page`: entries came; `received`: all of them; `dropped`: that never came about. */
export type MessageBatchNews =
  | { what: 'opened' | 'received' | 'cancelled' | 'deleted' | 'dropped' }
  | { what: 'page'; entries: number; bytes: number }
  | { what: 'ended'; tally: Readonly<Tally> }

/** What there is of batches. */
export interface BatchesNow {
  /** Message batches of all instances that have not ended, as they were last looked at. */
  readonly open: OpenBatches
  /** Batches of the provider's that this instance looks after, and the jobs in them. */
  readonly gatherings: number
  readonly gathered: number
}

export interface OpenBatches {
  readonly receiving: number
  readonly in_progress: number
  readonly canceling: number
}

/** `found`: an unanswered create, in the provider's list; `not_made`: it is not there; `not_ours`: what was found was
 *  another's; `given_up`: cancelled, since a deadline comes near; `adopted`: the instance that had it died. */
export type BatchNews =
  | 'created'
  | 'refused'
  | 'unanswered'
  | 'found'
  | 'not_made'
  | 'not_ours'
  | 'given_up'
  | 'adopted'
  | 'again'
  | 'ended'

/** What was done of a job, by all its owners. */
export interface JobWork {
  job: JobName
  claims: number
  attempts: number
}

export interface JobName {
  tenant: string
  lane: string
  id: string
}

/** A job as a door hands it over: parsed, not yet stored. */
export interface SubmittedJob extends Omit<Incoming, 'reply' | 'past'> {
  /** The caller gave the id, and may give it again. */
  named: boolean
  /** The live request of this id is to become this job. */
  deferred?: true
  notBeforeMs: Millis
  group: string
}

/** What a door may ask about durable jobs. */
export interface Jobs {
  submit(job: SubmittedJob): Promise<Deferred>
  /** The result, for which it waits so long; `pending`: it is not there yet; null: nobody knows the id. */
  fetch(tenant: string, id: string, waitMs: Millis): Promise<JobResult | 'pending' | null>
  /** Of a job that no scheduler has live. Null: nobody knows the id; `elsewhere`: another instance answers. */
  cancel(tenant: string, id: string): Promise<CancelAnswer | null | 'elsewhere'>
  /** What is stored of a job, while it waits and when it has ended; null: nothing. For operators. */
  life(tenant: string, id: string): Promise<JobLife | null>
  /** Of a job that no scheduler has live; null: nobody knows the id. */
  status(tenant: string, id: string): Promise<StatusAnswer | null>
  /** Stores the result of a job that is refused before it is one. */
  refuse(job: Pick<NewJob, 'tenant' | 'lane' | 'id' | 'group'>, refused: Refusal): Promise<void>
}

/** A request as a job: its receipt, or why not. */
export type Deferred = { receipt: JobReceipt } | { refused: Refusal }

/** What becomes of requests that allow to be deferred. */
export interface Deferrals {
  /** Never a rejection. */
  defer(incoming: Incoming): Promise<Deferred>
  /** The job is not wanted after all. */
  takeBack(of: { tenant: string; id: string }): void
}

/** What an operator may ask about durable jobs; a store that fails rejects with a `JobStoreError`. */
export interface JobsOperator {
  /** The oldest first. It looks at so many jobs at most, and goes on at `next`. */
  list(ask: JobsList): Promise<JobsPage>
  /** A dead job is accepted anew, under its own id; its result is forgotten. False: there is none. */
  requeue(tenant: string, id: string): Promise<boolean>
  /** A dead job is forgotten; its result stays. False: there is none. */
  drop(tenant: string, id: string): Promise<boolean>
}
