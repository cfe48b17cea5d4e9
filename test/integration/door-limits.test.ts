/** What a caller may take of the door, and gets back from it: bodies, connections, unread answers, and ends
 *  that nobody announced. */
import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openDoor, params, type Door } from '../support/door.ts'
import { natsServer } from '../support/nats-server.ts'
import { launch } from '../support/program.ts'
import { post, rawCall, type RawCall } from '../support/raw-http.ts'
import { scriptedUpstream, type ScriptedUpstream, type Turn } from '../support/scripted-upstream.ts'

let upstream: ScriptedUpstream
let door: Door | null = null
const calls: RawCall[] = []

beforeEach(async () => {
  upstream = await scriptedUpstream()
})
afterEach(async () => {
  for (const { socket } of calls.splice(0)) socket.destroy()
  await door?.close()
  door = null
  await upstream.close()
})

const open = async (yaml = ''): Promise<Door> =>
  (door = await openDoor({ upstreamUrl: upstream.url, yaml }))

function call(text: string): RawCall {
  const made = rawCall(door?.url ?? '', text)
  calls.push(made)
  return made
}

const BODY = JSON.stringify(params())
const STREAM = JSON.stringify(params({ stream: true }))
const DONE = { status: 200, headers: { 'content-type': 'application/json' }, body: '{}' }
const SSE = { status: 200, headers: { 'content-type': 'text/event-stream' } }
const FIRST = 'event: message_start\ndata: {"type":"message_start","message":{}}\n\n'

/** The JSON of the one answer there is. */
function errorIn(text: string): { code: string; message: string } {
  const [head = '', body = ''] = text.split('\r\n\r\n')
  expect(head.match(/HTTP\/1\.1/g)).toHaveLength(1)
  expect(head).toMatch(/^content-type: application\/json/im)
  expect(head).toMatch(/^request-id: \S+/im)
  const said = JSON.parse(body) as { error: { message: string }; headgate: { code: string } }
  return { code: said.headgate.code, message: said.error.message }
}

describe('bodies', () => {
  const LARGE = { 'content-length': '400000' }
  const YAML =
    'limits: { request_bytes: 400000 }\ngateway: { upload_bytes: 1000000, upload_wait_ms: 0, request_ms: 200 }\n'

  test('many at once are refused past what they may hold together, and one that is cut gives its share back', async () => {
    await open(YAML.replace('200', '60000'))
    const asking = { ...LARGE, expect: '100-continue' }
    const first = call(post('/v1/messages', '', asking))
    const second = call(post('/v1/messages', '', asking))
    // To go on is said in the turn in which a body is let in.
    for (const one of [first, second]) await one.until((so) => so.includes('100 Continue'))
    const text = await call(post('/v1/messages', '', LARGE)).until((so) => so.endsWith('}'))
    expect(text).toMatch(/^HTTP\/1\.1 429 /)
    expect(errorIn(text).code).toBe('queue_full')
    first.socket.destroy()
    upstream.always((turn) => turn.reply(DONE))
    // The door hears of an end a moment after it is made; were the share not given back, this would not end.
    const ask = () =>
      fetch(`${door!.url}/v1/messages`, { method: 'POST', body: BODY.padEnd(400_000) })
    let status = 429
    while (status === 429) ({ status } = await ask())
    expect(status).toBe(200)
    second.socket.destroy()
    await door!.rest()
  })

  test('one that is announced and never sent is cut, and gives its share back', async () => {
    await open(YAML)
    const idle = [call(post('/v1/messages', '', LARGE)), call(post('/v1/messages', '', LARGE))]
    for (const { closed } of idle) {
      const text = await closed
      expect(text).toMatch(/^HTTP\/1\.1 408 /)
      expect(errorIn(text).code).toBe('invalid_request')
    }
    upstream.always((turn) => turn.reply(DONE))
    const whole = BODY.padEnd(400_000)
    const answers = await Promise.all(
      [1, 2].map(() => call(post('/v1/messages', whole)).until((so) => so.endsWith('{}'))),
    )
    for (const text of answers) expect(text).toMatch(/^HTTP\/1\.1 200 /)
  })

  test('chunks count as the largest body there may be, until it is known', async () => {
    await open(YAML.replace('200', '60000'))
    const head = post('/v1/messages', '', { expect: '100-continue' }).replace(
      'content-length: 0',
      'transfer-encoding: chunked',
    )
    for (const one of [call(head), call(head)]) await one.until((so) => so.includes('100 Continue'))
    const third = call(head.replace(/expect.*\r\n/, ''))
    expect(await third.until((so) => so.endsWith('}'))).toMatch(/^HTTP\/1\.1 429 /)
  })

  test('one that is too large is told so, however it comes and however much of it is on its way', async () => {
    await open('limits: { request_bytes: 100000 }')
    for (let round = 0; round < 4; round++) {
      const whole = await fetch(`${door!.url}/v1/messages`, {
        method: 'POST',
        body: 'x'.repeat(20_000_000),
      })
      expect(whole.status).toBe(413)
      const parts = new ReadableStream({
        start(to) {
          for (let i = 0; i < 200; i++) to.enqueue(new Uint8Array(100_000))
          to.close()
        },
      })
      const init = { method: 'POST', body: parts, duplex: 'half' } as RequestInit
      expect((await fetch(`${door!.url}/v1/messages`, init)).status).toBe(413)
    }
  })

  test('one that is too large is read to its end where the connection ends with it', async () => {
    await open('limits: { request_bytes: 100000 }')
    for (const path of ['/v1/messages', '/v1/files']) {
      const sending = call(post(path, 'x'.repeat(20_000_000), { connection: 'close' }))
      const failed: unknown[] = []
      sending.socket.on('error', (error) => failed.push(error))
      const got = await sending.closed
      expect(got.match(/HTTP\/1\.1 \d+/g)).toEqual([
        path === '/v1/messages' ? 'HTTP/1.1 413' : 'HTTP/1.1 404',
      ])
      expect([failed, sending.socket.bytesWritten > 20_000_000]).toEqual([[], true])
    }
  })

  test.each([
    ['waits for the word', 0],
    ['does not wait for it', 20_000_000],
  ])(
    'one that is too large, and asks before it is sent, is not asked for, and its sender, who %s, reads why',
    async (_, bytes) => {
      await open('limits: { request_bytes: 100000 }')
      const head = { 'content-length': '20000000', expect: '100-continue' }
      const asking = call(post('/v1/messages', '', head) + 'x'.repeat(bytes))
      const failed: unknown[] = []
      asking.socket.on('error', (error) => failed.push(error))
      const got = await asking.closed
      expect(got.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 413'])
      expect(got).toMatch(/^connection: close/im)
      expect([failed, asking.socket.bytesWritten >= bytes]).toEqual([[], true])
    },
  )

  test('one that is refused for another reason is not asked for either', async () => {
    await open('tenants: { acme: { keys: ["hg_planted"] } }')
    const asking = { 'content-length': '1000', expect: '100-continue' }
    for (const [path, more, status] of [
      ['/v1/messages', {}, 401],
      ['/v1/messages', { 'x-api-key': 'hg_planted', 'headgate-lain': 'batch' }, 400],
      ['/v1/nothing', { 'x-api-key': 'hg_planted' }, 404],
    ] as const) {
      const got = await call(post(path, '', { ...asking, ...more })).closed
      expect(got.match(/HTTP\/1\.1 \d+/g)).toEqual([`HTTP/1.1 ${status}`])
    }
  })

  test('what came while the process stood still is not late, and its connection not idle', async () => {
    await open('gateway: { headers_ms: 300, request_ms: 500, keep_alive_ms: 100 }')
    upstream.always((turn) => turn.reply(DONE))
    const whole = post('/v1/messages', BODY.padEnd(20_000))
    const opened = [call(''), call(whole.slice(0, 1_000)), call(whole)]
    const [fresh, half, kept] = opened as [RawCall, RawCall, RawCall]
    for (const { socket } of opened) if (socket.connecting) await once(socket, 'connect')
    // All are accepted then, and one has its first answer.
    await kept.until((so) => so.endsWith('{}'))
    fresh.socket.write(whole)
    half.socket.write(whole.slice(1_000))
    kept.socket.write(whole)
    const until = performance.now() + 1_500
    while (performance.now() < until);
    for (const one of [fresh, half])
      expect(await one.until((so) => so.endsWith('{}'))).toMatch(/^HTTP\/1\.1 200 /)
    const both = await kept.until((so) => so.split('{}').length > 2)
    expect(both.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 200'])
  })

  test('the rest of one that is too large is read and dropped, and the connection goes on', async () => {
    await open('limits: { request_bytes: 100000 }')
    const text = post('/v1/messages', 'x'.repeat(20_000_000))
    const next = 'GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n'
    const got = await call(text + next).closed
    expect(got.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 413', 'HTTP/1.1 200'])
  })

  test('one that the NATS server would not carry is too large, not unreachable', async () => {
    const nats = await natsServer({ maxPayload: 200_000, jetstream: false })
    const program = launch('gateway', { NATS_URL: nats.url, HEADGATE_GATEWAY_PORT: '0' })
    try {
      const { gateway = '' } = await program.told
      for (const [bytes, status] of [
        [300_000, 413],
        [190_000, 413],
        // It could be carried, and there is nobody to take it.
        [180_000, 503],
      ] as const) {
        const init = { method: 'POST', body: BODY.padEnd(bytes) }
        const answer = await fetch(`${gateway}/v1/messages`, init)
        expect([bytes, answer.status]).toEqual([bytes, status])
        if (status === 413) expect(await answer.text()).toContain("NATS server's max_payload")
      }
    } finally {
      await program.kill()
      await nats.stop()
    }
  })

  test('a path that leads nowhere reads none, whoever asks', async () => {
    await open()
    const broken = call(post('/nothing', '{"not json', { connection: 'close' }))
    expect(await broken.closed).toMatch(/^HTTP\/1\.1 404 /)
    // Answered before it is there.
    const never = call(post('/nothing', '', { 'content-length': '1000000' }))
    expect(await never.until((so) => so.includes('"headgate"'))).toMatch(/^HTTP\/1\.1 404 /)
  })

  test('whoever has no key is told so before any of it is there', async () => {
    await open('tenants: { acme: { keys: ["hg_planted"] } }')
    for (const path of ['/v1/messages', '/v1/messages/count_tokens']) {
      const keyless = call(post(path, '', { 'content-length': '1000000' }))
      expect(await keyless.until((so) => so.endsWith('}'))).toMatch(/^HTTP\/1\.1 401 /)
    }
  })

  test('a caller who resets amid its body leaves nothing behind', async () => {
    await open()
    const half = call(post('/v1/messages', BODY).slice(0, -10))
    await half.until(() => half.socket.bytesWritten > 100)
    half.socket.resetAndDestroy()
    await half.closed
    upstream.always((turn) => turn.reply(DONE))
    expect(await call(post('/v1/messages', BODY)).until((so) => so.endsWith('{}'))).toMatch(
      / 200 OK/,
    )
    await door!.rest()
  })
})

describe('connections', () => {
  test('headers that are too large are told so, in the words of the API', async () => {
    await open()
    for (const text of [
      `GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ${'a'.repeat(17_000)}\r\n\r\n`,
      `GET /v1/models?${'a'.repeat(17_000)} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`,
    ]) {
      const got = await call(text).closed
      expect(got).toMatch(/^HTTP\/1\.1 431 /)
      expect(errorIn(got)).toMatchObject({
        code: 'invalid_request',
        message: 'the headers are over 16384 bytes',
      })
    }
  })

  test('a refusal of what is no request reaches who still sends', async () => {
    await open()
    const head = `POST /v1/messages HTTP/1.1\r\nx: ${'a'.repeat(17_000)}\r\n\r\n`
    const sending = call(head + 'x'.repeat(8_000_000))
    const failed: unknown[] = []
    sending.socket.on('error', (error) => failed.push(error))
    expect(await sending.closed).toMatch(/^HTTP\/1\.1 431 /)
    expect([failed, sending.socket.bytesWritten > 8_000_000]).toEqual([[], true])
  })

  test.each([
    ['no HTTP at all', '\x16\x03\x01 hello\r\n\r\n'],
    [
      'two lengths',
      'POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx',
    ],
    ['no host', 'POST /v1/messages HTTP/1.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'],
    [
      'two hosts',
      'GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n',
    ],
    ['a tunnel', 'CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n'],
  ])('%s is refused in the words of the API', async (_, text) => {
    await open()
    const got = await call(text).closed
    expect(got).toMatch(/^HTTP\/1\.1 400 /)
    expect(errorIn(got).code).toBe('invalid_request')
  })

  test('what follows a request that waits is never answered in its place', async () => {
    await open()
    const waits = call(post('/v1/messages', BODY) + 'GARBAGE\r\n\r\n')
    expect(await waits.closed).toBe('')
    await door!.rest()
  })

  test('what follows a stream is never written into it', async () => {
    await open()
    const streams = call(post('/v1/messages', STREAM))
    const turn = await upstream.next()
    turn.head(SSE)
    turn.chunk(FIRST)
    await streams.until((so) => so.includes('message_start'))
    streams.socket.write('GARBAGE\r\n\r\n')
    const text = await streams.closed
    expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1)
    await turn.closed
    await door!.rest()
  })

  test('an answer that waits behind another is never told to go on between its head and its body', async () => {
    await open()
    const both = call(
      post('/v1/messages', BODY) +
        post('/v1/messages', '{', { expect: '100-continue', connection: 'close' }),
    )
    const turn = await upstream.next()
    turn.reply(DONE)
    const text = await both.closed
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400'])
    expect(errorIn(text.slice(text.lastIndexOf('HTTP/1.1'))).code).toBe('invalid_request')
  })

  test('who asks far ahead of its answers is cut, and everything it asked is taken back', async () => {
    await open('llm_gateway: { max_inflight_global: 20, max_inflight_per_tenant: 20 }')
    const some = call(post('/v1/messages', BODY).repeat(16))
    for (let i = 0; i < 16; i++) await upstream.next()
    expect(door!.scheduler.loop.liveCount).toBe(16)
    some.socket.write(post('/v1/messages', BODY))
    expect(await some.closed).toBe('')
    await door!.rest()
  })

  test('all that waits on a connection is taken back when it goes', async () => {
    await open()
    const three = call(post('/v1/messages', STREAM).repeat(3))
    const turns: Turn[] = []
    for (let i = 0; i < 3; i++) turns.push(await upstream.next())
    three.socket.destroy()
    await Promise.all(turns.map(({ closed }) => closed))
    await door!.rest()
  })

  test('who has closed its side is gone: the call is taken back', async () => {
    await open()
    const half = call(post('/v1/messages', BODY))
    const turn = await upstream.next()
    half.socket.end()
    await turn.closed
    expect(await half.closed).toBe('')
    await door!.rest()
  })

  test('one that closes its side amid its body is told that this is no request', async () => {
    await open()
    const half = call(post('/v1/messages', BODY).slice(0, -10))
    half.socket.end()
    const text = await half.closed
    expect(text).toMatch(/^HTTP\/1\.1 400 /)
    expect(errorIn(text).code).toBe('invalid_request')
  })

  test('one with nothing to do is closed; one that waits for its answer is not', async () => {
    await open('gateway: { keep_alive_ms: 100, stall_ms: 100 }')
    const waits = call(post('/v1/messages', BODY))
    const turn = await upstream.next()
    const idle = call(`GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`)
    const refused = call(`GET /v1/models/%zz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`)
    expect(await idle.closed).toMatch(/ 200 OK/)
    expect(await refused.closed).toMatch(/ 400 Bad/)
    turn.reply(DONE)
    expect(await waits.until((so) => so.endsWith('{}'))).toMatch(/ 200 OK/)
  })

  test('who never reads what it is refused is gone after a while, key or no key', async () => {
    await open('gateway: { stall_ms: 200 }')
    const deaf = call('')
    deaf.socket.pause()
    // Until neither side can write more: what is unread fills both.
    const ask = `GET /v1/models/%zz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`.repeat(100)
    while (deaf.socket.writableLength < 1_000_000) {
      deaf.socket.write(ask)
      await new Promise(setImmediate)
    }
    await deaf.closed
  })

  test('who never reads the answer to a call outside the lanes is gone after a while', async () => {
    await open('gateway: { stall_ms: 200 }')
    upstream.always((turn) => turn.reply({ ...DONE, body: `{"data":"${'x'.repeat(900_000)}"}` }))
    // Together more than the sockets hold.
    const deaf = call(`GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`.repeat(12))
    deaf.socket.pause()
    let gone = false
    deaf.socket.once('close', () => (gone = true))
    // That it goes on to send is no sign that it reads; nor would it hear of its end otherwise.
    while (!gone) {
      deaf.socket.write('\r\n')
      await new Promise(setImmediate)
    }
  })
})

describe('answers', () => {
  test('a stream reaches a caller of HTTP/1.0', async () => {
    await open()
    const old = call(post('/v1/messages', STREAM).replace('HTTP/1.1', 'HTTP/1.0'))
    const turn = await upstream.next()
    turn.head(SSE)
    turn.chunk(`${FIRST}event: message_stop\ndata: {"type":"message_stop"}\n\n`)
    turn.finish()
    const text = await old.closed
    expect(text).toMatch(/ 200 OK\r\n/)
    expect(text.endsWith(`${FIRST}event: message_stop\ndata: {"type":"message_stop"}\n\n`)).toBe(
      true,
    )
  })

  test('a whole one may be larger than what a stream may leave unread', async () => {
    await open('gateway: { stream_buffer_bytes: 10000 }')
    const body = JSON.stringify({ type: 'message', text: 'x'.repeat(7_000_000) })
    upstream.always((turn) => turn.reply({ ...DONE, body }))
    const answer = await fetch(`${door!.url}/v1/messages`, { method: 'POST', body: BODY })
    expect((await answer.text()).length).toBe(body.length)
  })
})
