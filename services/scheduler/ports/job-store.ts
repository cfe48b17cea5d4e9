/** Where durable jobs are kept. */
import type { DeadReason, Gathering, JobClaim } from '#contracts/jobs'
import type { Millis } from '#contracts/units'
import type { DeadHead, JobFlow, JobHead, JobResult, NewJob, StoredJob } from './jobs.ts'

/** Why the store did not do what was asked. `away`: it may be back; `full`: it holds all it may; `too_large`: it
 *  will never take this. */
export class JobStoreError extends Error {
  override readonly name = 'JobStoreError'
  readonly reason: 'away' | 'full' | 'too_large'
  constructor(reason: 'away' | 'full' | 'too_large', message: string, options?: ErrorOptions) {
    super(message, options)
    this.reason = reason
  }
}

export interface FoundClaim {
  readonly tenant: string
  readonly id: string
  readonly revision: number
}

export interface HeldClaim extends FoundClaim {
  readonly claim: JobClaim
}

/** What a walk says of a job that it meets. */
export interface MetJob extends JobFlow {
  readonly id: string
  readonly seq: number
  /** Of one that was stored with a time to start, come or not: ms since 1970. */
  readonly startsAt: Millis | null
  /** Its deadline, ms since 1970; null: it was not asked. */
  readonly endsAt: Millis | null
}

/** What stands at a place of the store. */
export type Walked =
  | ({ readonly kind: 'job' } & MetJob)
  | ({ readonly kind: 'claim' } & FoundClaim)
  /** It was noted that the flow has jobs; when, ms since 1970. */
  | {
      readonly kind: 'flow'
      readonly flow: JobFlow
      readonly seq: number
      readonly notedAt: Millis
    }

/** Some of what is stored, in its order. `next`: where to read on; null: that was all. */
export interface WalkPage {
  readonly found: readonly Walked[]
  readonly next: number | null
}

/** Where jobs, their claims and their results are kept. Each act is one, whole or not at all, also between
 *  instances; each rejects with a `JobStoreError`, in bounded time. */
export interface JobStore {
  /** The place of the job, or the job that has its tenant and id already, in whatever lane. */
  add(job: NewJob, body: Uint8Array): Promise<{ seq: number } | { there: JobHead }>
  /** The flow's first job that may start at once, or has started; null: none. */
  first(flow: JobFlow): Promise<StoredJob | null>
  at(seq: number): Promise<StoredJob | null>
  find(tenant: string, id: string): Promise<StoredJob | null>
  /** Writes a claim over the one of a revision, 0 for none; its own revision, or null: somebody was faster. */
  claim(job: { tenant: string; id: string }, claim: JobClaim, over: number): Promise<number | null>
  claimOf(tenant: string, id: string): Promise<{ claim: JobClaim; revision: number } | null>
  release(revision: number): Promise<void>
  /** Claims in their order, in pages, from a revision on: fewer than so many are the last. */
  heldClaims(from: number, count: number): Promise<HeldClaim[]>
  /** False: there is a result already, which stays. */
  settle(result: JobResult): Promise<boolean>
  result(tenant: string, id: string): Promise<JobResult | null>
  /** Takes the job away, and its claim, if it has one of that revision. */
  remove(of: { seq: number; revision: number | null }): Promise<void>
  /** Keeps a job that was given up. */
  bury(job: StoredJob, reason: DeadReason): Promise<void>
  /** Flows that have, or had, jobs. */
  flows(): Promise<JobFlow[]>
  noteFlow(flow: JobFlow): Promise<void>
  /** Forgets what was noted at a place; noted again meanwhile, it stays. */
  forgetFlow(seq: number): Promise<void>
  /** All that is stored, from a place on: at most so much at once. Page after page it costs what it reads. */
  walk(from: number, count: number, of?: { deadlines: boolean }): Promise<WalkPage>
  /** How much there is; with the jobs of these lanes counted, for which the store walks over them. */
  look(lanes: readonly string[] | null): Promise<JobStoreLook>
  /** Heads of stored jobs in their order, in pages: those that may start, those that may not yet, or both; of one
   *  tenant or lane, where that is said. Begins at a place and ends with the last one that there is. */
  heads(
    when: 'now' | 'later' | '*',
    from: number,
    count: number,
    of?: Partial<JobFlow>,
  ): Promise<JobHead[]>
  /** Heads of the dead, likewise; their places are their own. */
  graves(from: number, count: number, of?: Partial<JobFlow>): Promise<DeadHead[]>
  grave(tenant: string, id: string): Promise<(StoredJob & DeadHead) | null>
  /** Forgets a dead job. False: it was gone. */
  unbury(seq: number): Promise<boolean>
  /** Takes a result away, so that its job may run again. */
  unsettle(tenant: string, id: string): Promise<void>
  /** Calls once when the result of a job is published, wherever it comes from; the answer ends it. */
  onResult(tenant: string, id: string, call: () => void): () => void
  close(): Promise<void>
}

/** A gathering as it is noted, and of which write. */
export interface NotedGathering {
  readonly gathering: Gathering
  readonly revision: number
}

/** What is noted of gatherings: who works on each, and how far it got. Each act is one, whole or not at all, also
 *  between instances; each rejects with a `JobStoreError`, in bounded time. */
export interface GatheringStore {
  all(): Promise<NotedGathering[]>
  /** Writes it over the one of a revision, 0 for none; its own revision, or null: somebody was faster. */
  put(gathering: Gathering, over: number): Promise<number | null>
  /** False: somebody wrote it since. */
  remove(id: string, over: number): Promise<boolean>
  close(): Promise<void>
}

/** What a store holds, each figure at a time of its own. */
export interface JobStoreLook {
  /** Null: it was not asked. */
  readonly counted: JobsCounted | null
  /** All that have not ended. */
  readonly jobs: number
  readonly claims: number
  /** Dead letters, and when the last of them came, ms since 1970. */
  readonly dead: number
  readonly deadAt: Millis | null
  /** Of jobs and claims; null: the store has no bound of its own. */
  readonly bytes: number
  readonly bytesMax: number | null
}

export interface JobsCounted {
  /** Jobs that may start at once, or have started; when the first of them was accepted, ms since 1970. */
  readonly lanes: ReadonlyMap<string, JobsKeptNow>
  /** Jobs that were stored with a time to start, come or not. */
  readonly later: number
}

export interface JobsKeptNow {
  readonly jobs: number
  readonly oldestAt: Millis | null
}
