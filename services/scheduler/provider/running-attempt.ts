/** One attempt from send to verdict: watches the bytes, forwards the events, ends in exactly one verdict.
 *  Two watchdogs on the injected clock: no byte at all within `firstByteMs` is a hang; later, no byte within
 *  `idleMs` is a break. The head of the answer counts as its first byte. A byte only moves a number; the one
 *  timer finds out when it fires, so a stream costs no timer per chunk. */
import type {
  AbortWhy,
  AttemptCall,
  AttemptSink,
  Clock,
  Millis,
  RunningAttempt,
  Verdict,
} from '#ports'
import type { Usage } from '#contracts/verdict'
import { AnswerReader } from './answer-reader.ts'
import { classify, type Finding, type Stop } from './classify.ts'
import { GatheredBytes } from './gathered-bytes.ts'
import { field } from './json-fields.ts'
import {
  hasRateHeaders,
  headerText,
  rateHeaders,
  requestIdOf,
  type HeaderRecord,
} from './rate-headers.ts'
import { NO_RETRY_AFTER, retryAfter, type RetryAfter } from './retry-after.ts'
import type { Exchange } from './undici-fetch.ts'
import { noError, readError, type UpstreamError } from './upstream-error.ts'

/** Sizes count the bytes on the wire, and those that come out of a content coding. */
export interface AttemptLimits {
  /** A longer retry-after is cut to this and raises an alarm. */
  retryAfterMaxMs: Millis
  /** The largest event of a stream. */
  eventBytesMax: number
  /** The largest answer that is not streamed. */
  bodyBytesMax: number
  /** The largest stream. */
  streamBytesMax: number
}

/** The largest error body that is read; what is beyond says nothing more. */
const ERROR_BYTES_MAX = 1_000_000
/** How long the body of an error may pause: its status is known, and somebody may be asked again. */
const ERROR_IDLE_MS: Millis = 5_000
/** How long a stream may stay open after `message_stop` before we hang up on a complete answer. */
const LINGER_MS: Millis = 1_000

const OK: Finding = { kind: 'ok', cause: 'complete', mayHaveRun: true }

export class Attempt implements Exchange, RunningAttempt {
  readonly headers: Readonly<Record<string, string>>
  over = false
  readonly #call: AttemptCall
  readonly #sink: AttemptSink
  readonly #clock: Clock
  readonly #limits: AttemptLimits
  readonly #sentAt: Millis
  #hangUp: ((reason: Error) => void) | null = null
  #cancelWatchdog: (() => void) | null = null
  #lastByteAt: Millis
  #why: AbortWhy | null = null
  #status: number | null = null
  #head: HeaderRecord = {}
  /** Of an answer under 2xx. */
  #reader: AnswerReader | null = null
  /** The body of any other. */
  readonly #errorBody = new GatheredBytes()
  #wireBytes = 0
  #bodyBytes = 0
  /** The whole answer is there; nothing that follows can spoil it. */
  #complete = false
  #body: Uint8Array | null = null
  #ttftMs: Millis | null = null

  constructor(of: {
    call: AttemptCall
    sink: AttemptSink
    clock: Clock
    limits: AttemptLimits
    headers: Readonly<Record<string, string>>
  }) {
    this.headers = of.headers
    this.#call = of.call
    this.#sink = of.sink
    this.#clock = of.clock
    this.#limits = of.limits
    this.#sentAt = of.clock.now()
    this.#lastByteAt = this.#sentAt
    this.#watch(of.call.firstByteMs)
  }

  abort(why: AbortWhy): void {
    this.#why ??= why
    this.#stop('aborted')
  }

  /** Whoever should send it gave up before anything was sent: a bad address, a key that cannot be written,
   *  nobody who takes the connection. */
  unsent(error: unknown): void {
    if (this.#status !== null) return
    this.#hangUp = null
    this.failed(error)
  }

  started(hangUp: (reason: Error) => void): void {
    if (this.over) return hangUp(new Error('called off'))
    this.#hangUp = hangUp
  }

  head(status: number, headers: HeaderRecord): void {
    if (this.over) return
    this.#status = status
    this.#head = headers
    this.#lastByteAt = this.#clock.now()
    const { idleMs } = this.#call
    this.#watch(this.#failedStatus() ? Math.min(ERROR_IDLE_MS, idleMs) : idleMs)
    if (!this.#failedStatus()) this.#reader = this.#newReader()
    this.#sink.firstByte()
  }

  received(count: number): void {
    if (this.over) return
    this.#lastByteAt = this.#clock.now()
    this.#wireBytes += count
    if (this.#wireBytes > this.#bytesMax()) this.#tooLarge()
  }

  bytes(chunk: Buffer): void {
    if (this.over) return
    this.#bodyBytes += chunk.length
    if (this.#failedStatus()) this.#errorBody.push(chunk)
    if (this.#bodyBytes > this.#bytesMax()) return this.#tooLarge()
    this.#reader?.push(chunk)
  }

  ended(): void {
    if (this.over) return
    this.#reader?.end()
    if (this.over) return
    if (this.#complete) return this.#end(this.#verdict(OK, noError, this.#body))
    // The status says more than how its body ended.
    this.#fail(this.#failedStatus() ? 'status' : 'end', null)
  }

  garbled(): void {
    this.#stop(this.#failedStatus() ? 'status' : 'garbled')
  }

  failed(error: unknown): void {
    if (this.over) return
    if (this.#complete) return this.#end(this.#verdict(OK, noError, this.#body))
    if (this.#failedStatus()) return this.#fail('status', null)
    const code = field(error, 'code') ?? field(field(error, 'cause'), 'code')
    this.#fail('transport', typeof code === 'string' ? code : null)
  }

  seen(): { usage: Usage | null; requestId: string | null } {
    return { usage: this.#reader?.used() ?? null, requestId: requestIdOf(this.#head) }
  }

  #newReader(): AnswerReader {
    return new AnswerReader({
      stream: this.#call.stream,
      contentType: headerText(this.#head, 'content-type') ?? '',
      eventBytesMax: this.#limits.eventBytesMax,
      on: {
        event: (data) => {
          if (this.over) return
          this.#ttftMs ??= this.#clock.now() - this.#sentAt
          this.#sink.event(data)
        },
        complete: (body) => {
          if (this.over) return
          this.#complete = true
          this.#body = body
          this.#watch(Math.min(LINGER_MS, this.#call.idleMs))
        },
        broken: (stop, error) => this.#stop(stop, error),
      },
    })
  }

  #bytesMax(): number {
    if (this.#failedStatus()) return ERROR_BYTES_MAX
    return this.#call.stream ? this.#limits.streamBytesMax : this.#limits.bodyBytesMax
  }

  #tooLarge(): void {
    if (!this.#failedStatus()) return this.#stop('too_large')
    // A page without end says nothing to anybody.
    this.#stop('status', { ...readError(this.#errorBody.take(), this.#status), body: null })
  }

  #watch(ms: Millis): void {
    this.#cancelWatchdog?.()
    this.#cancelWatchdog = Number.isFinite(ms) ? this.#clock.after(ms, () => this.#bark(ms)) : null
  }

  /** Time in which the process stood still is nobody's silence: what came meanwhile is read before it is judged. */
  #bark(limitMs: Millis): void {
    this.#cancelWatchdog = null
    const { soon } = this.#clock
    if (soon === undefined) this.#judge(limitMs)
    else soon(() => this.#judge(limitMs))
  }

  #judge(limitMs: Millis): void {
    // It has ended, or another watch has begun.
    if (this.over || this.#cancelWatchdog !== null) return
    const quietMs = this.#clock.now() - this.#lastByteAt
    if (quietMs < limitMs) {
      this.#cancelWatchdog = this.#clock.after(limitMs - quietMs, () => this.#bark(limitMs))
    } else if (this.#status === null) this.#stop('silent')
    else this.#stop(this.#failedStatus() ? 'status' : 'idle')
  }

  /** Ends it from our side. A complete answer stays complete. */
  #stop(stop: Stop, error?: UpstreamError): void {
    if (this.over) return
    const verdict = this.#complete
      ? this.#verdict(OK, noError, this.#body)
      : this.#failure(stop, null, error)
    this.#end(verdict, new Error(stop))
  }

  #fail(stop: Stop, rawCode: string | null, error?: UpstreamError): void {
    this.#end(this.#failure(stop, rawCode, error))
  }

  /** The one end. Whoever hears of it hears it after the socket was destroyed, where that is ours to do. */
  #end(verdict: Verdict, hangUp?: Error): void {
    this.over = true
    this.#cancelWatchdog?.()
    this.#cancelWatchdog = null
    if (hangUp !== undefined) this.#hangUp?.(hangUp)
    this.#sink.ended(verdict)
  }

  #failure(stop: Stop, rawCode: string | null, error?: UpstreamError): Verdict {
    const told =
      error ?? (this.#failedStatus() ? readError(this.#errorBody.take(), this.#status) : noError)
    const finding = classify({
      stop,
      why: this.#why,
      sent: this.#hangUp !== null,
      forwarded: this.#ttftMs !== null,
      status: this.#status,
      error: told,
      rawCode,
      shouldRetry: this.#shouldRetry(),
      explained: this.#retryAfter().ms !== null || hasRateHeaders(this.#head),
    })
    return this.#verdict(finding, told, told.body)
  }

  #verdict(finding: Finding, error: UpstreamError, body: Uint8Array | null): Verdict {
    const asked = this.#retryAfter()
    const verdict: Verdict = {
      ...finding,
      status: this.#status,
      errorType: error.type,
      retryAfterMs: asked.ms,
      requestId: requestIdOf(this.#head),
      usage: this.#reader?.used() ?? null,
      ttftMs: this.#ttftMs,
      rate: rateHeaders(this.#head, this.#call.fast),
      body,
    }
    if (asked.told !== null) verdict.toldRetryAfterMs = asked.told
    if (asked.alarm) verdict.alarm = true
    if (error.final || this.#shouldRetry() === false) verdict.notAgain = true
    return verdict
  }

  /** Only of an answer outside 2xx: elsewhere the header has been seen and means nothing. */
  #retryAfter(): RetryAfter {
    if (!this.#failedStatus()) return NO_RETRY_AFTER
    const { retryAfterMaxMs: maxMs } = this.#limits
    return retryAfter(this.#head, { wallMs: this.#clock.wall(), maxMs })
  }

  /** The same holds for `x-should-retry`. */
  #shouldRetry(): boolean | null {
    const said = this.#failedStatus() ? headerText(this.#head, 'x-should-retry') : null
    return said === 'true' ? true : said === 'false' ? false : null
  }

  #failedStatus(): boolean {
    return this.#status !== null && this.#status >= 300
  }
}
