/** Several instances on one bus: who takes, who answers. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HEADER } from '#contracts/messages'
import {
  caller,
  errorOf,
  instance,
  jsonOf,
  LLM,
  memoryWorld,
  natsWorld,
  REQUEST,
  requestBody as body,
  settle,
  SMALL_MAX_PAYLOAD,
  type World,
} from '../support/doors.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'

let server: NatsServer
beforeAll(async () => {
  server = await natsServer({ jetstream: false, maxPayload: SMALL_MAX_PAYLOAD })
})
afterAll(() => server.stop())

for (const kind of ['memory', 'nats'] as const) {
  describe(`two instances over ${kind}`, () => {
    let world: World
    let one: Awaited<ReturnType<typeof instance>>
    let two: Awaited<ReturnType<typeof instance>>
    let theirs: Awaited<ReturnType<typeof caller>>
    beforeAll(async () => {
      world = kind === 'memory' ? memoryWorld() : natsWorld(server)
      one = await instance(world, { id: 'one' })
      two = await instance(world, { id: 'two' })
      theirs = await caller(world)
    })
    afterAll(() => world.stop())
    const status = {
      id: 'x',
      tenant: 'acme',
      lane: 'batch',
      model: 'claude-x',
      state: 'queued',
      attempts: 0,
      position: 0,
      estimated_wait_ms: null,
      enqueued_at: '2026-01-01T00:00:00Z',
    }

    test('each request goes to one of them', async () => {
      for (let n = 0; n < 20; n++) await theirs.ask(REQUEST, body(), [['Headgate-Id', `q-${n}`]])
      await settle(one, theirs)
      await settle(two, theirs)
      const taken = [one, two].flatMap(({ scheduler }) => scheduler.requests.all)
      expect(taken.length).toBe(20)
    })

    test('the owner of an id answers cancel and status first', async () => {
      two.scheduler.known.set('acme/x', { cancel: { cancelled: true, state: 'queued' }, status })
      const cancel = await theirs.ask(LLM.cancel('acme', 'x'), '')
      expect(jsonOf((await cancel.messages.take(1))[0])).toEqual({
        cancelled: true,
        state: 'queued',
      })
      const asked = await theirs.ask(LLM.status('acme', 'x'), '')
      expect(jsonOf((await asked.messages.take(1))[0])).toEqual({ ...status, instance: 'two' })
      expect(one.scheduler.cancelled.all).toContain('acme/x')
    })

    test('whoever answers a status says its name, also who does not know the id', async () => {
      two.scheduler.known.set('acme/x', { cancel: { cancelled: true, state: 'queued' }, status })
      const named = async (id: string) => {
        const only = [[HEADER.only, 'holder']] as const
        const asked = await theirs.ask(LLM.status('acme', id), '', only)
        const said = await asked.messages.take(2)
        return said.map((message) => [
          message.header(HEADER.instance),
          message.header(HEADER.errorCode) ?? jsonOf(message)['state'],
        ])
      }
      expect(await named('x')).toEqual([
        ['two', 'queued'],
        ['one', '404'],
      ])
      expect((await named('nope')).toSorted()).toEqual([
        ['one', '404'],
        ['two', '404'],
      ])
    })

    test('an id that nobody knows is said to be unknown within 500 ms', async () => {
      const askedAt = performance.now()
      const asked = await Promise.all(
        (['cancel', 'status', 'fetch'] as const).map((name) =>
          theirs.ask(LLM[name]('acme', 'nope'), ''),
        ),
      )
      const [cancel, state, fetch] = await Promise.all(
        asked.map(async ({ messages }) => (await messages.take(1))[0]),
      )
      expect(performance.now() - askedAt).toBeLessThan(500)
      expect(jsonOf(cancel)).toEqual({ cancelled: false, reason: 'unknown_id' })
      for (const answer of [state, fetch]) {
        expect(errorOf(answer)).toMatchObject({ status: '404', headgate: { code: 'unknown_id' } })
      }
    })

    test('an id that is no token is refused at once', async () => {
      for (const name of ['cancel', 'status', 'fetch']) {
        const { messages } = await theirs.ask(`llm.v1.${name}.acme.b$d`, '')
        expect(errorOf((await messages.take(1))[0])).toMatchObject({
          status: '400',
          headgate: { code: 'invalid_request' },
        })
      }
    })

    test('admin reaches both, or the one that is named', async () => {
      const all = await theirs.ask('llm.v1.admin.snapshot', '')
      const both = await all.messages.take(2)
      expect(both.map((m) => jsonOf(m)['instance']).toSorted()).toEqual(['one', 'two'])
      const named = await theirs.ask('llm.v1.admin.snapshot', '{"instance":"two"}')
      expect(jsonOf((await named.messages.take(1))[0])['instance']).toBe('two')
    })

    test('a drained instance takes no more requests and still answers for its own', async () => {
      await two.door.drainRequests()
      const before = two.scheduler.requests.all.length
      for (let n = 0; n < 10; n++) await theirs.ask(REQUEST, body(), [['Headgate-Id', `d-${n}`]])
      await one.scheduler.requests.find(({ id }) => id === 'd-9')
      expect(two.scheduler.requests.all.length).toBe(before)
      const asked = await theirs.ask(LLM.status('acme', 'x'), '')
      expect(jsonOf((await asked.messages.take(1))[0])).toEqual({ ...status, instance: 'two' })
    })
  })
}
