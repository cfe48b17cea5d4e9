/** One request's life from its events; the last ones are kept, and no more. */
import { describe, expect, test } from 'vitest'
import type { HeadgateEvent } from '#contracts/events'
import {
  EVENTS_MAX,
  LIVE_MAX,
  Lives,
  SETTLED_MAX,
  type RequestEvent,
} from '../../services/dashboard/lives.ts'
import { event } from '../scheduler/observability/events.ts'

/** An event of request `r_1` of `acme`, or of another, at a time. */
function at<N extends RequestEvent['name']>(
  ms: number,
  name: N,
  data: Partial<Extract<HeadgateEvent, { name: N }>['data']> = {},
): RequestEvent {
  return { ...event(name as RequestEvent['name'], data as object), at: ms } as RequestEvent
}

const lifeOf = (events: RequestEvent[], now = 1_000_000) => {
  const lives = new Lives()
  for (const one of events) lives.note(one)
  return lives.life('acme', 'r_1', now)!
}
const shortly = (spans: { kind: string; from_ms: number; to_ms: number | null }[]): string[] =>
  spans.map(({ kind, from_ms, to_ms }) => `${kind} ${from_ms}-${to_ms ?? ''}`)

describe('spans', () => {
  test('a request that waits', () => {
    const life = lifeOf([at(100, 'request.queued')], 600)
    expect(shortly(life.spans)).toEqual(['queued 0-'])
    expect(life).toMatchObject({ state: 'queued', arrived_at: 100, outcome: null })
  })

  test('preempted, back in the queue, streamed to the end', () => {
    const life = lifeOf([
      at(0, 'request.queued'),
      at(10, 'request.dispatched'),
      at(200, 'attempt.ended', { verdict: 'aborted', cause: 'preempted' }),
      at(200, 'request.preempted'),
      at(500, 'request.dispatched', { attempt: 2 }),
      at(600, 'request.forwarding'),
      at(900, 'attempt.ended'),
      at(900, 'request.settled'),
    ])
    expect(shortly(life.spans)).toEqual([
      'queued 0-10',
      'attempt 10-200',
      'preempted 200-200',
      'queued 200-500',
      'attempt 500-900',
      'streaming 600-900',
      'settled 900-900',
    ])
  })

  test('in back-off until its time, in the queue afterwards', () => {
    const events = [
      at(0, 'request.queued'),
      at(10, 'request.dispatched'),
      at(50, 'attempt.ended', { verdict: 'overloaded' }),
      at(50, 'request.retrying', { wait_ms: 100 }),
    ]
    expect(lifeOf(events, 100)).toMatchObject({ state: 'backoff' })
    expect(shortly(lifeOf(events, 100).spans).at(-1)).toBe('backoff 50-')
    expect(lifeOf(events, 300)).toMatchObject({ state: 'queued' })
    expect(shortly(lifeOf(events, 300).spans).slice(-2)).toEqual(['backoff 50-150', 'queued 150-'])
  })

  test('a cancel cuts a back-off short', () => {
    const life = lifeOf([
      at(0, 'request.queued'),
      at(10, 'request.dispatched'),
      at(50, 'attempt.ended'),
      at(50, 'request.retrying', { wait_ms: 10_000 }),
      at(80, 'request.settled', { outcome: 'cancelled', code: 'cancelled' }),
    ])
    expect(shortly(life.spans).slice(-2)).toEqual(['backoff 50-80', 'settled 80-80'])
  })

  test('answered while its attempt runs: the socket is seen to close', () => {
    const life = lifeOf([
      at(0, 'request.queued'),
      at(10, 'request.dispatched'),
      at(80, 'request.settled', { outcome: 'expired', code: 'deadline' as never }),
      at(95, 'attempt.ended', { verdict: 'aborted', cause: 'deadline' }),
    ])
    expect(shortly(life.spans)).toEqual(['queued 0-10', 'attempt 10-95', 'settled 80-80'])
    expect(life.state).toBe('settled')
  })

  test('refused at the door: an instant', () => {
    const refused = { outcome: 'refused', code: 'queue_full', total_ms: 0 } as const
    const life = lifeOf([at(40, 'request.settled', refused)])
    expect(shortly(life.spans)).toEqual(['settled 0-0'])
    expect(life).toMatchObject({ code: 'queue_full', arrived_at: 40 })
  })
})

describe('what is kept', () => {
  test('the last settled ones, and no others', () => {
    const lives = new Lives()
    for (let i = 0; i < SETTLED_MAX + 5; i++) {
      lives.note(at(i, 'request.queued', { id: `r${i}` }))
      lives.note(at(i, 'request.settled', { id: `r${i}` }))
    }
    expect(lives.size).toBe(SETTLED_MAX)
    expect(lives.life('acme', 'r4', 0)).toBe(null)
    expect(lives.life('acme', 'r5', 0)).not.toBe(null)
    const last = lives.settledOf('acme', 3).map(({ id }) => id)
    expect(last).toEqual([4, 3, 2].map((i) => `r${SETTLED_MAX + i}`))
    expect(lives.settledOf('other', 3)).toEqual([])
  })

  test('live ones are bounded, the oldest goes first', () => {
    const lives = new Lives()
    for (let i = 0; i < LIVE_MAX + 10; i++) lives.note(at(i, 'request.queued', { id: `r${i}` }))
    expect(lives.size).toBe(LIVE_MAX)
    expect(lives.life('acme', 'r9', 0)).toBe(null)
    // Its end comes all the same.
    lives.note(at(0, 'request.settled', { id: 'r9' }))
    expect(lives.life('acme', 'r9', 0)).toMatchObject({ state: 'settled' })
  })

  test('an id that is used again is another request; a refused duplicate leaves the first alone', () => {
    const lives = new Lives()
    lives.note(at(0, 'request.queued'))
    lives.note(at(5, 'request.settled', { outcome: 'refused', code: 'duplicate_id' }))
    expect(lives.life('acme', 'r_1', 10)).toMatchObject({ state: 'queued' })
    lives.note(at(20, 'request.settled'))
    lives.note(at(30, 'request.queued'))
    expect(lives.life('acme', 'r_1', 40)).toMatchObject({ state: 'queued', arrived_at: 30 })
    expect(lives.size).toBe(1)
  })

  test('a life of very many events keeps its first and its last, and says so', () => {
    const events = [at(0, 'request.queued')]
    for (let i = 1; i <= EVENTS_MAX; i++) events.push(at(i, 'request.preempted'))
    const life = lifeOf([...events, at(999, 'request.settled')])
    expect(life.cut).toBe(true)
    expect(life.spans.at(-1)).toMatchObject({ kind: 'settled', from_ms: 999 })
    expect(life.spans.length).toBeLessThanOrEqual(2 * EVENTS_MAX)
  })
})
