/** One tenant against another, on a real nats-server with the files that `headgate auth` writes: what it
 *  may do works, and everything else is kept from it by NATS or, where NATS does not look, by Headgate. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { connect, type Msg } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Headgate } from '#client'
import { ADMIN_OPS, subjects } from '#contracts/subjects'
import { openGuardedHouse, type GuardedHouse, type Raw } from '../support/guarded-house.ts'
import { heard, type Heard } from '../support/heard.ts'
import { body, endOf } from '../support/house.ts'
import { inRoot } from '../support/tree.ts'

const LLM = subjects('llm')

let house: GuardedHouse
/** Tenants a and b through our client; a also without it. */
let a: Headgate
let b: Headgate
let rawA: Raw
/** Sees every message there is, as the scheduler's user. */
let all: Raw
let seen: Heard<Pick<Msg, 'subject' | 'data'>>

beforeAll(async () => {
  house = await openGuardedHouse({ tenants: ['a', 'b'], jobs: true })
  a = house.client
  b = await house.login('b')
  rawA = await house.raw('a')
  all = await house.raw('headgate')
  seen = heard()
  all.nc.subscribe('>', { callback: (_, message) => seen.add(message) })
  await all.nc.flush()
})
afterAll(() => house.close())

const onSubject = (subject: string) => seen.all.filter((one) => one.subject === subject)
/** Whatever was published is with the server, and what it made others publish, and is seen. */
async function settled(): Promise<void> {
  await rawA.nc.flush()
  await all.nc.flush()
  await house.flush()
  await all.nc.flush()
}
const ignore = () => {}

describe('a tenant', () => {
  test('asks and is answered', async () => {
    expect((await a.request(body())).body.type).toBe('message')
    expect((await b.request(body())).body.type).toBe('message')
  })

  test('is answered in a stream', async () => {
    const stream = a.stream(body())
    const events = []
    for await (const event of stream) events.push(event.type)
    expect(events.at(-1)).toBe('message_stop')
    expect((await stream.final).outcome).toBe('completed')
  })

  test('asks in every lane', async () => {
    for (const lane of ['premium', 'interactive', 'batch'])
      expect(await endOf(a.request(body(), { lane }))).toBe('completed')
  })

  test('looks at its own request and cancels it', async () => {
    house.provider.fault({ kind: 'hang_before_headers' })
    const asked = endOf(a.request(body(), { id: 'mine' }))
    await dispatched('mine')
    expect(await a.status('mine')).toMatchObject({ tenant: 'a', state: 'running' })
    expect(await a.cancel('mine')).toEqual({ cancelled: true, state: 'running' })
    expect(await asked).toBe('cancelled')
    house.provider.clear()
  })

  test('counts tokens and lists models', async () => {
    expect((await a.aux('count_tokens', body())).body).toHaveProperty('input_tokens')
    expect((await a.aux('models')).body).toHaveProperty('data')
  })

  test('hears the events of its own requests, and of nobody else', async () => {
    const events = heard<string>()
    const stop = a.events((event) => events.add(event.subject))
    await b.request(body(), { id: 'of-b' })
    await a.request(body(), { id: 'of-a' })
    await events.find((subject) => subject === 'a/of-a')
    expect(events.all.filter((subject) => !subject.startsWith('a/'))).toEqual([])
    stop()
  })

  test('hands over a job, waits for it, and hears its own results only', async () => {
    const told = heard<string>()
    rawA.nc.subscribe(LLM.result('a', '*'), { callback: heardBy(told) })
    await rawA.nc.flush()
    await b.submit(body(), { id: 'job-of-b', lane: 'batch' })
    expect((await b.jobs.wait('job-of-b')).accounting.outcome).toBe('completed')
    const receipt = await a.submit(body(), { id: 'job-of-a', lane: 'batch' })
    expect((await a.jobs.wait(receipt)).accounting.outcome).toBe('completed')
    expect((await a.result('job-of-a')).accounting.id).toBe('job-of-a')
    await told.take(1)
    await settled()
    expect(told.all).toEqual([LLM.result('a', 'job-of-a')])
    expect(await endOf(a.result('job-of-b'))).toBe('unknown_id')
    expect(await a.cancel('job-of-b')).toEqual({ cancelled: false, reason: 'unknown_id' })
  })

  const others = [
    LLM.request('b', 'interactive'),
    LLM.submit('b', 'batch'),
    LLM.cancel('b', 'some-id'),
    LLM.status('b', 'some-id'),
    LLM.fetch('b', 'some-id'),
    LLM.aux('count_tokens', 'b'),
    LLM.aux('models', 'b'),
  ]
  test.each(others)('may not publish as another tenant: %s', async (subject) => {
    await expectPublishRefused(subject)
  })

  test.each(ADMIN_OPS)('may not administrate: %s', async (op) => {
    await expectPublishRefused(LLM.admin(op))
  })

  test.each([
    '$JS.API.INFO',
    '$JS.API.STREAM.NAMES',
    '$JS.API.STREAM.INFO.HEADGATE_JOBS_llm',
    '$JS.API.STREAM.DELETE.HEADGATE_JOBS_llm',
    '$JS.API.STREAM.PURGE.HEADGATE_RESULTS_llm',
    '$JS.API.STREAM.MSG.GET.HEADGATE_RESULTS_llm',
    '$JS.API.STREAM.MSG.DELETE.HEADGATE_JOBS_llm',
    '$JS.API.DIRECT.GET.HEADGATE_JOBS_llm',
    '$JS.API.DIRECT.GET.HEADGATE_RESULTS_llm.llm.v1.done.b._.x',
    '$JS.API.CONSUMER.CREATE.HEADGATE_DEAD_llm',
    '$JS.API.CONSUMER.MSG.NEXT.HEADGATE_JOBS_llm.batch',
    '$JS.ACK.HEADGATE_JOBS_llm.batch.1.1.1.1.1',
    '$KV.headgate_config.emergency',
    '$SRV.PING',
    LLM.stored.job('now', 'batch', 'a', 'x'),
    LLM.stored.claim('a', 'x'),
    LLM.stored.flow('batch', 'a'),
    LLM.stored.done('a', '_', 'x'),
    LLM.stored.dead('batch', 'a', 'x'),
    LLM.peerJob,
    LLM.peerFleet,
    LLM.peerHello,
    LLM.fleetEvent,
  ])("may not publish into the server's own or Headgate's own subjects: %s", async (subject) => {
    await expectPublishRefused(subject)
  })

  test.each([
    '_INBOX_b.x.1',
    '_INBOX_a.x.1',
    '_INBOX.x.1',
    LLM.result('b', 'x'),
    LLM.result('a', 'x'),
    LLM.requestEvent('b', 'interactive'),
    LLM.requestEvent('a', 'interactive'),
    LLM.controllerEvent('breaker', 'x'),
  ])("may not pretend to be Headgate's voice: %s", async (subject) => {
    await expectPublishRefused(subject)
  })

  test.each(['llm.v1.request.*.interactive', 'llm.v1.request.>', 'llm.v1.request.a.x.y', 'llm.>'])(
    'gets no further with a wildcard or more tokens: %s',
    async (subject) => {
      await expectPublishRefused(subject)
    },
  )

  test.each([
    '>',
    '*.>',
    '_INBOX_b.>',
    '_INBOX_*.>',
    '_INBOX.>',
    '_INBOX_operator.>',
    '_INBOX_gateway.>',
    'llm.>',
    LLM.result('b', '*'),
    LLM.result('*', '*'),
    LLM.requestEvent('b', '*'),
    LLM.requestEvent('*', '*'),
    LLM.events,
    LLM.every.request,
    LLM.every.admin,
    LLM.stored.every.job,
    LLM.stored.every.claim,
    LLM.stored.every.done,
    LLM.stored.every.dead,
    '$JS.>',
    '$KV.>',
    '$SRV.>',
    '$SYS.>',
  ])('may not listen to others, to Headgate or to the server: %s', async (subject) => {
    const got = heard<string>()
    rawA.nc.subscribe(subject, { callback: heardBy(got) })
    await rawA.violations.find((one) => one.operation === 'subscription' && one.subject === subject)
    expect(await endOf(b.request(body()))).toBe('completed')
    await settled()
    expect(got.all).toEqual([])
  })

  test('may not listen as one of a queue group either, and take requests away from Headgate', async () => {
    const got = heard<string>()
    rawA.nc.subscribe(LLM.every.request, { queue: 'headgate', callback: heardBy(got) })
    await rawA.nc.flush()
    for (let n = 0; n < 20; n++) expect(await endOf(b.request(body()))).toBe('completed')
    expect(got.all).toEqual([])
  })

  test("may not cancel another's request, even knowing its id", async () => {
    house.provider.fault({ kind: 'hang_before_headers' })
    const asked = endOf(b.request(body(), { id: 'known-to-all' }))
    await dispatched('known-to-all')
    await expectPublishRefused(LLM.cancel('b', 'known-to-all'))
    expect(await a.cancel('known-to-all')).toEqual({ cancelled: false, reason: 'unknown_id' })
    expect(await endOf(a.status('known-to-all'))).toBe('unknown_id')
    expect(await b.cancel('known-to-all')).toEqual({ cancelled: true, state: 'running' })
    expect(await asked).toBe('cancelled')
    house.provider.clear()
  })
})

describe('a tenant that names an address of others for its answer', () => {
  /** What is asked, the lane that an event names, and the same asked rightly afterwards: by the time that
   *  it is answered, so would the other have been. */
  const ways: [string, string, string, () => Promise<unknown>][] = [
    ['request', LLM.request('a', 'interactive'), 'interactive', () => a.request(body())],
    ['submit', LLM.submit('a', 'batch'), 'batch', () => a.submit(body(), { lane: 'batch' })],
    ['cancel', LLM.cancel('a', 'x'), '-', () => a.cancel('x')],
    ['status', LLM.status('a', 'x'), '-', () => endOf(a.status('x'))],
    ['fetch', LLM.fetch('a', 'x'), '-', () => endOf(a.status('x'))],
    ['count_tokens', LLM.aux('count_tokens', 'a'), '-', () => a.aux('count_tokens', body())],
    ['models', LLM.aux('models', 'a'), '-', () => a.aux('models')],
  ]
  const addresses = [
    '_INBOX_b.x.1',
    '_INBOX.x.1',
    '_INBOX_operator.x.1',
    '_INBOX_ab.x.1',
    '_INBOX_a',
    '$JS.API.STREAM.NAMES',
    'llm.v1.admin.drain',
    'llm.v1.request.b.interactive',
    'llm.v1.result.b.x',
    'orders.new',
  ]
  /** How often NATS itself has refused that address. */
  const refusedReplies = (reply: string) =>
    rawA.violations.all.filter((one) => one.reply === reply).length
  const cases = addresses.flatMap((reply) => ways.map((way) => [reply, ...way] as const))

  test.each(cases)(
    '%s, by %s: is dropped, counted and told',
    async (reply, _, subject, lane, rightly) => {
      const countedBefore = await droppedSoFar()
      const told = heard<unknown>()
      const listening = all.nc.subscribe(LLM.requestEvent('a', lane), {
        callback: (_error, message) => {
          if (message.headers?.get('ce-type') === 'dev.headgate.request.dropped')
            told.add(message.json())
        },
      })
      await all.nc.flush()
      const deliveredBefore = onSubject(reply).length
      const refusedBefore = refusedReplies(reply)
      rawA.nc.publish(subject, JSON.stringify(body()), { reply })
      const by = await Promise.race([
        told.take(1).then(() => 'us'),
        rawA.violations.find(() => refusedReplies(reply) > refusedBefore).then(() => 'NATS'),
      ])
      await rightly()
      await settled()
      expect(onSubject(reply).length).toBe(deliveredBefore)
      listening.unsubscribe()
      if (by === 'NATS') return
      expect(told.all).toEqual([{ tenant: 'a', lane, reason: 'reply_not_allowed' }])
      expect(await droppedSoFar()).toBe(countedBefore + 1)
    },
  )

  test('has changed nothing by all that: Headgate serves, and does not drain', async () => {
    expect(house.scheduler.loop.liveCount).toBe(0)
    expect(await endOf(b.request(body()))).toBe('completed')
    const ready = await fetch(`${house.scheduler.httpUrl}/readyz`)
    expect(ready.status).toBe(200)
  })
})

describe('the gateway', () => {
  let gateway: Headgate
  beforeAll(async () => {
    gateway = await house.login('gateway')
  })

  test('asks for each of its tenants, on one connection', async () => {
    for (const tenant of ['a', 'b'])
      expect(await endOf(gateway.as(tenant).request(body()))).toBe('completed')
  })

  test('asks for a new tenant once the server has read its file again, without connecting anew', async () => {
    expect(await endOf(gateway.as('c').request(body()))).toBe('forbidden')
    house.auth('add-tenant', 'c')
    await reload()
    expect(await endOf(gateway.as('c').request(body()))).toBe('completed')
    expect(await endOf((await house.login('c')).request(body()))).toBe('completed')
    expect(await endOf(a.request(body()))).toBe('completed')
  })

  test('asks no more for a tenant that is gone, whose own connections have ended', async () => {
    const { nc } = await house.raw('c')
    const closed = nc.closed()
    house.auth('remove-tenant', 'c')
    await reload()
    expect(await closed).toBeInstanceOf(Error)
    expect(await endOf(gateway.as('c').request(body()))).toBe('forbidden')
    expect(await endOf(gateway.as('a').request(body()))).toBe('completed')
  })

  test('may neither administrate nor listen to what tenants are told', async () => {
    expect(await endOf(gateway.admin('snapshot'))).toBe('forbidden')
    const raw = await house.raw('gateway')
    for (const subject of ['>', LLM.events, LLM.result('a', '*'), '_INBOX_operator.>', '$JS.>']) {
      raw.nc.subscribe(subject, { callback: ignore })
      await raw.violations.find((one) => one.subject === subject)
    }
  })
})

describe('the operator', () => {
  test('administrates, and is answered at its own inbox', async () => {
    const operator = await house.login('operator')
    expect(await operator.admin('snapshot')).toHaveProperty('instance', house.scheduler.instance)
    expect(await operator.admin('lane', { lane: 'batch', paused: true })).toBeTruthy()
    expect(await operator.admin('lane', { lane: 'batch', paused: false })).toBeTruthy()
  })

  test('may neither ask for a tenant nor hear its answers', async () => {
    const raw = await house.raw('operator')
    raw.nc.publish(LLM.request('a', 'interactive'), JSON.stringify(body()))
    raw.nc.subscribe('_INBOX_a.>', { callback: ignore })
    raw.nc.publish('$JS.API.STREAM.NAMES')
    for (const subject of [LLM.request('a', 'interactive'), '_INBOX_a.>', '$JS.API.STREAM.NAMES'])
      await raw.violations.find((one) => one.subject === subject)
  })

  test.each([
    [['top', '--once', '--json'], '"instance"'],
    [['emergency', 'off'], 'the emergency block is off'],
    [['jobs', '--dead', '--json'], ''],
    [['doctor'], 'a Headgate answers tenant operator'],
  ])('has its commands: headgate %j', async (args, said) => {
    const { stdout, stderr, status } = await command('operator', args)
    expect([stderr, status]).toEqual(['', 0])
    expect(stdout).toContain(said)
  })
})

describe('the operator, of a request of a tenant', () => {
  test('hears where it stands, and cancels it; of one that nobody knows that too', async () => {
    house.provider.fault({ kind: 'hang_before_headers' })
    const operator = await house.login('operator')
    const one = { tenant: 'a', id: 'slow' }
    const slow = endOf(a.request(body(), { id: 'slow' }))
    await expect.poll(() => endOf(operator.admin('status', one))).toBe('completed')
    expect(await operator.admin('status', one)).toMatchObject(one)
    const done = await command('operator', ['cancel', 'a', 'slow'])
    expect(done.status).toBe(0)
    expect(done.stdout).toContain('cancelled')
    expect(await slow).toBe('cancelled')
    const nobody = { tenant: 'a', id: 'nobody' }
    expect(await operator.admin('cancel', nobody)).toEqual({
      cancelled: false,
      reason: 'unknown_id',
    })
    expect(await endOf(operator.admin('status', nobody))).toBe('unknown_id')
    house.provider.clear()
  })
})

describe('headgate doctor', () => {
  test('of a tenant says that it is served, and that JetStream is not its business', async () => {
    const { stdout, status } = await command('a', ['doctor'])
    expect(status).toBe(0)
    expect(stdout).toContain('a Headgate answers tenant a')
    expect(stdout).toContain('this user may not ask it')
    expect(stdout).toContain('this user may not run a scheduler')
  })

  test("of the scheduler's user says that it may run one", async () => {
    const { stdout, status } = await command('headgate', ['doctor'])
    expect(status).toBe(0)
    expect(stdout).toContain('this user may run a scheduler')
    for (const stream of ['JOBS', 'RESULTS', 'DEAD'])
      expect(stdout).toMatch(new RegExp(`^ok +jobs +HEADGATE_${stream}_llm holds`, 'm'))
  })

  test('of one tenant who says to be another tells which permission is missing', async () => {
    const { stdout, status } = await command('a', ['doctor', '--tenant', 'b'])
    expect(status).toBe(1)
    expect(stdout).toContain('headgate auth add-tenant b')
  })
})

test.each([
  ['nobody', {}],
  ['a wrong password', { user: 'a', pass: 'wrong' }],
  ['a user that there is not', { user: 'nobody', pass: 'wrong' }],
  ["another's password", { user: 'b', pass: '' }],
])('NATS lets nobody in who does not prove who it is: %s', async (_, login) => {
  const pass = 'pass' in login && login.pass === '' ? house.env('a').NATS_PASSWORD : undefined
  const dialing = { ...login, ...(pass === undefined ? {} : { pass }), reconnect: false }
  await expect(connect({ servers: house.nats.url, ...dialing })).rejects.toThrow(/Authorization/)
})

// ---- how it is seen ----

/** NATS says no, and nobody hears the message. */
async function expectPublishRefused(subject: string): Promise<void> {
  const before = onSubject(subject).length
  const refused = rawA.violations.all.length
  rawA.nc.publish(subject, JSON.stringify(body()), { reply: '_INBOX_a.forged.1' })
  await rawA.violations.take(refused + 1)
  await settled()
  expect(rawA.violations.all.slice(refused)).toEqual([
    { operation: 'publish', subject, reply: null },
  ])
  expect(onSubject(subject).length).toBe(before)
}

async function droppedSoFar(): Promise<number> {
  const page = await (await fetch(`${house.scheduler.httpUrl}/metrics`)).text()
  const line = /^headgate_requests_dropped_total\{reason="reply_not_allowed"\} (\d+)$/m.exec(page)
  return Number(line?.[1] ?? 0)
}

async function dispatched(id: string): Promise<void> {
  const listener = house.scheduler.recording.listen({ queueMax: 10_000, after: 'kept' })
  for (;;) {
    const batch = await listener.next()
    if (batch === null) throw new Error('the recording has ended')
    const hit = batch.events.some(
      ({ event }) => event.name === 'request.dispatched' && event.data.id === id,
    )
    if (hit) return listener.close()
  }
}

/** Beside us, since the scheduler that answers is in this process. */
async function command(user: string, args: readonly string[]) {
  const child = spawn(process.execPath, [inRoot('services/cli/headgate.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...house.env(user), HEADGATE_CONFIG: '' },
  })
  const [[status], stdout, stderr] = await Promise.all([
    once(child, 'exit') as Promise<[number | null]>,
    text(child.stdout),
    text(child.stderr),
  ])
  return { status, stdout, stderr }
}

const heardBy =
  (by: Heard<string>) =>
  (error: Error | null, message: Msg): void => {
    if (error === null) by.add(message.subject)
  }

/** As `nats-server --signal reload` does; resolves when the server has read its file again. */
async function reload(): Promise<void> {
  const times = () => house.nats.log().split('Reloaded server configuration').length
  const before = times()
  process.kill(house.nats.pid, 'SIGHUP')
  while (times() === before) await all.nc.flush()
}
