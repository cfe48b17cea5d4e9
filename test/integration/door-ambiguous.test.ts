/** What could be read in two ways: each case of that sentence in SECURITY.md, over raw sockets. One refusal comes,
 *  the connection ends, and what came behind is not acted on: it may be a part of what was refused. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openDoor, params, type Door } from '../support/door.ts'
import { post, rawCall } from '../support/raw-http.ts'
import { scriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'

let upstream: ScriptedUpstream
let door: Door
let asked = 0

beforeAll(async () => {
  upstream = await scriptedUpstream()
  upstream.always((turn) => {
    asked++
    turn.reply({ status: 200, headers: { 'content-type': 'application/json' }, body: '{}' })
  })
  door = await openDoor({ upstreamUrl: upstream.url })
})
afterAll(async () => {
  await door.close()
  await upstream.close()
})

const BODY = JSON.stringify(params())
const SIZE = String(BODY.length)
const BEHIND = post('/v1/messages', BODY)
const HOST = 'host: 127.0.0.1'
const head = (...lines: string[]) => `POST /v1/messages HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`
const CHUNKS = `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`

const CASES: Record<string, string> = {
  'two lengths': head(HOST, `content-length: ${SIZE}`, 'content-length: 5') + BODY,
  'the same length twice': head(HOST, `content-length: ${SIZE}`, `content-length: ${SIZE}`) + BODY,
  'two lengths on one line': head(HOST, `content-length: ${SIZE}, ${SIZE}`) + BODY,
  'a length and chunks': head(HOST, 'content-length: 5', 'transfer-encoding: chunked') + CHUNKS,
  'chunks and a length': head(HOST, 'transfer-encoding: chunked', 'content-length: 5') + CHUNKS,
  'a folded header': head(HOST, 'x-a: b', ' c', `content-length: ${SIZE}`) + BODY,
  'a folded host': head('host:', ' 127.0.0.1', `content-length: ${SIZE}`) + BODY,
  'a folded length': head(HOST, 'content-length:', ` ${SIZE}`) + BODY,
  'a line feed alone after a header': head(`${HOST}\nx-a: b`, `content-length: ${SIZE}`) + BODY,
  'line feeds alone': head(HOST, `content-length: ${SIZE}`).replaceAll('\r', '') + BODY,
  'a carriage return alone': head(`${HOST}\rx-a: b`, `content-length: ${SIZE}`) + BODY,
  'a line feed alone after a chunk size':
    head(HOST, 'transfer-encoding: chunked') + CHUNKS.replace('\r\n', '\n'),
  'a line feed alone after a chunk':
    head(HOST, 'transfer-encoding: chunked') + CHUNKS.replace('}\r\n', '}\n'),
  'no host': head(`content-length: ${SIZE}`) + BODY,
  'two hosts': head(HOST, 'host: evil.example', `content-length: ${SIZE}`) + BODY,
  'the same host twice': head(HOST, HOST, `content-length: ${SIZE}`) + BODY,
  'no host, no body': `GET /v1/models HTTP/1.1\r\n\r\n`,
  'two hosts where nothing is': `GET /nothing HTTP/1.1\r\n${HOST}\r\n${HOST}\r\n\r\n`,
  'no host of a caller that asks to stay':
    head('connection: keep-alive', `content-length: ${SIZE}`) + BODY,
}

describe.each(Object.entries(CASES))('%s', (_name, text) => {
  test.each([
    ['alone', ''],
    ['before another request', BEHIND],
  ])('%s is refused and its connection closed', async (_how, behind) => {
    asked = 0
    const got = await rawCall(door.url, text + behind).closed
    expect(got.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 400'])
    expect(got).toMatch(/^connection: close\r$/im)
    expect(got).not.toMatch(/keep-alive/i)
    expect(got).toContain('"code":"invalid_request"')
    expect(asked).toBe(0)
  })
})

test('before it was all sent: refused, read to its end, and closed', async () => {
  const call = rawCall(door.url, head(HOST, HOST, `content-length: ${SIZE}`) + BODY.slice(0, 5))
  await call.until((so) => so.includes('"code":"invalid_request"'))
  call.socket.write(BODY.slice(5) + BEHIND)
  expect((await call.closed).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 400'])
})

test('one that waits to be asked for its body is not asked', async () => {
  const text = head(HOST, HOST, `content-length: ${SIZE}`, 'expect: 100-continue')
  expect((await rawCall(door.url, text).closed).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 400'])
})

test('what was asked before it is answered', async () => {
  asked = 0
  const got = await rawCall(door.url, BEHIND + head(`content-length: ${SIZE}`) + BODY + BEHIND)
    .closed
  expect(got.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400'])
  expect(asked).toBe(1)
})
