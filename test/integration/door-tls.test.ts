/** Both ports over https, with a certificate of the test's own. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawn } from 'node:child_process'
import Anthropic from '@anthropic-ai/sdk'
import { Agent, fetch as undiciFetch } from 'undici'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { selfSigned, type Certificate } from '../support/certificate.ts'
import { openDoor, params, type Door } from '../support/door.ts'
import { headgate, launch, type Program } from '../support/program.ts'
import { post, rawCall } from '../support/raw-http.ts'
import { scriptedUpstream } from '../support/scripted-upstream.ts'
import { inRoot } from '../support/tree.ts'

let dir: string
let ours: Certificate
let other: Certificate
let agent: Agent
let door: Door | null = null
const programs: Program[] = []

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'headgate-tls-'))
  ours = await selfSigned(dir)
  other = await selfSigned(dir, 'other')
  await writeFile(join(dir, 'no.pem'), 'nothing of the kind\n')
  agent = new Agent({ connect: { ca: ours.cert } })
})
afterEach(async () => {
  await door?.close()
  door = null
  for (const program of programs.splice(0)) await program.kill()
})
afterAll(async () => {
  await agent.close()
  await rm(dir, { recursive: true })
})

const open = async (yaml = '', upstreamUrl?: string): Promise<Door> =>
  (door = await openDoor({
    yaml,
    tls: ours,
    ...(upstreamUrl === undefined ? {} : { upstreamUrl }),
  }))

/** Knows our certificate, and no other. */
const trusting = ((url: string, init: object) =>
  undiciFetch(url, { ...init, dispatcher: agent })) as unknown as typeof fetch

const SURROUNDINGS = {
  HEADGATE_BUS: 'memory',
  HEADGATE_HTTP_PORT: '0',
  HEADGATE_GATEWAY: 'on',
  HEADGATE_GATEWAY_PORT: '0',
}

describe('the variables', () => {
  test('HEADGATE_TLS_CERT and HEADGATE_TLS_KEY put both ports on https, and nothing else is served there', async () => {
    const program = launch('scheduler', {
      ...SURROUNDINGS,
      HEADGATE_TLS_CERT: ours.certPath,
      HEADGATE_TLS_KEY: ours.keyPath,
    })
    programs.push(program)
    const { http = '', gateway = '' } = await program.told
    for (const url of [http, gateway]) {
      expect(url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/)
      expect((await trusting(`${url}/healthz`)).status).toBe(200)
      await expect(fetch(`${url}/healthz`)).rejects.toMatchObject({
        cause: { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' },
      })
      const plain = rawCall(
        url.replace('https', 'http'),
        'GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n',
      )
      expect(await plain.closed).not.toContain('200')
    }
  })

  const wrong = (): [string, Record<string, string>, RegExp][] => [
    [
      'a certificate alone',
      { HEADGATE_TLS_CERT: ours.certPath },
      /^HEADGATE_TLS_CERT is set and HEADGATE_TLS_KEY is not/,
    ],
    [
      'a key alone',
      { HEADGATE_TLS_KEY: ours.keyPath },
      /^HEADGATE_TLS_KEY is set and HEADGATE_TLS_CERT is not/,
    ],
    [
      'a certificate that is not there',
      { HEADGATE_TLS_CERT: join(dir, 'none.pem'), HEADGATE_TLS_KEY: ours.keyPath },
      /^HEADGATE_TLS_CERT: .*none\.pem cannot be read \(ENOENT\)/,
    ],
    [
      'a key that cannot be read',
      { HEADGATE_TLS_CERT: ours.certPath, HEADGATE_TLS_KEY: dir },
      /^HEADGATE_TLS_KEY: .* cannot be read \(EISDIR\)/,
    ],
    [
      'a certificate that is none',
      { HEADGATE_TLS_CERT: join(dir, 'no.pem'), HEADGATE_TLS_KEY: ours.keyPath },
      /^HEADGATE_TLS_CERT: expected a certificate in PEM/,
    ],
    [
      'a key that is none',
      { HEADGATE_TLS_CERT: ours.certPath, HEADGATE_TLS_KEY: ours.certPath },
      /^HEADGATE_TLS_KEY: expected a private key in PEM/,
    ],
    [
      'a key that does not fit',
      { HEADGATE_TLS_CERT: ours.certPath, HEADGATE_TLS_KEY: other.keyPath },
      /^HEADGATE_TLS_KEY: the key does not fit the certificate of HEADGATE_TLS_CERT/,
    ],
  ]
  test.each(['scheduler', 'gateway'] as const)(
    'what is wrong with them stops the start of the %s, and is told by the name of the variable',
    async (name) => {
      await Promise.all(
        wrong().map(async ([what, env, says]) => {
          const program = launch(name, { ...SURROUNDINGS, ...env })
          programs.push(program)
          const { type, message = '' } = await program.told
          expect([what, type]).toEqual([what, 'failed'])
          expect(message).toMatch(says)
          expect(message + program.output()).not.toContain(ours.key.split('\n')[1])
          expect(await program.exit).toBe(1)
        }),
      )
    },
    60_000,
  )

  test('doctor checks the configuration all the same', async () => {
    const program = headgate(['doctor', '--json'], {
      HEADGATE_TLS_CERT: ours.certPath,
      HEADGATE_TLS_KEY: ours.keyPath,
      HEADGATE_HTTP_PORT: '0',
      NATS_URL: 'nats://127.0.0.1:1',
    })
    programs.push(program)
    await program.exit
    const findings = JSON.parse(program.output()) as { about: string; verdict: string }[]
    expect(findings.find(({ about }) => about === 'configuration')?.verdict).toBe('ok')
  })
})

describe('the SDK', () => {
  test('works with a fetch that knows the certificate, whole and streamed', async () => {
    await open()
    const client = door!.sdk({ fetch: trusting })
    expect((await client.messages.create(params())).type).toBe('message')
    const streamed = await client.messages.stream(params()).finalMessage()
    expect(streamed.stop_reason).not.toBeNull()
    await expect(door!.sdk().messages.create(params())).rejects.toThrow(
      Anthropic.APIConnectionError,
    )
  })

  test('works unmodified where NODE_EXTRA_CA_CERTS names it', async () => {
    await open()
    const program = `
      import Anthropic from '@anthropic-ai/sdk'
      const client = new Anthropic({ maxRetries: 0 })
      const asked = ${JSON.stringify(params())}
      const whole = await client.messages.create(asked)
      const streamed = await client.messages.stream(asked).finalMessage()
      console.log(whole.type, streamed.type)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      cwd: inRoot('.'),
      env: {
        PATH: process.env['PATH'],
        NODE_EXTRA_CA_CERTS: ours.certPath,
        ANTHROPIC_BASE_URL: door!.url,
        ANTHROPIC_API_KEY: 'sk-anything',
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    child.stdout.on('data', (data: Buffer) => (said += data.toString()))
    await new Promise((resolve) => child.once('close', resolve))
    expect(said).toBe('message message\n')
  })
})

describe('limits', () => {
  test('a handshake that does not end, headers that come too slowly, and bodies, are cut', async () => {
    await open('gateway: { headers_ms: 200, request_ms: 200 }')
    const { hostname, port } = new URL(door!.url)
    const silent = connect({ host: hostname, port: Number(port) })
    silent.on('error', () => {})
    silent.resume()
    const closed = new Promise<void>((resolve) => silent.once('close', () => resolve()))
    const headers = rawCall(
      door!.url,
      'POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\n',
      ours.cert,
    )
    const body = rawCall(
      door!.url,
      post('/v1/messages', '', { 'content-length': '1000' }),
      ours.cert,
    )
    for (const text of [await headers.closed, await body.closed]) {
      expect(text).toMatch(/^HTTP\/1\.1 408 /)
      expect(text).toContain('"code":"invalid_request"')
    }
    await closed
  })

  test('what is no request is refused in the words of the API', async () => {
    await open()
    const text = await rawCall(door!.url, 'GARBAGE\r\n\r\n', ours.cert).closed
    expect(text).toMatch(/^HTTP\/1\.1 400 /)
    expect(text).toContain('"code":"invalid_request"')
  })

  test('a reader that takes nothing is ended at its bound, and one that takes no refusal after a while', async () => {
    const upstream = await scriptedUpstream()
    await open('gateway: { stream_buffer_bytes: 1000000, stall_ms: 200 }', upstream.url)
    const call = rawCall(
      door!.url,
      post('/v1/messages', JSON.stringify(params({ stream: true }))),
      ours.cert,
    )
    const turn = await upstream.next()
    turn.head({ status: 200, headers: { 'content-type': 'text/event-stream' } })
    turn.chunk('event: message_start\ndata: {"type":"message_start","message":{}}\n\n')
    await call.until((text) => text.includes('message_start'))
    call.socket.pause()
    const delta = `event: content_block_delta\ndata: {"type":"content_block_delta","text":"${'x'.repeat(60_000)}"}\n\n`
    let gone = false
    void turn.closed.then(() => (gone = true))
    while (!gone) {
      turn.chunk(delta)
      await new Promise(setImmediate)
    }
    await door!.rest()
    call.socket.destroy()
    const deaf = rawCall(door!.url, '', ours.cert)
    deaf.socket.pause()
    const ask = 'GET /v1/models/%zz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n'.repeat(100)
    while (!deaf.socket.destroyed) {
      if (deaf.socket.writableLength < 1_000_000) deaf.socket.write(ask)
      await new Promise(setImmediate)
    }
    await upstream.close()
  })
})
