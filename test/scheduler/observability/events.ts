/** Events to feed a recorder with, complete and overridable. */
import type { HeadgateEvent } from '#ports'

type DataOf<N extends HeadgateEvent['name']> = Extract<HeadgateEvent, { name: N }>['data']

const who = { tenant: 'acme', lane: 'interactive', id: 'r_1', model: 'claude-a' }
const job = { tenant: 'acme', lane: 'batch', id: 'j_1' }
const hands = { instance: 'one', age_ms: 1_000 }
const route = 'default-claude-a'

const samples: { [N in HeadgateEvent['name']]: DataOf<N> } = {
  fleet: { what: 'joined', member: 'host-8780' },
  budget: {
    ...{ tenant: 'acme', span: 'day', unit: 'tokens', window: '2026-11-30' },
    ...{ what: 'mark', most: 1_000 },
  },
  'request.queued': {
    ...who,
    route,
    stream: true,
    max_tokens: 1_024,
    bytes: 2_000,
    deadline_ms: null,
    predicted_wait_ms: 0,
  },
  'request.dispatched': {
    ...who,
    route,
    attempt: 1,
    queue_ms: 12,
    own_wait_ms: 0,
    predicted_wait_ms: 0,
  },
  'request.forwarding': { ...who, route, ttft_ms: 300 },
  'request.retrying': {
    ...who,
    route,
    attempt: 1,
    max_attempts: 3,
    status: 529,
    error_type: 'overloaded_error',
    cause: 'overloaded',
    wait_ms: 240,
  },
  'request.rerouted': { ...who, route, asked_model: 'claude-z', attempts: 0 },
  'request.preempted': { ...who, lane: 'batch', route, preemptions: 1, wasted_ms: 800 },
  'request.settled': {
    ...who,
    route,
    outcome: 'completed',
    served_by: 'upstream',
    code: null,
    reason: null,
    status: 200,
    error_type: null,
    attempts: 1,
    preemptions: 0,
    queue_ms: 12,
    own_wait_ms: 0,
    upstream_ms: 900,
    total_ms: 912,
    input_tokens: 10,
    output_tokens: 20,
    cost_usd: 0.000_33,
    unpriced: false,
  },
  'request.dropped': { tenant: 'acme', lane: 'interactive', reason: 'no_reply' },
  'attempt.ended': {
    ...who,
    route,
    attempt: 1,
    verdict: 'ok',
    status: 200,
    error_type: null,
    cause: 'complete',
    duration_ms: 900,
    may_have_run: true,
    input_tokens: 10,
    output_tokens: 20,
  },
  'job.accepted': { ...job, bytes: 2_000, deadline_ms: 86_400_000, not_before_ms: 0 },
  'job.claimed': { ...job, ...hands, claims: 1, attempts: 0, ambiguous: false },
  'job.taken_over': { ...job, ...hands, from: 'two', claims: 2, attempts: 1, ambiguous: true },
  'job.returned': { ...job, instance: 'one', attempts: 0 },
  'job.ended': { ...job, outcome: 'completed', claims: 1, attempts: 1, total_ms: 2_000 },
  'job.dead': { ...job, reason: 'claims_exhausted', claims: 6, attempts: 5 },
  breaker: { route, from: 'closed', state: 'open', reason: 'error_rate', open_ms: 15_000 },
  limit: {
    route,
    state: 'recovering',
    from: 60,
    limit: 42,
    inflight: 60,
    reason: 'upstream_overloaded',
  },
  guardrail: { name: 'ratio_429', met: false, value: 0.05, bound: 0.02 },
  alarm: { name: 'key_stop', route, detail: 'spend_limit' },
}

export const EVENT_NAMES = Object.keys(samples) as HeadgateEvent['name'][]

export const event = <N extends HeadgateEvent['name']>(
  name: N,
  data: Partial<DataOf<N>> = {},
): HeadgateEvent =>
  ({ name, at: 1_767_225_600_000, data: { ...samples[name], ...data } }) as HeadgateEvent

/** One request that was fine, as its three events that count. */
export const served = (data: { tenant?: string; lane?: string; model?: string } = {}) => [
  event('request.queued', data),
  event('request.dispatched', data),
  event('attempt.ended', data),
  event('request.settled', data),
]
