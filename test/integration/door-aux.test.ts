/** `count_tokens` and `models` through the door, at an upstream that hangs. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openDoor, type Door } from '../support/door.ts'
import { scriptedUpstream, type ScriptedUpstream, type Turn } from '../support/scripted-upstream.ts'

const JSON_TYPE = { 'content-type': 'application/json' }
const COUNT = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'x' }] })
const YAML = 'tenants: { a: { keys: [key-of-a] }, b: { keys: [key-of-b] } }\naux_inflight_max: 8\n'

let upstream: ScriptedUpstream
let door: Door
let leaving: AbortController

beforeEach(async () => {
  leaving = new AbortController()
  upstream = await scriptedUpstream()
  door = await openDoor({ upstreamUrl: upstream.url, yaml: YAML })
})
afterEach(async () => {
  leaving.abort()
  await door.close()
  await upstream.close()
})

const count = (key: string, signal: AbortSignal, headers: Record<string, string> = {}) =>
  fetch(`${door.url}/v1/messages/count_tokens`, {
    method: 'POST',
    body: COUNT,
    headers: { 'x-api-key': key, ...headers },
    signal,
  })
const models = (key: string) =>
  fetch(`${door.url}/v1/models`, { headers: { 'x-api-key': key } }).then(({ status }) => status)

/** Asks, and leaves when `leaving` says so. */
const hanging = (key: string, times: number) =>
  Array.from({ length: times }, () => count(key, leaving.signal).catch(() => null))

test('callers who go take their calls along, and every socket upstream is closed', async () => {
  const asked = hanging('key-of-a', 6)
  const turns: Turn[] = []
  while (turns.length < 6) turns.push(await upstream.next())
  leaving.abort()
  await Promise.all(asked)
  await Promise.all(turns.map(({ closed }) => closed))
  upstream.always((turn) => turn.reply({ status: 200, headers: JSON_TYPE, body: '{"data":[]}' }))
  expect((await count('key-of-a', new AbortController().signal)).status).toBe(200)
})

test("one tenant's calls that hang keep nobody else from theirs, nor itself from another kind", async () => {
  hanging('key-of-a', 30)
  for (let n = 0; n < 6; n++) await upstream.next()
  upstream.always((turn) =>
    turn.reply({ status: 200, headers: JSON_TYPE, body: '{"input_tokens":1}' }),
  )
  for (let n = 0; n < 30; n++)
    expect((await count('key-of-b', new AbortController().signal)).status).toBe(200)
  expect(await models('key-of-a')).toBe(200)
})

test('bursts are answered, every one', async () => {
  upstream.always((turn) =>
    turn.reply({ status: 200, headers: JSON_TYPE, body: '{"input_tokens":1}' }),
  )
  const burst = Array.from({ length: 191 }, () => count('key-of-a', new AbortController().signal))
  const statuses = (await Promise.all(burst)).map(({ status }) => status)
  expect(new Set(statuses)).toEqual(new Set([200]))
})

test('a deadline is kept', async () => {
  const answer = await count('key-of-a', new AbortController().signal, {
    'headgate-deadline-ms': '50',
  })
  expect(answer.status).toBe(504)
  expect(await answer.json()).toMatchObject({ headgate: { code: 'deadline_exceeded' } })
  await (
    await upstream.next()
  ).closed
})

test('what runs at a stop is answered', async () => {
  const asked = count('key-of-a', new AbortController().signal)
  const turn = await upstream.next()
  const stopped = door.scheduler.stop()
  await door.scheduler.recording.listen({ queueMax: 10, after: 'kept' })
  turn.reply({ status: 200, headers: JSON_TYPE, body: '{"input_tokens":7}' })
  expect(await (await asked).json()).toEqual({ input_tokens: 7 })
  await stopped
})
