/** One call at the door, with a reader and a clock that are the test's: its pings, and its ends. */
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { beforeEach, describe, expect, test } from 'vitest'
import { HeadgateError, type AnswerAccounting, type HeadgateErrorCode } from '#client'
import { MessagesCall } from '../../services/gateway/messages-call.ts'
import { Place } from '../../services/gateway/places.ts'
import { readers } from '../../services/gateway/readers.ts'
import { manualClock, type ManualClock } from '../support/manual-clock.ts'

let clock: ManualClock
let call: MessagesCall
let to: ServerResponse
let got: string
/** What goes on to take what waits; null: it takes all at once. */
let held: (() => void)[] | null
/** What became of its place. */
let left: string[]

beforeEach(() => opened())

function opened(of: { streamsAgain?: boolean; mayDefer?: boolean } = {}): void {
  left = []
  clock = manualClock()
  got = ''
  held = null
  const version = { httpVersionMajor: 1, httpVersionMinor: 1 }
  to = new ServerResponse(Object.assign(new IncomingMessage(new Socket()), version))
  const socket = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, taken) {
      got += chunk.toString('latin1')
      if (held === null) taken()
      else held.push(taken)
    },
  })
  // As a socket has it.
  Object.assign(socket, { destroySoon: () => socket.destroy() })
  to.assignSocket(socket as Socket)
  // As a server does.
  to.once('finish', () => to.emit('close'))
  call = new MessagesCall({
    to,
    readers: readers({ limits, after: clock.after }),
    deadlineMs: null,
    earlyMs: 30_000,
    streamsAgain: of.streamsAgain ?? false,
    mayDefer: of.mayDefer ?? false,
    ears: { served() {}, refused() {}, deserted: () => void left.push('kept') },
    system: clock,
  })
  const relayed = { id: 'r_1', leave: () => void left.push('left') }
  call.take((sink) => new Place(() => relayed, sink))
}

const limits = () => ({ eachBytesMax: 4_000_000, allBytesMax: 8_000_000, stallMs: 3_600_000 })
const settle = () => new Promise<void>((resolve) => setImmediate(resolve))
const event = () => call.event(Buffer.from('{"type":"content_block_delta"}'))
/** One second at a time, so that what is written is also taken. */
async function pass(seconds: number, each: () => void = () => {}): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    clock.advance(1_000)
    each()
    await settle()
  }
}
const pings = () => got.match(/event: ping/g)?.length ?? 0
const NONE = { outcome: null, model: null, requestId: null, inputTokens: null, outputTokens: null }
const accounting = { id: 'r_1', servedBy: 'upstream', events: 1, ...NONE } as AnswerAccounting

test('every 5 s in which nothing comes, whoever is silent; an event begins them anew', async () => {
  event()
  await pass(4)
  expect(pings()).toBe(0)
  await pass(1)
  expect(pings()).toBe(1)
  await pass(20)
  expect(pings()).toBe(5)
  await pass(2)
  event()
  await pass(4)
  expect(pings()).toBe(5)
  await pass(1)
  expect(pings()).toBe(6)
})

test('none before it has begun', async () => {
  await pass(29, () => call.ping())
  expect(got).toBe('')
})

test('those of the scheduler go on, and the door adds none', async () => {
  event()
  for (let i = 0; i < 10; i++) {
    await pass(3)
    call.ping()
    await settle()
  }
  expect(pings()).toBe(10)
})

test('a late one of the scheduler is not a second one', async () => {
  event()
  await pass(5)
  call.ping()
  await pass(4)
  call.ping()
  await pass(1)
  expect(pings()).toBe(2)
  event()
  await pass(3)
  call.ping()
  await pass(1)
  expect(pings()).toBe(3)
})

test('a slow reader has one at most before it, however many come', async () => {
  held = []
  event()
  await pass(60, () => call.ping())
  expect(pings()).toBe(0)
  const taking = held
  held = null
  for (const taken of taking) taken()
  await pass(10)
  expect(pings()).toBe(2)
})

test.each<[string, () => void]>([
  ['its end', () => call.end(accounting)],
  ['an error', () => call.fail(new HeadgateError({ code: 'no_answer', message: 'm' }))],
  ['its reader', () => to.destroy()],
])('none after %s, and no timer', async (_who, end) => {
  event()
  await pass(5)
  end()
  await settle()
  // The last look at who has not read.
  await pass(1)
  expect(clock.pending()).toBe(0)
  await pass(60, () => call.ping())
  expect(pings()).toBe(1)
})

test('of a caller who would have a job, no status leaves before it is known whether it has one', async () => {
  opened({ mayDefer: true })
  await pass(60, () => call.ping())
  expect(got).toBe('')
  const receipt = { id: 'j_1', accepted: true, duplicate: false, result_subject: 'r' }
  const said = JSON.stringify({ ...receipt, position: null, estimated_wait_ms: null })
  call.event(Buffer.from(said))
  await settle()
  expect(got).toBe('')
  call.end({ ...accounting, outcome: 'deferred' })
  await settle()
  expect(got).toMatch(/^HTTP\/1.1 202 /)
  expect(got).toContain('location: /v1/headgate/jobs/j_1')
  expect(got.endsWith(said)).toBe(true)
})

describe('where its caller goes', () => {
  test.each([
    ['before a word and early, nobody works for it', 29, false, ['left']],
    ['before a word and late, it may come back', 30, false, ['kept']],
    ['in a stream, however late, nobody works for it', 30, true, ['left']],
  ])('%s', async (_, seconds, streams, becomes) => {
    if (streams) event()
    await pass(seconds)
    to.destroy()
    await settle()
    expect(left).toEqual(becomes)
  })
})

describe('a stream that breaks', () => {
  const fail = (code: HeadgateErrorCode, type: string | null = null) =>
    call.fail(new HeadgateError({ code, message: 'm', type }))
  const said = async (how: () => void): Promise<'in an event' | 'by its connection'> => {
    event()
    await settle()
    how()
    await settle()
    return got.includes('event: error') ? 'in an event' : 'by its connection'
  }

  test('is told in an event', async () => {
    expect(await said(() => fail('gap'))).toBe('in an event')
  })

  test.each<[HeadgateErrorCode, string | null, string]>([
    ['gap', null, 'by its connection'],
    ['stream_broken', null, 'by its connection'],
    ['stream_broken', 'overloaded_error', 'in an event'],
    ['cancelled', null, 'in an event'],
  ])('of who would stream again is told: %s, %j: %s', async (code, type, how) => {
    opened({ streamsAgain: true })
    expect(await said(() => fail(code, type))).toBe(how)
    if (how === 'by its connection') expect(to.destroyed).toBe(true)
  })
})
