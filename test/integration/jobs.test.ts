/** Durable jobs over a real nats-server: what the wire contract promises of submit, result, fetch, cancel and
 *  status. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HEADER, jobReceipt } from '#contracts/messages'
import type { Snapshot } from '#contracts/snapshot'
import type { NatsConnection } from '@nats-io/transport-node'
import { connect, headers } from '@nats-io/transport-node'
import { body, endOf, openHouse, type House } from '../support/house.ts'

let house: House
let nc: NatsConnection
beforeAll(async () => {
  house = await openHouse({ jobs: true })
  nc = await connect({ servers: house.nats.url })
})
afterAll(async () => {
  await nc.close()
  await house.close()
})

const submit = async (
  subject: string,
  data: object | string,
  given: Record<string, string> = {},
) => {
  const all = headers()
  for (const [name, value] of Object.entries(given)) all.set(name, value)
  const text = typeof data === 'string' ? data : JSON.stringify(data)
  const answer = await nc.request(`llm.v1.submit.${subject}`, text, {
    headers: all,
    timeout: 5_000,
  })
  return {
    json: answer.json<Record<string, unknown>>(),
    code: answer.headers?.get(HEADER.errorCode) ?? '',
  }
}

describe('a job', () => {
  test('is answered with a receipt, and has one result, published and kept', async () => {
    const heard = nc.subscribe('llm.v1.result.acme.first', { max: 1 })
    const receipt = await house.client.submit(body(), { id: 'first', lane: 'batch' })
    expect(receipt).toMatchObject({
      ...{ id: 'first', accepted: true, duplicate: false },
      result_subject: 'llm.v1.result.acme.first',
    })
    const answer = await house.client.result('first', { waitMs: 5_000 })
    expect(answer.body.role).toBe('assistant')
    expect(answer.accounting).toMatchObject({ outcome: 'completed', attempts: 1, id: 'first' })
    for await (const message of heard) {
      expect(message.string()).toBe(new TextDecoder().decode(answer.bytes))
      expect(message.headers?.get(HEADER.outcome)).toBe('completed')
    }
    expect(await house.client.status('first')).toMatchObject({
      ...{ state: 'settled', lane: 'batch', attempts: 1, model: body().model },
    })
    expect(await house.client.cancel('first')).toEqual({
      cancelled: false,
      reason: 'already_settled',
    })
  })

  test('is what becomes of a request that cannot be made in time, and allows it', async () => {
    const heard = nc.subscribe('llm.v1.result.acme.deferred', { max: 1 })
    house.provider.fault({ kind: 'overloaded_500', times: 1 })
    const all = headers()
    for (const [name, value] of [
      [HEADER.id, 'deferred'],
      [HEADER.degrade, 'defer'],
      [HEADER.maxAttempts, '1'],
    ] as const)
      all.set(name, value)
    const answer = await nc.request('llm.v1.request.acme.interactive', JSON.stringify(body()), {
      ...{ headers: all, timeout: 5_000 },
    })
    expect(answer.headers?.get(HEADER.outcome)).toBe('deferred')
    expect(jobReceipt.parse(answer.json())).toMatchObject({
      ...{ id: 'deferred', accepted: true, duplicate: false },
    })
    for await (const message of heard) {
      expect(message.headers?.get(HEADER.outcome)).toBe('completed')
      expect(message.json()).toMatchObject({ role: 'assistant' })
    }
  })

  test('submitted again is the same job, and another body under its id is refused', async () => {
    const one = body({ messages: [{ role: 'user', content: 'one' }] })
    const two = body({ messages: [{ role: 'user', content: 'two' }] })
    const first = await submit('acme.batch', one, { [HEADER.id]: 'again' })
    expect(jobReceipt.parse(first.json).duplicate).toBe(false)
    // Whatever the lane, while it lives and afterwards.
    for (const lane of ['batch', 'premium']) {
      expect((await submit(`acme.${lane}`, one, { [HEADER.id]: 'again' })).json).toMatchObject({
        accepted: true,
        duplicate: true,
      })
      const other = await submit(`acme.${lane}`, two, { [HEADER.id]: 'again' })
      expect(other).toMatchObject({ code: '409', json: { headgate: { code: 'duplicate_id' } } })
    }
    await house.client.result('again', { waitMs: 5_000 })
    expect((await submit('acme.batch', one, { [HEADER.id]: 'again' })).json).toMatchObject({
      duplicate: true,
    })
    expect((await submit('acme.batch', two, { [HEADER.id]: 'again' })).code).toBe('409')
    // Another tenant's id is another id.
    expect((await submit('globex.batch', two, { [HEADER.id]: 'again' })).json).toMatchObject({
      duplicate: false,
    })
  })

  test.each([
    ['no JSON', 'acme.batch', '{', {}, '400', 'invalid_request'],
    ['no lane', 'acme.nolane', body(), {}, '400', 'unknown_lane'],
    ['an unknown header', 'acme.batch', body(), { 'Headgate-Prio': '1' }, '400', 'invalid_request'],
    [
      ...['a deadline that is none', 'acme.batch', body()],
      ...[{ [HEADER.deadline]: 'soon' }, '400', 'invalid_request'],
    ],
    [
      ...['a start that is none', 'acme.batch', body()],
      ...[{ [HEADER.notBefore]: '-1' }, '400', 'invalid_request'],
    ],
    [
      ...['a start after its deadline', 'acme.batch', body()],
      ...[{ [HEADER.notBefore]: '500', [HEADER.deadline]: '500' }, '400', 'invalid_request'],
    ],
  ] as [string, string, object | string, Record<string, string>, string, string][])(
    'with %s is refused before it is stored',
    async (_what, subject, data, given, status, code) => {
      const { json, code: said } = await submit(subject, data, given)
      expect({ said, json }).toMatchObject({ said: status, json: { headgate: { code } } })
    },
  )

  test('asked for as a stream is kept as the whole Message', async () => {
    await submit('acme.batch', body({ stream: true }), { [HEADER.id]: 'streamed' })
    const { body: message } = await house.client.result('streamed', { waitMs: 5_000 })
    expect(message).toMatchObject({ type: 'message', role: 'assistant', stop_reason: 'end_turn' })
  })

  test('nobody knows an id that was never given', async () => {
    expect(await endOf(house.client.result('nobody'))).toBe('unknown_id')
    expect(await endOf(house.client.status('nobody'))).toBe('unknown_id')
    expect(await house.client.cancel('nobody')).toEqual({ cancelled: false, reason: 'unknown_id' })
  })

  test('does not start before its time, can be asked about and cancelled, and that is its result', async () => {
    await submit('acme.batch', body(), { [HEADER.id]: 'later', [HEADER.notBefore]: '600000' })
    expect(await house.client.status('later')).toMatchObject({ state: 'queued', attempts: 0 })
    expect(await endOf(house.client.result('later'))).toBe('pending')
    expect(await house.client.cancel('later')).toEqual({ cancelled: true, state: 'queued' })
    expect(await endOf(house.client.result('later', { waitMs: 5_000 }))).toBe('cancelled')
    await submit('acme.batch', body(), { [HEADER.id]: 'soon', [HEADER.notBefore]: '200' })
    expect((await house.client.result('soon', { waitMs: 5_000 })).accounting.outcome).toBe(
      'completed',
    )
  })

  test('whose deadline passes in the store is told so', async () => {
    const { operator } = house.scheduler
    await operator.lane({ lane: 'batch', paused: true })
    // More than the window: the last of them are never in the scheduler.
    const ids = Array.from({ length: 8 }, (_, i) => `late${i}`)
    for (const id of ids)
      await submit('acme.batch', body(), { [HEADER.id]: id, [HEADER.deadline]: '400' })
    const ends = ids.map((id) => endOf(house.client.result(id, { waitMs: 10_000 })))
    expect(new Set(await Promise.all(ends))).toEqual(new Set(['deadline_exceeded']))
    await operator.lane({ lane: 'batch', paused: false })
  })

  test('is in the snapshot while it waits, as the server counts it', async () => {
    const { operator } = house.scheduler
    const jobs = () => (operator.snapshot() as Snapshot).jobs
    const idle = () => jobs()?.stored === 0
    await expect.poll(idle, { timeout: 15_000 }).toBe(true)
    const before = jobs()!
    await operator.lane({ lane: 'batch', paused: true })
    const ids = Array.from({ length: 9 }, (_, i) => `seen${i}`)
    for (const id of ids) await submit('acme.batch', body(), { [HEADER.id]: id })
    await submit('acme.batch', body(), { [HEADER.id]: 'unseen', [HEADER.notBefore]: '600000' })
    await expect.poll(() => jobs()?.stored, { timeout: 15_000 }).toBe(10)
    const seen = jobs()!
    expect(seen.states).toEqual({
      ...{ delayed: 1, stored: 5, waiting: 4, calling: 0, settling: 0, elsewhere: 0 },
    })
    const batch = seen.lanes.find(({ lane }) => lane === 'batch')
    expect(batch).toMatchObject({ stored: 9, oldest_ms: seen.oldest_ms })
    expect(seen.oldest_ms).toBeGreaterThan(0)
    expect(seen.tenants).toContainEqual({
      ...{ tenant: 'acme', lane: 'batch', stored: 5, taken: 4, oldest_ms: expect.any(Number) },
    })
    expect(seen.store).toMatchObject({ reachable: true, full: false, bytes_max: null })
    expect(seen.store.bytes).toBeGreaterThan(10 * JSON.stringify(body()).length)
    expect(seen.counts.accepted - before.counts.accepted).toBe(10)
    await house.client.cancel('unseen')
    await operator.lane({ lane: 'batch', paused: false })
    await expect.poll(idle, { timeout: 15_000 }).toBe(true)
    expect(jobs()!.counts.ended - before.counts.ended).toBe(10)
  })

  test('leaves nothing behind in the stream of jobs when it is over', async () => {
    const { jetstreamManager } = await import('@nats-io/jetstream')
    const jsm = await jetstreamManager(nc)
    const left = async () =>
      Object.keys(
        (await jsm.streams.info('HEADGATE_JOBS_llm', { subjects_filter: 'llm.v1.*.>' })).state
          .subjects ?? {},
      ).filter((subject) => !subject.includes('.flow.'))
    await expect.poll(left, { timeout: 5_000 }).toEqual([])
  })
})
