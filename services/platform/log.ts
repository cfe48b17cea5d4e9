/** One JSON object per line. There is no way to log a prompt or an upstream's message: a line takes only the
 *  fields named here, and none of them holds such text.
 *  Bound: `BUFFER_BYTES_MAX` of lines wait for a stalled reader; then lines are lost, not memory. */
import fs from 'node:fs'
import { pino, destination, type Level } from 'pino'
import pretty from 'pino-pretty'
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
  /** Which of several at one port it is. */
  worker?: number | undefined
  to?: { write(text: string): void }
}): Log {
  const stream =
    of.to === undefined ? stdout() : { ...noFlush, write: (text: string) => of.to?.write(text) }
  const logger = pino(
    {
      level: of.level,
      base: { instance: of.instance, worker: of.worker },
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
