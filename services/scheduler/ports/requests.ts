/** A request as a door hands it over, where its answer goes, and answers that are kept. */
import type { Accounting, DegradeStep, Refusal, UpstreamHeaders } from '#contracts/messages'
import type { Millis } from '#contracts/units'

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
  /** `speed` and `service_tier` of the body; absent or null: it does not say. */
  speed?: string | null
  tier?: string | null
  /** What of its prompt it shares with others of its tenant, by name; absent or null: nothing that is known. */
  prefix?: string | null
  /** The JSON body as it came; sent upstream byte for byte, but for a fallback's model and what its lane adds. */
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
