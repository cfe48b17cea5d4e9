/** What the scheduler asks of the world. Each port is small, belongs to its caller, and has a fake and a
 *  real side that pass one conformance suite (test/conformance). */
import type { Dice } from '#core/estimators/dice'
import type { Account, Allowance } from '#core/model/account'
import type { Clock } from '#platform/clock'
import type { AdminAsk } from '#contracts/admin'
import type { BudgetsAnswer, BudgetsAsk } from '#contracts/budget-ask'
import type { Batch, BatchOp } from '#contracts/batches'
import type { JobLife } from '#contracts/dashboard'
import type { HeadgateEvent } from '#contracts/events'
import type { DeadReason, Gathering, JobClaim, JobsAsk, JobsList, JobsPage } from '#contracts/jobs'
import type { Outcome } from '#contracts/outcome'
import type { LastWords } from '#contracts/reply-fields'
import type { Millis } from '#contracts/units'
import type { Day, UsageAsk, UsageKind, UsageReport, UsageRow } from '#contracts/usage-report'
import type { AbortWhy, Usage, Verdict } from '#contracts/verdict'
import type {
  Accounting,
  CancelAnswer,
  DegradeStep,
  JobReceipt,
  Refusal,
  StatusAnswer,
  UpstreamHeaders,
} from '#contracts/messages'

export type { Clock, Dice, HeadgateEvent, Millis, Verdict, AbortWhy }

/** Subject-addressed messages, in the manner of core NATS. */
export interface Bus {
  readonly kind: 'nats' | 'memory'
  /** The largest payload that `publish` takes, in bytes. */
  readonly maxPayload: number
  connected(): boolean
  /** False where it is known that nobody listens to the subject; absent: nobody can know. */
  hears?(subject: string): boolean
  /** `subject` may hold the wildcards `*` and a last `>`. One member of a queue group gets each message. */
  subscribe(
    subject: string,
    on: (message: BusMessage) => void,
    options?: { queue?: string },
  ): Subscription
  /** Fire and forget. With `probe`, `onNobody` hears that word if nobody listens to the subject. `last` is what the
   *  headers say, as fields: a bus that stays in this process hands them on, and reads `headers` only where
   *  somebody asks for one. */
  publish(
    subject: string,
    data: Uint8Array | string,
    options?: { headers?: BusHeaders; last?: LastWords; reply?: string; probe?: string },
  ): void
  /** The one listener for probes that found nobody. */
  onNobody(listener: (probe: string) => void): void
  /** Resolves when everything published so far has left. */
  flush(): Promise<void>
  /** Ends the connection, after what was published has left. */
  close(): Promise<void>
}

/** Header name to value; names are sent as written. */
export type BusHeaders = readonly (readonly [name: string, value: string])[]

export interface BusMessage {
  subject: string
  data: Uint8Array
  reply: string | undefined
  /** Case-insensitive look-up. */
  header(name: string): string | undefined
  /** Of all headers, in any case, each as often as it stands. */
  names(): Iterable<string>
  /** What was published with it; absent where it came over a wire. */
  last?: LastWords | undefined
  /** True for the bus's own word to a `reply` that nobody listens to the subject it came with. */
  nobody?: boolean
}

export interface Subscription {
  /** No further message is taken; those already taken are finished. */
  drain(): Promise<void>
}

/** One call on one route, everything the provider needs. */
export interface AttemptCall {
  /** Whose request it is. */
  tenant: string
  lane: string
  /** The request's id: all its attempts carry the same. */
  id: string
  upstream: { name: string; baseUrl: string; apiKey: string | null; version: string }
  model: string
  /** The caller's body; sent byte for byte unless `model` was replaced by a fallback. */
  body: Uint8Array
  stream: boolean
  headers: UpstreamHeaders
  /** No byte within this is a hang; Infinity when only the deadline limits it. */
  firstByteMs: Millis
  /** Later, no byte within this is a hang or a break. */
  idleMs: Millis
}

/** What an attempt reports. Nothing comes from inside `send`, and nothing after `ended`. */
export interface AttemptSink {
  /** The first response byte came. */
  firstByte(): void
  /** One upstream SSE event, its `data` JSON bytes; pings and errors are not events. Called from the first
   *  real event on, in order, and only when `stream`. */
  event(data: Uint8Array): void
  /** Always, exactly once, after the transport has let go; never from inside `send`, perhaps from inside
   *  `abort`. */
  ended(verdict: Verdict): void
}

export interface RunningAttempt {
  /** Really closes the socket; the first `why` is kept, and after the end it does nothing. */
  abort(why: AbortWhy): void
  /** What it has used, as far as the upstream has said, and the upstream's id of it; absent: not known. */
  seen?(): Pick<Verdict, 'usage' | 'requestId'>
}

export interface Provider {
  send(call: AttemptCall, sink: AttemptSink): RunningAttempt
  /** A call outside lanes and slots; never a rejection. */
  aux(
    call: Pick<AttemptCall, 'upstream' | 'headers'> & {
      kind: 'count_tokens' | 'models'
      body: Uint8Array | null
      timeoutMs: Millis
      /** Aborted: nobody waits for it; the socket is closed. */
      signal?: AbortSignal
    },
  ): Promise<AuxAnswer>
  close(): Promise<void>
}

/** What came of a call outside lanes: JSON of the API under 2xx; else an error, in the API's shape where it
 *  says anything. */
export interface AuxAnswer {
  status: number
  /** The upstream's `request-id`. */
  requestId: string | null
  body: Uint8Array
  /** What an upstream that refuses asked for, uncut; null or absent: nothing. */
  retryAfterMs?: Millis | null
}

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

/** Small durable settings that outlive a restart and reach every instance. An act that the store cannot carry
 *  out rejects with the reason, in bounded time; it is no bug, and the next one may succeed. */
export interface Settings {
  get(key: string): Promise<string | null>
  put(key: string, value: string): Promise<void>
  /** Hears every change, its own puts included; never rejects. */
  watch(on: (key: string, value: string) => void): Promise<void>
}

/** Settings that say whether they outlive a restart, and why not if not. */
export interface KeptSettings extends Settings {
  /** As of the last act. */
  readonly durable: boolean
  readonly reason: string | null
  /** Others may write it too. */
  readonly shared: boolean
  close(): Promise<void>
}

/** Draws more of a tenant's budget when the core wants it; what comes of it is an input. */
export interface BudgetKeeper {
  /** `short`: what is lacking, in the budget's unit. */
  wanted(account: Account, allowance: Allowance, short: number): void
}

/** What is used of budgets: a text under each name, every write a compare-and-set. Each act rejects with a reason, in
 *  time. */
export interface BudgetStore {
  read(key: string): Promise<{ text: string; revision: number } | null>
  /** Over that revision, 0: there is none. Gives its own; null: another was first. */
  write(key: string, text: string, over: number): Promise<number | null>
  keys(): Promise<readonly string[]>
  close(): Promise<void>
}

/** Where the members of a fleet keep their record: one value under compare-and-set. Each act rejects with a reason, in
 *  bounded time. */
export interface FleetStore {
  read(): Promise<{ text: string; revision: number } | null>
  /** Over the value of a revision, 0 for none. Its own revision, or null: somebody was faster. */
  write(text: string, over: number): Promise<number | null>
  /** Hears the value that there is, and every later one; never rejects. */
  watch(on: (found: { text: string; revision: number }) => void): Promise<void>
  close(): Promise<void>
}

/** An answer as it is kept for a request of the same words. */
export interface CachedAnswer {
  /** The whole body; of a streamed one each event's data. */
  readonly parts: readonly Uint8Array[]
  /** The upstream's id of it. */
  readonly requestId: string | null
}

/** Whose answer, and to what: the bytes of the body and whatever else makes the upstream answer otherwise. */
export type CacheAsk = Pick<Incoming, 'tenant' | 'body' | 'headers'>

/** Answers for those who rather have an old one than none. A tenant finds its own only. */
export interface Cache {
  /** Null: none, or too old; and never a rejection. */
  get(ask: CacheAsk): Promise<CachedAnswer | null>
  /** Best effort; what is too large is not kept. */
  put(ask: CacheAsk, answer: CachedAnswer): void
  /** The largest answer that is kept, in bytes. */
  readonly answerBytesMax: number
  close(): Promise<void>
}

/** A request as a door hands it over: parsed once, at the border. */
export interface Incoming {
  tenant: string
  lane: string
  /** The caller's, or one that the door made. */
  id: string
  model: string
  stream: boolean
  maxTokens: number
  /** Bytes of pictures and documents in the body, and the tokens that their kinds and sizes suggest; absent: none. */
  mediaBytes?: number
  mediaTokens?: number
  /** The provider may do more than answer: it runs tools itself, in a container or at MCP servers. */
  mayAct?: boolean
  /** What of its prompt it shares with others of its tenant, by name; absent or null: nothing that is known. */
  prefix?: string | null
  /** The JSON body as it came; sent upstream byte for byte. */
  body: Uint8Array
  /** The caller's remaining budget; null: the lane's default. */
  deadlineMs: Millis | null
  degrade: readonly DegradeStep[]
  /** Tries that the caller allows, the first included; absent or null: the lane's. */
  maxAttempts?: number | null
  headers: UpstreamHeaders
  /** What it has behind it already; absent: it comes now. */
  past?: { ageMs: Millis; attempts: number }
  reply: Reply
}

/** Where the one outcome of a request goes. The scheduler calls `event` and `ping` any number of times,
 *  then exactly one of `answer`, `end` and `refuse`; the door counts the events it sent. */
export interface Reply {
  /** One upstream event of a streamed answer: its `data` JSON bytes. */
  event(data: Uint8Array): void
  /** Keeps a streamed caller waiting in good heart; does nothing on a reply that is not streamed. */
  ping(): void
  /** The whole answer of a call that is not streamed: the upstream's bytes. */
  answer(body: Uint8Array, accounting: Accounting): void
  /** The end of a stream that is complete. */
  end(accounting: Accounting): void
  /** The end of anything else. `upstreamBody` is the upstream's error JSON, whose `error` is passed on. */
  refuse(refusal: Refusal, accounting: Accounting, upstreamBody: Uint8Array | null): void
}

// ---- durable jobs ----

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

/** What a store holds, each figure at a time of its own. A server before 2.11 tells no numbers: one stands for any. */
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

/** What happened to jobs, for counters and events. */
export type JobNews =
  | { kind: 'batch'; what: BatchNews; entries: number; job: null }
  | { kind: 'accepted'; job: JobName; bytes: number; deadlineMs: Millis; notBeforeMs: Millis }
  | { kind: 'duplicate' | 'ambiguous' | 'late_result'; job: JobName }
  | ({ kind: 'claimed'; ageMs: Millis; ambiguous: boolean } & JobWork)
  | ({ kind: 'taken_over'; from: string; ageMs: Millis; ambiguous: boolean } & JobWork)
  | ({ kind: 'returned' } & JobWork)
  | ({ kind: 'settled'; outcome: Outcome; ageMs: Millis } & JobWork)
  | ({ kind: 'dead'; reason: DeadReason } & JobWork)
  | { kind: 'store_error'; job: JobName | null; error: unknown }

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

// ---- batches of the provider's own, at half the price ----

/** On whose account, and as what: a batch has one version and one set of betas for all its entries. */
export type BatchAsk = Pick<AttemptCall, 'upstream' | 'headers'>

/** A request in a batch. */
export interface BatchEntry {
  /** By which its result is known again: at most 64 of `a-z A-Z 0-9 _ -`. */
  readonly customId: string
  /** The caller's body; sent byte for byte, unless it asks for a stream. */
  readonly body: Uint8Array
  readonly stream: boolean
}

/** A batch as the provider shows it. */
export interface BatchSeen {
  readonly id: string
  readonly state: 'in_progress' | 'canceling' | 'ended'
  /** Ms since 1970, on the provider's clock. */
  readonly createdAt: Millis
  readonly entries: number
}

/** What came of a create. `refused`: there is no such batch. `unknown`: there may be one, and the provider takes no
 *  idempotency key: only its list can tell. */
export type BatchCreated =
  | { how: 'made'; batch: BatchSeen }
  | { how: 'refused'; status: number | null; retryAfterMs: Millis | null }
  | { how: 'unknown' }

export type BatchResult = { readonly customId: string } & (
  | { readonly how: 'succeeded'; readonly message: Uint8Array; readonly usage: Verdict['usage'] }
  /** `body`: an error in the API's shape. */
  | { readonly how: 'errored'; readonly type: string; readonly body: Uint8Array }
  /** Its turn did not come; nothing was done and nothing is charged. */
  | { readonly how: 'expired' | 'canceled' }
)

/** The provider did not say what it was asked: it may later. Carries nothing of what was said. */
export class BatchesError extends Error {
  override readonly name = 'BatchesError'
  /** An HTTP status; null: no answer, or none that makes sense. */
  readonly status: number | null
  constructor(status: number | null, message: string) {
    super(message)
    this.status = status
  }
}

/** The provider's batches. All but `create` reject with a `BatchesError`, in bounded time, and may be tried again. */
export interface ProviderBatches {
  /** Never a rejection. */
  create(ask: BatchAsk, entries: readonly BatchEntry[]): Promise<BatchCreated>
  /** Those of the account that were made at that time or later, as the provider's clock has it; newest first. */
  list(ask: BatchAsk, since: Millis): Promise<BatchSeen[]>
  /** Null: the provider knows no such batch. */
  look(ask: BatchAsk, id: string): Promise<BatchSeen | null>
  /** Of a batch that has ended, in any order; cut off, all of them can be read again. */
  results(ask: BatchAsk, id: string): AsyncIterable<BatchResult>
  /** Asks for the end; what runs may still succeed. */
  cancel(ask: BatchAsk, id: string): Promise<void>
  close(): Promise<void>
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

// ---- message batches ----

/** Whose batch. */
export interface BatchName {
  readonly tenant: string
  readonly id: string
}

/** One of the pages that a batch came in: its `names`, or its `entries` whole. */
export interface BatchPage extends BatchName {
  readonly kind: 'names' | 'entries'
  readonly page: number
}

/** A result of a batch's job, in its place among those of the batch. */
export interface GroupResult {
  readonly seq: number
  /** The job's. */
  readonly id: string
  /** Ms since 1970. */
  readonly at: Millis
  readonly headers: BusHeaders
  /** Empty where heads were asked for. */
  readonly body: Uint8Array
}

/** Where batches are kept beside the jobs that they become. Each act is one, whole or not at all, also between
 *  instances; each rejects with a `JobStoreError`, in bounded time. */
export interface BatchStore {
  /** The largest page, in bytes. */
  readonly pageBytesMax: number
  /** Puts it among those that are not over; false: there is one of that name. */
  create(batch: Batch): Promise<boolean>
  find(of: BatchName): Promise<{ batch: Batch; revision: number } | null>
  /** Writes over a revision; its own, or null: somebody was faster. */
  write(batch: Batch, over: number): Promise<number | null>
  /** Of a tenant, the last first. */
  idsOf(tenant: string): Promise<string[]>
  /** Those that are not over, of all tenants. */
  open(): Promise<BatchName[]>
  /** It is over: no entry of it waits any more. */
  close(of: BatchName): Promise<void>
  putPage(of: BatchPage, bytes: Uint8Array): Promise<void>
  page(of: BatchPage): Promise<Uint8Array | null>
  dropPage(of: BatchPage): Promise<void>
  /** Takes away all that is kept of it, its results too. */
  remove(of: BatchName): Promise<void>
  /** Results in the order in which they were stored, from a place on: at most so many and about so many bytes, at
   *  least one where there is one. */
  results(
    of: BatchName,
    from: number,
    most: { count: number; bytes: number },
  ): Promise<GroupResult[]>
  /** The same without bodies. */
  heads(of: BatchName, from: number, count: number): Promise<GroupResult[]>
}

/** What an HTTP door may ask about batches. The answer is JSON, or the lines of a page of results. */
export interface Batches {
  ask(op: BatchOp, of: BatchAsked): Promise<BatchSaid>
}

export interface BatchAsked {
  tenant: string
  data: Uint8Array
  /** What a new batch's entries are sent with; who asks anything else says nothing here. */
  said: Pick<Incoming, 'deadlineMs' | 'degrade' | 'headers'> & { maxAttempts: number | null }
}

export type BatchSaid = { json: unknown } | { bytes: Uint8Array } | { refused: Refusal }

/** What a door may ask of the scheduler. */
export interface Scheduler {
  request(incoming: Incoming): void
  /** A request that the door itself had to refuse, so that it is answered, counted and recorded. */
  malformed(of: {
    tenant: string
    lane: string
    id: string
    model: string | null
    refusal: Refusal
    reply: Reply
  }): void
  /** A message that can be answered nowhere. */
  dropped(of: {
    tenant: string
    lane: string
    reason: 'no_reply' | 'reply_not_allowed' | 'bad_subject'
  }): void
  /** Null: this instance does not know the id. */
  cancel(tenant: string, id: string): CancelAnswer | null
  /** The caller's address is dead: nobody wants the answer any more. */
  gone(tenant: string, id: string): void
  /** Null: this instance does not know the id. `brief`: what must be reckoned, as its place in the queue, is
   *  left out. */
  status(tenant: string, id: string, brief?: boolean): StatusAnswer | null
  /** Why it would be refused whenever it came; null: it would not. */
  check(of: Pick<Incoming, 'tenant' | 'lane' | 'model'>): Refusal | null
}

/** What an operator may ask; answers are JSON values. A bad argument throws an `OperatorError`. */
export interface Operator {
  snapshot(): unknown
  /** The configuration in force; given YAML text, puts it in force or refuses it whole. `by` is for the log. */
  config(yaml: string | null, by: string): Promise<unknown>
  emergency(on: boolean): Promise<unknown>
  lane(of: { lane: string; paused: boolean }): Promise<unknown>
  upstream(name: string): Promise<unknown>
  /** Null: neither this instance nor the store of jobs knows the id. */
  status(of: { tenant: string; id: string }): Promise<StatusAnswer | null>
  /** Null: neither this instance nor the store of jobs knows the id, or another instance has it. */
  cancel(of: { tenant: string; id: string }): Promise<CancelAnswer | null>
  jobs(ask: JobsAsk): Promise<unknown>
  usage(ask: UsageAsk): Promise<UsageReport>
  budgets(ask: BudgetsAsk): Promise<BudgetsAnswer>
  /** Starts the drain; answers at once. */
  drain(): Promise<unknown>
}

/** A mistake of the operator's, said so that it can be mended. */
export class OperatorError extends Error {
  override readonly name = 'OperatorError'
}

/** Performs what was asked; a bad argument throws an `OperatorError`. `by` says who asked, as far as the door
 *  knows. */
export async function obey(operator: Operator, ask: AdminAsk, by: string): Promise<unknown> {
  switch (ask.op) {
    case 'snapshot':
      return operator.snapshot()
    case 'config':
      return operator.config(ask.yaml, by)
    case 'emergency':
      return operator.emergency(ask.on)
    case 'lane':
      return operator.lane({ lane: ask.lane, paused: ask.paused })
    case 'upstream':
      return operator.upstream(ask.upstream)
    case 'status':
      return operator.status(ask)
    case 'cancel':
      return operator.cancel(ask)
    case 'jobs':
      return operator.jobs(ask.jobs)
    case 'usage':
      return operator.usage(ask.usage)
    case 'budgets':
      return operator.budgets(ask.budgets)
    case 'drain':
      return operator.drain()
  }
}
