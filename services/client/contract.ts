/** What the client offers: the shapes a program sees. */
import type {
  Message,
  MessageCreateParams,
  MessageCreateParamsNonStreaming,
} from '@anthropic-ai/sdk/resources/messages'
import type { CancelAnswer, DegradeStep, StatusAnswer } from '#contracts/messages'
import type { AdminOp, AuxKind } from '#contracts/subjects'
import type { AnswerAccounting } from './accounting.ts'
import type { AnswerStream } from './answer-stream.ts'
import type { Relayed, RelaySink } from './relay.ts'
import type { ClientSystem } from './system.ts'
import type { BusLike, Transport } from './transport.ts'

export interface HeadgateOptions {
  /** Who is served. With permissions in force, the tenant of the NATS user. */
  tenant: string
  /** One URL, several, or several separated by commas; default `nats://127.0.0.1:4222`. */
  servers?: string | readonly string[] | undefined
  user?: string | undefined
  password?: string | undefined
  /** The content of a `.creds` file. */
  creds?: Uint8Array | undefined
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
  /** Longest wait for an answer of a call without a deadline; default 10 minutes. */
  waitMs?: number
  /** A stream that says nothing for so long, not even a ping, has failed; default 15 s. */
  silenceMs?: number
  system?: ClientSystem
}

export interface CallOptions {
  lane?: string | undefined
  /** For cancel and status; made if absent. */
  id?: string | undefined
  /** Remaining budget: queue, retries and answer together. */
  deadlineMs?: number | undefined
  /** What may be done instead when the call cannot be made in time. */
  degrade?: readonly DegradeStep[] | undefined
  /** `anthropic-version`, `anthropic-beta`, `traceparent`, `tracestate`. */
  headers?: Readonly<Record<string, string>> | undefined
  /** Aborting cancels the request wherever it is. */
  signal?: AbortSignal | undefined
}

export interface Answer<Body = Message> {
  /** Parsed when first asked for. */
  readonly body: Body
  /** The upstream's bytes. */
  readonly bytes: Uint8Array
  readonly accounting: AnswerAccounting
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

export interface Headgate {
  readonly tenant: string
  request(
    body: MessageCreateParamsNonStreaming | RawBody,
    options?: CallOptions,
  ): Promise<Answer<Message>>
  /** A raw body must say `"stream": true` itself. */
  stream(body: Omit<MessageCreateParams, 'stream'> | RawBody, options?: CallOptions): AnswerStream
  /** For a door that passes a call on as it comes: streamed or not, as the body says. `signal` is not heard:
   *  `leave` does what it would. */
  relay(body: RawBody, sink: RelaySink, options?: CallOptions): Relayed
  cancel(id: string): Promise<CancelAnswer>
  /** Fails with `unknown_id` when nobody knows it. */
  status(id: string): Promise<StatusAnswer>
  /** The upstream's own answer, outside lanes. */
  aux(kind: AuxKind, body?: object | RawBody, options?: AuxOptions): Promise<Answer<unknown>>
  /** This tenant's request events; the answer stops them. */
  events(listener: (event: RequestEvent) => void, options?: { lane?: string }): () => void
  /** For operators, whom NATS permits it. */
  admin(op: AdminOp, body?: object): Promise<unknown>
  /** The same connection for another tenant, where permissions allow it. */
  as(tenant: string): Headgate
  close(): Promise<void>
}

export type AuxOptions = Pick<CallOptions, 'headers' | 'signal'>
