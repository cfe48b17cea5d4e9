/** What fails in one callback, timer or act costs that one alone; only a broken law of the core ends the rest. */
import { describe, expect, test } from 'vitest'
import type { Provider, Reply } from '#ports'
import { lateAnswers } from '../../services/scheduler/nats/late-answers.ts'
import { faultDesk, framesOf, PLACES_MAX } from '../../services/scheduler/observability/faults.ts'
import { createLog } from '../../services/platform/log.ts'
import {
  STALL_MS,
  STALLS_CHECK_MS,
  watchStalls,
} from '../../services/scheduler/observability/stalls.ts'
import { rooms } from '../../services/scheduler/compose/stall-rooms.ts'
import { LoopWorld } from '../support/loop-world.ts'
import { manualClock } from '../support/manual-clock.ts'
import type { Act } from '../support/scripted-provider.ts'

const good: Act = {
  firstByteMs: 100,
  events: ['{"type":"message_start"}'],
  endMs: 300,
  end: { kind: 'ok', status: 200, ttftMs: 100 },
}
const nothing = { requests: 0, slots: 0, probes: 0, timers: 0, replies: 0 }

describe('the loop', () => {
  test('a provider that throws fails the one call, and the next one is served', async () => {
    let calls = 0
    const faults: unknown[] = []
    const world: LoopWorld = new LoopWorld({
      script: () => good,
      onFault: (error) => faults.push(error),
      provider: {
        send(call, sink) {
          if (++calls === 1) throw new Error('planted')
          return world.provider.send(call, sink)
        },
        aux: () => Promise.reject(new Error('none')),
        close: async () => {},
      } satisfies Provider,
    })
    const first = world.request()
    const second = world.request()
    await world.pass(1_000)
    expect(world.answers.get(first)?.[0]).toMatchObject({ how: 'refuse', refusal: { status: 500 } })
    expect(world.answers.get(second)?.[0]).toMatchObject({ how: 'end' })
    expect(faults).toHaveLength(1)
    expect(world.bugs).toEqual([])
    expect(world.loop.held()).toEqual(nothing)
  })

  test.each(['event', 'end', 'refuse'] as const)(
    'a reply that throws at its %s costs nobody else',
    async (word) => {
      const faults: unknown[] = []
      const world = new LoopWorld({
        script: () => good,
        onFault: (error) => faults.push(error),
      })
      const fail = (): void => {
        throw new Error('planted')
      }
      const reply: Reply = {
        event: () => {},
        ping: () => {},
        answer: () => {},
        end: () => {},
        refuse: () => {},
        [word]: fail,
      }
      world.loop.request({
        ...{ tenant: 'a', lane: word === 'refuse' ? 'nowhere' : 'interactive', id: 'odd' },
        ...{ model: 'm', stream: true, maxTokens: 10, body: new Uint8Array(9), deadlineMs: null },
        ...{ degrade: [], headers: {}, reply },
      })
      const other = world.request()
      await world.pass(1_000)
      expect(world.answers.get(other)).toHaveLength(1)
      expect(faults).toHaveLength(1)
      expect(world.bugs).toEqual([])
      expect(world.loop.held()).toEqual(nothing)
    },
  )

  test('after a broken law everybody who waits hears a last word, once', async () => {
    const world = new LoopWorld({ script: () => ({ firstByteMs: Infinity }) })
    const ids = Array.from({ length: 100 }, () => world.request())
    await world.pass(100)
    world.loop.abandon()
    await world.pass(1_000)
    for (const id of ids)
      expect(world.answers.get(id)).toMatchObject([
        { how: 'refuse', refusal: { code: 'draining' } },
      ])
    world.loop.abandon()
    expect(world.codes()).toEqual({ draining: 100 })
    const late = world.request()
    expect(world.answers.get(late)).toMatchObject([
      { how: 'refuse', refusal: { code: 'draining' }, accounting: { attempts: 0 } },
    ])
  })

  test('after a broken law each is told the tries that it had', async () => {
    const world = new LoopWorld({ script: () => ({ firstByteMs: Infinity }) })
    const ids = Array.from({ length: 100 }, () => world.request())
    await world.pass(100)
    const begun = world.loop.held().slots
    expect(begun).toBeGreaterThan(0)
    world.loop.abandon()
    const told = ids.map((id) => world.answers.get(id)?.[0]?.accounting.attempts)
    expect(told.filter((attempts) => attempts === 1)).toHaveLength(begun)
    expect(told.filter((attempts) => attempts === 0)).toHaveLength(100 - begun)
  })

  test('a drain says its thousands of refusals by slices, and all of them', async () => {
    const world = new LoopWorld({
      file: { lanes: { batch: { queue_max: 20_000 } }, scheduling: { tenant_queue_share: 1 } },
      script: () => good,
    })
    for (let i = 0; i < 5_000; i++) world.request({ lane: 'batch' })
    let most = 0
    let before = 0
    const done = world.loop.drain()
    for (let turn = 0; turn < 40; turn++) {
      const now = world.codes()['draining'] ?? 0
      most = Math.max(most, now - before)
      before = now
      world.clock.advance(5)
    }
    await world.pass(2_000)
    await done
    expect(most).toBeLessThanOrEqual(500)
    expect(world.answers.size).toBe(5_000)
    expect(world.loop.held()).toEqual(nothing)
  })
})

test('an answer that cannot be given keeps no other one waiting', () => {
  const clock = manualClock()
  const failed: unknown[] = []
  const given: number[] = []
  const late = lateAnswers({
    clock,
    delayMs: 250,
    waitingMax: 10,
    onError: (error) => failed.push(error),
  })
  late.join(() => {
    throw new Error('planted')
  })
  late.join(() => given.push(2))
  clock.advance(250)
  late.join(() => given.push(3))
  clock.advance(250)
  expect(given).toEqual([2, 3])
  expect(failed).toHaveLength(1)
})

describe('faults', () => {
  const desk = () => {
    const lines: string[] = []
    const counts: Record<string, number> = {}
    const log = createLog({
      level: 'debug',
      clock: manualClock(),
      to: { write: (line) => lines.push(line) },
    })
    const count = (room: string) => void (counts[room] = (counts[room] ?? 0) + 1)
    return { lines, counts, fault: faultDesk({ log, count }) }
  }

  test('are counted each time, logged once for each place, and never quote', () => {
    const { lines, counts, fault } = desk()
    const make = () =>
      new TypeError('the secret\n    at prompt (x.ts:1:1) of a caller\n    at secret (y.ts:1:1)')
    for (let i = 0; i < 10; i++) fault('intake', make())
    fault('http', Object.assign(new Error('x'), { code: 'EMFILE' }))
    fault('http', 'a text that was thrown: the secret')
    fault('http', undefined)
    expect(counts).toEqual({ intake: 10, http: 3 })
    expect(lines).toHaveLength(4 - 1)
    expect(lines.join('')).not.toMatch(/secret|of a caller/)
    expect(lines[0]).toContain('one-fault.test.ts')
    expect(lines[1]).toContain('EMFILE')
  })

  test('of more places than are remembered are counted and not logged', () => {
    const { lines, fault } = desk()
    for (let i = 0; i < PLACES_MAX * 2; i++) fault(`room${i}`, new Error('x'))
    expect(lines).toHaveLength(PLACES_MAX)
  })

  test('have no frames where there are none', () => {
    expect(framesOf(null)).toBe('')
    expect(framesOf(Object.assign(new Error('x'), { stack: 7 }))).toBe('')
  })
})

describe('stalls', () => {
  const watched = () => {
    const clock = manualClock()
    const observed: { room: string; ms: number }[] = []
    const told: string[] = []
    const state = { ms: 0, culprit: null as { room: string; ms: number } | null }
    const watch = watchStalls({
      clock,
      longestMs: () => state.ms,
      culprit: () => state.culprit,
      observe: (stall) => observed.push(stall),
      emit: (event) => told.push(event.name === 'alarm' ? event.data.detail : event.name),
    })
    return { clock, observed, told, state, watch }
  }

  test('are observed from 100 ms on, and an alarm names the room from 1 s on', () => {
    const { clock, observed, told, state, watch } = watched()
    state.ms = STALL_MS - 1
    clock.advance(STALLS_CHECK_MS)
    expect(observed).toEqual([])
    Object.assign(state, { ms: 250, culprit: { room: 'http', ms: 240 } })
    clock.advance(STALLS_CHECK_MS)
    Object.assign(state, { ms: 1_500, culprit: { room: 'intake', ms: 1_490 } })
    clock.advance(STALLS_CHECK_MS)
    Object.assign(state, { ms: 60_000, culprit: { room: 'loop', ms: 3 } })
    clock.advance(STALLS_CHECK_MS)
    expect(observed.map(({ room }) => room)).toEqual(['http', 'intake', 'elsewhere'])
    expect(told).toEqual([
      'nothing could run for 1500 ms, in intake',
      expect.stringMatching(/^nothing could run for 60000 ms, in none of its rooms/),
    ])
    watch.close()
    expect(clock.pending()).toBe(0)
  })

  test('a call inside another one counts for itself alone', () => {
    const clock = manualClock()
    const marks = rooms(clock)
    marks.run('intake', () => {
      clock.advance(10)
      marks.run('loop', () => clock.advance(300))
      clock.advance(20)
    })
    expect(marks.longest()).toEqual({ room: 'loop', ms: 300 })
    expect(marks.longest()).toBeNull()
    expect(() =>
      marks.run('config', () => {
        clock.advance(50)
        throw new Error('planted')
      }),
    ).toThrow('planted')
    expect(marks.longest()).toEqual({ room: 'config', ms: 50 })
  })
})
