/** Whole calls that wait longer than their clients: the place is kept for the same call coming back. */
import { setTimeout as passed } from 'node:timers/promises'
import { Agent } from 'undici'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openDoor, params, type Door } from '../support/door.ts'
import { openPythonSdk } from '../support/python.ts'
import { post, rawCall } from '../support/raw-http.ts'
import { scriptedUpstream, type ScriptedUpstream, type Turn } from '../support/scripted-upstream.ts'

const python = await openPythonSdk()
afterAll(async () => {
  await python?.close()
  await impatient.close()
})

let upstream: ScriptedUpstream
let door: Door
/** What the upstream was asked, in order. */
let asked: string[]
/** How often the door was asked. */
let comings: number
/** A transport that gives up on a silence of a second. */
const impatient = new Agent({ headersTimeout: 1_000 })

const MESSAGE = { type: 'message', id: 'msg_1', content: [], usage: {} }
const BATCH = { 'headgate-lane': 'batch' }
const said = (content: string) => params({ messages: [{ role: 'user' as const, content }] })

beforeEach(async () => {
  asked = []
  comings = 0
  upstream = await scriptedUpstream()
  upstream.always((turn) => {
    const { messages } = JSON.parse(turn.body.toString()) as { messages: { content: string }[] }
    asked.push(messages[0]?.content ?? '')
    const headers = { 'content-type': 'application/json' }
    turn.reply({ status: 200, headers, body: JSON.stringify(MESSAGE) })
  })
})
afterEach(async () => {
  await door.close()
  await upstream.close()
})

const soon = <T>(look: () => T) => expect.poll(look, { timeout: 30_000 })

/** One that waits: its lane is paused. Clients keep their places from the first moment on, for a minute. */
async function open(of: object = {}): Promise<void> {
  const gateway = JSON.stringify({ early_status_ms: 0, place_ms: 60_000, ...of })
  const yaml = `gateway: ${gateway}\nlanes: { batch: { cap: 1, minimum_share: 1 } }\n`
  door = await openDoor({ upstreamUrl: upstream.url, yaml })
  door.scheduler.loop.pause('batch', true)
}
const goOn = () => door.scheduler.loop.pause('batch', false)
const live = () => door.scheduler.loop.liveCount
const ask = (content: string, headers: Record<string, string> = {}) =>
  rawCall(door.url, post('/v1/messages', JSON.stringify(said(content)), { ...BATCH, ...headers }))
/** A call that waits, and whose client has gone. */
async function deserted(content: string, headers: Record<string, string> = {}) {
  const before = live()
  const call = ask(content, headers)
  await soon(live).toBe(before + 1)
  call.socket.destroy()
  await call.closed
}
const text = (one: ReturnType<typeof ask>) => one.until((so) => so.endsWith('}'))

describe('a client that gives up on the silence and asks anew', () => {
  test.each([
    ['its own time', { timeout: 1_000 }],
    // Which Node's own fetch has too, and which is 300 s there.
    ['the time of its transport', { fetchOptions: { dispatcher: impatient } as object }],
  ])(
    'has one place in all: the SDK for TypeScript, by %s',
    async (_, options) => {
      await open()
      const counting: typeof fetch = (url, init) => (comings++, fetch(url, init))
      const client = door.sdk({ ...options, maxRetries: 5, fetch: counting })
      const first = client.messages.create(said('first'), { headers: BATCH })
      await soon(live).toBe(1)
      const second = ask('second')
      await soon(live).toBe(2)
      await soon(() => comings).toBeGreaterThan(1)
      expect(live()).toBe(2)
      goOn()
      expect(await first).toMatchObject({ id: 'msg_1' })
      expect(await text(second)).toMatch(/ 200 OK/)
      expect(asked).toEqual(['first', 'second'])
      await door.rest()
    },
    60_000,
  )

  test.skipIf(python === null)('has one place in all: the SDK for Python', async () => {
    await open()
    const options = { base_url: door.url, api_key: 'sk-any', timeout: 1, max_retries: 5 }
    const call = { client: 'sync', do: 'messages.create', options } as const
    const first = python?.call({ ...call, params: { ...said('first'), extra_headers: BATCH } })
    await soon(live).toBe(1)
    const second = ask('second')
    await soon(live).toBe(2)
    // Of a second each, and half a second between.
    await passed(2_000)
    expect(live()).toBe(2)
    goOn()
    const end = await first
    expect(end).toMatchObject({ ok: { body: { id: 'msg_1' } } })
    expect(end !== undefined && 'ok' in end && end.ok.retries).toBeGreaterThan(0)
    expect(await text(second)).toMatch(/ 200 OK/)
    expect(asked).toEqual(['first', 'second'])
  })

  test('finds the answer that came meanwhile', async () => {
    await open()
    await deserted('first')
    goOn()
    await door.rest()
    expect(asked).toEqual(['first'])
    expect(await text(ask('first'))).toMatch(/ 200 OK/)
    expect(asked).toEqual(['first'])
    // Once: who asks then asks for another.
    expect(await text(ask('first'))).toMatch(/ 200 OK/)
    expect(asked).toEqual(['first', 'first'])
  })

  test('has it by its id, and another call of that id has none of it', async () => {
    await open()
    const id = { 'headgate-id': 'job-1' }
    await deserted('first', id)
    const back = ask('first', id)
    // It has come by then, and takes the place.
    await fetch(`${door.url}/healthz`)
    expect(live()).toBe(1)
    back.socket.destroy()
    await back.closed
    const since = () => door.scheduler.loop.status('default', 'job-1')?.enqueued_at
    const before = since()
    const other = ask('other', id)
    await soon(since).not.toBe(before)
    goOn()
    expect(await text(other)).toMatch(/ 200 OK/)
    expect(asked).toEqual(['other'])
  })
})

describe('a place is given up', () => {
  test('when nobody comes back', async () => {
    await open({ place_ms: 100 })
    await deserted('first')
    expect(live()).toBe(1)
    await soon(live).toBe(0)
    goOn()
    expect(await text(ask('second'))).toMatch(/ 200 OK/)
    expect(asked).toEqual(['second'])
  })

  test('at once by who had not waited long, and where none are kept', async () => {
    await open({ place_ms: 0 })
    await deserted('first')
    await soon(live).toBe(0)
    await door.close()
    await open({ places_max: 1 })
    await deserted('first')
    await deserted('second')
    await soon(live).toBe(1)
    await door.close()
    await open({ early_status_ms: 60_000 })
    await deserted('third')
    await soon(live).toBe(0)
  })

  test('at once by a call that runs: its socket is closed', async () => {
    door = await openDoor({ upstreamUrl: upstream.url, yaml: 'gateway: { early_status_ms: 0 }' })
    const turn = new Promise<Turn>((resolve) => upstream.always(resolve))
    const call = ask('first')
    const { closed } = await turn
    call.socket.destroy()
    await closed
    await door.rest()
  })

  test('to nobody else: another tenant, another lane, other bytes', async () => {
    const keys = 'tenants: { a: { keys: [hg_of_a_1] }, b: { keys: [hg_of_b_1] } }\n'
    const yaml = `${keys}gateway: { early_status_ms: 0 }\nlanes: { batch: { cap: 1, minimum_share: 1 } }\n`
    door = await openDoor({ upstreamUrl: upstream.url, yaml })
    for (const lane of ['batch', 'premium']) door.scheduler.loop.pause(lane, true)
    await deserted('first', { 'x-api-key': 'hg_of_a_1' })
    ask('first', { 'x-api-key': 'hg_of_b_1' })
    await soon(live).toBe(2)
    ask('first', { 'x-api-key': 'hg_of_a_1', 'headgate-lane': 'premium' })
    await soon(live).toBe(3)
    ask('First', { 'x-api-key': 'hg_of_a_1' })
    await soon(live).toBe(4)
  })
})
