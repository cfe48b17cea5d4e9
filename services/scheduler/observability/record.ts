/** Where every event goes: the last ones are kept for a reader that joins late, each sink is told at once,
 *  and each listener at its own pace. Never throws and never waits.
 *  Bound: `buffer` events, and per listener `queueMax`; a slow one loses the oldest and hears how many. */
import { ceType, type TraceContext } from '#contracts/events'
import { TOKEN } from '#contracts/ids'
import type { Subjects } from '#contracts/subjects'
import type { Bus, BusHeaders, Clock, HeadgateEvent, Millis, Recorder } from '#ports'

/** An event as it was recorded. */
export interface Recorded {
  /** Counts up by one from 1, in this process. */
  seq: number
  event: HeadgateEvent
}

/** What a listener has not heard yet. */
export interface Batch {
  /** Events that came between the last batch and this one and are gone. */
  lost: number
  events: readonly Recorded[]
}

export interface Listener {
  /** Resolves as soon as there is something; null once closed. One call at a time. */
  next(): Promise<Batch | null>
  close(): void
}

export interface Recording extends Recorder {
  /** The last events, oldest first. */
  recent(): readonly Recorded[]
  /** From after the event `after`, as far as it is still kept; `kept`: whatever is; absent: from now on. */
  listen(of: { queueMax: number; after?: number | 'kept' }): Listener
  /** Sinks that threw, in all. */
  failures(): number
}

/** Nested events waiting for the outer one to reach every sink; more would be a loop. */
const NESTED_MAX = 1_000

export function recording(of: { buffer: number; sinks: readonly Recorder[] }): Recording {
  const ring: Recorded[] = []
  const waiting: HeadgateEvent[] = []
  const listeners = new Set<{ push(one: Recorded): void }>()
  let seq = 0
  let failures = 0
  let busy = false

  const spread = (event: HeadgateEvent): void => {
    const one: Recorded = { seq: ++seq, event: withoutText(event) }
    ring[(seq - 1) % of.buffer] = one
    for (const sink of of.sinks) {
      try {
        sink.record(one.event)
      } catch {
        failures++
      }
    }
    for (const listener of listeners) listener.push(one)
  }
  const recent = (): Recorded[] => {
    const oldest = ring.length < of.buffer ? 0 : seq % of.buffer
    return [...ring.slice(oldest), ...ring.slice(0, oldest)]
  }

  return {
    record(event) {
      if (busy) {
        // A sink that emits: after the event that moved it, so that all see one order.
        if (waiting.length < NESTED_MAX) waiting.push(event)
        return
      }
      busy = true
      spread(event)
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) spread(next)
      busy = false
    },
    recent,
    listen({ queueMax, after }) {
      // A number from the future is of an earlier process: nothing it names is here.
      const from = after === undefined ? seq : after === 'kept' || after > seq ? null : after
      const backlog = recent().filter((one) => from === null || one.seq > from)
      const missed = from === null ? 0 : (backlog[0]?.seq ?? seq + 1) - from - 1
      const own = listener({ queueMax, backlog, missed, onClose: () => listeners.delete(own) })
      listeners.add(own)
      return own
    },
    failures: () => failures,
  }
}

function listener(of: {
  queueMax: number
  backlog: readonly Recorded[]
  missed: number
  onClose: () => void
}): Listener & { push(one: Recorded): void } {
  let queue = of.backlog.slice(-of.queueMax)
  let lost = of.missed + of.backlog.length - queue.length
  /** Where the next event to be forgotten stands; the queue is cut when half of it is gone. */
  let head = 0
  let wake: ((batch: Batch | null) => void) | null = null
  let closed = false
  const take = (): Batch => {
    const batch = { lost, events: head === 0 ? queue : queue.slice(head) }
    queue = []
    head = 0
    lost = 0
    return batch
  }
  return {
    push(one) {
      queue.push(one)
      if (queue.length - head > of.queueMax) {
        head++
        lost++
        if (head > of.queueMax) {
          queue = queue.slice(head)
          head = 0
        }
      }
      if (wake === null) return
      const tell = wake
      wake = null
      tell(take())
    },
    next() {
      if (closed) return Promise.resolve(null)
      if (queue.length > head || lost > 0) return Promise.resolve(take())
      return new Promise((resolve) => (wake = resolve))
    },
    close() {
      closed = true
      of.onClose()
      wake?.(null)
      wake = null
    },
  }
}

/** The upstream's error type is its word, not ours: only what looks like one goes on. */
function withoutText(event: HeadgateEvent): HeadgateEvent {
  const type = 'error_type' in event.data ? event.data.error_type : null
  if (type === null || ERROR_TYPE.test(type)) return event
  return { ...event, data: { ...event.data, error_type: 'unreadable' } } as HeadgateEvent
}

const ERROR_TYPE = /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/

// ---- on the bus ----

/** Tells the bus, as CloudEvents 1.0 in binary mode. `attempt.ended` and `alarm` have no subject in the
 *  contract and stay in this process (its log, metrics and `/api/events`); so does an event whose tenant or
 *  lane is not a subject token. Best effort: nothing is kept while the bus is away. */
export function publishEvents(of: {
  bus: Bus
  subjects: Subjects
  instance: string
  clock: Clock
}): Recorder {
  const source = `/headgate/${of.instance}`
  // The source alone is not unique over restarts, and CloudEvents wants source and id to be.
  const idPrefix = `${of.clock.wall().toString(36)}-`
  const time = isoTime()
  let seq = 0
  return {
    record(event) {
      const to = addressOf(event, of.subjects)
      if (to === null || !of.bus.connected() || of.bus.hears?.(to.subject) === false) return
      const headers: BusHeaders = [
        ['ce-specversion', '1.0'],
        ['ce-type', ceType(event.name)],
        ['ce-source', source],
        ['ce-id', idPrefix + (++seq).toString(36)],
        ['ce-time', time(event.at)],
        ['ce-subject', to.about],
        ['content-type', 'application/json'],
      ]
      of.bus.publish(to.subject, JSON.stringify(event.data), {
        headers: event.trace === undefined ? headers : [...headers, ...traceHeaders(event.trace)],
      })
    },
  }
}

/** The distributed tracing extension of CloudEvents. */
function* traceHeaders(trace: TraceContext): Generator<readonly [string, string]> {
  yield ['ce-traceparent', trace.traceparent]
  if (trace.tracestate !== undefined) yield ['ce-tracestate', trace.tracestate]
}

/** The subject it is published on and what it is about; null for what is not published. */
function addressOf(event: HeadgateEvent, on: Subjects): { subject: string; about: string } | null {
  switch (event.name) {
    case 'attempt.ended':
    case 'alarm':
      return null
    case 'breaker':
    case 'limit': {
      const { route } = event.data
      return TOKEN.test(route)
        ? { subject: on.controllerEvent(event.name, route), about: route }
        : null
    }
    case 'fleet':
      return { subject: on.fleetEvent, about: 'fleet' }
    case 'budget': {
      const { tenant } = event.data
      return TOKEN.test(tenant)
        ? { subject: on.controllerEvent('budget', tenant), about: tenant }
        : null
    }
    case 'guardrail': {
      const { name } = event.data
      return { subject: on.controllerEvent('guardrail', name), about: name }
    }
    default: {
      const { tenant, lane } = event.data
      if (!TOKEN.test(tenant) || !TOKEN.test(lane)) return null
      const id = 'id' in event.data ? event.data.id : ''
      const ofJob = event.name.startsWith('job.')
      return {
        subject: ofJob ? on.jobEvent(tenant, lane) : on.requestEvent(tenant, lane),
        about: TOKEN.test(id) ? `${tenant}/${id}` : tenant,
      }
    }
  }
}

/** RFC 3339; several events share a millisecond, so the last text is kept. */
function isoTime(): (wall: Millis) => string {
  let last = NaN
  let text = ''
  return (wall) => {
    if (wall !== last) {
      last = wall
      text = new Date(wall).toISOString()
    }
    return text
  }
}
