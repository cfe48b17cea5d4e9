/** A request's life over real NATS: cancel at every point, a caller that is gone, deadlines, a server
 *  that dies, a scheduler that stops or is killed. After each: one answer per request, all given back. */
import { connect, headers } from '@nats-io/transport-node'
import { afterEach, expect, test } from 'vitest'
import type { Headgate, HeadgateError } from '#client'
import { subjects } from '#contracts/subjects'
import { body, endOf, openHouse, type House } from '../support/house.ts'

let house: House
afterEach(() => house.close())

/** Resolves when the loop has recorded an event of this name for the id. */
async function recorded(of: House, name: string, id: string): Promise<void> {
  const listener = of.scheduler.recording.listen({ queueMax: 10_000, after: 'kept' })
  for (;;) {
    const batch = await listener.next()
    if (batch === null) throw new Error('the recording has ended')
    const hit = batch.events.some(({ event }) => {
      const { id: of } = event.data as { id?: string }
      return event.name === name && of === id
    })
    if (hit) break
  }
  listener.close()
}

const one = 'llm_gateway: { max_inflight_global: 1 }\n'

test('cancel: unknown, queued, running, streaming and settled', async () => {
  house = await openHouse({ yaml: one })
  const { client, provider } = house
  expect(await client.cancel('nobody')).toEqual({ cancelled: false, reason: 'unknown_id' })
  provider.fault({ kind: 'hang_before_headers' })
  const running = endOf(client.request(body(), { id: 'running' }))
  await recorded(house, 'request.dispatched', 'running')
  const queued = endOf(client.request(body(), { id: 'queued' }))
  await recorded(house, 'request.queued', 'queued')
  expect(await client.status('queued')).toMatchObject({ state: 'queued', position: 0, attempts: 0 })
  expect(await client.cancel('queued')).toEqual({ cancelled: true, state: 'queued' })
  expect(await queued).toBe('cancelled')
  expect(await client.cancel('running')).toEqual({ cancelled: true, state: 'running' })
  expect(await running).toBe('cancelled')
  provider.clear()
  provider.fault({ kind: 'stalled_stream', after: 1 })
  const stream = client.stream(body(), { id: 'streaming' })
  const read = endOf(
    (async () => {
      for await (const event of stream) void event
    })(),
  )
  await recorded(house, 'request.forwarding', 'streaming')
  expect(await client.cancel('streaming')).toEqual({ cancelled: true, state: 'forwarding' })
  expect(await read).toBe('cancelled')
  expect(await client.cancel('streaming')).toEqual({ cancelled: false, reason: 'already_settled' })
  expect((await client.status('streaming')).state).toBe('settled')
  await house.rest()
  expect(provider.stats().inFlight).toBe(0)
})

test('deadlines: in the queue, while running, while streaming', async () => {
  house = await openHouse({ yaml: one })
  const { client, provider } = house
  provider.fault({ kind: 'hang_before_headers' })
  const running = client.request(body(), { id: 'running', deadlineMs: 150 })
  await recorded(house, 'request.dispatched', 'running')
  const queued = client.request(body(), { id: 'queued', deadlineMs: 60 })
  expect(await endOf(queued)).toBe('deadline_exceeded')
  const error = await running.catch((e: unknown) => e as HeadgateError)
  expect(error).toMatchObject({ code: 'deadline_exceeded', status: 504, retryable: false })
  expect((error as HeadgateError).accounting).toMatchObject({ outcome: 'expired', attempts: 1 })
  provider.clear()
  provider.fault({ kind: 'stalled_stream', after: 1 })
  const stream = client.stream(body(), { deadlineMs: 200 })
  const seen: string[] = []
  const read = (async () => {
    for await (const event of stream) seen.push(event.type)
  })()
  expect(await endOf(read)).toBe('deadline_exceeded')
  expect(seen[0]).toBe('message_start')
  await house.rest()
})

test('a duplicate live id is refused and the first one goes on', async () => {
  house = await openHouse()
  house.provider.fault({ kind: 'slow_headers', waitMs: 200, times: 1 })
  const first = house.client.request(body(), { id: 'same' })
  await recorded(house, 'request.dispatched', 'same')
  expect(await endOf(house.client.request(body(), { id: 'same' }))).toBe('duplicate_id')
  expect((await first).accounting.outcome).toBe('completed')
  // Another tenant's ids are its own.
  expect(await endOf(house.client.as('other').request(body(), { id: 'same' }))).toBe('completed')
  await house.rest()
})

test.each(['queued', 'streaming'])('a caller who is gone while %s is noticed', async (where) => {
  house = await openHouse({ yaml: `${one}nats: { ping_ms: 100 }\n` })
  house.provider.fault({ kind: 'stalled_stream', after: 1 })
  const blocker = house.client.stream(body(), { id: 'blocker' })
  const blocked = endOf(
    (async () => {
      for await (const event of blocker) void event
    })(),
  )
  await recorded(house, 'request.forwarding', 'blocker')
  const gone = await connect({ servers: house.nats.url })
  const to = subjects('llm').request('acme', 'interactive')
  if (where === 'streaming') await house.client.cancel('blocker')
  gone.subscribe('_INBOX.gone')
  const h = headers()
  h.set('Headgate-Id', 'gone')
  gone.publish(to, JSON.stringify(body({ stream: true })), { reply: '_INBOX.gone', headers: h })
  await gone.flush()
  await recorded(house, where === 'streaming' ? 'request.forwarding' : 'request.queued', 'gone')
  await gone.close()
  await recorded(house, 'request.settled', 'gone')
  expect(await house.client.cancel('gone')).toEqual({ cancelled: false, reason: 'already_settled' })
  if (where === 'queued') await house.client.cancel('blocker')
  expect(await blocked).toBe('cancelled')
  await house.rest()
})

test.each(['queued', 'running'])(
  'a caller of a whole answer that closes its connection while %s is noticed',
  async (where) => {
    house = await openHouse({ yaml: `${one}nats: { ping_ms: 100 }\n` })
    house.provider.fault({ kind: 'slow_headers', waitMs: 60_000 })
    const blocked =
      where === 'queued' ? endOf(house.client.request(body(), { id: 'blocker' })) : null
    if (blocked !== null) await recorded(house, 'request.dispatched', 'blocker')
    // Any NATS client: it knows nothing of us but the subject.
    const plain = await connect({ servers: house.nats.url })
    const there = Promise.withResolvers<void>()
    plain.subscribe('_INBOX.*.headgate-there', { callback: () => there.resolve() })
    const h = headers()
    h.set('Headgate-Id', 'gone')
    const asked = plain.request(
      subjects('llm').request('acme', 'interactive'),
      JSON.stringify(body()),
      { headers: h, timeout: 60_000 },
    )
    const failed = asked.catch((error: Error) => error.name)
    await recorded(house, where === 'queued' ? 'request.queued' : 'request.dispatched', 'gone')
    await there.promise
    await plain.close()
    await recorded(house, 'request.settled', 'gone')
    expect(await house.client.cancel('gone')).toEqual({
      cancelled: false,
      reason: 'already_settled',
    })
    expect(await failed).not.toBe('completed')
    if (blocked !== null) {
      // Who stays is not taken for gone.
      expect(await house.client.status('blocker')).toMatchObject({ state: 'running' })
      await house.client.cancel('blocker')
      expect(await blocked).toBe('cancelled')
    }
    await house.rest()
  },
)

test('nats-server killed and restarted under load: requests are answered again', async () => {
  house = await openHouse({ provider: { ttftMs: 20 } })
  const { client, nats } = house
  await Promise.all(Array.from({ length: 20 }, () => client.request(body())))
  const during = Array.from({ length: 20 }, () =>
    endOf(client.request(body(), { deadlineMs: 3_000 })),
  )
  await nats.restart('SIGKILL')
  await Promise.all(during)
  const after = await Promise.all(
    Array.from({ length: 20 }, () => endOf(client.request(body(), { deadlineMs: 10_000 }))),
  )
  expect(after).toEqual(Array.from({ length: 20 }, () => 'completed'))
  await house.rest()
})

test('a stop under load loses no request: running ones end, queued and new ones are told', async () => {
  house = await openHouse({
    yaml: 'llm_gateway: { max_inflight_global: 4 }\n',
    provider: { ttftMs: 150 },
  })
  const { client, scheduler } = house
  const asked = Array.from({ length: 20 }, (_, i) => endOf(client.request(body(), { id: `r${i}` })))
  await recorded(house, 'request.queued', 'r19')
  const stopped = scheduler.stop()
  const late = endOf(client.request(body()))
  const ends = await Promise.all(asked)
  await stopped
  expect(ends.filter((code) => code === 'completed').length).toBeGreaterThanOrEqual(4)
  expect(ends.filter((code) => code !== 'completed' && code !== 'draining')).toEqual([])
  expect(ends.includes('draining')).toBe(true)
  expect(['draining', 'completed']).toContain(await late)
  expect(Object.values(scheduler.loop.held()).every((n) => n === 0)).toBe(true)
})

test('a rolling restart of two instances loses nothing', async () => {
  house = await openHouse({ provider: { ttftMs: 10 } })
  const second = await house.another()
  const ends: Promise<string>[] = []
  const send = (n: number): void => {
    for (let i = 0; i < n; i++) ends.push(endOf(house.client.request(body())))
  }
  send(40)
  const stopped = second.stop()
  send(40)
  await stopped
  send(40)
  const codes = await Promise.all(ends)
  expect(codes.filter((code) => code !== 'completed')).toEqual([])
  await house.rest()
})

test('emergency and pause are obeyed at once and undone', async () => {
  house = await openHouse()
  const { client, scheduler } = house
  const admin = (op: 'emergency' | 'lane' | 'snapshot' | 'config', of: object = {}) =>
    client.admin(op, of)
  await client.request(body())
  await admin('emergency', { on: true })
  expect(await admin('snapshot')).toMatchObject({ emergency: true, global: { limit: 48 } })
  expect(scheduler.loop.state.config.breaker.openMs).toBe(15_000)
  await admin('emergency', { on: false })
  expect(await admin('snapshot')).toMatchObject({ emergency: false, global: { limit: 60 } })
  await admin('lane', { lane: 'batch', paused: true })
  const paused = client.request(body(), { lane: 'batch', id: 'paused' })
  await recorded(house, 'request.queued', 'paused')
  expect(await client.status('paused')).toMatchObject({ state: 'queued' })
  await admin('lane', { lane: 'batch', paused: false })
  expect((await paused).accounting.outcome).toBe('completed')
  await expect(admin('lane', { lane: 'nope', paused: true })).rejects.toThrow(
    /premium, interactive, batch/,
  )
  await house.rest()
})

test('a burst of large prompts loses nothing, neither its own nor others', async () => {
  house = await openHouse({ yaml: 'llm_gateway: { max_inflight_global: 4 }\n' })
  const large = body({ messages: [{ role: 'user', content: 'x'.repeat(4_000_000) }] })
  const asked = Array.from({ length: 10 }, () => endOf(house.client.request(large)))
  const small = Array.from({ length: 10 }, () => endOf(house.client.as('good').request(body())))
  expect(new Set(await Promise.all([...asked, ...small]))).toEqual(new Set(['completed']))
  await house.rest()
})

test('unknown lane and model, a rejected tenant, a lane not allowed', async () => {
  house = await openHouse({
    yaml: `
tenants: { unknown: reject, acme: { lanes: [interactive] } }
routes: [{ model: claude-sonnet-4-5 }]
`,
  })
  const { client } = house
  const code = (of: Headgate, model: string, lane: string) =>
    endOf(of.request(body({ model }), { lane }))
  expect(await code(client, 'claude-sonnet-4-5', 'express')).toBe('unknown_lane')
  expect(await code(client, 'claude-sonnet-4-5', 'premium')).toBe('forbidden')
  expect(await code(client, 'claude-opus-9', 'interactive')).toBe('unknown_model')
  expect(await code(client.as('stranger'), 'claude-sonnet-4-5', 'interactive')).toBe('forbidden')
  expect(await code(client, 'claude-sonnet-4-5', 'interactive')).toBe('completed')
  await house.rest()
})
