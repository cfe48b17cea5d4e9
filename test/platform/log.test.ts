/** What a line says, at which level, and what it can never say. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { createLog, LOG_LEVELS, logLevel, type LogLevel } from '../../services/platform/log.ts'
import { logRecorder } from '../../services/scheduler/observability/event-lines.ts'
import { manualClock } from '../support/manual-clock.ts'
import { event, EVENT_NAMES } from '../scheduler/observability/events.ts'

function lines(level: LogLevel, ...events: ReturnType<typeof event>[]): Record<string, unknown>[] {
  const text: string[] = []
  const log = createLog({ level, clock: manualClock(), to: { write: (line) => text.push(line) } })
  const recorder = logRecorder(log)
  for (const one of events) recorder.record(one)
  return text.map((line) => JSON.parse(line) as Record<string, unknown>)
}

describe('levels', () => {
  test.each([
    [event('request.retrying'), 'warn'],
    [event('request.settled', { code: 'retries_exhausted', outcome: 'failed' }), 'error'],
    [event('request.settled', { code: 'queue_full', outcome: 'refused' }), 'debug'],
    [event('request.settled'), 'debug'],
    [event('breaker'), 'warn'],
    [event('breaker', { state: 'half_open', from: 'open' }), 'info'],
    [event('limit'), 'warn'],
    [event('limit', { from: 42, limit: 43 }), 'info'],
    [event('guardrail'), 'warn'],
    [event('guardrail', { met: true }), 'info'],
    [event('alarm'), 'error'],
    [event('request.dispatched'), 'debug'],
    [event('request.dropped'), 'debug'],
  ])('$name is $1', (given, level) => {
    expect(lines('debug', given)[0]).toMatchObject({ level })
  })

  test('a retry is one warning that says what, which of how many, and how long', () => {
    expect(lines('info', event('request.retrying'))).toEqual([
      {
        level: 'warn',
        time: '2026-01-01T00:00:00.000Z',
        tenant: 'acme',
        lane: 'interactive',
        id: 'r_1',
        route: 'default-claude-a',
        model: 'claude-a',
        attempt: 1,
        max_attempts: 3,
        status: 529,
        error_type: 'overloaded_error',
        cause: 'overloaded',
        wait_ms: 240,
        msg: 'attempt 1 of 3 failed (529); next in 240 ms',
      },
    ])
    const [hang] = lines('info', event('request.retrying', { status: null, cause: 'hang' }))
    expect(hang).toMatchObject({ msg: 'attempt 1 of 3 failed (hang); next in 240 ms' })
  })

  test('when tries run out there is one error', () => {
    const end = { code: 'retries_exhausted', outcome: 'failed', attempts: 3, status: 529 } as const
    expect(lines('info', event('request.settled', end))).toMatchObject([
      { level: 'error', msg: 'gave up after 3 attempts (529)', attempts: 3, status: 529 },
    ])
  })

  test('a level that is off writes nothing', () => {
    const all = EVENT_NAMES.map((name) => event(name))
    expect(lines('silent', ...all)).toEqual([])
    expect(lines('error', ...all)).toHaveLength(1)
    expect(lines('debug', ...all)).toHaveLength(EVENT_NAMES.length)
  })

  test('LOG_LEVEL is checked', () => {
    expect(logLevel(undefined)).toBe('info')
    expect(LOG_LEVELS.map((level) => logLevel(level.toUpperCase()))).toEqual([...LOG_LEVELS])
    expect(() => logLevel('loud')).toThrow('LOG_LEVEL: expected one of debug, info')
  })
})

test('a field that an event gains one day does not reach a line by itself', () => {
  for (const name of EVENT_NAMES) {
    const grown = event(name)
    Object.assign(grown.data, { prompt: 'the quick brown fox' })
    expect(JSON.stringify(lines('debug', grown))).not.toContain('quick brown')
  }
})

test('control characters of a hostile name stay escaped', () => {
  const text: string[] = []
  const log = createLog({
    level: 'debug',
    clock: manualClock(),
    to: { write: (line) => text.push(line) },
  })
  logRecorder(log).record(event('request.dropped', { tenant: 'a\n{"level":"error"}\u001b[2J' }))
  expect(text.join('').trimEnd().split('\n')).toHaveLength(1)
  expect(text.join('')).not.toContain('\u001b')
})

test('what was logged before the process ends arrives, however it ends', () => {
  const room = fileURLToPath(new URL('../../services/platform/', import.meta.url))
  const script = `
    import { createLog } from '${room}log.ts'
    const log = createLog({ level: 'info', clock: { now: () => 0, wall: () => 0 } })
    for (let i = 0; i < 5000; i++) log.info('line', { attempt: i })
    process.exit(0)`
  const out = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  })
  const written = out.trimEnd().split('\n')
  expect(written).toHaveLength(5_000)
  expect(JSON.parse(written.at(-1) ?? '')).toMatchObject({ attempt: 4_999, msg: 'line' })
})

describe('a process whose log', () => {
  const room = fileURLToPath(new URL('../../services/platform/', import.meta.url))
  /** Logs when it is told to, then ends. */
  const script = `
    import { createLog } from '${room}log.ts'
    const log = createLog({ level: 'info', clock: { now: () => 0, wall: () => 0 } })
    process.stdin.once('data', () => {
      for (let i = 0; i < 5000; i++) log.info('line', { attempt: i })
      log.flush()
      process.exit(0)
    })
    process.stderr.write('ready')`
  const started = async () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script])
    await once(child.stderr, 'data')
    return child
  }

  test('nobody reads any more ends all the same', async () => {
    const child = await started()
    child.stdout.destroy()
    child.stdin.write('go')
    expect(await once(child, 'exit')).toEqual([0, null])
  })

  test('somebody has stopped reading ends all the same, after a while', async () => {
    const child = await started()
    child.stdout.pause()
    child.stdin.write('go')
    expect(await once(child, 'exit')).toEqual([0, null])
    child.stdout.destroy()
  })
})
