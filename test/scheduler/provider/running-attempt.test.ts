/** One attempt without a transport: what is told, and in which order. */
import { expect, test } from 'vitest'
import { Attempt } from '../../../services/scheduler/provider/running-attempt.ts'
import { manualClock } from '../../support/manual-clock.ts'
import { JSON_TYPE } from './far-side.ts'

function attempt(order: string[], soon?: (call: () => void) => void) {
  const clock = manualClock()
  const running = new Attempt({
    call: {
      tenant: 'acme',
      lane: 'interactive',
      id: 'r_1',
      upstream: { name: 'main', baseUrl: 'http://x', apiKey: null, version: 'v' },
      model: 'claude-x',
      body: Buffer.from('{}'),
      stream: false,
      headers: {},
      firstByteMs: 30_000,
      idleMs: 60_000,
    },
    sink: {
      firstByte: () => order.push('first byte'),
      event: () => order.push('event'),
      ended: ({ kind, cause }) => order.push(`ended ${kind} ${cause}`),
    },
    clock: soon === undefined ? clock : { ...clock, soon },
    limits: {
      retryAfterMaxMs: 1,
      eventBytesMax: 1_000,
      bodyBytesMax: 1_000,
      streamBytesMax: 1_000,
    },
    headers: {},
  })
  return { running, clock }
}

test('an end from our side is told after the socket was destroyed, though the transport cries out', () => {
  const order: string[] = []
  const { running, clock } = attempt(order)
  running.started((reason) => {
    order.push('hung up')
    running.failed(reason)
  })
  running.head(200, JSON_TYPE)
  running.abort('deadline')
  running.abort('cancel')
  running.ended()
  expect(order).toEqual(['first byte', 'hung up', 'ended ended deadline'])
  expect(clock.pending()).toBe(0)
})

test('an end from the far side is told once and closes nothing of ours', () => {
  const order: string[] = []
  const { running, clock } = attempt(order)
  running.started(() => order.push('hung up'))
  running.head(200, JSON_TYPE)
  running.bytes(Buffer.from('{}'))
  running.ended()
  running.ended()
  running.failed(new Error('late'))
  expect(order).toEqual(['first byte', 'ended ok complete'])
  expect(clock.pending()).toBe(0)
})

test('what came while the process stood still is read before its silence is judged', () => {
  const order: string[] = []
  const later: (() => void)[] = []
  const { running, clock } = attempt(order, (call) => later.push(call))
  running.started(() => order.push('hung up'))
  clock.advance(65_000)
  // The answer was in the socket all the while.
  running.head(200, JSON_TYPE)
  running.bytes(Buffer.from('{}'))
  for (const call of later.splice(0)) call()
  running.ended()
  expect(order).toEqual(['first byte', 'ended ok complete'])
  expect(clock.pending()).toBe(0)
})

test('what says nothing all the same is a hang', () => {
  const order: string[] = []
  const later: (() => void)[] = []
  const { running, clock } = attempt(order, (call) => later.push(call))
  running.started(() => order.push('hung up'))
  clock.advance(30_000)
  expect(order).toEqual([])
  for (const call of later.splice(0)) call()
  expect(order).toEqual(['hung up', 'ended hang first_byte'])
  expect(clock.pending()).toBe(0)
})
