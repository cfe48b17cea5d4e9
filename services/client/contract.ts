/** What the client offers: the shapes a program sees. */
import type {
  Message,
  MessageCountTokensParams,
  MessageCreateParams,
  MessageCreateParamsNonStreaming,
  MessageTokensCount,
} from '@anthropic-ai/sdk/resources/messages'
import type { ModelInfo } from '@anthropic-ai/sdk/resources/models'
import type { BatchOp } from '#contracts/batches'
import type { CancelAnswer, DegradeStep, JobReceipt, StatusAnswer } from '#contracts/messages'
import type { AdminOp, AuxKind } from '#contracts/subjects'
import type { AnswerAccounting } from './accounting.ts'
import type { AnswerStream } from './answer-stream.ts'
import type { HeadgateError } from './errors.ts'
import type { NatsTls } from './nats-transport.ts'
import type { Relayed, RelaySink } from './relay.ts'
import type { ClientSystem } from './system.ts'
import type { BusLike, Transport } from './transport.ts'

export interface HeadgateOptions {
  /** Who is served. With permissions in force, the tenant of the NATS user. */
  tenant: string
  /** One URL, several, or several separated by commas; default `nats://127.0.0.1:4222`. With `tls://` the
   *  server must offer TLS; with `nats://` it is used if the server does. */
  servers?: string | readonly string[] | undefined
  user?: string | undefined
  password?: string | undefined
  /** The content of a `.creds` file. */
  creds?: Uint8Array | undefined
  /** PEM texts: whom to trust, who we are. Given, the server must offer TLS. */
  tls?: NatsTls | undefined
  name?: string | undefined
  /** The bus of an embedded Headgate, instead of a server. */
  bus?: BusLike
  /** A transport of your own, instead of a server; it stays open when we close. */
  transport?: Transport
  /** Where answers come; default `_INBOX_<tenant>`, which the shipped permissions allow. Given, every
   *  tenant of this connection (see `as`) is answered there. */
  inboxPrefix?: string | undefined
  /** First token of every subject; default `llm`. */
  subjectPrefix?: string
  /** Default `interactive`. */
  lane?: string
  /** Calls that may wait at once; default 10,000. */
  callsMax?: number
  /** Unread bytes of one stream; default 16 MB. */
  bufferBytesMax?: number
  /** Longest wait for an answer of a call without a deadline. Default: as long as Headgate has the call, which it
   *  is asked every 10 minutes; where it does not say, 24 hours in lane `batch` and 10 minutes in others. */
  waitMs?: number
  /** A stream that says nothing for so long, not even a ping, has failed; default 15 s. */
  silenceMs?: number
  /** How often, in ms, Headgate is asked whether those who have our silent calls are alive; default 1,500, with
   *  which a death is known within 5 s; Infinity: never. One question for all calls of this connection, and one
   *  for each call that says nothing for so long. */
  watchMs?: number
  system?: ClientSystem
}

export interface CallOptions {
  lane?: string | undefined
  /** For cancel and status; made if absent. */
  id?: string | undefined
  /** Remaining budget: queue, retries and answer together. */
  deadlineMs?: number | undefined
  /** What may be done instead when the call cannot be made in time. Deferred, the answer is the receipt of a
   *  job, and `accounting.outcome` says so. */
  degrade?: readonly DegradeStep[] | undefined
  /** Tries in all, 1 to 10; absent: the lane's own number. */
  maxAttempts?: number | undefined
  /** Names the cached prefix that this call shares with others of its tenant and model: 1 to 64 characters of A-Z a-z
   *  0-9 _ -. They wait for the first of them, where `scheduling.prefix_wait_ms` says so. Absent: Headgate looks at the
   *  body's `cache_control`. */
  prefix?: string | undefined
  /** False: the call is never asked a second time where it may have run. Absent: once, of another instance, where
   *  the one that had it died before it said a word; `accounting.ambiguous` is 1 then. So is nothing with
   *  `maxAttempts: 1`. A stopping instance's refusal of what never ran is asked elsewhere in any case. */
  again?: boolean | undefined
  /** `anthropic-version`, `anthropic-beta`, `traceparent`, `tracestate`. The last two come of themselves
   *  where OpenTelemetry is registered in this process and neither is given. */
  headers?: Readonly<Record<string, string>> | undefined
  /** Aborting cancels the request wherever it is; the call rejects with the signal's reason. */
  signal?: AbortSignal | undefined
}

export interface RelayOptions extends CallOptions {
  /** When the call is given up for good, whatever has come of it: for a door that must answer in any case. */
  endWithinMs?: number | undefined
  /** The deadline that a call has which names none, ms: what is left of it goes with a call that is asked again. */
  laneMs?: number | undefined
}

export interface SubmitOptions extends Omit<CallOptions, 'again'> {
  /** The job does not start before so many ms have passed: 0 (the default) to 604,800,000 (7 days), and less than
   *  its deadline, which counts from the same moment. */
  notBeforeMs?: number | undefined
}

export interface Answer<Body = Message> {
  /** Parsed when first asked for. */
  readonly body: Body
  /** The upstream's bytes. */
  readonly bytes: Uint8Array
  readonly accounting: AnswerAccounting
}

export interface ResultOptions {
  /** How long a job that is not settled yet may be waited for: 0 (the default) to 604,800,000 (7 days). */
  waitMs?: number | undefined
  /** Aborting ends the waiting; the job goes on. */
  signal?: AbortSignal | undefined
}

export interface JobWaitOptions {
  /** Then it fails with `pending`, 1 to 604,800,000 (7 days); the job goes on. Default: as long as it takes, which
   *  is until the job's own deadline at the latest. */
  timeoutMs?: number | undefined
  /** Aborting ends the waiting; the job goes on. */
  signal?: AbortSignal | undefined
}

/** Durable jobs, beside `submit` and `result`. */
export interface Jobs {
  /** A job's answer when it is there, or the error that it ended with. Servers and schedulers may go and come back
   *  meanwhile: a result that came in between is found. Any process of the tenant may wait, also long after
   *  `submit`, and several may. Fails with `unknown_id` when nobody knows the job, with `pending` after `timeoutMs`,
   *  and with `unreachable` where there is no connection to begin with. A wait counts among `callsMax`.
   *
   *      const receipt = await headgate.submit(body, { id: order.id, lane: 'batch' })
   *      const { body } = await headgate.jobs.wait(receipt) */
  wait(job: string | Pick<JobReceipt, 'id'>, options?: JobWaitOptions): Promise<Answer<Message>>
}

/** What the API lists. */
export interface ModelList {
  data: ModelInfo[]
  has_more: boolean
  first_id: string | null
  last_id: string | null
}

export interface EventOptions {
  /** Of one lane; default all. */
  lane?: string
  /** Nothing will be heard for now: there is no connection, or no permission. A listener that waits for a
   *  connection begins with it. */
  failed?: (error: HeadgateError) => void
}

export interface RequestEvent {
  /** `dev.headgate.request.queued` and so on. */
  type: string
  id: string
  time: string
  /** `<tenant>/<id>`. */
  subject: string
  data: unknown
}

/** JSON text, or its bytes: sent as it is. */
export type RawBody = Uint8Array | string

/** A connection for one tenant. Every call that fails does so with a HeadgateError, whose `code` says why, but for
 *  two: one that its own `signal` ends rejects with the signal's reason, as `fetch` does (a DOMException named
 *  AbortError where `abort()` was given none), and so does its stream; and arguments that can be no call are a
 *  TypeError, before anything is sent. */
export interface Headgate {
  readonly tenant: string
  /** Connects, where that is still to be done; fails with `unreachable`. */
  ready(): Promise<void>
  request(
    body: MessageCreateParamsNonStreaming | RawBody,
    options?: CallOptions,
  ): Promise<Answer<Message>>
  /** A raw body must say `"stream": true` itself. */
  stream(body: Omit<MessageCreateParams, 'stream'> | RawBody, options?: CallOptions): AnswerStream
  /** For a door that passes a call on as it comes: streamed or not, as the body says. `signal` is not heard:
   *  `leave` does what it would. */
  relay(body: RawBody, sink: RelaySink, options?: RelayOptions): Relayed
  /** Hands over a durable job; the receipt says that it is stored. With an `id` of your own the same may be
   *  submitted again when no receipt came (`no_answer`): it is stored once. Fails with `unreachable` where no
   *  durable jobs are kept, with `duplicate_id` where another body has this id.
   *
   *      const { id, duplicate } = await headgate.submit(body, { id: order.id, lane: 'batch' }) */
  submit(
    body: MessageCreateParamsNonStreaming | RawBody,
    options?: SubmitOptions,
  ): Promise<JobReceipt>
  readonly jobs: Jobs
  /** A job's answer, or the error that it ended with; fails with `pending` while it is not settled, with
   *  `unknown_id` when nobody knows it. One question: `jobs.wait` is for whoever wants the answer.
   *
   *      const { body, accounting } = await headgate.result('order-17') */
  result(id: string, options?: ResultOptions): Promise<Answer<Message>>
  cancel(id: string): Promise<CancelAnswer>
  /** Fails with `unknown_id` when nobody knows it. */
  status(id: string): Promise<StatusAnswer>
  /** The upstream's own answer, outside lanes. */
  aux(kind: AuxKind, body?: object | RawBody, options?: AuxOptions): Promise<Answer<unknown>>
  /** For an HTTP door, whom NATS permits it: one question about this tenant's message batches, answered with JSON or
   *  with lines of results. */
  batch(op: BatchOp, data: RawBody, options?: AuxOptions): Promise<Uint8Array>
  /** How many input tokens a call would have. */
  countTokens(
    params: MessageCountTokensParams,
    options?: AuxOptions,
  ): Promise<Answer<MessageTokensCount>>
  /** The first page of the upstream's models. */
  models(options?: AuxOptions): Promise<Answer<ModelList>>
  /** This tenant's request events; the answer stops them. */
  events(listener: (event: RequestEvent) => void, options?: EventOptions): () => void
  /** For operators, whom NATS permits it. */
  admin(op: AdminOp, body?: object): Promise<unknown>
  /** The same connection for another tenant, where permissions allow it; it ends with this one at the
   *  latest. */
  as(tenant: string): Headgate
  /** Whoever waits fails with `closed`, and so does every later call. */
  close(): Promise<void>
}

export type AuxOptions = Pick<CallOptions, 'headers' | 'signal'> & {
  /** How long to wait for the answer, in ms; default 65,000, which is more than Headgate ever takes. */
  waitMs?: number
}
