/** Calls whose instance dies, stands still or stops: asked again by the same id, and answered once. */
import { beforeEach, describe, expect, test } from 'vitest'
import { HeadgateClient, type CallOptions, type HeadgateError, type HeadgateOptions } from '#client'
import { HEADER } from '#contracts/messages'
import { handFleet, type HandInstance } from '../support/hand-fleet.ts'
import { handTransport, type HandTransport } from '../support/hand-transport.ts'
import { manualClock, type ManualClock } from '../support/manual-clock.ts'

const NOTICED_MS = 5_000
const EVENT = '{"type":"content_block_delta"}'

let server: HandTransport
let clock: ManualClock
let fleet: ReturnType<typeof handFleet>
let client: HeadgateClient

function open(options: Partial<HeadgateOptions> = {}, names = ['a', 'b', 'c'], named = true): void {
  server = handTransport()
  clock = manualClock()
  fleet = handFleet({ server, clock, names, named })
  client = new HeadgateClient({
    ...{ tenant: 'acme', transport: server.transport },
    // Anything between 0 and 1; a place in the spread between none and all of it.
    system: { after: clock.after, now: clock.now, random: () => 0.5 },
    ...options,
  })
}
beforeEach(() => open())

type Way = 'request' | 'stream' | 'relay'
const WAYS = ['request', 'stream', 'relay'] as const

/** A call, and all that was told of it, in order. */
function ask(way: Way, id: string, options: CallOptions = {}, body = '{"model":"m"}') {
  const told: string[] = []
  const of = { ...options, id }
  const failed = (error: HeadgateError) =>
    void told.push(`${error.code}${error.retryable ? ' retryable' : ''}`)
  const ended = (ambiguous: number) => void told.push(`answered, ambiguous ${ambiguous}`)
  if (way === 'request')
    client.request(body, of).then(({ accounting }) => ended(accounting.ambiguous), failed)
  else if (way === 'stream') {
    const stream = client.stream(`${body.slice(0, -1)},"stream":true}`, of)
    void (async () => {
      for await (const { type } of stream) told.push(type)
      ended((await stream.final).ambiguous)
    })().catch(failed)
  } else
    client.relay(
      body,
      {
        answer: (_, { ambiguous }) => ended(ambiguous),
        event: (data) =>
          void told.push((JSON.parse(new TextDecoder().decode(data)) as { type: string }).type),
        ping() {},
        end: ({ ambiguous }) => ended(ambiguous),
        fail: failed,
      },
      of,
    )
  return told
}

/** Its answer, by who has it: whole, or as a stream of one event. */
function answer(way: Way, id: string, by = fleet.holder(id)!): void {
  if (way !== 'stream') return fleet.answer(by, id)
  const reply = by.has.get(id)?.reply ?? ''
  fleet.say(by, id, EVENT)
  by.has.delete(id)
  by.ended.add(id)
  server.deliver(reply, '', { [HEADER.outcome]: 'completed', [HEADER.events]: '1' })
}
const whole = (way: Way, ambiguous: number) => [
  ...(way === 'stream' ? ['content_block_delta'] : []),
  `answered, ambiguous ${ambiguous}`,
]

const headersOf = (letter: { headers: readonly (readonly [string, string])[] } | undefined) =>
  new Map(letter?.headers)

describe.each(WAYS)('a call whose instance dies, by %s', (way) => {
  test.each([0, 700, 4_000, 30_000])(
    'after %i ms is asked again within 5 s, by the same id, and answered once',
    async (after) => {
      fleet.next('a')
      const told = ask(way, 'mine', { deadlineMs: 60_000 })
      const other = ask(way, 'other')
      await fleet.pass(0)
      // Streams that wait hear pings, from whoever lives.
      for (let at = 0; at < after; at += 500) {
        await fleet.pass(Math.min(500, after - at))
        if (way === 'stream' && at % 3_000 === 0)
          for (const id of ['mine', 'other']) fleet.say(fleet.holder(id)!, id, '{"type":"ping"}')
      }
      const dead = fleet.named('a')
      dead.is = 'dead'
      await fleet.pass(NOTICED_MS)
      const asked = fleet.sent('request').map((letter) => headersOf(letter).get(HEADER.id))
      expect(asked).toEqual(['mine', 'other', 'mine'])
      const left = Number(headersOf(fleet.sent('request')[2]).get(HEADER.deadline))
      expect(left).toBeGreaterThan(60_000 - after - NOTICED_MS)
      expect(left).toBeLessThan(60_000 - after)
      answer(way, 'mine')
      answer(way, 'other')
      // What was on its way from the dead.
      answer(way, 'mine', dead)
      await fleet.pass(100)
      expect([told, other]).toEqual([whole(way, 1), whole(way, 0)])
    },
  )

  test.each([
    ['its caller says never', { again: false }],
    ['its caller says so in a header', { headers: { 'headgate-again': 'never' } }],
    ['it may be tried once only', { maxAttempts: 1 }],
    ['all its tries may be used', { headers: { [HEADER.maxAttempts]: '1' } }],
  ])('is not asked again where %s', async (_why, options: CallOptions) => {
    fleet.next('a')
    const told = ask(way, 'mine', options)
    await fleet.pass(2_000)
    fleet.named('a').is = 'dead'
    await fleet.pass(NOTICED_MS)
    expect(told).toEqual(['no_answer'])
    expect(fleet.sent('request').map(({ headers }) => JSON.stringify(headers))).toEqual([
      expect.not.stringMatching(/again/i),
    ])
  })

  test('has the tries that are left', async () => {
    fleet.next('a')
    ask(way, 'mine', { maxAttempts: 3 })
    await fleet.pass(2_000)
    fleet.named('a').is = 'dead'
    await fleet.pass(NOTICED_MS)
    expect(headersOf(fleet.sent('request')[1]).get(HEADER.maxAttempts)).toBe('2')
  })

  test.each([
    ['{"model":"m","tools":[{"type":"web_search_20250305"}]}', 'no_answer', 1],
    ['{"model":"m","tools":[{"name":"own"}]}', undefined, 2],
  ])('%s: its end is %s, asked %i times', async (body, end, times) => {
    fleet.next('a')
    const told = ask(way, 'mine', {}, body)
    await fleet.pass(1_500)
    fleet.named('a').is = 'dead'
    await fleet.pass(NOTICED_MS)
    expect(told[0]).toBe(end)
    expect(fleet.sent('request').length).toBe(times)
  })

  test('is not asked again where no time is left', async () => {
    fleet.next('a')
    const told = ask(way, 'mine', { deadlineMs: 3_000 })
    await fleet.pass(1_500)
    fleet.named('a').is = 'dead'
    await fleet.pass(NOTICED_MS)
    expect(told).toEqual(['no_answer'])
    expect(fleet.sent('request').length).toBe(1)
  })

  test('whose second instance dies too has no answer, once that is certain', async () => {
    fleet.next('a')
    const told = ask(way, 'mine')
    await fleet.pass(2_000)
    fleet.named('a').is = 'dead'
    await fleet.pass(NOTICED_MS)
    const second = fleet.holder('mine')!
    if (way === 'stream') fleet.say(second, 'mine', '{"type":"ping"}')
    second.is = 'dead'
    await fleet.pass(NOTICED_MS)
    expect(told).toEqual([])
    await fleet.pass(15_000)
    expect([told, fleet.sent('request').length]).toEqual([['no_answer'], 2])
  })

  test('and that is refused then has no answer: the first may have run', async () => {
    fleet.next('a')
    const told = ask(way, 'mine')
    await fleet.pass(2_000)
    fleet.named('a').is = 'dead'
    await fleet.pass(NOTICED_MS)
    const reply = fleet.sent('request')[1]?.reply ?? ''
    fleet.refuse(reply, 'mine', 'queue_full')
    await fleet.pass(100)
    expect(told).toEqual(['no_answer'])
  })

  test('waits on where nobody is left to say anything', async () => {
    const told = ask(way, 'mine', { deadlineMs: 8_000 })
    await fleet.pass(2_000)
    for (const one of fleet.instances) one.is = 'dead'
    await fleet.pass(NOTICED_MS + 2_000)
    expect([told, fleet.sent('request').length]).toEqual([[], 1])
  })
})

describe('a stream that has begun', () => {
  test.each(['stream', 'relay'] as const)('is broken within 5 s, by %s', async (way) => {
    fleet.next('a')
    const told = ask(way, 'mine')
    const other = ask(way, 'other')
    await fleet.pass(100)
    for (const id of ['mine', 'other']) fleet.say(fleet.holder(id)!, id, EVENT)
    await fleet.pass(3_000)
    fleet.named('a').is = 'dead'
    await fleet.pass(NOTICED_MS)
    expect(told).toEqual(['content_block_delta', 'stream_broken'])
    expect(other).toEqual(['content_block_delta'])
    expect(fleet.sent('request').length).toBe(2)
    // If it only stood still, nobody waits for it any more.
    expect(fleet.sent('cancel').map(({ subject }) => subject)).toEqual(['llm.v1.cancel.acme.mine'])
  })

  test('is asked about only where it says nothing', async () => {
    const told = ask('stream', 'mine')
    for (let n = 0; n < 50; n++) {
      await fleet.pass(500)
      fleet.say(fleet.holder('mine')!, 'mine', EVENT)
    }
    await fleet.pass(25)
    expect([told.length, fleet.sent('status').length]).toEqual([50, 0])
    await fleet.pass(4_000)
    const asked = fleet.sent('status').length
    expect(asked).toBeGreaterThan(0)
    for (let n = 0; n < 50; n++) {
      fleet.say(fleet.holder('mine')!, 'mine', EVENT)
      await fleet.pass(500)
    }
    expect(fleet.sent('status').length).toBe(asked)
  })
})

describe.each(WAYS)('a call whose instance stood still, by %s', (way) => {
  async function stoodStill() {
    fleet.next('a')
    const told = ask(way, 'mine')
    await fleet.pass(100)
    const first = fleet.named('a')
    first.is = 'still'
    await fleet.pass(NOTICED_MS)
    expect(fleet.sent('request').length).toBe(2)
    return { told, first }
  }

  test('may be answered by it after all; whoever has it too is told to stop', async () => {
    const { told, first } = await stoodStill()
    const second = fleet.holder('mine') === first ? fleet.named('b') : fleet.holder('mine')!
    fleet.goOn(first)
    answer(way, 'mine', first)
    await fleet.pass(100)
    expect(told).toEqual(whole(way, 1))
    expect(second.has.has('mine')).toBe(false)
    answer(way, 'mine', second)
    await fleet.pass(100)
    expect(told).toEqual(whole(way, 1))
  })

  test('is answered by the second, whatever the first says later', async () => {
    const { told, first } = await stoodStill()
    const second = fleet.instances.find((one) => one !== first && one.has.has('mine'))!
    fleet.goOn(first)
    fleet.refuse(first.has.get('mine')?.reply ?? '', 'mine', 'deadline_exceeded')
    if (way === 'stream')
      server.deliver(first.has.get('mine')?.reply ?? '', '', {
        [HEADER.outcome]: 'expired',
        [HEADER.events]: '0',
      })
    answer(way, 'mine', second)
    answer(way, 'mine', first)
    await fleet.pass(100)
    expect(told).toEqual(whole(way, 1))
  })

  test('goes on with the first where that one was asked again too', async () => {
    open({}, ['a', 'b'])
    fleet.next('a')
    const told = ask(way, 'mine')
    await fleet.pass(100)
    const first = fleet.named('a')
    first.is = 'still'
    await fleet.pass(1_000)
    fleet.next('a')
    await fleet.pass(4_000)
    expect(first.mail.filter(({ subject }) => subject.includes('request')).length).toBe(1)
    await fleet.pass(3_000)
    fleet.goOn(first)
    for (let n = 0; n < 5; n++) {
      await fleet.pass(5_000)
      if (way === 'stream') fleet.say(first, 'mine', '{"type":"ping"}')
    }
    answer(way, 'mine', first)
    await fleet.pass(100)
    expect(told).toEqual(whole(way, 0))
  })

  test('and goes on before it has been asked again is not asked again', async () => {
    const run = async (goOnAt: number): Promise<number[]> => {
      open()
      fleet.next('a')
      ask(way, 'mine')
      await fleet.pass(100)
      const first = fleet.named('a')
      first.is = 'still'
      const asked: number[] = []
      for (let at = 0; at < 8_000; at += 25) {
        await fleet.pass(25)
        if (at === goOnAt) {
          fleet.goOn(first)
          if (way === 'request') answer(way, 'mine', first)
          else fleet.say(first, 'mine', EVENT)
        }
        if (fleet.sent('request').length > 1) asked.push(at)
      }
      return asked
    }
    const [when = 0] = await run(Infinity)
    expect(when).toBeGreaterThan(2_000)
    expect(when).toBeLessThan(NOTICED_MS)
    expect(await run(when - 50)).toEqual([])
  })
})

test('the only instance dies: whoever starts next is asked', async () => {
  open({}, ['a', 'b'])
  const [first, next] = fleet.instances as [HandInstance, HandInstance]
  next.is = 'dead'
  const told = ask('request', 'mine')
  await fleet.pass(4_000)
  first.is = 'dead'
  await fleet.pass(60_000)
  expect([told, fleet.sent('request').length]).toEqual([[], 1])
  next.is = 'alive'
  await fleet.pass(NOTICED_MS)
  fleet.answer(next, 'mine')
  await fleet.pass(25)
  expect(told).toEqual(whole('request', 1))
})

test('an instance that stands still for a moment is not taken for dead', async () => {
  fleet.next('a')
  const told = ask('request', 'mine')
  const first = fleet.named('a')
  for (const stillMs of [1_500, 1_500]) {
    await fleet.pass(1_200)
    first.is = 'still'
    await fleet.pass(stillMs)
    fleet.goOn(first)
    await fleet.pass(4_000)
  }
  expect([told, fleet.sent('request').length]).toEqual([[], 1])
})

test('a door says what a call has that names no deadline of its own', async () => {
  fleet.next('a')
  const fail = () => {}
  const sink = { answer() {}, event() {}, ping() {}, end() {}, fail }
  client.relay('{"model":"m"}', sink, { id: 'mine', laneMs: 60_000 })
  await fleet.pass(1_000)
  expect(headersOf(fleet.sent('request')[0]).has(HEADER.deadline)).toBe(false)
  fleet.named('a').is = 'dead'
  await fleet.pass(NOTICED_MS)
  const left = Number(headersOf(fleet.sent('request')[1]).get(HEADER.deadline))
  expect(left).toBeGreaterThan(54_000)
  expect(left).toBeLessThan(59_000)
})

test('a job that a stopping instance refuses goes to another one, and nobody is watched for it', async () => {
  fleet.next('a')
  const submitted = client.submit('{"model":"m"}', { id: 'j' })
  await fleet.pass(5_000)
  expect(fleet.sent('status')).toEqual([])
  const [first] = fleet.sent('submit')
  fleet.refuse(first?.reply ?? '', 'j', 'draining')
  await fleet.pass(100)
  const [, second] = fleet.sent('submit')
  const said = { id: 'j', accepted: true, duplicate: false, result_subject: 's' }
  const receipt = { ...said, position: null, estimated_wait_ms: null }
  server.deliver(second?.reply ?? '', JSON.stringify(receipt))
  expect(await submitted).toEqual(receipt)
})

test('who was away with the server is not taken for dead before it can be back', async () => {
  fleet.next('a')
  const told = ask('request', 'mine')
  await fleet.pass(4_000)
  const first = fleet.named('a')
  // Others are back before it.
  first.is = 'dead'
  server.returned()
  await fleet.pass(2_900)
  first.is = 'alive'
  await fleet.pass(30_000)
  expect([told, fleet.sent('request').length]).toEqual([[], 1])
  first.is = 'dead'
  await fleet.pass(NOTICED_MS)
  expect(fleet.sent('request').length).toBe(2)
})

test('nor is it where nobody has been asked about the call yet', async () => {
  fleet.next('a')
  const told = ask('request', 'mine')
  await fleet.pass(500)
  const first = fleet.named('a')
  first.is = 'dead'
  server.returned()
  await fleet.pass(2_900)
  first.is = 'alive'
  await fleet.pass(30_000)
  expect([told, fleet.sent('request').length]).toEqual([[], 1])
})

describe('what it costs', () => {
  test('a thousand calls that wait are asked about once each, and then one in 1.5 s for all', async () => {
    open({ callsMax: 1_000 })
    const all = Array.from({ length: 1_000 }, (_, n) => ask('request', `r${n}`))
    await fleet.pass(5_000)
    const first = fleet.sent('status').length
    await fleet.pass(60_000)
    const later = fleet.sent('status').length - first
    expect(first).toBeGreaterThanOrEqual(1_000)
    expect(first).toBeLessThan(1_010)
    expect(later).toBeGreaterThan(30)
    expect(later).toBeLessThanOrEqual(41)
    for (const letter of fleet.sent('status'))
      expect(headersOf(letter).get(HEADER.only)).toBe('holder')
    const dead = fleet.named('b')
    const held = dead.has.size
    dead.is = 'dead'
    await fleet.pass(NOTICED_MS)
    expect(fleet.sent('request').length).toBe(1_000 + held)
    for (const one of fleet.instances)
      if (one !== dead) for (const id of [...one.has.keys()]) fleet.answer(one, id)
    await fleet.pass(500)
    const ends = all.flat()
    expect(ends.filter((end) => end === 'answered, ambiguous 1').length).toBe(held)
    expect(ends.filter((end) => end === 'answered, ambiguous 0').length).toBe(1_000 - held)
    expect(clock.pending()).toBe(0)
  })

  test('a call that is answered soon is not asked about', async () => {
    for (let n = 0; n < 20; n++) {
      const told = ask('request', `r${n}`)
      await fleet.pass(900)
      fleet.answer(fleet.holder(`r${n}`)!, `r${n}`)
      await fleet.pass(25)
      expect(told).toEqual(whole('request', 0))
    }
    expect([fleet.sent('status').length, clock.pending()]).toEqual([0, 0])
  })

  test.each([
    ['its client shall never ask', () => open({ watchMs: Infinity }), 0],
    ['nobody may ask', () => fleet.forbidStatus(), 1],
  ])('a call is waited for by its deadline where %s', async (_why, prepare, questions) => {
    prepare()
    fleet.next('a')
    const told = ask('request', 'mine', { deadlineMs: 20_000 })
    await fleet.pass(2_000)
    fleet.named('a').is = 'dead'
    await fleet.pass(22_000)
    expect(told).toEqual([])
    expect(fleet.sent('status').length).toBe(questions)
    await fleet.pass(1_000)
    expect(told).toEqual(['no_answer'])
  })

  test('instances that do not say their name are not told apart, and nothing is asked twice', async () => {
    open({}, ['a', 'b'], false)
    fleet.next('a')
    const told = ask('request', 'mine')
    await fleet.pass(30_000)
    expect([told, fleet.sent('request').length]).toEqual([[], 1])
    fleet.answer(fleet.named('a'), 'mine')
    await fleet.pass(100)
    expect(told).toEqual(whole('request', 0))
  })

  test.each([
    ['has ended where it was', 100, true],
    ['has ended where it was known to be', 4_000, true],
    ['is forgotten where it was known to be', 4_000, false],
  ])('a call that %s is waited for, not asked again', async (_what, after, remembered) => {
    fleet.next('a')
    const told = ask('request', 'mine', { deadlineMs: 40_000 })
    await fleet.pass(after)
    const first = fleet.named('a')
    first.has.delete('mine')
    if (remembered) first.ended.add('mine')
    await fleet.pass(4_000)
    first.is = 'dead'
    await fleet.pass(10_000)
    expect([told, fleet.sent('request').length]).toEqual([[], 1])
  })

  test('a call of which nobody says anything is asked about now and then', async () => {
    const told = ask('request', 'mine')
    await fleet.pass(100)
    for (const one of fleet.instances) one.is = 'dead'
    await fleet.pass(60_000)
    expect(told).toEqual([])
    expect(fleet.sent('status').length).toBeGreaterThan(15)
    expect(fleet.sent('status').length).toBeLessThanOrEqual(25)
  })
})

describe.each(WAYS)('a call that a stopping instance refuses, by %s', (way) => {
  const drain = (nth: number) => {
    const letter = fleet.sent('request')[nth]
    const id = headersOf(letter).get(HEADER.id) ?? ''
    for (const one of fleet.instances)
      if (one.has.get(id)?.reply === letter?.reply) one.has.delete(id)
    fleet.refuse(letter?.reply ?? '', id, 'draining')
    if (way === 'stream')
      server.deliver(letter?.reply ?? '', '', { [HEADER.outcome]: 'refused', [HEADER.events]: '0' })
  }

  test('goes to another one at once, and is answered once', async () => {
    fleet.next('a')
    const told = ask(way, 'mine', { deadlineMs: 60_000, again: false })
    await fleet.pass(3_000)
    drain(0)
    await fleet.pass(25)
    expect(fleet.sent('request').length).toBe(2)
    expect(headersOf(fleet.sent('request')[1]).get(HEADER.deadline)).toBe('57000')
    answer(way, 'mine')
    await fleet.pass(25)
    expect(told).toEqual(whole(way, 0))
  })

  test('is refused after a few, where all stop', async () => {
    const told = ask(way, 'mine')
    for (let n = 0; n < 4; n++) {
      await fleet.pass(500)
      expect([told, fleet.sent('request').length]).toEqual([[], n + 1])
      drain(n)
    }
    await fleet.pass(500)
    expect([told, fleet.sent('request').length]).toEqual([['draining'], 4])
  })

  test('is refused where no other one is there', async () => {
    open({}, ['a'])
    const told = ask(way, 'mine')
    await fleet.pass(100)
    fleet.named('a').is = 'dead'
    drain(0)
    await fleet.pass(100)
    expect([told, fleet.sent('request').length]).toEqual([['draining'], 2])
  })

  test('goes nowhere where it was tried', async () => {
    const told = ask(way, 'mine')
    await fleet.pass(100)
    const [letter] = fleet.sent('request')
    fleet.refuse(letter?.reply ?? '', 'mine', 'draining', { [HEADER.attempts]: '1' })
    await fleet.pass(1_000)
    expect([told, fleet.sent('request').length]).toEqual([['draining'], 1])
  })

  test('and that was asked again has no answer where all stop: the first may have run', async () => {
    fleet.next('a')
    const told = ask(way, 'mine')
    await fleet.pass(2_000)
    fleet.named('a').is = 'dead'
    await fleet.pass(NOTICED_MS)
    for (let n = 1; n <= 4; n++) {
      expect([told, fleet.sent('request').length]).toEqual([[], n + 1])
      drain(n)
      await fleet.pass(500)
    }
    expect(told).toEqual(['no_answer'])
  })

  test('and whose next instance dies is asked again all the same', async () => {
    fleet.next('a')
    const told = ask(way, 'mine')
    await fleet.pass(100)
    drain(0)
    await fleet.pass(2_000)
    fleet.holder('mine')!.is = 'dead'
    await fleet.pass(NOTICED_MS)
    answer(way, 'mine')
    await fleet.pass(25)
    expect(told).toEqual(whole(way, 1))
  })
})

test('a call that its caller leaves is asked no more', async () => {
  fleet.next('a')
  const leaving = new AbortController()
  const told: unknown[] = []
  client.request('{"model":"m"}', { id: 'mine', signal: leaving.signal }).catch((e) => told.push(e))
  await fleet.pass(2_000)
  fleet.named('a').is = 'dead'
  await fleet.pass(1_000)
  leaving.abort('enough')
  await fleet.pass(20_000)
  expect(told).toEqual(['enough'])
  expect([fleet.sent('request').length, clock.pending()]).toEqual([1, 0])
})
