/** One request's events, told as stretches of time. */
import type { Life, Span } from '#contracts/dashboard'
import type { RequestState } from '#contracts/outcome'
import type { Kept, RequestEvent } from './lives.ts'

export function lifeOf(kept: Kept, now: number): Life | null {
  const [first] = kept.events
  if (first === undefined) return null
  const settled = kept.events.findLast((one) => one.name === 'request.settled')?.data
  const queued = first.name === 'request.queued' ? first.data : null
  const arrived = first.name === 'request.settled' ? first.at - first.data.total_ms : first.at
  const route = kept.events.findLast((one) => one.data.route !== null)?.data.route ?? null
  const { spans, state } = spansOf(kept.events, arrived, now)
  return {
    tenant: first.data.tenant,
    lane: first.data.lane,
    id: first.data.id,
    model: first.data.model,
    route,
    arrived_at: Math.round(arrived),
    state,
    stream: queued?.stream ?? false,
    max_tokens: queued?.max_tokens ?? null,
    deadline_ms: queued?.deadline_ms ?? null,
    predicted_wait_ms: queued?.predicted_wait_ms ?? null,
    outcome: settled?.outcome ?? null,
    code: settled?.code ?? null,
    input_tokens: settled?.input_tokens ?? null,
    output_tokens: settled?.output_tokens ?? null,
    spans,
    cut: kept.cut,
  }
}

/** What an event changes: the spans that are still open are the last ones of their kind. */
interface Telling {
  spans: Span[]
  /** When it went back into the queue, or will. */
  queuedFrom: number | null
  attempt: Span | null
  streaming: Span | null
  state: RequestState
}

function spansOf(
  events: readonly RequestEvent[],
  arrived: number,
  now: number,
): { spans: Span[]; state: RequestState } {
  const telling: Telling = {
    spans: [],
    queuedFrom: null,
    attempt: null,
    streaming: null,
    state: 'queued',
  }
  for (const event of events) tell(telling, event, Math.round(event.at - arrived))
  const { spans, queuedFrom } = telling
  if (queuedFrom !== null && telling.state !== 'settled') {
    // In back-off until then.
    if (queuedFrom <= now - arrived) {
      spans.push(spanOf('queued', { from_ms: queuedFrom, to_ms: null }))
      telling.state = 'queued'
    } else spans.at(-1)!.to_ms = null
  }
  return { spans, state: telling.state }
}

function tell(telling: Telling, event: RequestEvent, at: number): void {
  const { spans } = telling
  switch (event.name) {
    case 'request.queued':
      telling.queuedFrom = at
      return
    case 'request.dispatched': {
      endQueued(telling, at)
      const { attempt } = event.data
      telling.attempt = spanOf('attempt', { from_ms: at, to_ms: null, attempt })
      spans.push(telling.attempt)
      telling.state = 'running'
      return
    }
    case 'request.forwarding': {
      const attempt = telling.attempt?.attempt ?? null
      telling.streaming = spanOf('streaming', { from_ms: at, to_ms: null, attempt })
      spans.push(telling.streaming)
      telling.state = 'forwarding'
      return
    }
    case 'attempt.ended': {
      const { verdict, status, cause } = event.data
      for (const open of [telling.attempt, telling.streaming])
        if (open !== null) Object.assign(open, { to_ms: at, verdict, status, reason: cause })
      telling.attempt = null
      telling.streaming = null
      return
    }
    case 'request.retrying': {
      const until = at + event.data.wait_ms
      spans.push(spanOf('backoff', { from_ms: at, to_ms: until, reason: event.data.cause }))
      telling.queuedFrom = until
      telling.state = 'backoff'
      return
    }
    case 'request.preempted':
      spans.push(spanOf('preempted', { from_ms: at, to_ms: at, reason: 'another lane is owed' }))
      telling.queuedFrom = at
      telling.state = 'queued'
      return
    case 'request.rerouted':
      telling.queuedFrom = at
      telling.state = 'queued'
      return
    case 'request.settled': {
      endQueued(telling, at)
      const { outcome, code, reason, status } = event.data
      const said = { verdict: outcome, status, reason: reason ?? code }
      spans.push(spanOf('settled', { from_ms: at, to_ms: at, ...said }))
      telling.state = 'settled'
      return
    }
  }
}

/** It waited until now; a back-off that was cut short ends now too. */
function endQueued(telling: Telling, at: number): void {
  const { spans, queuedFrom } = telling
  telling.queuedFrom = null
  if (queuedFrom === null) return
  const last = spans.at(-1)
  if (last?.kind === 'backoff' && queuedFrom > at) last.to_ms = at
  else spans.push(spanOf('queued', { from_ms: queuedFrom, to_ms: at }))
}

const spanOf = (kind: Span['kind'], of: Pick<Span, 'from_ms' | 'to_ms'> & Partial<Span>): Span => ({
  attempt: null,
  verdict: null,
  status: null,
  reason: null,
  ...of,
  kind,
})
