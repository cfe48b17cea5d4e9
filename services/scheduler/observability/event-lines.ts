/** What the log tells of events: one line each, of the fields that are named here and no other. */
import type { EventName, HeadgateEvent } from '#contracts/events'
import type { Log, LogFields, LogLevel } from '#platform/log'

/** Turns events into lines: one warning per retry, one error when tries run out, the rest as it matters. */
export function logRecorder(log: Log): { record(event: HeadgateEvent): void } {
  return {
    record(event) {
      const level = levelOf(event)
      if (log.isOn(level)) log[level](messageOf(event), fieldsOf(event))
    },
  }
}

type Written = Exclude<LogLevel, 'silent'>

function levelOf(event: HeadgateEvent): Written {
  switch (event.name) {
    case 'request.retrying':
      return 'warn'
    case 'request.settled':
      return event.data.code === 'retries_exhausted' ? 'error' : 'debug'
    case 'breaker':
      return event.data.state === 'open' ? 'warn' : 'info'
    case 'limit':
      return event.data.limit < event.data.from ? 'warn' : 'info'
    case 'fleet':
      return event.data.what === 'dead' || event.data.what === 'lapsed' ? 'warn' : 'info'
    case 'guardrail':
      return event.data.met ? 'info' : 'warn'
    case 'budget':
      return 'warn'
    case 'job.taken_over':
    case 'job.dead':
      return 'warn'
    case 'alarm':
      return 'error'
    default:
      return 'debug'
  }
}

function messageOf(event: HeadgateEvent): string {
  switch (event.name) {
    case 'request.retrying': {
      const { attempt, max_attempts, status, cause, wait_ms } = event.data
      return `attempt ${attempt} of ${max_attempts} failed (${status ?? cause}); next in ${wait_ms} ms`
    }
    case 'request.settled': {
      const { code, attempts, status, outcome } = event.data
      return code === 'retries_exhausted'
        ? `gave up after ${attempts} attempts (${status})`
        : `request ${outcome}`
    }
    case 'breaker':
      return `breaker ${event.data.from} -> ${event.data.state}`
    case 'limit':
      return `concurrency limit ${event.data.from} -> ${event.data.limit}`
    case 'fleet':
      return `fleet: ${event.data.member} ${event.data.what}`
    case 'budget': {
      const { span, what } = event.data
      return `budget of the ${span}: ${what === 'end' ? 'all of it is drawn' : 'four fifths of it are drawn'}`
    }
    case 'guardrail':
      return `guardrail ${event.data.name} ${event.data.met ? 'is met again' : 'is breached'}`
    case 'job.taken_over':
      return `a job of a dead instance is taken over${event.data.ambiguous ? ': a call of it may run twice' : ''}`
    case 'job.dead':
      return `a job is given up: ${event.data.reason}`
    case 'alarm':
      return `alarm: ${event.data.name}`
    default:
      return event.name
  }
}

type DataOf<Name extends EventName> = Extract<HeadgateEvent, { name: Name }>['data']

/** Field by field: what an event may gain one day does not reach a log by itself. */
const FIELDS: { readonly [Name in EventName]: (data: DataOf<Name>) => LogFields } = {
  'request.queued': only('tenant', 'lane', 'id', 'route'),
  'request.rerouted': only('tenant', 'lane', 'id', 'route'),
  'request.forwarding': only('tenant', 'lane', 'id', 'route'),
  'request.preempted': only('tenant', 'lane', 'id', 'route'),
  'request.dispatched': only('tenant', 'lane', 'id', 'route', 'attempt', 'queue_ms'),
  'request.retrying': only(
    ...(['tenant', 'lane', 'id', 'route', 'model', 'attempt', 'max_attempts'] as const),
    ...(['status', 'error_type', 'cause', 'wait_ms'] as const),
  ),
  'request.settled': only(
    ...(['tenant', 'lane', 'id', 'route', 'model', 'outcome', 'served_by', 'code'] as const),
    ...(['reason', 'status', 'error_type', 'attempts'] as const),
    ...(['queue_ms', 'upstream_ms', 'total_ms'] as const),
  ),
  'request.dropped': only('tenant', 'lane', 'reason'),
  'attempt.ended': only(
    ...(['tenant', 'lane', 'id', 'route', 'attempt', 'verdict', 'status'] as const),
    ...(['error_type', 'cause', 'duration_ms'] as const),
  ),
  breaker: only('route', 'from', 'state', 'reason'),
  limit: only('route', 'state', 'from', 'limit', 'inflight', 'reason'),
  fleet: ({ what, member }) => ({ cause: what, owner: member }),
  budget: ({ tenant, window, what, most }) => ({ tenant, name: window, cause: what, bound: most }),
  guardrail: only('name', 'value', 'bound'),
  alarm: ({ name, route, detail }) => ({ name, route, cause: detail }),
  'job.accepted': only('tenant', 'lane', 'id'),
  'job.claimed': claimed,
  'job.taken_over': (data) => ({ ...claimed(data), from: data.from }),
  'job.returned': ({ tenant, lane, id, instance: owner, attempts }) => {
    return { tenant, lane, id, owner, attempts }
  },
  'job.ended': only('tenant', 'lane', 'id', 'outcome', 'claims', 'attempts', 'total_ms'),
  'job.dead': only('tenant', 'lane', 'id', 'reason', 'claims', 'attempts'),
}

const fieldsOf = (event: HeadgateEvent): LogFields =>
  (FIELDS[event.name] as (data: HeadgateEvent['data']) => LogFields)(event.data)

/** These fields under their own names, in this order. */
function only<Name extends keyof LogFields>(...names: Name[]) {
  return (data: Pick<Required<LogFields>, Name>): LogFields =>
    Object.fromEntries(names.map((name) => [name, data[name]]))
}

function claimed(data: DataOf<'job.claimed'>): LogFields {
  const { tenant, lane, id, instance: owner, claims, attempts, age_ms } = data
  return { tenant, lane, id, owner, claims, attempts, age_ms }
}
