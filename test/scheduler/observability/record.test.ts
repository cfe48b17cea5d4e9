/** Where events go: kept, told, and published, whatever the readers do. */
import { describe, expect, test } from 'vitest'
import { subjects } from '#contracts/subjects'
import type { Bus, BusHeaders, HeadgateEvent, Recorder } from '#ports'
import {
  publishEvents,
  recording,
  type Recording,
} from '../../../services/scheduler/observability/record.ts'
import { manualClock } from '../../support/manual-clock.ts'
import { event, EVENT_NAMES } from './events.ts'

const kept = (of: { buffer?: number; sinks?: Recorder[] } = {}): Recording =>
  recording({ buffer: of.buffer ?? 10, sinks: of.sinks ?? [] })
const numbered = (id: number): HeadgateEvent => event('request.queued', { id: `r_${id}` })
const feed = (to: Recorder, from: number, until: number): void => {
  for (let id = from; id <= until; id++) to.record(numbered(id))
}

describe('the ring', () => {
  test.each([0, 3, 10, 11, 25])('of %i events the last ten are kept, oldest first', (count) => {
    const own = kept()
    feed(own, 1, count)
    const first = Math.max(1, count - 9)
    expect(own.recent().map((one) => one.seq)).toEqual(
      Array.from({ length: Math.min(10, count) }, (_, i) => first + i),
    )
  })
})

describe('sinks', () => {
  test('one that throws is counted and keeps nobody else from hearing', () => {
    const heard: string[] = []
    const broken = {
      record() {
        throw new Error('full disk')
      },
    }
    const own = kept({ sinks: [broken, { record: (one) => heard.push(one.name) }] })
    feed(own, 1, 3)
    expect(heard).toHaveLength(3)
    expect(own.failures()).toBe(3)
  })

  test('an event that a sink emits comes after the one that moved it, for every sink', () => {
    const heard: string[] = []
    const sinks: Recorder[] = [
      { record: (one) => one.name === 'alarm' && own.record(event('guardrail')) },
      { record: (one) => heard.push(one.name) },
    ]
    const own = kept({ sinks })
    own.record(event('alarm'))
    own.record(event('limit'))
    expect(heard).toEqual(['alarm', 'guardrail', 'limit'])
    expect(own.recent().map((one) => one.event.name)).toEqual(heard)
  })

  test('an upstream error type that is no type is not passed on', () => {
    const own = kept()
    const planted = 'please summarise my medical record'
    own.record(event('attempt.ended', { error_type: planted }))
    own.record(event('attempt.ended', { error_type: 'overloaded_error' }))
    expect(JSON.stringify(own.recent())).not.toContain('medical')
    expect(JSON.stringify(own.recent())).toContain('overloaded_error')
  })
})

describe('listeners', () => {
  test('one that waits is told at once', async () => {
    const own = kept()
    const listener = own.listen({ queueMax: 5 })
    const next = listener.next()
    feed(own, 1, 1)
    expect((await next)?.events.map((one) => one.seq)).toEqual([1])
  })

  test.each([
    [5, 0],
    [6, 1],
    [11, 6],
    [1_000, 995],
  ])(
    'a slow one, %i events behind a queue of 5, loses the %i oldest and is told',
    async (n, lost) => {
      const own = kept()
      const listener = own.listen({ queueMax: 5 })
      feed(own, 1, n)
      const batch = await listener.next()
      expect(batch?.lost).toBe(lost)
      expect(batch?.events.map((one) => one.seq)).toEqual(
        Array.from({ length: 5 }, (_, i) => n - 4 + i),
      )
      feed(own, 1, 1)
      expect(await listener.next()).toMatchObject({ lost: 0, events: [{ seq: n + 1 }] })
    },
  )

  test.each([
    ['from now on', {}, [], 0],
    ['whatever is kept', { after: 'kept' }, [16, 17, 18, 19, 20, 21, 22, 23, 24, 25], 0],
    ['after one that is kept', { after: 22 }, [23, 24, 25], 0],
    ['after one that is gone', { after: 10 }, [16, 17, 18, 19, 20, 21, 22, 23, 24, 25], 5],
    ['after one of another process', { after: 99 }, [16, 17, 18, 19, 20, 21, 22, 23, 24, 25], 0],
  ] as const)('joins late: %s', async (_how, from, seqs, lost) => {
    const own = kept()
    feed(own, 1, 25)
    const listener = own.listen({ queueMax: 100, ...from })
    feed(own, 26, 26)
    const batch = await listener.next()
    expect(batch?.events.map((one) => one.seq)).toEqual([...seqs, 26])
    expect(batch?.lost).toBe(lost)
  })

  test('a closed one ends and is forgotten', async () => {
    const own = kept()
    const listener = own.listen({ queueMax: 5 })
    const next = listener.next()
    listener.close()
    feed(own, 1, 3)
    expect(await next).toBeNull()
    expect(await listener.next()).toBeNull()
  })
})

describe('on the bus', () => {
  interface Published {
    subject: string
    data: string
    headers: Record<string, string>
  }

  function busThatKeeps(up = true): { bus: Bus; out: Published[] } {
    const out: Published[] = []
    const bus: Bus = {
      kind: 'memory',
      maxPayload: 1_000_000,
      connected: () => up,
      subscribe: () => ({ drain: () => Promise.resolve() }),
      publish(subject, data, options) {
        const headers: BusHeaders = options?.headers ?? []
        out.push({ subject, data: String(data), headers: Object.fromEntries(headers) })
      },
      onNobody: () => {},
      flush: () => Promise.resolve(),
      close: () => Promise.resolve(),
    }
    return { bus, out }
  }

  function publish(...events: HeadgateEvent[]): Published[] {
    const { bus, out } = busThatKeeps()
    const clock = manualClock()
    const to = publishEvents({ bus, subjects: subjects('llm'), instance: 'one', clock })
    for (const one of events) to.record(one)
    return out
  }

  test('an event is a CloudEvent 1.0 in binary mode', () => {
    const given = event('request.dispatched')
    const [sent] = publish(given)
    expect(sent?.subject).toBe('llm.v1.event.request.acme.interactive')
    expect(sent?.headers).toMatchObject({
      'ce-specversion': '1.0',
      'ce-type': 'dev.headgate.request.dispatched',
      'ce-source': '/headgate/one',
      'ce-time': '2026-01-01T00:00:00.000Z',
      'ce-subject': 'acme/r_1',
      'content-type': 'application/json',
    })
    expect(JSON.parse(sent?.data ?? '')).toEqual(given.data)
  })

  test('no two ids are equal', () => {
    const ids = publish(...EVENT_NAMES.map((name) => event(name))).map(
      (one) => one.headers['ce-id'],
    )
    expect(new Set(ids).size).toBe(ids.length)
  })

  test.each([
    [event('request.queued'), 'llm.v1.event.request.acme.interactive', 'acme/r_1'],
    [event('request.dropped'), 'llm.v1.event.request.acme.interactive', 'acme'],
    [event('job.taken_over'), 'llm.v1.event.job.acme.batch', 'acme/j_1'],
    [event('request.preempted'), 'llm.v1.event.request.acme.batch', 'acme/r_1'],
    [event('breaker'), 'llm.v1.event.breaker.default-claude-a', 'default-claude-a'],
    [event('limit'), 'llm.v1.event.limit.default-claude-a', 'default-claude-a'],
    [event('guardrail'), 'llm.v1.event.guardrail.ratio_429', 'ratio_429'],
  ])('$name goes to its subject', (given, subject, about) => {
    const [sent] = publish(given)
    expect(sent?.subject).toBe(subject)
    expect(sent?.headers['ce-subject']).toBe(about)
  })

  test.each([
    ['an attempt', event('attempt.ended')],
    ['an alarm', event('alarm')],
    ['a tenant with a dot', event('request.settled', { tenant: 'a.b' })],
    ['a tenant that is a wildcard', event('request.settled', { tenant: '>' })],
    ['a lane with a line break', event('request.settled', { lane: 'a\r\nce-type: x' })],
    ['an empty tenant', event('request.dropped', { tenant: '' })],
    ['a route that is none', event('breaker', { route: 'a.b' })],
  ])('%s is not published', (_what, given) => {
    expect(publish(given)).toEqual([])
  })

  test('a hostile id never becomes a header', () => {
    const [sent] = publish(event('request.settled', { id: 'x\r\nNats-Msg-Id: y' }))
    expect(sent?.headers['ce-subject']).toBe('acme')
  })

  test('while the bus is away nothing piles up', () => {
    const { bus, out } = busThatKeeps(false)
    const clock = manualClock()
    const to = publishEvents({ bus, subjects: subjects('llm'), instance: 'one', clock })
    to.record(event('request.queued'))
    expect(out).toEqual([])
  })
})
