/** What a span says: names and attributes, taken from an event field by field, so that what an event may gain
 *  one day does not reach a trace by itself. No prompt, answer, key or upstream's message is in any of them.
 *  Source: OpenTelemetry's conventions for GenAI client inference (in development; names of 1.41 and of the
 *  repository that has continued them since) and `error.type`. Difference: between caller and model the
 *  convention knows no scheduler, so `headgate.*` is ours; and `gen_ai.usage.input_tokens` is the upstream's
 *  `input_tokens`, which counts nothing that its prompt cache read or wrote. */
import { SpanStatusCode, type Attributes, type Span } from '@opentelemetry/api'
import type { HeadgateEvent } from '#ports'

export type EventOf<N extends HeadgateEvent['name']> = Extract<HeadgateEvent, { name: N }>
type DataOf<N extends HeadgateEvent['name']> = EventOf<N>['data']

/** One for all, since tenants and models are many: a span's name groups. */
export const REQUEST_NAME = 'headgate request'

const OPERATION = 'chat'

export const attemptName = (model: string | null): string =>
  model === null ? OPERATION : `${OPERATION} ${model}`

/** What is known of any request, and of its attempts, from the start: a sampler may decide by it. */
export function whoAsks(data: {
  tenant: string
  lane: string
  id: string
  model: string | null
  route: string | null
}): Attributes {
  const said: Attributes = {
    'gen_ai.operation.name': OPERATION,
    'gen_ai.provider.name': 'anthropic',
    'headgate.tenant': data.tenant,
    'headgate.lane': data.lane,
    'headgate.id': data.id,
  }
  if (data.model !== null) said['gen_ai.request.model'] = data.model
  if (data.route !== null) said['headgate.route'] = data.route
  return said
}

/** How the model is asked, by each attempt alike. */
export function howAsked(data: DataOf<'request.queued'>): Attributes {
  const said: Attributes = { 'gen_ai.request.max_tokens': data.max_tokens }
  // The convention wants it where it is true, and nowhere else.
  if (data.stream) said['gen_ai.request.stream'] = true
  return said
}

export function retryNote(data: DataOf<'request.retrying'>): Attributes {
  const said: Attributes = {
    'headgate.attempt': data.attempt,
    'headgate.max_attempts': data.max_attempts,
    'headgate.cause': data.cause,
    'headgate.wait_ms': data.wait_ms,
  }
  if (data.status !== null) said['http.response.status_code'] = data.status
  if (data.error_type !== null) said['error.type'] = data.error_type
  return said
}

export const preemptionNote = (data: DataOf<'request.preempted'>): Attributes => ({
  'headgate.preemptions': data.preemptions,
  'headgate.wasted_ms': data.wasted_ms,
})

export const rerouteNote = (data: DataOf<'request.rerouted'>): Attributes => ({
  'gen_ai.request.model': data.model ?? '',
  'headgate.route': data.route,
})

/** Tokens stand here and not on the request: summed over a trace they are what was used. */
export function sayAttemptEnd(span: Span, data: DataOf<'attempt.ended'>): void {
  const said: Attributes = { 'headgate.verdict': data.verdict, 'headgate.cause': data.cause }
  if (data.status !== null) said['http.response.status_code'] = data.status
  if (data.input_tokens !== null) said['gen_ai.usage.input_tokens'] = data.input_tokens
  if (data.output_tokens !== null) said['gen_ai.usage.output_tokens'] = data.output_tokens
  span.setAttributes(said)
  // `ended` is our own doing, and no fault of the upstream's.
  if (data.verdict !== 'ok' && data.verdict !== 'ended') fail(span, data.error_type ?? data.verdict)
}

export function sayRequestEnd(span: Span, data: DataOf<'request.settled'>): void {
  const said: Attributes = {
    'headgate.outcome': data.outcome,
    'headgate.status': data.status,
    'headgate.attempts': data.attempts,
    'headgate.preemptions': data.preemptions,
    'headgate.queue_ms': data.queue_ms,
    'headgate.served_by': data.served_by,
  }
  if (data.code !== null) said['headgate.code'] = data.code
  if (data.reason !== null) said['headgate.reason'] = data.reason
  if (data.route !== null) said['headgate.route'] = data.route
  span.setAttributes(said)
  // Who cancels gets what was asked for.
  if (data.code !== null && data.outcome !== 'cancelled') fail(span, data.code)
}

function fail(span: Span, type: string): void {
  span.setAttribute('error.type', type)
  span.setStatus({ code: SpanStatusCode.ERROR, message: type })
}
