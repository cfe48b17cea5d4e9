/** What docs/http-door.md says is different from the API: that it is so, and no more than so. */
import { gzipSync } from 'node:zlib'
import Anthropic from '@anthropic-ai/sdk'
import { afterEach, describe, expect, test } from 'vitest'
import type { FaultKind } from '../../services/simulated-provider/faults.ts'
import { openDoor, params, type Door } from '../support/door.ts'
import { scriptedUpstream, type ScriptedUpstream, type Turn } from '../support/scripted-upstream.ts'

let door: Door
let upstream: ScriptedUpstream | null = null
afterEach(async () => {
  await door.close()
  await upstream?.close()
  upstream = null
})

/** A door before an upstream that answers so; gives what that heard. */
async function before(answer: (turn: Turn) => void): Promise<Turn[]> {
  const heard: Turn[] = []
  upstream = await scriptedUpstream()
  upstream.always((turn) => {
    heard.push(turn)
    answer(turn)
  })
  door = await openDoor({ upstreamUrl: upstream.url })
  return heard
}

const post = (
  headers: Record<string, string> = {},
  body: string | Uint8Array<ArrayBuffer> = JSON.stringify(params()),
) => {
  const all = { 'content-type': 'application/json', ...headers }
  return fetch(`${door.url}/v1/messages`, { method: 'POST', headers: all, body })
}

describe('what stays on this side', () => {
  test('of an answer, the account: its limits and the ids of its organisation', async () => {
    const account = {
      'anthropic-organization-id': 'an-organisation',
      'anthropic-workspace-id': 'a-workspace',
      'anthropic-ratelimit-requests-remaining': '999',
      'anthropic-ratelimit-tokens-remaining': '999000',
      'retry-after': '7',
    }
    await before((turn) => turn.reply({ ...MESSAGE, headers: { ...MESSAGE.headers, ...account } }))
    const answer = await post()
    expect(answer.status).toBe(200)
    expect([...answer.headers.keys()].filter((name) => name in account)).toEqual([])
  })

  test('of a request, all headers but version, betas and trace: who asks, with what, for whom', async () => {
    const heard = await before((turn) => turn.reply(MESSAGE))
    const own = {
      'x-api-key': 'hg_mine',
      'user-agent': 'my-program',
      'x-stainless-lang': 'cobol',
      'anthropic-workspace-id': 'a-workspace',
      'anthropic-user-profile-id': 'a-profile',
      'idempotency-key': 'once',
    }
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const passed = { 'anthropic-version': '2026-10-21', 'anthropic-beta': 'a,b', traceparent }
    expect((await post({ ...own, ...passed })).status).toBe(200)
    expect(heard[0]?.headers).toMatchObject(passed)
    const values = Object.values(heard[0]?.headers ?? {})
    for (const value of Object.values(own)) expect(values).not.toContain(value)
  })

  test("of a stream, the upstream's pings and whatever is no event", async () => {
    await before((turn) => {
      turn.head({ status: 200, headers: { 'content-type': 'text/event-stream' } })
      turn.chunk(`: a comment\nid: 7\nretry: 3\nevent: message_start\ndata: ${START}\n\n`)
      turn.chunk('event: ping\ndata: {"type":"ping"}\n\n')
      turn.chunk('event: message_stop\ndata: {"type":"message_stop"}\n\n')
      turn.finish()
    })
    const answer = await post({}, JSON.stringify(params({ stream: true })))
    expect(await answer.text()).toBe(
      `event: message_start\ndata: ${START}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n`,
    )
  })
})

describe('what is not served', () => {
  test('files, old completions and whatever else the API has', async () => {
    door = await openDoor()
    for (const path of [
      '/v1/messages/batches/x/y',
      '/v1/files',
      '/v1/complete',
      '/v1/organizations/me',
    ])
      for (const method of ['GET', 'POST']) {
        const answer = await fetch(door.url + path, { method })
        expect([path, answer.status]).toEqual([path, 404])
        expect(answer.headers.get('x-should-retry')).toBe('false')
      }
  })

  test('and the answer names the path and what there is instead', async () => {
    door = await openDoor()
    for (const [path, named, words] of [
      ['/messages/batches/b_1/files', '/v1/messages/batches/…/files: ', '…/<id>/results'],
      ['/v1/files?limit=3', '/v1/files: ', 'base64'],
      ['/v1/skills/x/versions', '/v1/skills/…/versions: ', 'no skills'],
      ['/v1/complete', '/v1/complete: ', 'POST /v1/messages'],
      ['/v1/chat/completions', '/v1/chat/completions: ', "another provider's"],
      ['/anthropic/v1/messages', '/anthropic/v1/messages: ', 'address of this door alone'],
      ['/v1/secret', '/v1/…: ', 'GET /v1/models'],
      ['/', ' /: ', 'GET /v1/models'],
    ] as const) {
      const answer = await fetch(door.url + path, { method: 'POST', body: '{}' })
      const { error, type } = (await answer.json()) as {
        type: string
        error: { type: string; message: string }
      }
      expect([answer.status, type, error.type]).toEqual([404, 'error', 'not_found_error'])
      expect(error.message).toContain(words)
      expect(error.message).toContain(named)
    }
  })

  test('a base URL without /v1, with two of them, or with a slash at its end is served', async () => {
    door = await openDoor()
    const asked = { method: 'POST', body: JSON.stringify(params()) }
    for (const base of ['', '/v1', '/v1/v1', '/v1/', '//v1', '/']) {
      const whole = await fetch(`${door.url}${base}/messages?beta=true`, asked)
      expect([base, whole.status]).toEqual([base, 200])
      const counted = await fetch(`${door.url}${base}/messages/count_tokens`, asked)
      expect([base, counted.status]).toEqual([base, 200])
      const listed = await fetch(`${door.url}${base}/models?limit=1`)
      expect([base, listed.status]).toEqual([base, 200])
    }
    const model = await fetch(`${door.url}/models/claude-haiku-4-5`)
    expect(await model.json()).toMatchObject({ type: 'model' })
    expect((await fetch(`${door.url}/messages`)).status).toBe(405)
  })

  test('a lane that there is not is a mistake of the request, and no missing model', async () => {
    door = await openDoor()
    const answer = await post({ 'headgate-lane': 'nolane' })
    expect([answer.status, answer.headers.get('x-should-retry')]).toEqual([400, 'false'])
    expect(await answer.json()).toMatchObject({
      error: { type: 'invalid_request_error', message: expect.stringContaining('no such lane') },
      headgate: { code: 'unknown_lane' },
    })
  })

  test('headgate- headers that nobody would hear, on every path', async () => {
    door = await openDoor()
    for (const [name, words] of [
      ['headgate-dealine-ms', 'did you mean headgate-deadline-ms?'],
      ['x-headgate-lane', 'did you mean headgate-lane?'],
      ['headgate-served-by', 'stands in answers'],
      ['headgate-priority', 'there are headgate-lane, headgate-id'],
    ] as const)
      for (const path of ['/v1/messages', '/v1/messages/count_tokens', '/v1/models']) {
        const sent = path === '/v1/models' ? {} : { method: 'POST', body: JSON.stringify(params()) }
        const answer = await fetch(door.url + path, { ...sent, headers: { [name]: 'x' } })
        expect([path, answer.status]).toEqual([path, 400])
        const error = { message: expect.stringContaining(words), type: 'invalid_request_error' }
        expect(await answer.json()).toMatchObject({ error })
      }
    const all = { 'headgate-lane': 'batch', 'headgate-id': 'one', 'headgate-deadline-ms': '5000' }
    for (const path of ['/v1/messages', '/v1/messages/count_tokens']) {
      const asked = { method: 'POST', body: JSON.stringify(params()), headers: all }
      expect([path, (await fetch(door.url + path, asked)).status]).toEqual([path, 200])
    }
  })

  test('pages of a browser: no preflight is answered, no origin let in', async () => {
    door = await openDoor()
    const asked = { origin: 'https://page.example', 'access-control-request-method': 'POST' }
    const path = `${door.url}/v1/messages`
    const preflight = await fetch(path, { method: 'OPTIONS', headers: asked })
    expect(preflight.ok).toBe(false)
    expect(preflight.headers.get('access-control-allow-origin')).toBe(null)
    expect((await post({ origin: 'https://page.example' })).status).toBe(403)
  })

  test('compressed bodies', async () => {
    door = await openDoor()
    const packed = new Uint8Array(gzipSync(JSON.stringify(params())))
    expect((await post({ 'content-encoding': 'gzip' }, packed)).status).toBe(400)
  })

  test('bodies over limits.request_bytes, in the class of the API', async () => {
    door = await openDoor()
    const asked = door.sdk().messages.create(params({ system: 'x'.repeat(33_554_432) }))
    await expect(asked).rejects.toMatchObject({ status: 413, type: 'request_too_large' })
  })
})

describe('an upstream that breaks', () => {
  const ONCE = { yaml: 'lanes: { interactive: { max_attempts: 1 } }' }
  const WHOLE: FaultKind[] = ['reset_before_headers', 'reset_mid_json', 'empty_200', 'html_200']
  for (const kind of [...WHOLE, 'broken_json_200', 'redirect_302'] as FaultKind[])
    test(`is a 502 in JSON, where the SDK itself would fail in many ways: ${kind}`, async () => {
      door = await openDoor(ONCE)
      door.provider.fault({ kind })
      const asked = door.sdk().messages.create(params())
      await expect(asked).rejects.toBeInstanceOf(Anthropic.InternalServerError)
      await expect(asked).rejects.toMatchObject({ status: 502, type: 'api_error' })
    })

  for (const kind of ['reset_mid_stream', 'no_message_stop'] as const)
    test(`after the first event is an error event, stream_broken: ${kind}`, async () => {
      door = await openDoor({ ...ONCE, provider: { outputTokens: 200 } })
      door.provider.fault({ kind })
      const read = async () => {
        const asked = { ...params({ max_tokens: 500 }), stream: true as const }
        const stream = await door.sdk().messages.create(asked)
        for await (const event of stream) expect(event.type).not.toBe('error')
      }
      const body = { headgate: { code: 'stream_broken', retryable: false } }
      await expect(read()).rejects.toMatchObject({ type: 'api_error', error: body })
    })
})

const MESSAGE = {
  status: 200,
  headers: { 'content-type': 'application/json' } as Record<string, string>,
  body: '{"type":"message","content":[],"usage":{"input_tokens":1,"output_tokens":1}}',
}
const START = '{"type":"message_start","message":{"content":[],"usage":{}}}'
