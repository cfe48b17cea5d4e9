/** What the scheduler asks of the world. Each port is small, belongs to its caller, and has a fake and a
 *  real side that pass one conformance suite (test/conformance). */
import type { Dice } from '#core/dice'
import type { AdminAsk } from '#contracts/admin'
import type { HeadgateEvent } from '#contracts/events'
import type { Millis } from '#contracts/units'
import type { AbortWhy, Verdict } from '#contracts/verdict'
import type {
  Accounting,
  CancelAnswer,
  DegradeStep,
  Refusal,
  StatusAnswer,
  UpstreamHeaders,
} from '#contracts/messages'

export type { Dice, HeadgateEvent, Millis, Verdict, AbortWhy }

/** Time, injected. `now` never goes back; `wall` is for people and the wire only. */
export interface Clock {
  /** Milliseconds since some fixed instant of this process, monotonic. */
  now(): Millis
  /** Milliseconds since 1970. */
  wall(): Millis
  /** Calls once, `ms` from now (any length); the answer cancels it. */
  after(ms: Millis, call: () => void): () => void
}

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
  /** Fire and forget. With `probe`, `onNobody` hears that word if nobody listens to the subject. */
  publish(
    subject: string,
    data: Uint8Array | string,
    options?: { headers?: BusHeaders; reply?: string; probe?: string },
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
}

export interface Provider {
  send(call: AttemptCall, sink: AttemptSink): RunningAttempt
  /** A call outside lanes and slots: the upstream's own status, content type and bytes. */
  aux(
    call: Pick<AttemptCall, 'upstream' | 'headers'> & {
      kind: 'count_tokens' | 'models'
      body: Uint8Array | null
      timeoutMs: Millis
    },
  ): Promise<{ status: number; requestId: string | null; body: Uint8Array }>
  close(): Promise<void>
}

/** Takes every event, in order; must not throw and must not wait. */
export interface Recorder {
  record(event: HeadgateEvent): void
}

/** Small durable settings that outlive a restart and reach every instance. */
export interface Settings {
  get(key: string): Promise<string | null>
  put(key: string, value: string): Promise<void>
  /** Hears every change, its own puts included. */
  watch(on: (key: string, value: string) => void): Promise<void>
}

/** Settings that say whether they outlive a restart, and why not if not. */
export interface KeptSettings extends Settings {
  readonly durable: boolean
  readonly reason: string | null
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
  /** The JSON body as it came; sent upstream byte for byte. */
  body: Uint8Array
  /** The caller's remaining budget; null: the lane's default. */
  deadlineMs: Millis | null
  degrade: readonly DegradeStep[]
  headers: UpstreamHeaders
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
  /** Null: this instance does not know the id. */
  status(tenant: string, id: string): StatusAnswer | null
}

/** What an operator may ask; answers are JSON values. A bad argument throws an `OperatorError`. */
export interface Operator {
  snapshot(): unknown
  /** The configuration in force; given YAML text, puts it in force or refuses it whole. */
  config(yaml: string | null): Promise<unknown>
  emergency(on: boolean): Promise<unknown>
  lane(of: { lane: string; paused: boolean }): Promise<unknown>
  /** Starts the drain; answers at once. */
  drain(): Promise<unknown>
}

/** A mistake of the operator's, said so that it can be mended. */
export class OperatorError extends Error {
  override readonly name = 'OperatorError'
}

/** Performs what was asked; a bad argument throws an `OperatorError`. */
export async function obey(operator: Operator, ask: AdminAsk): Promise<unknown> {
  switch (ask.op) {
    case 'snapshot':
      return operator.snapshot()
    case 'config':
      return operator.config(ask.yaml)
    case 'emergency':
      return operator.emergency(ask.on)
    case 'lane':
      return operator.lane({ lane: ask.lane, paused: ask.paused })
    case 'drain':
      return operator.drain()
  }
}
