/** One call of the provider, and what comes of it. */
import type { UpstreamHeaders } from '#contracts/messages'
import type { Millis } from '#contracts/units'
import type { AbortWhy, Verdict } from '#contracts/verdict'

/** One call on one route, everything the provider needs. */
export interface AttemptCall {
  /** Whose request it is. */
  tenant: string
  lane: string
  /** The request's id: all its attempts carry the same. */
  id: string
  upstream: { name: string; baseUrl: string; apiKey: string | null; version: string }
  model: string
  /** In fast mode, on capacity that is counted apart: whose limits the answer is read for. Absent: no. */
  fast?: boolean
  /** The caller's body; sent byte for byte, unless `model` was replaced by a fallback, or its lane adds how it is to
   *  be served. */
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
