/** The HTTP door as any program sees it: bytes, headers, keys, limits, and callers who go. */
import { afterEach, describe, expect, test } from 'vitest'
import { openDoor, params, type Door } from '../support/door.ts'
import { post, rawCall } from '../support/raw-http.ts'
import { scriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'

let door: Door
let upstream: ScriptedUpstream | null = null
afterEach(async () => {
  await door.close()
  await upstream?.close()
  upstream = null
})

const ask = (body: object | string, headers: Record<string, string> = {}, path = '/v1/messages') =>
  fetch(door.url + path, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers: { 'content-type': 'application/json', ...headers },
  })

/** `hg_acme`, `hg_other`. */
const KEYS = `tenants:
  acme: { keys: ["sha256:ACME"], lanes: [premium, interactive] }
  other: { keys: ["sha256:OTHER"] }
`

describe('answers', () => {
  test('a whole answer has the upstream bytes and the accounting', async () => {
    upstream = await scriptedUpstream()
    // Spaces and escapes that no serialiser would make.
    const body =
      '{ "type":"message", "content":[{"type":"text","text":"\\u00e9"}],  "usage":{"input_tokens":7,"output_tokens":3} }'
    upstream.always((turn) =>
      turn.reply({
        status: 200,
        headers: { 'content-type': 'application/json', 'request-id': 'req_up' },
        body,
      }),
    )
    door = await openDoor({ upstreamUrl: upstream.url })
    const answer = await ask(params(), { 'headgate-id': 'mine' })
    expect(answer.status).toBe(200)
    expect(await answer.text()).toBe(body)
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'request-id': 'req_up',
      'headgate-id': 'mine',
      'headgate-outcome': 'completed',
      'headgate-served-by': 'upstream',
      'headgate-attempts': '1',
      'headgate-input-tokens': '7',
      'headgate-output-tokens': '3',
      'content-type': 'application/json',
    })
  })

  test('what goes upstream is the caller body, byte for byte, with its own version and betas', async () => {
    upstream = await scriptedUpstream()
    const seen: { body: string; headers: Record<string, string> }[] = []
    upstream.always((turn) => {
      seen.push({ body: turn.body.toString(), headers: turn.headers })
      turn.reply({ status: 200, headers: { 'content-type': 'application/json' }, body: '{}' })
    })
    door = await openDoor({ upstreamUrl: upstream.url })
    const body =
      '{"model":"claude-haiku-4-5", "max_tokens":1e1,"unknown_field":{"a":[1.0,12345678901234567890]},"messages":[{"role":"user","content":"é"}]}'
    await ask(body, {
      'anthropic-version': '2024-01-01',
      'anthropic-beta': 'a-1,b-2',
      'x-api-key': 'sk-mine',
    })
    expect(seen[0]?.body).toBe(body)
    expect(seen[0]?.headers).toMatchObject({
      'anthropic-version': '2024-01-01',
      'anthropic-beta': 'a-1,b-2',
      authorization: 'Bearer sk-planted-key',
    })
    expect(seen[0]?.headers).not.toHaveProperty('x-api-key')
  })

  test('a stream has the events of the upstream, byte for byte, and accounting in its trailers', async () => {
    upstream = await scriptedUpstream()
    const events = [
      '{"type":"message_start","message":{"usage":{"input_tokens":5,"output_tokens":1}}}',
      '{ "later":1, "type":"odd_event" }',
      '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\ud83d\\ude00 é"}}',
      '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}',
      '{"type":"message_stop"}',
    ]
    const sse = events.map(
      (data) => `event: ${(JSON.parse(data) as { type: string }).type}\ndata: ${data}\n\n`,
    )
    upstream.always((turn) =>
      turn.reply({
        status: 200,
        headers: { 'content-type': 'text/event-stream', 'request-id': 'req_up' },
        body: sse.join(''),
      }),
    )
    door = await openDoor({ upstreamUrl: upstream.url })
    const call = rawCall(
      door.url,
      post('/v1/messages', JSON.stringify(params({ stream: true })), { connection: 'close' }),
    )
    const text = await call.closed
    const [head = '', ...rest] = text.split('\r\n\r\n')
    expect(head).toMatch(/^HTTP\/1\.1 200 OK/)
    expect(head).toMatch(/content-type: text\/event-stream/)
    const { body, trailers } = unchunked(rest.join('\r\n\r\n'))
    expect(body).toBe(sse.join(''))
    expect(trailers).toMatch(/headgate-outcome: completed/)
    expect(trailers).toMatch(/headgate-events: 5/)
    expect(trailers).toMatch(/request-id: req_up/)
  })

  test('the status line waits for the first real event, so that a late refusal has its own', async () => {
    upstream = await scriptedUpstream()
    door = await openDoor({
      upstreamUrl: upstream.url,
      yaml: 'lanes: { interactive: { max_attempts: 1 } }',
    })
    const call = rawCall(
      door.url,
      post('/v1/messages', JSON.stringify(params({ stream: true })), { connection: 'close' }),
    )
    const turn = await upstream.next()
    turn.head({ status: 200, headers: { 'content-type': 'text/event-stream' } })
    turn.chunk('event: ping\ndata: {"type":"ping"}\n\n')
    turn.chunk(
      'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
    )
    turn.finish()
    expect(await call.closed).toMatch(/^HTTP\/1\.1 529 /)
  })
})

describe('a streamed call that waits', () => {
  const waits = async () => {
    upstream = await scriptedUpstream()
    door = await openDoor({
      upstreamUrl: upstream.url,
      yaml: 'lanes: { interactive: { max_attempts: 1 } }\ngateway: { early_status_ms: 0 }',
    })
    const body = JSON.stringify(params({ stream: true }))
    const call = rawCall(door.url, post('/v1/messages', body, { connection: 'close' }))
    const turn = await upstream.next()
    expect(await call.until((text) => text.includes('event: ping'))).toMatch(/^HTTP\/1\.1 200 OK/)
    return { call, turn }
  }

  test('hears its status and pings before anything is known', async () => {
    const { call, turn } = await waits()
    const start = '{"type":"message_start","message":{"usage":{}}}'
    const stop = '{"type":"message_stop"}'
    const events = [start, stop].map((data) => `event: x\ndata: ${data}\n\n`)
    const headers = { 'content-type': 'text/event-stream' }
    turn.reply({ status: 200, headers, body: events.join('') })
    const text = await call.closed
    expect(text).toMatch(/event: message_stop/)
    expect(text).toMatch(/headgate-outcome: completed/)
  })

  test('and what is refused then, as an error event', async () => {
    const { call, turn } = await waits()
    const error = { type: 'overloaded_error', message: 'Overloaded' }
    turn.reply({ status: 529, body: JSON.stringify({ type: 'error', error }) })
    expect(await call.closed).toMatch(/event: error\ndata: .*"overloaded_error"/)
  })
})

describe('callers who go', () => {
  for (const stream of [false, true])
    test(`a ${stream ? 'streamed' : 'whole'} call that is aborted closes its socket upstream and frees its slot`, async () => {
      upstream = await scriptedUpstream()
      door = await openDoor({ upstreamUrl: upstream.url })
      const call = rawCall(door.url, post('/v1/messages', JSON.stringify(params({ stream }))))
      const turn = await upstream.next()
      expect(door.scheduler.loop.held().slots).toBe(1)
      call.socket.destroy()
      await turn.closed
      await door.rest()
      expect(door.scheduler.loop.held().slots).toBe(0)
    })

  test('a call that waits in the queue leaves it when its caller goes', async () => {
    upstream = await scriptedUpstream()
    door = await openDoor({
      upstreamUrl: upstream.url,
      yaml: 'llm_gateway: { max_inflight_global: 1 }',
    })
    const first = rawCall(door.url, post('/v1/messages', JSON.stringify(params())))
    const turn = await upstream.next()
    const listener = door.scheduler.recording.listen({ queueMax: 100 })
    const second = rawCall(
      door.url,
      post('/v1/messages', JSON.stringify(params()), { 'headgate-id': 'waits' }),
    )
    while (door.scheduler.loop.liveCount < 2) await listener.next()
    second.socket.destroy()
    while (door.scheduler.loop.liveCount > 1) await listener.next()
    expect(door.scheduler.loop.status('default', 'waits')).toMatchObject({ state: 'settled' })
    turn.reply({ status: 200, headers: { 'content-type': 'application/json' }, body: '{}' })
    await first.until((text) => text.includes('200 OK'))
    first.socket.destroy()
  })

  test('a reader that takes nothing is ended at its bound, and its slot comes back', async () => {
    upstream = await scriptedUpstream()
    door = await openDoor({
      upstreamUrl: upstream.url,
      yaml: 'gateway: { stream_buffer_bytes: 1000000 }',
    })
    const call = rawCall(door.url, post('/v1/messages', JSON.stringify(params({ stream: true }))))
    const turn = await upstream.next()
    turn.head({ status: 200, headers: { 'content-type': 'text/event-stream' } })
    turn.chunk('event: message_start\ndata: {"type":"message_start","message":{}}\n\n')
    await call.until((text) => text.includes('message_start'))
    call.socket.pause()
    const delta = `event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"${'x'.repeat(60_000)}"}}\n\n`
    let open = true
    void turn.closed.then(() => (open = false))
    let sent = 0
    while (open && sent < 64_000_000) {
      turn.chunk(delta)
      sent += delta.length
      await new Promise(setImmediate)
    }
    await turn.closed
    await door.rest()
    // What the kernel holds between the two is not ours to bound.
    expect(sent).toBeLessThan(64_000_000)
    call.socket.destroy()
  })
})

describe('keys', () => {
  test('a key is a tenant, by either header; the lane is a header, within what the tenant may', async () => {
    door = await openDoor({ yaml: await keyed() })
    const who = async (headers: Record<string, string>) => {
      const answer = await ask(params(), headers)
      const told = door.scheduler.recording.recent().at(-1)?.event
      await answer.text()
      return [
        answer.status,
        told?.name === 'request.settled' ? `${told.data.tenant} ${told.data.lane}` : null,
      ]
    }
    expect(await who({ 'x-api-key': 'hg_acme' })).toEqual([200, 'acme interactive'])
    expect(await who({ authorization: 'Bearer hg_other', 'headgate-lane': 'batch' })).toEqual([
      200,
      'other batch',
    ])
    expect(await who({ 'x-api-key': 'hg_acme', 'headgate-lane': 'batch' })).toEqual([
      403,
      'acme batch',
    ])
    expect((await ask(params(), { 'x-api-key': 'hg_nobody' })).status).toBe(401)
    expect((await ask(params())).status).toBe(401)
  })

  test('a changed configuration changes the keys, and the last one gone opens nothing', async () => {
    door = await openDoor({ yaml: await keyed() })
    door.scheduler.configure('tenants: {}')
    expect((await ask(params(), { 'x-api-key': 'hg_acme' })).status).toBe(401)
  })

  test('without a key the door is for this machine: not under another name, not for a web page', async () => {
    door = await openDoor()
    expect((await ask(params())).status).toBe(200)
    const { port } = new URL(door.url)
    const named = rawCall(
      door.url,
      post('/v1/messages', JSON.stringify(params()), {
        host: `evil.example:${port}`,
        connection: 'close',
      }),
    )
    expect(await named.closed).toMatch(/^HTTP\/1\.1 403 /)
    expect((await ask(params(), { origin: 'https://evil.example' })).status).toBe(403)
  })

  test('without a key it refuses to start on another address', async () => {
    door = await openDoor()
    await expect(openDoor({ host: '0.0.0.0' })).rejects.toThrow(/tenants\.<name>\.keys/)
  })
})

describe('limits', () => {
  test('a body over the limit is refused with 413 before it is read', async () => {
    door = await openDoor({ yaml: 'limits: { request_bytes: 1000 }' })
    const answer = await ask('x'.repeat(2_000))
    expect(answer.status).toBe(413)
    expect(await answer.json()).toMatchObject({
      error: {
        type: 'request_too_large',
        message: 'the body is over 1000 bytes, the bound of limits.request_bytes',
      },
      headgate: { code: 'payload_too_large' },
    })
  })

  test('a tenant that announces bodies and sends none keeps no other tenant out', async () => {
    door = await openDoor({
      yaml: `${await keyed()}limits: { request_bytes: 400000 }\ngateway: { upload_bytes: 1000000, upload_wait_ms: 0 }\n`,
    })
    const announced = { 'x-api-key': 'hg_acme', 'content-length': '400000' }
    const first = rawCall(
      door.url,
      post('/v1/messages', '', { ...announced, expect: '100-continue' }),
    )
    await first.until((text) => text.includes('100 Continue'))
    const second = rawCall(door.url, post('/v1/messages', '', announced))
    expect(await second.until((text) => text.endsWith('}'))).toMatch(/^HTTP\/1\.1 429 /)
    const body = JSON.stringify(params()).padEnd(400_000)
    expect((await ask(body, { 'x-api-key': 'hg_other' })).status).toBe(200)
    for (const { socket } of [first, second]) socket.destroy()
  })

  test('headers that come too slowly, and bodies, are cut', async () => {
    door = await openDoor({ yaml: 'gateway: { headers_ms: 100, request_ms: 200 }' })
    const headers = rawCall(door.url, 'POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\n')
    const body = rawCall(door.url, post('/v1/messages', '', { 'content-length': '1000' }))
    expect(await headers.closed).toMatch(/^HTTP\/1\.1 408 /)
    expect(await body.closed).toMatch(/^HTTP\/1\.1 408 /)
  })

  test('no more connections than may be', async () => {
    door = await openDoor({ yaml: 'gateway: { connections_max: 2 }' })
    const open = [rawCall(door.url, ''), rawCall(door.url, '')]
    await Promise.all(
      open.map(({ socket }) => new Promise((resolve) => socket.once('connect', resolve))),
    )
    // Both are accepted once the server has answered one of them.
    open[1]?.socket.write('GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n')
    await open[1]?.until((text) => text.includes('200 OK'))
    const third = rawCall(door.url, 'GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n')
    expect(await third.closed).toBe('')
    for (const { socket } of open) socket.destroy()
  })

  test('what is not served is said in the words of the API', async () => {
    door = await openDoor()
    const get = await fetch(`${door.url}/v1/messages`)
    expect([get.status, get.headers.get('allow')]).toEqual([405, 'POST'])
    expect(await (await ask('{}', {}, '/v1/messages/files')).json()).toMatchObject({
      type: 'error',
      error: { type: 'not_found_error' },
    })
    expect((await ask('not json')).status).toBe(400)
    expect((await ask(params(), { 'headgate-lane': 'a b' })).status).toBe(400)
    expect((await ask(params(), { 'headgate-deadline-ms': 'soon' })).status).toBe(400)
  })
})

async function keyed(): Promise<string> {
  const hash = async (key: string) =>
    Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(key))).toString('hex')
  return KEYS.replace('ACME', await hash('hg_acme')).replace('OTHER', await hash('hg_other'))
}

function unchunked(text: string): { body: string; trailers: string } {
  let bytes = Buffer.from(text)
  const parts: Buffer[] = []
  for (;;) {
    const end = bytes.indexOf('\r\n')
    const size = Number.parseInt(bytes.subarray(0, end).toString(), 16)
    if (size === 0)
      return { body: Buffer.concat(parts).toString(), trailers: bytes.subarray(end + 2).toString() }
    parts.push(bytes.subarray(end + 2, end + 2 + size))
    bytes = bytes.subarray(end + 4 + size)
  }
}
