/** A call that became a job: 202 with its receipt, and where its answer is asked for. */
import { connectHeadgate, type Headgate } from '#client'
import { subjects } from '#contracts/subjects'
import { refusal } from '#contracts/messages'
import type { Bus, Reply } from '#ports'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { wireGateway } from '#scheduler/compose/wire-gateway'
import { memoryBus } from '#scheduler/memory/bus'
import { outbox } from '#scheduler/nats/outbox'
import { configFile } from '#contracts/config'
import { systemClock, systemDice } from '../../services/platform/system.ts'
import { openBatchDoor, type BatchDoor } from '../support/batch-door.ts'
import { params } from '../support/door.ts'
import { accounted } from '../support/fake-scheduler.ts'

const RECEIPT = {
  ...{ id: 'j_1', accepted: true, duplicate: false, position: 3 },
  ...{ result_subject: 'llm.v1.result.default.j_1', estimated_wait_ms: null },
}

describe('a deferred call', () => {
  let bus: Bus
  let url: string
  let close: () => Promise<void>
  let answer: (reply: Reply) => void
  beforeAll(async () => {
    bus = memoryBus()
    const file = configFile.parse({})
    const out = outbox({ bus, clock: systemClock, pingMs: () => file.nats.ping_ms })
    bus.subscribe(subjects('llm').every.request, ({ reply = '', data }) => {
      const { stream } = JSON.parse(new TextDecoder().decode(data)) as { stream?: boolean }
      const of = { tenant: 'default', id: 'r_1', to: reply, stream: stream === true }
      answer(out.reply(of))
    })
    const door = await wireGateway({
      ...{ bus, host: '127.0.0.1', port: 0, tls: null, clock: systemClock, dice: systemDice },
      ...{ file: () => file, keys: () => new Map(), ready: () => [] },
      onFault(fault) {
        throw fault
      },
    })
    url = door.url
    close = async () => {
      await door.close()
      await bus.close()
    }
  })
  afterAll(() => close())

  const deferred = accounted({ id: 'r_1', outcome: 'deferred', servedBy: 'none' })
  const ask = (more: object, headers: Record<string, string> = {}) =>
    fetch(`${url}/v1/messages`, {
      method: 'POST',
      body: JSON.stringify(params(more)),
      headers: { 'x-api-key': 'any', 'content-type': 'application/json', ...headers },
    })

  test.each([
    ['whole', {}],
    ['streamed', { stream: true }],
  ])('%s: 202, the receipt, and where its answer will be', async (_what, more) => {
    answer = (reply) => reply.answer(Buffer.from(JSON.stringify(RECEIPT)), deferred)
    const said = await ask(more, { 'headgate-degrade': 'fallback, defer' })
    expect(said.status).toBe(202)
    expect(said.headers.get('location')).toBe('/v1/headgate/jobs/j_1')
    expect(said.headers.get('headgate-outcome')).toBe('deferred')
    expect(said.headers.get('content-type')).toBe('application/json')
    expect(await said.json()).toEqual(RECEIPT)
  })

  test('who did not ask for it has no receipt read out of a stream', async () => {
    answer = (reply) => {
      reply.event(Buffer.from(JSON.stringify(RECEIPT)))
      reply.end(accounted())
    }
    const said = await ask({ stream: true })
    expect(said.status).toBe(200)
    expect(await said.text()).toContain('event: ')
  })

  test('and who asked for it has its answer as ever, where there is one', async () => {
    answer = (reply) => {
      reply.event(Buffer.from('{"type":"message_start"}'))
      reply.event(Buffer.from('{"type":"message_stop"}'))
      reply.end(accounted())
    }
    const said = await ask({ stream: true }, { 'headgate-degrade': 'defer' })
    expect(said.status).toBe(200)
    expect(await said.text()).toMatch(/^event: message_start\n[\s\S]*event: message_stop\n/)
    answer = (reply) => reply.refuse(refusal('queue_full', 'full'), accounted(), null)
    expect((await ask({}, { 'headgate-degrade': 'defer' })).status).toBe(429)
  })
})

describe('/v1/headgate/jobs/<id>', () => {
  let door: BatchDoor
  let client: Headgate
  beforeAll(async () => {
    door = await openBatchDoor({
      yaml: 'lanes: { batch: { max_attempts: 1 } }\ngateway: { job_wait_ms: 2000 }',
    })
    client = await connectHeadgate({ servers: door.nats.url, tenant: 'default' })
  })
  afterAll(async () => {
    await client.close()
    await door.close()
  })
  const ask = (path: string, method = 'GET') =>
    fetch(`${door.url}/v1/headgate/jobs/${path}`, { method })

  test('is the answer exactly as the call would have had it', async () => {
    await client.submit(params(), { id: 'done', lane: 'batch' })
    const said = await ask('done?wait=60')
    expect(said.status).toBe(200)
    expect(said.headers.get('headgate-outcome')).toBe('completed')
    expect(said.headers.get('headgate-attempts')).toBe('1')
    expect(said.headers.get('request-id')).toMatch(/^req_/)
    const kept = await client.result('done')
    expect(Buffer.from(await said.arrayBuffer())).toEqual(Buffer.from(kept.bytes))
  })

  test('or the error that it would have had', async () => {
    door.provider.fault({ kind: 'bad_request_400' })
    await client.submit(params(), { id: 'refused', lane: 'batch' })
    const said = await ask('refused?wait=60')
    door.provider.clear()
    expect(said.status).toBe(400)
    expect(said.headers.get('x-should-retry')).toBe('false')
    expect(await said.json()).toMatchObject({
      type: 'error',
      error: { type: 'invalid_request_error' },
      headgate: { code: 'upstream_error' },
    })
  })

  test('is 202 with its state while it waits, however long one would, until it is cancelled', async () => {
    await door.scheduler.operator.lane({ lane: 'batch', paused: true })
    await client.submit(params(), { id: 'waits', lane: 'batch' })
    for (const path of ['waits', 'waits?wait=1', 'waits?wait=999999']) {
      const said = await ask(path)
      expect(said.status).toBe(202)
      expect(said.headers.get('location')).toBe('/v1/headgate/jobs/waits')
      expect(await said.json()).toMatchObject({ id: 'waits', state: 'queued' })
    }
    expect(await (await ask('waits', 'DELETE')).json()).toMatchObject({ cancelled: true })
    const ended = await ask('waits?wait=2')
    expect(ended.status).toBe(499)
    expect(await (await ask('waits', 'DELETE')).json()).toEqual({
      cancelled: false,
      reason: 'already_settled',
    })
    await door.scheduler.operator.lane({ lane: 'batch', paused: false })
  })

  test('is 404 where nobody knows it, also for another tenant, and 400 or 405 where it is none', async () => {
    await client.as('other').submit(params(), { id: 'others', lane: 'batch' })
    for (const path of ['nobody', 'others', 'a%20b']) {
      expect([path, (await ask(path)).status]).toEqual([path, 404])
      expect([path, (await ask(path, 'DELETE')).status]).toEqual([path, 404])
    }
    expect((await ask('nobody?wait=soon')).status).toBe(400)
    expect((await ask('nobody', 'POST')).status).toBe(405)
  })
})
