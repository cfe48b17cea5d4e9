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
import {
  classify,
  field,
  noError,
  parsed,
  readError,
  retryAfter,
  type Finding,
  type Stop,
  type UpstreamError,
} from './classify.ts'
import { hasRateHeaders, headerText, rateHeaders, type HeaderRecord } from './rate-headers.ts'
import { SseScanner } from './sse-scanner.ts'
import type { Exchange } from './undici-fetch.ts'
import { readUsage, withDelivered } from './usage.ts'

export interface AttemptLimits {
  /** A longer retry-after is cut to this and raises an alarm. */
  retryAfterMaxMs: Millis
  /** The largest event of a stream. */
  eventBytesMax: number
  /** The largest answer that is not streamed. */
  bodyBytesMax: number
}

/** The largest error body that is read; what is beyond says nothing more. */
const ERROR_BYTES_MAX = 1_000_000
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
  #scanner: SseScanner | null = null
  #chunks: Buffer[] = []
  #size = 0
  #complete = false
  #forwarded = false
  #ttftMs: Millis | null = null
  #usage: Usage | null = null
  /** True once a `message_delta` gave the output; before that it is guessed from what came. */
  #counted = false
  #deltas = 0
  #deltaBytes = 0

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

  /** The SDK gave up before it sent anything: a bad address, or a key it cannot write. */
  unsent(error: unknown): void {
    if (this.#status === null) this.failed(error)
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
    this.#watch(this.#call.idleMs)
    this.#sink.firstByte()
    if (this.over || status >= 300) return
    const type = (headerText(headers, 'content-type') ?? '').toLowerCase()
    if (!type.includes(this.#call.stream ? 'text/event-stream' : 'json')) {
      return this.#stop('content_type')
    }
    if (this.#call.stream) {
      this.#scanner = new SseScanner({
        on: (name, data) => this.#event(name, data),
        eventBytesMax: this.#limits.eventBytesMax,
      })
    }
  }

  bytes(chunk: Buffer): void {
    if (this.over) return
    this.#lastByteAt = this.#clock.now()
    if (this.#scanner !== null) {
      if (!this.#scanner.push(chunk)) this.#stop('too_large')
      return
    }
    this.#size += chunk.length
    this.#chunks.push(chunk)
    if (this.#failedStatus()) {
      if (this.#size > ERROR_BYTES_MAX) this.#stop('status')
    } else if (this.#size > this.#limits.bodyBytesMax) {
      this.#stop('too_large')
    }
  }

  ended(): void {
    if (this.over) return
    if (this.#complete) return this.#end(this.#verdict(OK, noError, null))
    if (this.#failedStatus()) return this.#fail('status', null)
    if (this.#scanner !== null || this.#size === 0) return this.#fail('end', null)
    const body = this.#body()
    const value = parsed(body.toString('utf8'))
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      return this.#fail('not_json', null)
    }
    if (field(value, 'type') === 'error') return this.#fail('error_event', null, readError(body))
    this.#usage = readUsage(field(value, 'usage'), null)
    this.#end(this.#verdict(OK, noError, body))
  }

  failed(error: unknown): void {
    if (this.over) return
    if (this.#complete) return this.#end(this.#verdict(OK, noError, null))
    // The status says more than how its body broke off.
    if (this.#failedStatus()) return this.#fail('status', null)
    const code = field(error, 'code') ?? field(field(error, 'cause'), 'code')
    this.#fail('transport', typeof code === 'string' ? code : null)
  }

  #event(name: string, data: Buffer): void {
    if (this.over || this.#complete) return
    switch (name === '' ? field(parsed(data.toString('utf8')), 'type') : name) {
      case 'ping':
        return
      case 'error':
        return this.#stop('error_event', readError(data))
      case 'content_block_delta':
        this.#deltas += 1
        this.#deltaBytes += data.length
        break
      case 'message_start':
        if (!this.#count(data, 'message')) return this.#stop('not_json')
        break
      case 'message_delta':
        if (!this.#count(data, null)) return this.#stop('not_json')
        this.#counted = true
        break
      case 'message_stop':
        this.#complete = true
        this.#watch(Math.min(LINGER_MS, this.#call.idleMs))
        break
    }
    if (!this.#forwarded) {
      this.#forwarded = true
      this.#ttftMs = this.#clock.now() - this.#sentAt
    }
    this.#sink.event(data)
  }

  /** Takes over the `usage` in an event's data, or in its field `within`; false when it is no JSON object. */
  #count(data: Buffer, within: 'message' | null): boolean {
    const value = parsed(data.toString('utf8'))
    if (typeof value !== 'object' || value === null) return false
    const holder = within === null ? value : field(value, within)
    this.#usage = readUsage(field(holder, 'usage'), this.#usage)
    return true
  }

  #watch(ms: Millis): void {
    this.#cancelWatchdog?.()
    this.#cancelWatchdog = Number.isFinite(ms) ? this.#clock.after(ms, () => this.#bark(ms)) : null
  }

  #bark(limitMs: Millis): void {
    this.#cancelWatchdog = null
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
      ? this.#verdict(OK, noError, null)
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
    const told = error ?? (this.#failedStatus() ? readError(this.#body()) : noError)
    const finding = classify({
      stop,
      why: this.#why,
      sent: this.#hangUp !== null,
      forwarded: this.#forwarded,
      status: this.#status,
      error: told,
      rawCode,
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
      requestId: headerText(this.#head, 'request-id'),
      usage: this.#used(finding),
      ttftMs: this.#ttftMs,
      rate: rateHeaders(this.#head),
      body,
    }
    if (asked.alarm) verdict.alarm = true
    return verdict
  }

  #used(finding: Finding): Usage | null {
    if (finding.kind === 'ok' || this.#counted) return this.#usage
    return withDelivered({ usage: this.#usage, deltas: this.#deltas, deltaBytes: this.#deltaBytes })
  }

  /** Only of an answer outside 2xx: elsewhere the header has been seen and means nothing. */
  #retryAfter(): { ms: Millis | null; alarm: boolean } {
    return retryAfter({
      text: this.#failedStatus() ? headerText(this.#head, 'retry-after') : null,
      wallMs: this.#clock.wall(),
      maxMs: this.#limits.retryAfterMaxMs,
    })
  }

  #failedStatus(): boolean {
    return this.#status !== null && this.#status >= 300
  }

  #body(): Buffer {
    const only = this.#chunks[0]
    return this.#chunks.length === 1 && only !== undefined ? only : Buffer.concat(this.#chunks)
  }
}
