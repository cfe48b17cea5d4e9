/** Clients that ask again by themselves, whatever they were told: the same call is known as the same. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openDoor, params, type Door } from '../support/door.ts'
import { scriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'

let upstream: ScriptedUpstream
let door: Door
/** How often the upstream was asked. */
let asked: number
/** What it answers; null: nothing at all. */
let status: number | null

beforeEach(async () => {
  asked = 0
  status = 529
  upstream = await scriptedUpstream()
  upstream.always((turn) => {
    asked++
    const headers = { 'content-type': 'application/json' }
    const body =
      status === 200
        ? { type: 'message', id: 'msg_1', content: [], usage: {} }
        : { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }
    if (status !== null) turn.reply({ status, headers, body: JSON.stringify(body) })
  })
})
afterEach(async () => {
  await door.close()
  await upstream.close()
})

const KEYS = 'tenants: { a: { keys: [hg_of_a_1] }, b: { keys: [hg_of_b_1] } }\n'
const QUICK = 'llm_gateway: { retry: { base_backoff_ms: 1, cap_backoff_ms: 1 } }\n'
/** No machine is so slow. */
const LONG = 'gateway: { refused_ms: 60000 }\n'
const open = async (yaml = '', keys = KEYS): Promise<Door> =>
  (door = await openDoor({
    upstreamUrl: upstream.url,
    yaml: keys + QUICK + (yaml === '' ? LONG : yaml),
  }))

const said = (content: string, more: object = {}) =>
  JSON.stringify(params({ messages: [{ role: 'user', content }], ...more }))
async function ask(headers: Record<string, string> = {}, body = said('x')) {
  const before = asked
  const answer = await fetch(`${door.url}/v1/messages`, {
    method: 'POST',
    headers: { 'x-api-key': 'hg_of_a_1', ...headers },
    body,
  })
  const text = await answer.text()
  return {
    status: answer.status,
    again: answer.headers.get('x-should-retry'),
    tries: asked - before,
    error: (JSON.parse(text) as { error?: { type: string; message: string } }).error,
    code: (JSON.parse(text) as { headgate?: { code: string } }).headgate?.code,
  }
}

describe('a call that was tried in vain', () => {
  test('is not tried again at once, and told so for good', async () => {
    await open()
    expect(await ask()).toMatchObject({ status: 529, again: 'false', tries: 3 })
    for (let i = 0; i < 3; i++) {
      const answer = await ask({ traceparent: `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-0${i}` })
      expect(answer).toMatchObject({
        status: 400,
        again: 'false',
        tries: 0,
        code: 'retries_exhausted',
        error: { type: 'invalid_request_error' },
      })
      expect(answer.error?.message).toMatch(/tried this call 3 times .*529 overloaded_error: Over/)
    }
  })

  test('is nobody else’s: another tenant, other bytes, another id, another lane', async () => {
    await open('gateway: { refused_ms: 60000 }')
    const id = { 'headgate-id': 'job-1' }
    const once = { 'headgate-max-attempts': '1' }
    for (const [headers, body] of [
      [{}, said('x')],
      [{ 'x-api-key': 'hg_of_b_1' }, said('x')],
      [{}, said('y')],
      [id, said('x')],
      [{ 'headgate-lane': 'premium' }, said('x')],
      [{ 'anthropic-beta': 'one' }, said('x')],
    ] as const)
      expect(await ask({ ...headers, ...once }, body)).toMatchObject({ status: 529, tries: 1 })
    expect(await ask({ ...id, ...once })).toMatchObject({ status: 400, tries: 0 })
  })

  test('is nobody else’s at a door without keys either, whichever way a key is shown', async () => {
    await open(LONG, '')
    const once = { 'headgate-max-attempts': '1' }
    for (const shown of [
      { 'x-api-key': 'one' },
      { 'x-api-key': 'two' },
      { 'x-api-key': '', authorization: 'Bearer one' },
      { 'x-api-key': '' },
    ] as const) {
      expect(await ask({ ...shown, ...once })).toMatchObject({ status: 529, tries: 1 })
      expect(await ask({ ...shown, ...once })).toMatchObject({ status: 400, tries: 0 })
    }
  })

  test('is served once the upstream has answered another', async () => {
    await open()
    await ask()
    const other = said('y', { model: 'claude-opus-4-5' })
    status = 200
    // Of another model it says nothing.
    expect(await ask({}, other)).toMatchObject({ status: 200 })
    expect(await ask()).toMatchObject({ status: 400 })
    expect(await ask({}, said('y'))).toMatchObject({ status: 200 })
    expect(await ask()).toMatchObject({ status: 200 })
  })

  test('is tried again where nothing more is remembered', async () => {
    await open('gateway: { refused_max: 1, refused_ms: 60000 }')
    expect([(await ask()).status, (await ask({}, said('y'))).status]).toEqual([529, 529])
    expect([(await ask()).status, (await ask({}, said('y'))).status]).toEqual([400, 529])
  })

  test('goes on where its own deadline has time, with what is left of it', async () => {
    await open()
    const queued: number[] = []
    const listener = door.scheduler.recording.listen({ queueMax: 10_000 })
    const own = { 'headgate-deadline-ms': '60000' }
    expect(await ask(own)).toMatchObject({ status: 529, again: null })
    expect(await ask(own)).toMatchObject({ status: 529, again: null })
    expect(asked).toBeGreaterThan(3)
    while (queued.length < 2) {
      for (const { event } of (await listener.next())?.events ?? [])
        if (event.name === 'request.queued') queued.push(event.data.deadline_ms ?? Infinity)
    }
    listener.close()
    expect(queued[0]).toBe(60_000)
    expect(queued[1]).toBeLessThan(60_000)
  })
})

test('a passed deadline is not begun anew', async () => {
  await open(`${LONG}lanes: { interactive: { timeout_ms: 300 } }`)
  status = null
  expect(await ask()).toMatchObject({ status: 504 })
  expect(await ask()).toMatchObject({ status: 400, code: 'deadline_exceeded' })
})

test('what a later try would cure is tried', async () => {
  await open('lanes: { batch: { queue_max: 1 } }')
  door.scheduler.loop.pause('batch', true)
  const batch = { 'headgate-lane': 'batch' }
  status = 200
  const waits = ask(batch, said('z'))
  await expect.poll(() => door.scheduler.loop.liveCount, { timeout: 15_000 }).toBe(1)
  for (let i = 0; i < 2; i++)
    expect(await ask(batch)).toMatchObject({ status: 429, code: 'queue_full' })
  door.scheduler.loop.pause('batch', false)
  expect(await waits).toMatchObject({ status: 200 })
  expect(await ask(batch)).toMatchObject({ status: 200 })
})
