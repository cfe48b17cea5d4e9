/** One JSON object per line. There is no way to log a prompt or an upstream's message: a line takes only the
 *  fields named here, and none of them holds such text.
 *  Bound: `BUFFER_BYTES_MAX` of lines wait for a stalled reader; then lines are lost, not memory. */
import fs from 'node:fs'
import { pino, destination, type Level } from 'pino'
import pretty from 'pino-pretty'
import type { HeadgateEvent } from '#contracts/events'
import type { Clock } from './clock.ts'

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export interface LogFields {
  tenant?: string
  lane?: string
  id?: string
  route?: string | null
  model?: string | null
  attempt?: number
  attempts?: number
  claims?: number
  age_ms?: number
  /** An instance. */
  owner?: string
  max_attempts?: number
  status?: number | null
  error_type?: string | null
  /** Our own word for what happened. */
  cause?: string
  verdict?: string
  outcome?: string
  served_by?: string
  code?: string | null
  reason?: string | null
  wait_ms?: number
  queue_ms?: number
  upstream_ms?: number
  total_ms?: number
  duration_ms?: number
  from?: string | number
  state?: string
  limit?: number
  inflight?: number
  name?: string
  value?: number
  bound?: number
  /** Where something is: a URL without credentials, a subject, a file. */
  at?: string
  /** The `name` or `code` of an error of ours, never its text if an upstream may have written it. */
  error?: string
}

export interface Log {
  isOn(level: LogLevel): boolean
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** Writes what waits, now; also done by itself at exit. */
  flush(): void
}

export const BUFFER_BYTES_MAX = 16_000_000
/** How often a last flush waits for a stalled reader, 0.1 s each time. */
const FLUSH_WAITS = 20

/** `LOG_LEVEL`, checked; absent is `info`. */
export function logLevel(text: string | undefined): LogLevel {
  const level = LOG_LEVELS.find((one) => one === (text ?? 'info').toLowerCase())
  if (level === undefined) throw new Error(`LOG_LEVEL: expected one of ${LOG_LEVELS.join(', ')}`)
  return level
}

/** Without `to`, lines go to stdout: pretty on a terminal, JSON elsewhere, written in the background. */
export function createLog(of: {
  level: LogLevel
  clock: Clock
  instance?: string
  to?: { write(text: string): void }
}): Log {
  const stream =
    of.to === undefined ? stdout() : { ...noFlush, write: (text: string) => of.to?.write(text) }
  const logger = pino(
    {
      level: of.level,
      base: of.instance === undefined ? null : { instance: of.instance },
      timestamp: () => `,"time":"${new Date(of.clock.wall()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: 'msg',
    },
    stream,
  )
  const write =
    (level: Level) =>
    (message: string, fields?: LogFields): void =>
      logger[level](fields ?? {}, message)
  return {
    isOn: (level) => level !== 'silent' && logger.isLevelEnabled(level),
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    flush: () => stream.flushSync(),
  }
}

const noFlush = { flushSync: (): void => {} }

function stdout(): { write(text: string): void; flushSync(): void } {
  if (process.stdout.isTTY) {
    const tty = pretty({ destination: 1, sync: true, singleLine: true, ignore: 'instance' })
    return { ...noFlush, write: (text) => void tty.write(text) }
  }
  let waits = Infinity
  const stream = destination({
    dest: 1,
    sync: false,
    maxLength: BUFFER_BYTES_MAX,
    retryEAGAIN: () => waits-- > 0,
  })
  const flush = stream.flushSync.bind(stream)
  // It is called at exit too. By itself it tries for ever where nobody reads, or nobody any more.
  stream.flushSync = () => {
    const { writeSync } = fs
    waits = FLUSH_WAITS
    fs.writeSync = ((...what: Parameters<typeof writeSync>) => {
      try {
        return writeSync(...what)
      } catch (error) {
        if (!isBroken(error)) throw error
        waits = 0
        throw Object.assign(new Error('nobody reads the log any more'), { code: 'EAGAIN' })
      }
    }) as typeof writeSync
    try {
      flush()
    } catch {
      // What is left is lost: there is nobody to tell.
    } finally {
      fs.writeSync = writeSync
      waits = Infinity
    }
  }
  return stream
}

const isBroken = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'EPIPE'

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
    case 'guardrail':
      return event.data.met ? 'info' : 'warn'
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

/** Field by field: what an event may gain one day does not reach a log by itself. */
function fieldsOf(event: HeadgateEvent): LogFields {
  switch (event.name) {
    case 'request.retrying': {
      const { tenant, lane, id, route, model, attempt, max_attempts, status } = event.data
      const { error_type, cause, wait_ms } = event.data
      const who = { tenant, lane, id, route, model }
      return { ...who, attempt, max_attempts, status, error_type, cause, wait_ms }
    }
    case 'request.settled': {
      const { tenant, lane, id, route, model, outcome, code, reason, status, served_by } =
        event.data
      const { error_type, attempts, queue_ms, upstream_ms, total_ms } = event.data
      const who = { tenant, lane, id, route, model }
      const times = { queue_ms, upstream_ms, total_ms }
      return { ...who, outcome, served_by, code, reason, status, error_type, attempts, ...times }
    }
    case 'attempt.ended': {
      const { tenant, lane, id, route, attempt, verdict, status, error_type } = event.data
      const { cause, duration_ms } = event.data
      return { tenant, lane, id, route, attempt, verdict, status, error_type, cause, duration_ms }
    }
    case 'breaker': {
      const { route, from, state, reason } = event.data
      return { route, from, state, reason }
    }
    case 'limit': {
      const { route, state, from, limit, inflight, reason } = event.data
      return { route, state, from, limit, inflight, reason }
    }
    case 'fleet': {
      const { what, member } = event.data
      return { cause: what, owner: member }
    }
    case 'guardrail': {
      const { name, value, bound } = event.data
      return { name, value, bound }
    }
    case 'alarm': {
      const { name, route, detail } = event.data
      return { name, route, cause: detail }
    }
    case 'job.accepted': {
      const { tenant, lane, id } = event.data
      return { tenant, lane, id }
    }
    case 'job.claimed':
    case 'job.taken_over': {
      const { tenant, lane, id, instance: owner, claims, attempts, age_ms } = event.data
      const from = 'from' in event.data ? { from: event.data.from } : {}
      return { tenant, lane, id, owner, ...from, claims, attempts, age_ms }
    }
    case 'job.returned': {
      const { tenant, lane, id, instance: owner, attempts } = event.data
      return { tenant, lane, id, owner, attempts }
    }
    case 'job.ended': {
      const { tenant, lane, id, outcome, claims, attempts, total_ms } = event.data
      return { tenant, lane, id, outcome, claims, attempts, total_ms }
    }
    case 'job.dead': {
      const { tenant, lane, id, reason, claims, attempts } = event.data
      return { tenant, lane, id, reason, claims, attempts }
    }
    case 'request.dropped': {
      const { tenant, lane, reason } = event.data
      return { tenant, lane, reason }
    }
    case 'request.queued':
    case 'request.rerouted':
    case 'request.forwarding':
    case 'request.preempted': {
      const { tenant, lane, id, route } = event.data
      return { tenant, lane, id, route }
    }
    case 'request.dispatched': {
      const { tenant, lane, id, route, attempt, queue_ms } = event.data
      return { tenant, lane, id, route, attempt, queue_ms }
    }
  }
}
