/** `headgate doctor --upstream`: what is wrong between here and an upstream is told apart, and what to do. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findingOf, type TrialCall } from '../../services/cli/doctor-upstreams.ts'
import { selfSigned } from '../support/certificate.ts'
import { headgate, type Program } from '../support/program.ts'
import { scriptedUpstream, type ScriptedUpstream, type Turn } from '../support/scripted-upstream.ts'
import { freePort } from '../support/stack.ts'

const KEY = 'sk-ant-planted-0123456789'
const dir = mkdtempSync(join(tmpdir(), 'headgate-doctor-'))
const config = join(dir, 'headgate.yaml')
let upstream: ScriptedUpstream
const untrusted = { url: '', close: async () => {} }

const MESSAGE = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'm',
  content: [{ type: 'text', text: 'H' }],
  stop_reason: 'max_tokens',
  stop_sequence: null,
  usage: { input_tokens: 8, output_tokens: 1 },
}
const keyOf = (name: string): string => `KEY_OF_${name.toUpperCase()}`
const json = { 'content-type': 'application/json' }
/** As spiteful upstreams do, with the key in their words. */
const no = (status: number, type: string, message: string) => (turn: Turn) =>
  turn.reply({
    status,
    headers: { ...json, ...(status === 429 ? { 'retry-after': '7' } : {}) },
    body: JSON.stringify({ type: 'error', error: { type, message: `${message} (${KEY})` } }),
  })

/** What each says who asks by its name, and what the doctor makes of it. */
const WAYS: Record<string, { answer: (turn: Turn) => void; said: RegExp; todo?: RegExp }> = {
  fine: {
    answer: (turn) => turn.reply({ status: 200, headers: json, body: JSON.stringify(MESSAGE) }),
    said: /^ok .* the key is good, and claude-haiku-4-5 answered in \d+ (ms|s)/,
  },
  refused: {
    answer: no(401, 'authentication_error', 'invalid x-api-key'),
    said: /^BROKEN .* it refuses the key of KEY_OF_REFUSED \(401\)/,
    todo: /put a key in force that works/,
  },
  spent: {
    answer: no(400, 'invalid_request_error', 'Your credit balance is too low to use the API.'),
    said: /^BROKEN .* its account has no credit left \(400\)/,
    todo: /headgate upstream spent/,
  },
  limited: {
    answer: no(429, 'rate_limit_error', 'Number of requests has exceeded your rate limit'),
    said: /^note .* at a limit of its rate now \(429\); it says to come back in 7 s/,
  },
  full: {
    answer: no(529, 'overloaded_error', 'Overloaded'),
    said: /^note .* has no room .*\(529\)/,
  },
  unknown: {
    answer: no(404, 'not_found_error', 'model: claude-haiku-4-5'),
    said: /^note .* there is no claude-haiku-4-5 for it \(404\)/,
    todo: /--model/,
  },
  elsewhere: {
    answer: (turn) => turn.reply({ status: 404, body: '<h1>Not here</h1>' }),
    said: /^BROKEN .* no Messages API at that address \(404\)/,
  },
  login: {
    answer: (turn) =>
      turn.reply({
        status: 200,
        headers: { 'content-type': 'text/html' },
        body: '<h1>Log in</h1>',
      }),
    said: /^BROKEN .* it answers with status 200 \(content_type\)/,
    todo: /a login page or a proxy/,
  },
  moved: {
    answer: (turn) => turn.reply({ status: 301, headers: { location: 'https://elsewhere.test' } }),
    said: /^BROKEN .* sends callers elsewhere \(301\)/,
  },
  broken: {
    answer: no(500, 'api_error', 'Internal server error'),
    said: /^BROKEN .* fails with 500/,
  },
  reset: { answer: (turn) => turn.reset(), said: /^BROKEN .* the connection broke \(reset\)/ },
  silent: { answer: () => {}, said: /^BROKEN .* took the call, and said nothing for \d+ (ms|s)/ },
}

let said: string[]
let whole: string
let status: number | string

beforeAll(async () => {
  upstream = await scriptedUpstream()
  upstream.always((turn) => WAYS[turn.path.split('/')[1] ?? '']?.answer(turn))
  const { cert, key } = await selfSigned(dir)
  const tls = createServer({ cert, key })
  await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve))
  untrusted.url = `https://127.0.0.1:${(tls.address() as AddressInfo).port}`
  untrusted.close = () => new Promise((resolve) => tls.close(() => resolve()))
  const others = {
    closed: `http://127.0.0.1:${await freePort()}`,
    nameless: 'http://headgate.invalid',
    untrusted: untrusted.url,
    keyless: `${upstream.url}/refused`,
  }
  const all: [name: string, url: string][] = [
    ...Object.keys(WAYS).map(
      (name) => [name, `${upstream.url}/${name}`] satisfies [string, string],
    ),
    ...Object.entries(others),
  ]
  const yaml = all.map(
    ([name, url]) => `  ${name}: {base_url: '${url}', api_key_env: ${keyOf(name)}}`,
  )
  // Who says nothing is not waited for.
  writeFileSync(config, `limits: {first_byte_max_ms: 6000}\nupstreams:\n${yaml.join('\n')}\n`)
  const program = ask('--upstream')
  status = await program.exit
  whole = program.output()
  said = whole.split(/\n(?=\w)/)
}, 180_000)

afterAll(async () => {
  await upstream?.close()
  await untrusted.close()
  rmSync(dir, { recursive: true, force: true })
})

function ask(...args: string[]): Program {
  const keys = Object.keys(WAYS).map((name) => [keyOf(name), KEY] as const)
  const env = { ...Object.fromEntries(keys), NATS_URL: '', HEADGATE_CONFIG: config }
  return headgate(['doctor', ...args], env)
}

const of = (name: string): string =>
  said.find((line) => new RegExp(`^\\w+ +upstream +${name} at `).test(line)) ?? `nothing of ${name}`

describe('doctor --upstream', () => {
  test.each(Object.entries(WAYS))('tells what comes back: %s', (name, { said, todo }) => {
    expect(of(name)).toMatch(said)
    if (todo !== undefined) expect(of(name)).toMatch(todo)
  })

  test.each([
    ['closed', /^BROKEN .* unreachable: nobody listens at 127\.0\.0\.1:\d+/],
    ['nameless', /^BROKEN .* unreachable: nobody knows that name/],
    ['untrusted', /^BROKEN .* its certificate is not one that this machine trusts/],
    [
      'keyless',
      /^BROKEN .* it wants a key, and KEY_OF_KEYLESS is not set \(401\)\n.*export KEY_OF/,
    ],
  ])('tells why it got no answer: %s', (name, words) => {
    expect(of(name)).toMatch(words)
  })

  test('ends with status 1 where something is broken, and never tells a key', () => {
    expect(status).toBe(1)
    expect(whole).not.toContain(KEY)
    expect(whole).not.toContain('0123456789')
  })

  test('sends one call of one token, with the key of that upstream, where one is named', async () => {
    const seen: Turn[] = []
    upstream.always((turn) => {
      seen.push(turn)
      WAYS['fine']?.answer(turn)
    })
    const program = ask('--upstream', 'fine', '--model', 'claude-opus-4-8', '--json')
    expect(await program.exit).toBe(0)
    const findings = JSON.parse(program.output()) as { about: string; said: string }[]
    const [found, ...more] = findings.filter(({ about }) => about === 'upstream')
    expect(more).toEqual([])
    expect(found?.said).toContain('claude-opus-4-8 answered')
    expect(seen.map(({ path, headers }) => [path, headers['authorization']])).toEqual([
      ['/fine/v1/messages', `Bearer ${KEY}`],
    ])
    expect(JSON.parse(String(seen[0]?.body))).toMatchObject({
      model: 'claude-opus-4-8',
      max_tokens: 1,
    })
  })

  test.each([
    [['--upstream', 'nobody'], /no upstream nobody: the configuration has fine, refused/],
    [['--model', 'm'], /--model: needs --upstream/],
  ])('called wrong ends with status 2: %j', async (args, words) => {
    const program = ask(...args)
    expect(await program.exit).toBe(2)
    expect(program.output()).toMatch(words)
  })
})

describe('what no test here can make happen', () => {
  const call: TrialCall = {
    upstream: 'default',
    host: 'api.example.test',
    model: 'm',
    routed: true,
    keyVariable: 'ANTHROPIC_API_KEY',
    hasKey: true,
    kind: 'fault',
    cause: 'connect_timeout',
    status: null,
    errorType: null,
    retryAfterMs: null,
    tookMs: 10_004,
  }
  test.each([
    [{}, 'broken', /no connection within 10 s/],
    [{ cause: 'unsendable' }, 'broken', /cannot be written/],
    [{ status: 403, kind: 'rejected' }, 'broken', /may not do this/],
    [{ status: 404, errorType: 'not_found_error' }, 'broken', /there is no m for it/],
    [
      { status: 400, errorType: 'invalid_request_error' },
      'broken',
      /\(400, invalid_request_error\)/,
    ],
    [{ kind: 'key_stop', cause: 'user_spend_limit', status: 400 }, 'broken', /may spend no more/],
    [{ kind: 'key_stop', cause: 'organization_on_hold', status: 400 }, 'broken', /on hold/],
  ] as const)('%j is %s', (of, verdict, words) => {
    const finding = findingOf({ ...call, ...of })
    expect(finding.verdict).toBe(verdict)
    expect(finding.said).toMatch(words)
    expect(finding.todo).not.toBe('')
  })
})
