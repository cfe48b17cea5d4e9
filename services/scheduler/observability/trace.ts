/** What was recorded, as OpenTelemetry spans: one for each request, one child for each of its attempts, at the
 *  events' own times. Speaks to OpenTelemetry's API alone, so nothing is made until the process has an SDK
 *  (docs/operations.md, Tracing).
 *  Bound: `OPEN_REQUESTS_MAX` requests, of two open spans at most; past it the oldest is ended and marked
 *  `headgate.lost`. A request that is not sampled is not held. */
import {
  createTraceState,
  isSpanContextValid,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  SpanKind,
  trace,
  type Attributes,
  type Context,
  type HrTime,
  type Span,
  type SpanContext,
} from '@opentelemetry/api'
import type { TraceContext } from '#contracts/events'
import { requestKey, type RequestKey } from '#contracts/ids'
import type { HeadgateEvent, Millis, Recorder } from '#ports'
import {
  attemptName,
  howAsked,
  preemptionNote,
  rerouteNote,
  REQUEST_NAME,
  retryNote,
  sayAttemptEnd,
  sayRequestEnd,
  whoAsks,
  type EventOf,
} from './span-words.ts'

/** Room for the queues of the shipped lanes; about 1 kB each, with OpenTelemetry's own SDK. */
export const OPEN_REQUESTS_MAX = 25_000

/** A sampled request, until neither span is left. Of one that is cancelled while it runs the request ends
 *  first, and the attempt when the transport has let go. */
interface Open {
  request: Span | null
  attempt: Span | null
  /** What each attempt asks of the model. */
  readonly asked: Attributes
}

export class TraceRecorder implements Recorder {
  readonly #version: string
  readonly #open = new Map<RequestKey, Open>()

  /** `version`: this package's own, for the spans' instrumentation scope. */
  constructor(of: { version: string }) {
    this.#version = of.version
  }

  /** Requests that are held: 0 to `OPEN_REQUESTS_MAX`, and 0 without an SDK. */
  get open(): number {
    return this.#open.size
  }

  record(event: HeadgateEvent): void {
    switch (event.name) {
      case 'request.queued':
        return this.#queued(event)
      case 'request.dispatched':
        return this.#dispatched(event)
      case 'request.forwarding':
        return this.#forwarding(event)
      case 'request.retrying':
        return this.#retrying(event)
      case 'request.preempted':
        return this.#preempted(event)
      case 'request.rerouted':
        return this.#rerouted(event)
      case 'attempt.ended':
        return this.#attemptEnded(event)
      case 'request.settled':
        // What was taken in has a route.
        return event.data.route === null ? this.#refused(event) : this.#settled(event)
      default:
        return
    }
  }

  /** What the process's SDK has not sent yet; resolves when it has, or when it failed to. */
  async flush(): Promise<void> {
    const provider: unknown = trace.getTracerProvider()
    const own = provider instanceof ProxyTracerProvider ? provider.getDelegate() : provider
    await (own as { forceFlush?: () => Promise<void> }).forceFlush?.().catch(() => {})
  }

  // ---- a request's life ----

  #queued(event: EventOf<'request.queued'>): void {
    const { data, at } = event
    const asked = howAsked(data)
    const attributes: Attributes = { ...whoAsks(data), ...asked }
    if (data.deadline_ms !== null) attributes['headgate.deadline_ms'] = data.deadline_ms
    const request = this.#startRequest(event, at, attributes)
    if (!request.isRecording()) return
    const key = requestKey(data.tenant, data.id)
    const before = this.#open.get(key)
    if (before !== undefined) this.#lose(key, before, at)
    else if (this.#open.size >= OPEN_REQUESTS_MAX) this.#loseOldest(at)
    this.#open.set(key, { request, attempt: null, asked })
  }

  #dispatched({ data, at }: EventOf<'request.dispatched'>): void {
    const open = this.#find(data)
    if (open === undefined || open.request === null || open.attempt !== null) return
    const attributes: Attributes = {
      ...whoAsks(data),
      ...open.asked,
      'headgate.attempt': data.attempt,
    }
    open.attempt = this.#tracer().startSpan(
      attemptName(data.model),
      { kind: SpanKind.CLIENT, startTime: timeOf(at), attributes },
      trace.setSpan(ROOT_CONTEXT, open.request),
    )
  }

  #forwarding({ data, at }: EventOf<'request.forwarding'>): void {
    const open = this.#find(data)
    open?.request?.addEvent('headgate.forwarding', { 'headgate.ttft_ms': data.ttft_ms }, timeOf(at))
    // In seconds, as the convention has it.
    open?.attempt?.setAttribute('gen_ai.response.time_to_first_chunk', data.ttft_ms / 1_000)
  }

  #retrying({ data, at }: EventOf<'request.retrying'>): void {
    this.#find(data)?.request?.addEvent('headgate.retrying', retryNote(data), timeOf(at))
  }

  #preempted({ data, at }: EventOf<'request.preempted'>): void {
    this.#find(data)?.request?.addEvent('headgate.preempted', preemptionNote(data), timeOf(at))
  }

  #rerouted({ data, at }: EventOf<'request.rerouted'>): void {
    this.#find(data)?.request?.addEvent('headgate.rerouted', rerouteNote(data), timeOf(at))
  }

  #attemptEnded({ data, at }: EventOf<'attempt.ended'>): void {
    const open = this.#find(data)
    if (open === undefined || open.attempt === null) return
    sayAttemptEnd(open.attempt, data)
    open.attempt.end(timeOf(at))
    open.attempt = null
    if (open.request === null) this.#open.delete(requestKey(data.tenant, data.id))
  }

  #settled({ data, at }: EventOf<'request.settled'>): void {
    const open = this.#find(data)
    if (open === undefined || open.request === null) return
    sayRequestEnd(open.request, data)
    open.request.end(timeOf(at))
    open.request = null
    if (open.attempt === null) this.#open.delete(requestKey(data.tenant, data.id))
  }

  /** Refused before it was taken in, so no other event tells of it; perhaps since another request of its id
   *  lives, which goes on untouched. */
  #refused(event: EventOf<'request.settled'>): void {
    const { data, at } = event
    const request = this.#startRequest(event, at - data.total_ms, whoAsks(data))
    if (!request.isRecording()) return
    sayRequestEnd(request, data)
    request.end(timeOf(at))
  }

  // ---- small servants ----

  /** Kind SERVER: its caller waits for the answer, whatever carries it. CONSUMER would say that nobody does. */
  #startRequest(of: { trace?: TraceContext }, at: Millis, attributes: Attributes): Span {
    const options = { kind: SpanKind.SERVER, startTime: timeOf(at), attributes }
    return this.#tracer().startSpan(REQUEST_NAME, options, contextOf(of.trace))
  }

  /** Asked for each span: an SDK may come late, and bring a copy of the API of its own. */
  #tracer() {
    return trace.getTracer('headgate', this.#version)
  }

  #find(data: { tenant: string; id: string }): Open | undefined {
    if (this.#open.size === 0) return undefined
    return this.#open.get(requestKey(data.tenant, data.id))
  }

  #loseOldest(at: Millis): void {
    for (const [key, open] of this.#open) return this.#lose(key, open, at)
  }

  #lose(key: RequestKey, { request, attempt }: Open, at: Millis): void {
    this.#open.delete(key)
    for (const span of [attempt, request]) span?.setAttribute('headgate.lost', true).end(timeOf(at))
  }
}

/** Seconds and nanoseconds: a bare number that is small would be taken for time since the process began. */
const timeOf = (at: Millis): HrTime => [Math.floor(at / 1_000), Math.floor((at % 1_000) * 1e6)]

/** Never the context that happens to be active: an event is not recorded in its caller's. */
function contextOf(given: TraceContext | undefined): Context {
  if (given === undefined) return ROOT_CONTEXT
  const [version, traceId = '', spanId = '', flags = ''] = given.traceparent.split('-')
  const parent: SpanContext = { traceId, spanId, traceFlags: parseInt(flags, 16), isRemote: true }
  // W3C: no version is ff; and nothing is all zeros.
  if (version === 'ff' || !isSpanContextValid(parent)) return ROOT_CONTEXT
  if (given.tracestate !== undefined) parent.traceState = createTraceState(given.tracestate)
  return trace.setSpanContext(ROOT_CONTEXT, parent)
}
