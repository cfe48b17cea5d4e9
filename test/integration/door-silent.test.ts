/** The door answers by its own clock: soon after the deadline, whatever becomes of those behind it. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { configFile } from '#contracts/config'
import { connectDoor, startGateway, type Gateway } from '#gateway'
import { clientSystem, type Headgate } from '#client'
import { memoryBus } from '#scheduler/memory/bus'
import { body } from '../support/house.ts'
import { manualClock } from '../support/manual-clock.ts'
import { post, rawCall } from '../support/raw-http.ts'

const file = configFile.parse({})
const bus = memoryBus()
let client: Headgate
let door: Gateway
/** What is said to whoever asks, before nothing more comes. */
let say: (to: string) => void = () => {}

beforeAll(async () => {
  bus.subscribe('llm.v1.request.*.*', ({ reply }) => say(reply ?? ''))
  client = await connectDoor(file, { bus, system: clientSystem })
  door = await open(client, clientSystem)
})
afterAll(async () => {
  await door.close()
  await client.close()
})

type Options = Parameters<typeof startGateway>[0]
const open = (of: Headgate, system: Options['system'], more: Partial<Options> = {}) =>
  startGateway({
    host: '127.0.0.1',
    port: 0,
    tls: null,
    client: of,
    keyless: () => true,
    tenantOf: () => null,
    lanesOf: () => null,
    timeoutOf: (lane) => (lane === 'batch' ? 300 : 400),
    settings: () => file.gateway,
    requestBytesMax: 1_000_000,
    requestBytesBy: 'limits.request_bytes',
    ready: () => [],
    system,
    onFault: (error) => {
      throw error
    },
    ...more,
  })

const ask = (more: object, headers: Record<string, string>) =>
  fetch(`${door.url}/v1/messages`, { method: 'POST', body: JSON.stringify(body(more)), headers })

test.concurrent.each([
  ['its own deadline', { 'headgate-deadline-ms': '200' }],
  ["its lane's", { 'headgate-lane': 'batch' }],
  ["the usual lane's", {}],
] as const)('by %s, streamed or not, when nobody ever answers', async (_name, headers) => {
  say = () => {}
  const answers = await Promise.all([ask({}, headers), ask({ stream: true }, headers)])
  for (const answer of answers) {
    expect(answer.status).toBe(504)
    expect(answer.headers.get('x-should-retry')).toBe('false')
    expect(await answer.json()).toMatchObject({
      error: { type: 'timeout_error' },
      headgate: { code: 'no_answer', retryable: false },
    })
  }
})

test('a stream whose end never comes ends with an error, though signs of life go on', async () => {
  const pinging = new Set<() => void>()
  say = (to) => {
    bus.publish(to, '{"type":"message_start"}')
    const again = (): void => {
      bus.publish(to, '{"type":"ping"}')
      pinging.add(clientSystem.after(100, again))
    }
    again()
  }
  const answer = await ask({ stream: true }, { 'headgate-deadline-ms': '300' })
  expect(answer.status).toBe(200)
  const text = await answer.text()
  expect(text).toContain('event: error')
  expect(text).not.toContain('message_stop')
  for (const stop of pinging) stop()
})

test('a stream that nobody feeds any more hears a ping every 5 s, and then that it has failed', async () => {
  const clock = manualClock()
  const system = { ...clock, random: clientSystem.random }
  const own = await connectDoor(file, { bus, system })
  const silent = await open(own, system)
  say = (to) => bus.publish(to, '{"type":"message_start"}')
  const headers = { 'headgate-deadline-ms': '600000', connection: 'close' }
  const text = JSON.stringify(body({ stream: true }))
  const call = rawCall(silent.url, post('/v1/messages', text, headers))
  await call.until((so) => so.includes('message_start'))
  for (let pings = 1; pings <= 2; pings++) {
    clock.advance(4_999)
    expect(call.text().match(/event: ping/g)?.length ?? 0).toBe(pings - 1)
    clock.advance(1)
    await call.until((so) => so.match(/event: ping/g)?.length === pings)
  }
  clock.advance(5_000)
  const all = await call.closed
  expect(all).toMatch(/event: error\ndata: .*"no_answer"/)
  expect(all).toMatch(/"retryable":false/)
  await silent.close()
  await own.close()
})

test('a door that closes lets calls end, and says to what takes longer that it is over', async () => {
  const clock = manualClock()
  const system = { ...clock, random: clientSystem.random }
  const own = await connectDoor(file, { bus, system })
  let said = false
  const lastWords = {
    drainMs: () => 30_000,
    say() {
      said = true
      void own.close()
    },
  }
  const closing = await open(own, system, { lastWords })
  const heard = new Promise<void>((resolve) => (say = () => resolve()))
  const headers = { 'headgate-deadline-ms': '600000' }
  const call = rawCall(closing.url, post('/v1/messages', JSON.stringify(body()), headers))
  await heard
  const closed = closing.close()
  const words = (code: string) =>
    new RegExp(`^HTTP/1.1 503 [^]*connection: close[^]*"${code}"`, 'i')
  const late = rawCall(closing.url, post('/v1/messages', JSON.stringify(body()), headers))
  expect(await late.closed).toMatch(words('draining'))
  clock.advance(29_999)
  expect(said).toBe(false)
  clock.advance(1)
  expect(await call.closed).toMatch(words('closed'))
  await closed
})
