/** The HTTP door as a process of its own, before a NATS server that knows who is who. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openGuardedHouse, type GuardedHouse } from '../support/guarded-house.ts'
import { body } from '../support/house.ts'
import { inRoot } from '../support/tree.ts'

let house: GuardedHouse
let door: ChildProcess
let url: string
const dir = mkdtempSync(join(tmpdir(), 'headgate-apart-'))

beforeAll(async () => {
  house = await openGuardedHouse({ tenants: ['a', 'b'], jobs: true })
  const config = join(dir, 'headgate.yaml')
  const keys = `tenants: { a: { keys: [key-of-a] }, b: { keys: [key-of-b], lanes: [premium] } }\n`
  writeFileSync(config, `${keys}nats: { reply_prefixes: [_INBOX_<tenant>.] }\n`)
  door = fork(inRoot('services/gateway/main.ts'), [], {
    env: {
      ...process.env,
      ...house.env('gateway'),
      HEADGATE_CONFIG: config,
      HEADGATE_GATEWAY_PORT: '0',
      LOG_LEVEL: 'silent',
    },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const [told] = (await once(door, 'message')) as [{ type: string; gateway: string }]
  expect(told.type).toBe('ready')
  url = told.gateway
})
afterAll(async () => {
  const ended = once(door, 'exit')
  door.kill('SIGTERM')
  expect((await ended)[0]).toBe(0)
  await house.close()
  rmSync(dir, { recursive: true })
})

const ask = (key: string, more: object = {}, headers: Record<string, string> = {}) =>
  fetch(`${url}/v1/messages`, {
    method: 'POST',
    body: JSON.stringify(body(more)),
    headers: { 'x-api-key': key, ...headers },
  })

test('each tenant is asked for by its own key, and answered at its own inbox', async () => {
  for (const [key, lane] of [
    ['key-of-a', 'interactive'],
    ['key-of-b', 'premium'],
  ] as const) {
    const answer = await ask(key, {}, { 'headgate-lane': lane })
    expect([answer.status, answer.headers.get('headgate-outcome')]).toEqual([200, 'completed'])
    const streamed = await ask(key, { stream: true }, { 'headgate-lane': lane })
    expect(await streamed.text()).toContain('event: message_stop')
  }
  expect((await ask('key-of-nobody')).status).toBe(401)
})

test('a lane that the tenant may not use is refused by the door, since NATS would not carry it', async () => {
  const answer = await ask('key-of-b', {}, { 'headgate-lane': 'batch' })
  expect(answer.status).toBe(403)
  expect(await answer.json()).toMatchObject({
    headgate: { code: 'forbidden' },
    error: { message: 'the tenant may use premium only' },
  })
})

test('a caller who goes is cancelled, though the door is another process', async () => {
  house.provider.fault({ kind: 'hang_before_headers' })
  const leaving = new AbortController()
  const asked = fetch(`${url}/v1/messages`, {
    method: 'POST',
    body: JSON.stringify(body()),
    headers: { 'x-api-key': 'key-of-a', 'headgate-id': 'leaves' },
    signal: leaving.signal,
  })
  const listener = house.scheduler.recording.listen({ queueMax: 1_000, after: 'kept' })
  const heardOf = async (name: string): Promise<void> => {
    for (let batch = await listener.next(); batch !== null; batch = await listener.next())
      if (
        batch.events.some(
          ({ event }) => event.name === name && 'id' in event.data && event.data.id === 'leaves',
        )
      )
        return
  }
  await heardOf('request.dispatched')
  leaving.abort()
  await expect(asked).rejects.toThrow()
  await heardOf('request.settled')
  house.provider.clear()
  await house.rest()
})

test("a batch goes over NATS with what the gateway is permitted, and is its tenant's alone", async () => {
  const sdk = (apiKey: string) =>
    new Anthropic({ baseURL: url, apiKey, maxRetries: 0, logLevel: 'off' })
  const { batches } = sdk('key-of-a').messages
  const requests = Array.from({ length: 5 }, (_, i) => ({ custom_id: `e${i}`, params: body() }))
  const { id } = await batches.create({ requests })
  for (let status = ''; status !== 'ended';) {
    status = (await batches.retrieve(id)).processing_status
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const names: string[] = []
  for await (const { custom_id, result } of await batches.results(id))
    names.push(`${custom_id} ${result.type}`)
  expect(names.toSorted()).toEqual(requests.map(({ custom_id }) => `${custom_id} succeeded`))
  const other = sdk('key-of-b').messages.batches
  await expect(other.retrieve(id)).rejects.toMatchObject({ status: 404 })
  await expect(other.create({ requests })).rejects.toMatchObject({ status: 403 })
  expect(await batches.delete(id)).toMatchObject({ id })
})
