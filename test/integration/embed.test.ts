/** Headgate inside somebody's process: no NATS, no port, and gone without a trace. */
import Anthropic from '@anthropic-ai/sdk'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterEach, describe, expect, test } from 'vitest'
import { HeadgateError } from '#client'
import {
  createHeadgate,
  withHeadgate,
  type EmbeddedHeadgate,
} from '../../services/library/embed.ts'
import type { HeadgateEvent } from '#ports'
import {
  startSimulatedProvider,
  type SimulatedProvider,
} from '../../services/simulated-provider/listener.ts'
import { params } from '../support/door.ts'
import { scriptedUpstream } from '../support/scripted-upstream.ts'
import { inRoot } from '../support/tree.ts'

let provider: SimulatedProvider
let headgate: EmbeddedHeadgate | null = null
const open = async (config: Parameters<typeof createHeadgate>[0] = {}, outputTokens = 12) => {
  provider = await startSimulatedProvider({ ttftMs: 0, tokensPerSecond: 0, outputTokens })
  headgate = await createHeadgate(config, { baseUrl: provider.url, apiKey: 'sk-planted-key' })
  return headgate
}
afterEach(async () => {
  await headgate?.close()
  headgate = null
  await provider.close()
})

describe('createHeadgate', () => {
  test('answers, streams, and tells what happened', async () => {
    const own = await open({ lanes: { interactive: { weight: 3 } } })
    const events: HeadgateEvent['name'][] = []
    const deaf = own.on((event) => events.push(event.name))
    const { body, accounting } = await own.request(params())
    expect(body.content[0]?.type).toBe('text')
    expect(accounting).toMatchObject({ outcome: 'completed', servedBy: 'upstream', attempts: 1 })
    const types: string[] = []
    const stream = own.stream(params(), { lane: 'premium' })
    for await (const event of stream) types.push(event.type)
    expect(types.at(-1)).toBe('message_stop')
    expect(await stream.final).toMatchObject({ outcome: 'completed' })
    expect(events.filter((name) => name === 'request.settled').length).toBe(2)
    deaf()
    await own.request(params())
    expect(events.filter((name) => name === 'request.settled').length).toBe(2)
    expect(own.snapshot().routes.map((route) => route.model)).toEqual(['claude-haiku-4-5'])
  })

  test('keeps tenants apart, and fails with codes', async () => {
    const own = await open({ tenants: { unknown: 'reject', acme: { lanes: ['premium'] } } })
    const code = async (asked: Promise<unknown>) =>
      asked.then(
        () => 'completed',
        (error: unknown) => (error instanceof HeadgateError ? error.code : String(error)),
      )
    expect(await code(own.as('acme').request(params(), { lane: 'premium' }))).toBe('completed')
    expect(await code(own.as('acme').request(params()))).toBe('forbidden')
    expect(await code(own.as('nobody').request(params()))).toBe('forbidden')
  })

  test('an abort cancels, a status is told, and everything is given back', async () => {
    const own = await open()
    provider.fault({ kind: 'hang_before_headers' })
    const leaving = new AbortController()
    const asked = own.request(params(), { id: 'mine', signal: leaving.signal })
    const running = Promise.withResolvers<void>()
    own.on((event) => event.name === 'request.dispatched' && running.resolve())
    await running.promise
    expect(await own.status('mine')).toMatchObject({ state: 'running', attempts: 1 })
    const settled = Promise.withResolvers<string>()
    own.on((event) => event.name === 'request.settled' && settled.resolve(event.data.outcome))
    leaving.abort(new Error('enough'))
    await expect(asked).rejects.toThrow('enough')
    expect(await settled.promise).toBe('cancelled')
  })

  test('shows its machines as XState tells of them', async () => {
    const own = await open()
    const types = new Set<string>()
    const deaf = own.inspect((event) => types.add(event.type))
    await own.request(params())
    deaf()
    expect([...types]).toContain('@xstate.snapshot')
    expect([...types]).toContain('@xstate.event')
  })

  test('a wrong configuration is refused with path and what is allowed, at the start and later', async () => {
    const own = await open()
    const wrong = { llm_gateway: { max_inflight_global: 0 } }
    await expect(createHeadgate(wrong)).rejects.toThrow(
      /llm_gateway\.max_inflight_global: found 0; allowed/,
    )
    await expect(own.configure(wrong)).rejects.toThrow(/max_inflight_global/)
    await own.configure('llm_gateway: { max_inflight_global: 7 }')
    expect(own.snapshot().global.limit).toBe(7)
  })

  test('an option that there is none of is refused, and so is an address that is none', async () => {
    await open()
    const wrong = { baseURL: 'http://127.0.0.1:1' } as object
    await expect(createHeadgate({}, wrong)).rejects.toThrow(
      /no option baseURL; did you mean baseUrl/,
    )
    await expect(createHeadgate({}, { baseUrl: 'not one' })).rejects.toThrow(/baseUrl: expected/)
  })

  test.each([
    ['nobody takes the connection', 'http://127.0.0.1:1', 'the upstream refuses the connection'],
    ['there is no such host', 'http://upstream.invalid', "the upstream's host name is not found"],
  ])('without a network the error says why: %s', async (_, baseUrl, why) => {
    await open()
    const patience = { base_backoff_ms: 1, cap_backoff_ms: 1, max_attempts: 1 }
    const own = await createHeadgate(
      { lanes: { interactive: patience } },
      { baseUrl, apiKey: 'sk-planted-key' },
    )
    const said = `1 of 1 attempts made; the last: ${why}`
    await expect(own.request(params())).rejects.toMatchObject({
      code: 'retries_exhausted',
      message: said,
    })
    const client = new Anthropic({
      apiKey: 'sk-x',
      baseURL: baseUrl,
      logLevel: 'off',
      // Node's own fetch asks no port below 7.
      fetch: (url, init) => fetch(String(url).replace('.1:1/', '.1:10/'), init as RequestInit),
    })
    await expect(withHeadgate(client, { headgate: own }).messages.create(params())).rejects.toThrow(
      said,
    )
    await own.close()
  })

  test('a call after the end fails, and says so', async () => {
    const own = await open()
    await own.close()
    await expect(own.request(params())).rejects.toMatchObject({ code: 'closed' })
  })
})

describe('withHeadgate', () => {
  test('a client of the SDK keeps its own ways, and its calls are scheduled', async () => {
    const own = await open({}, 200)
    const client = withHeadgate(
      new Anthropic({ apiKey: 'sk-x', baseURL: provider.url, logLevel: 'off' }),
      { headgate: own, tenant: 'acme' },
    )
    const who: string[] = []
    own.on((event) => {
      if (event.name === 'request.settled')
        who.push(`${event.data.tenant} ${event.data.lane} ${event.data.outcome}`)
    })
    expect((await client.messages.create(params())).type).toBe('message')
    const final = await client.messages
      .stream(params({ max_tokens: 300 }), { headers: { 'headgate-lane': 'premium' } })
      .finalMessage()
    expect(final.stop_reason).toBe('end_turn')
    expect(
      (
        await client.messages.countTokens({
          model: 'claude-haiku-4-5',
          messages: params().messages,
        })
      ).input_tokens,
    ).toBeGreaterThan(0)
    expect(who).toEqual(['acme interactive completed', 'acme premium completed'])
  })

  test("errors are the SDK's own classes, refusals of ours included, and nothing is retried twice", async () => {
    const own = await open({
      lanes: { interactive: { max_attempts: 2, base_backoff_ms: 1, cap_backoff_ms: 1 } },
    })
    const client = withHeadgate(
      new Anthropic({ apiKey: 'sk-x', baseURL: provider.url, logLevel: 'off' }),
      { headgate: own },
    )
    provider.fault({ kind: 'storm_529' })
    await expect(client.messages.create(params())).rejects.toBeInstanceOf(Anthropic.OverloadedError)
    // Two attempts of ours, and the SDK adds none.
    expect(provider.ledger().entries.length).toBe(2)
    provider.clear()
    await expect(
      client.messages.create(params(), { headers: { 'headgate-lane': 'nope' } }),
    ).rejects.toBeInstanceOf(Anthropic.BadRequestError)
    await expect(client.messages.create(params({ max_tokens: 0 }))).rejects.toBeInstanceOf(
      Anthropic.BadRequestError,
    )
  })

  test('an abort and a reader who leaves free the slot', async () => {
    const upstream = await scriptedUpstream()
    provider = await startSimulatedProvider()
    const own = (headgate = await createHeadgate({}, { baseUrl: upstream.url, apiKey: 'k' }))
    const client = withHeadgate(
      new Anthropic({ apiKey: 'sk-x', baseURL: upstream.url, logLevel: 'off' }),
      { headgate: own },
    )
    const leaving = new AbortController()
    const asked = client.messages.create(params(), { signal: leaving.signal })
    const first = await upstream.next()
    leaving.abort()
    await expect(asked).rejects.toBeInstanceOf(Anthropic.APIUserAbortError)
    await first.closed
    const streamed = client.messages.create({ ...params(), stream: true })
    const second = await upstream.next()
    second.head({ status: 200, headers: { 'content-type': 'text/event-stream' } })
    second.chunk('event: message_start\ndata: {"type":"message_start","message":{}}\n\n')
    for await (const event of await streamed) {
      expect(event.type).toBe('message_start')
      break
    }
    await second.closed
    await own.close()
    await upstream.close()
  })

  test('one that is made by itself goes where the client goes, and keeps no process alive', async () => {
    await open()
    const program = `
      import Anthropic from '@anthropic-ai/sdk'
      import { withHeadgate } from ${JSON.stringify(inRoot('services/library/embed.ts'))}
      const client = withHeadgate(new Anthropic({ apiKey: 'sk-x', baseURL: process.argv[1], logLevel: 'off' }))
      const message = await client.messages.create({ model: 'claude-haiku-4-5', max_tokens: 5, messages: [{ role: 'user', content: 'hi' }] })
      console.log(message.type)`
    // Not in step with us: the upstream is here.
    const run = await promisify(execFile)(
      process.execPath,
      ['--input-type=module', '-e', program, provider.url],
      { cwd: inRoot('.'), timeout: 60_000 },
    )
    expect(run).toEqual({ stdout: 'message\n', stderr: '' })
  })
})
