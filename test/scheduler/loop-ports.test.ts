/** What the loop tells its ports, and what it makes of their word. No promise is awaited but where said:
 *  an attempt's whole life may pass in one breath. */
import { describe, expect, test } from 'vitest'
import { eventData } from '#contracts/events'
import { handProvider } from '../support/hand-provider.ts'
import { LoopWorld } from '../support/loop-world.ts'
import { verdictOf } from '../support/scripted-provider.ts'

const script = () => ({})
const ok = verdictOf({ kind: 'ok', status: 200 })
const overloaded = verdictOf({ kind: 'overloaded', status: 529 })
const zero = { requests: 0, slots: 0, probes: 0, timers: 0, replies: 0 } // prettier-ignore

describe('an attempt', () => {
  test('is told whose request it serves, and every attempt of one request is told the same', () => {
    const provider = handProvider()
    const world = new LoopWorld({ script, provider })
    world.request({ tenant: 'acme', lane: 'premium', id: 'r_9' })
    provider.sinks[0]?.ended(overloaded)
    world.clock.advance(60_000)
    expect(provider.calls.length).toBeGreaterThan(1)
    for (const call of provider.calls)
      expect(call).toMatchObject({ tenant: 'acme', lane: 'premium', id: 'r_9', model: 'm' })
  })

  test('ends without a promise: the answer is given when `ended` returns', () => {
    const provider = handProvider()
    const world = new LoopWorld({ script, provider })
    const id = world.request()
    provider.sinks[0]?.firstByte()
    provider.sinks[0]?.event(Buffer.from('{}'))
    provider.sinks[0]?.ended(ok)
    expect(world.answers.get(id)).toMatchObject([{ how: 'end', events: 1 }])
    expect(world.loop.held()).toEqual(zero)
  })

  test('may end inside its abort: the step goes on, and the end is taken after it', () => {
    const provider = handProvider((sink, why) =>
      sink.ended(verdictOf({ kind: 'ended', cause: why })),
    )
    const world = new LoopWorld({ script, provider })
    const id = world.request()
    expect(world.loop.cancel('a', id)).toEqual({ cancelled: true, state: 'running' })
    expect(world.answers.get(id)).toMatchObject([{ how: 'refuse', refusal: { code: 'cancelled' } }])
    expect(world.bugs).toEqual([])
    expect(world.loop.held()).toEqual(zero)
    const ended = world.events.filter((e) => e.name === 'attempt.ended')
    expect(ended).toMatchObject([{ data: { verdict: 'ended', cause: 'cancel' } }])
  })

  test('that many may end inside their aborts at once, in order, and nothing is left', () => {
    const provider = handProvider((sink, why) =>
      sink.ended(verdictOf({ kind: 'ended', cause: why })),
    )
    const world = new LoopWorld({ script, provider })
    for (let i = 0; i < 100; i++) world.request({ tenant: `t${i % 10}` })
    expect(provider.calls).toHaveLength(60)
    world.loop.hurry()
    expect(world.bugs).toEqual([])
    expect(world.loop.held().slots).toBe(0)
  })

  test('that ends twice is a bug, and a later attempt of the request does not pay for it', () => {
    const provider = handProvider()
    const world = new LoopWorld({ script, provider })
    const id = world.request()
    provider.sinks[0]?.ended(overloaded)
    world.clock.advance(10_000)
    expect(provider.calls).toHaveLength(2)
    provider.sinks[0]?.ended(ok)
    expect(world.bugs).toHaveLength(1)
    expect(world.answers.get(id)).toBeUndefined()
    provider.sinks[1]?.ended(ok)
    expect(world.answers.get(id)).toMatchObject([{ how: 'end', accounting: { attempts: 2 } }])
  })

  test.each(['send', 'abort'] as const)("what the provider's own %s throws is a bug", (where) => {
    const broken = new Error('no such thing')
    const provider = handProvider(() => {
      throw broken
    })
    if (where === 'send')
      provider.send = () => {
        throw broken
      }
    const world = new LoopWorld({ script, provider })
    const id = world.request()
    world.loop.cancel('a', id)
    expect(world.bugs).toContain(broken)
  })
})

describe('the recorder', () => {
  test('hears what a queued request asks for and how long it is expected to wait', () => {
    const world = new LoopWorld({ script })
    world.request({ id: 'one', maxTokens: 512, body: new Uint8Array(77), deadlineMs: 9_000 })
    world.request({ id: 'two', stream: false })
    const queued = world.events.filter((e) => e.name === 'request.queued').map((e) => e.data)
    expect(queued).toMatchObject([
      { id: 'one', stream: true, max_tokens: 512, bytes: 77, deadline_ms: 9_000 },
      { id: 'two', stream: false, max_tokens: 100, bytes: 100, deadline_ms: null },
    ])
    for (const data of queued) {
      expect(() => eventData['request.queued'].parse(data)).not.toThrow()
      expect(data).toMatchObject({ predicted_wait_ms: 0 })
    }
  })

  test('may be missing: every request has its answer all the same, and all is given back', async () => {
    const world = new LoopWorld({
      script: (i) => ({
        firstByteMs: 20,
        ...(i % 3 === 0 ? { end: overloaded } : { events: ['{}'], end: ok }),
      }),
      recorded: false,
    })
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    for (let i = 0; i < 90; i++)
      world.request({ tenant: `t${i % 7}`, stream: i % 2 === 0, headers: { traceparent } })
    world.request({ id: 'r0' })
    world.request({ id: 'nowhere', lane: 'none' })
    world.loop.dropped({ tenant: 'a', lane: 'interactive', reason: 'no_reply' })
    world.loop.cancel('t0', 'r0')
    await world.pass(400_000, 500)
    expect(world.bugs).toEqual([])
    expect(world.events).toEqual([])
    expect(world.loop.held()).toEqual(zero)
    expect(world.answers.size).toBe(91)
  })
})
