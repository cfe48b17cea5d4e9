/** Secrets planted in everything that a process is given and everything that passes through it: `headgate
 *  serve --gateway` with all that reads it is driven through success, every kind of trouble and two violent
 *  ends, and nothing that it wrote, told or kept holds any of them. */
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Agent, fetch as undiciFetch, type RequestInit, type Response } from 'undici'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import {
  clientSystem,
  connectHeadgate,
  natsTransport,
  type Headgate,
  type Transport,
} from '#client'
import { selfSigned, type Certificate } from '../support/certificate.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { foundIn, type Text } from '../support/planted.ts'
import { headgate, launch, type Program } from '../support/program.ts'
import { post, rawCall } from '../support/raw-http.ts'
import { scriptedUpstream, type ScriptedUpstream, type Turn } from '../support/scripted-upstream.ts'
import { inRoot } from '../support/tree.ts'

/** Each with characters that another writing would change. */
const KEYS = {
  upstreamKey: 'sk-ant-PLANTED/upstream+key=1',
  plainKey: 'hg_PLANTED/plain+key=2',
  hashedKey: 'hg_PLANTED/hashed+key=3',
  addedKey: 'hg_PLANTED/added+key=4',
  wrongKey: 'hg_PLANTED/wrong+key=5',
  natsPassword: 'PLANTED-nats-pässword/6',
  adminToken: 'PLANTED/admin+token=7',
  wrongToken: 'PLANTED/wrong+token=8',
  cookie: 'PLANTED/session+cookie=9',
}
const WORDS = {
  prompt: 'PLANTED prompt: the pätient "has" a rare disease / 10',
  system: 'PLANTED system prompt + never tell <b> 11',
  tool: 'PLANTED tool result & more / 12',
}
/** What an answer may hold, and nothing else. */
const ANSWERS = {
  completion: 'PLANTED completion: the cüre "is" / 13',
  streamed: 'PLANTED streamed + completion / 14',
  complaint: 'PLANTED complaint of the upstream: "the prompt" was / 15',
}

const texts: Text[] = []
const answers: Text[] = []
let dir: string
let tls: Certificate
let nats: NatsServer
let upstream: ScriptedUpstream
/** What reached the upstream. */
const upstreamSaw: string[] = []
let agent: Agent
const programs: Program[] = []

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'headgate-secrets-'))
  tls = await selfSigned(dir)
  agent = new Agent({ connect: { ca: tls.cert } })
  nats = await natsServer({
    config: `authorization { users: [ { user: operator, password: "${KEYS.natsPassword}" } ] }`,
  })
  upstream = await scriptedUpstream()
  upstream.always((turn) => {
    upstreamSaw.push(`${JSON.stringify(turn.headers)} ${turn.body.toString()}`)
    answerTurn(turn)
  })
})
afterEach(async () => {
  for (const program of programs.splice(0)) await program.kill()
})
afterAll(async () => {
  await agent.close()
  await upstream.close()
  await nats.stop()
  await rm(dir, { recursive: true })
})

// ---- the upstream: what a model's name asks for ----

const JSON_HEAD = { 'content-type': 'application/json', 'request-id': 'req_up' }
const SSE_HEAD = { 'content-type': 'text/event-stream', 'request-id': 'req_up' }
const sse = (data: { type: string }): string =>
  `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`
const usage = { input_tokens: 3, output_tokens: 2 }
const START = sse({ type: 'message_start', message: { usage } } as never)
const DELTA = sse({ type: 'content_block_delta', delta: { text: ANSWERS.streamed } } as never)
const STOP = sse({ type: 'message_delta', usage } as never) + sse({ type: 'message_stop' })
const refusing = (type: string, more: object = {}): string =>
  JSON.stringify({ type: 'error', error: { type, message: ANSWERS.complaint, ...more } })

/** By the model that is asked for, after `claude-`. */
const STATUSES: Record<string, [number, string]> = {
  '400': [400, 'invalid_request_error'],
  '401': [401, 'authentication_error'],
  '403': [403, 'permission_error'],
  '404': [404, 'not_found_error'],
  '413': [413, 'request_too_large'],
  '422': [422, 'invalid_request_error'],
  '429': [429, 'rate_limit_error'],
  '500': [500, 'api_error'],
  '529': [529, 'overloaded_error'],
}
const WAYS: Record<string, (turn: Turn) => void> = {
  whole: (turn) =>
    turn.reply({
      status: 200,
      headers: JSON_HEAD,
      body: JSON.stringify({
        type: 'message',
        content: [{ type: 'text', text: ANSWERS.completion }],
        usage,
      }),
    }),
  stream: (turn) => turn.reply({ status: 200, headers: SSE_HEAD, body: START + DELTA + STOP }),
  page: (turn) => turn.reply({ status: 503, body: `<html>${ANSWERS.complaint}</html>` }),
  nonsense: (turn) =>
    turn.reply({ status: 200, headers: JSON_HEAD, body: `{"${ANSWERS.completion}` }),
  redirect: (turn) =>
    turn.reply({ status: 302, headers: { location: `https://${encodeURI(ANSWERS.complaint)}` } }),
  early: (turn) =>
    turn.reply({
      status: 200,
      headers: SSE_HEAD,
      body: `event: error\ndata: ${refusing('overloaded_error')}\n\n`,
    }),
  late: (turn) =>
    turn.reply({
      status: 200,
      headers: SSE_HEAD,
      body: `${START}${DELTA}event: error\ndata: ${refusing('api_error')}\n\n`,
    }),
  cut: (turn) => {
    turn.head({ status: 200, headers: SSE_HEAD })
    turn.chunk(START + DELTA)
    turn.raw(ANSWERS.complaint)
    turn.reset()
  },
  reset: (turn) => turn.reset(),
  held: (turn) => {
    turn.head({ status: 200, headers: SSE_HEAD })
    turn.chunk(START + DELTA)
  },
  silent: () => {},
  spent: (turn) =>
    turn.reply({
      status: 429,
      headers: JSON_HEAD,
      body: refusing('rate_limit_error', {
        details: { error_code: 'enforced_spend_limit_reached' },
      }),
    }),
}

function answerTurn(turn: Turn): void {
  const asked = /"model":"claude-(\w+)"/.exec(turn.body.toString())?.[1] ?? 'whole'
  const [status, type] = STATUSES[asked] ?? []
  if (status !== undefined)
    return turn.reply({ status, headers: JSON_HEAD, body: refusing(type ?? '') })
  WAYS[asked]?.(turn)
}

// ---- the process ----

const FILE = `
llm_gateway:
  retry: { max_attempts: 2, base_backoff_ms: 1, cap_backoff_ms: 2 }
limits: { request_bytes: 100000 }
tenants:
  acme: { keys: ["${KEYS.plainKey}", "sha256:${createHash('sha256').update(KEYS.hashedKey).digest('hex')}"] }
`

const surroundings = (more: Record<string, string> = {}): Record<string, string> => ({
  NATS_URL: nats.url,
  NATS_USER: 'operator',
  NATS_PASSWORD: KEYS.natsPassword,
  ANTHROPIC_BASE_URL: upstream.url,
  ANTHROPIC_API_KEY: KEYS.upstreamKey,
  HEADGATE_ADMIN_TOKEN: KEYS.adminToken,
  HEADGATE_HTTP_PORT: '0',
  HEADGATE_GATEWAY_PORT: '0',
  HEADGATE_TLS_CERT: tls.certPath,
  HEADGATE_TLS_KEY: tls.keyPath,
  LOG_LEVEL: 'debug',
  ...more,
})

/** Ended with the test, however that ends. */
function kept(program: Program): Program {
  programs.push(program)
  return program
}

interface Served {
  program: Program
  operator: string
  door: string
}

async function configFile(): Promise<string> {
  const path = join(dir, 'headgate.yaml')
  await writeFile(path, FILE)
  return path
}

async function serve(more: Record<string, string>): Promise<Served> {
  const config = await configFile()
  const program = kept(headgate(['serve', '--gateway', '--config', config], surroundings(more)))
  await program.saw('the HTTP door is open')
  const at = (message: string): string =>
    new RegExp(`"at":"([^"]+)","msg":"${message}"`).exec(program.output())?.[1] ?? ''
  return { program, operator: at('ready'), door: at('the HTTP door is open') }
}

const get = (url: string, init: RequestInit = {}): Promise<Response> =>
  undiciFetch(url, { dispatcher: agent, ...init })

/** A body with secrets wherever a caller may have some. */
const body = (how: string, more: object = {}): string =>
  JSON.stringify({
    model: `claude-${how}`,
    max_tokens: 64,
    system: WORDS.system,
    messages: [
      { role: 'user', content: WORDS.prompt },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'x', content: WORDS.tool }] },
    ],
    stream: ['stream', 'early', 'late', 'cut', 'held'].includes(how),
    ...more,
  })

const caller = (key: string = KEYS.hashedKey): Record<string, string> => ({
  'x-api-key': key,
  cookie: `session=${KEYS.cookie}`,
  'content-type': 'application/json',
  tracestate: 'vendor=1',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
})

/** Asks, and keeps the answer with its headers; the answer's status. */
async function ask(
  { door }: Served,
  sent: string,
  headers: Record<string, string> = caller(),
  path = '/v1/messages',
): Promise<number> {
  const method = sent === '' ? 'GET' : 'POST'
  const answer = await get(door + path, { method, headers, ...(sent === '' ? {} : { body: sent }) })
  const text = await answer.text()
  answers.push({
    where: `answer ${path} ${sent.slice(0, 30)}`,
    text: `${JSON.stringify([...answer.headers])} ${text}`,
  })
  return answer.status
}

// ---- what reads it ----

async function operatorReads({ operator }: Served): Promise<void> {
  const admin = async (
    op: string,
    sent: string,
    token: string = KEYS.adminToken,
  ): Promise<number> => {
    const answer = await get(`${operator}/api/admin/${op}`, {
      method: 'POST',
      body: sent,
      headers: { authorization: `Bearer ${token}` },
    })
    texts.push({
      where: `admin ${op}`,
      text: JSON.stringify([...answer.headers]) + (await answer.text()),
    })
    return answer.status
  }
  expect(await admin('config', '')).toBe(200)
  expect(await admin('config', FILE)).toBe(200)
  for (const bad of [
    FILE.replace(KEYS.plainKey, KEYS.addedKey),
    `tenants: { acme: { keys: "${KEYS.addedKey}" } }`,
    `tenants: { acme: { key: ["${KEYS.addedKey}"] } }`,
    `tenants: { "${KEYS.addedKey}": {} }`,
    `upstreams: { a: { base_url: "https://u:${KEYS.natsPassword}@x", api_key_env: "${KEYS.upstreamKey}" } }`,
    `tenants: { acme: { keys: ["${KEYS.addedKey}", "${KEYS.addedKey}"] } }`,
    `"${KEYS.addedKey}": [`,
  ])
    expect(await admin('config', bad)).toBe(400)
  expect(await admin('snapshot', '')).toBe(200)
  expect(await admin('snapshot', '', KEYS.wrongToken)).toBe(401)
  expect(await admin('emergency', '{"on":false}')).toBe(200)
  for (const path of [
    '/',
    '/metrics',
    '/readyz',
    '/api/snapshot',
    '/api/requests',
    '/api/requests?tenant=acme',
    '/api/requests/acme/held',
    '/api/tenants',
    '/api/tenants/acme',
    '/api/history',
  ]) {
    const answer = await get(operator + path)
    texts.push({ where: path, text: JSON.stringify([...answer.headers]) + (await answer.text()) })
  }
  for (const [path, until] of [
    ['/api/events', 'request.settled'],
    ['/api/feed', 'event: frame'],
  ] as const)
    texts.push({ where: path, text: await readUntil(operator + path, until) })
}

/** All that has come by then. */
async function readUntil(url: string, until: string): Promise<string> {
  const leaving = new AbortController()
  const answer = await get(url, { signal: leaving.signal })
  let text = ''
  const decoder = new TextDecoder()
  for await (const part of answer.body ?? []) {
    text += decoder.decode(part as Uint8Array, { stream: true })
    if (text.includes(until) && text.endsWith('\n\n')) break
  }
  leaving.abort()
  return text
}

/** A verb of ours, and what it printed. */
async function run(...args: string[]): Promise<string> {
  const program = kept(headgate(args, surroundings()))
  await program.exit
  texts.push({ where: `headgate ${args.join(' ')}`, text: program.output() })
  return program.output()
}

// ---- the laws ----

const RETRIED_UNSEEN = ['page', 'nonsense', 'early', 'reset', '500', '529', '429']

test('nothing that is planted comes out where it was not asked for', async () => {
  const spans = join(dir, 'spans.ndjson')
  const recorded = join(dir, 'recorded.ndjson')
  const served = await serve({
    NODE_OPTIONS: `--import=${pathToFileURL(inRoot('test/support/spans-to-file.ts')).href}`,
    SPANS_FILE: spans,
  })
  const { program } = served
  const transport: Transport = await natsTransport({
    servers: nats.url,
    user: 'operator',
    password: KEYS.natsPassword,
    system: clientSystem,
  })
  const client: Headgate = await connectHeadgate({ tenant: 'acme', transport })
  let events = 0
  for (const subject of ['llm.v1.event.>', '$SRV.>', '_INBOX.look.>'])
    transport.subscribe(subject, (message) => {
      const headers = ['ce-subject', 'ce-type', 'ce-source', 'traceparent', 'tracestate']
      const text = headers.map((name) => message.header(name) ?? '').join(' ')
      texts.push({ where: message.subject, text: text + new TextDecoder().decode(message.data) })
      events++
    })
  const recorder = kept(headgate(['record', '--out', recorded, '--force'], surroundings()))
  await recorder.saw('recording into')

  // Success, in every way there is.
  for (const key of [KEYS.hashedKey, KEYS.plainKey])
    expect(await ask(served, body('whole'), caller(key))).toBe(200)
  expect(await ask(served, body('stream'))).toBe(200)
  expect(await ask(served, body('whole'), caller(), '/v1/messages/count_tokens')).toBe(200)
  expect(await ask(served, '', caller(), '/v1/models')).toBe(200)
  expect(
    await ask(served, body('whole'), { ...caller(), authorization: `Bearer ${KEYS.plainKey}` }),
  ).toBe(200)

  // Every kind of no.
  for (const [how, [status]] of Object.entries(STATUSES))
    if (!RETRIED_UNSEEN.includes(how))
      expect([how, await ask(served, body(how))]).toEqual([how, status])
  for (const how of RETRIED_UNSEEN) expect(await ask(served, body(how))).toBeGreaterThanOrEqual(400)
  expect(await ask(served, body('late'))).toBe(200)
  expect(await ask(served, body('cut'))).toBe(200)
  expect(await ask(served, body('redirect'))).toBeGreaterThanOrEqual(400)
  expect(await ask(served, body('400'), caller(), '/v1/messages/count_tokens')).toBe(400)
  expect(await ask(served, body('whole'), caller(KEYS.wrongKey))).toBe(401)
  expect(await ask(served, body('whole'), { cookie: KEYS.cookie })).toBe(401)
  const odd = encodeURIComponent(WORDS.prompt)
  for (const [sent, headers, path] of [
    [WORDS.prompt, {}, '/v1/messages'],
    [body('whole', { max_tokens: WORDS.prompt }), {}, '/v1/messages'],
    [body('whole', { model: WORDS.prompt }), {}, '/v1/messages'],
    [body('whole').padEnd(200_000, WORDS.tool), {}, '/v1/messages'],
    [body('whole'), { 'headgate-lane': odd }, '/v1/messages'],
    [body('whole'), { 'headgate-id': odd }, '/v1/messages'],
    [body('whole'), { 'headgate-degrade': odd }, '/v1/messages'],
    [body('whole'), { 'headgate-deadline-ms': odd }, '/v1/messages'],
    [body('whole'), { 'headgate-prefix': odd }, '/v1/messages'],
    [body('whole'), { 'content-type': odd }, '/v1/messages'],
    [body('whole'), {}, `/v1/messages/${odd}`],
    ['', {}, `/v1/models/${odd}?a=${odd}`],
    ['', {}, `/v1/models?limit=${odd}`],
  ] as const)
    expect(await ask(served, sent, { ...caller(), ...headers }, path)).toBeGreaterThanOrEqual(400)
  expect(await ask(served, body('silent'), { ...caller(), 'headgate-deadline-ms': '300' })).toBe(
    504,
  )
  const garbage = rawCall(
    served.door,
    `POST /${odd} HTTP/9\r\nx-api-key: ${KEYS.wrongKey}\r\n\r\n`,
    tls.cert,
  )
  answers.push({ where: 'answer to garbage', text: await garbage.closed })

  // Callers who go.
  for (const how of ['silent', 'held']) {
    const seen = upstreamSaw.length
    const text = post('/v1/messages', body(how), { ...caller(), 'headgate-id': how })
    const call = rawCall(served.door, text, tls.cert)
    while (upstreamSaw.length === seen) await new Promise(setImmediate)
    if (how === 'held') await call.until((so) => so.includes('PLANTED'))
    call.socket.destroy()
    for (let state = ''; state !== 'settled';) ({ state } = await client.status(how))
  }
  // The door alone, before the same scheduler.
  const alone = kept(headgate(['gateway', '--config', join(dir, 'headgate.yaml')], surroundings()))
  await alone.saw('"ready"')
  const door = /"at":"([^"]+)","msg":"ready"/.exec(alone.output())?.[1] ?? ''
  expect(await ask({ ...served, door }, body('whole'))).toBe(200)
  expect(await ask({ ...served, door }, body('stream'), caller(KEYS.plainKey))).toBe(200)
  expect(await ask({ ...served, door }, body('400'))).toBe(400)
  expect(await ask({ ...served, door }, body('whole'), caller(KEYS.wrongKey))).toBe(401)
  await writeFile(join(dir, 'headgate.yaml'), `tenants: { acme: { keys: "${KEYS.addedKey}" } }`)
  for (const one of [alone, program]) await one.saw('the changed configuration is refused')
  alone.child.kill('SIGTERM')
  expect(await alone.exit).toBe(0)
  texts.push({ where: 'gateway', text: alone.output() })
  // Over NATS too, where an error quotes the upstream.
  await expect(client.request(JSON.parse(body('400')) as never)).rejects.toThrow(ANSWERS.complaint)

  await operatorReads(served)
  expect(JSON.parse(await run('doctor', '--json'))).toBeInstanceOf(Array)
  expect(await run('top', '--once')).toContain('claude')
  await run('top', '--once', '--json')
  await run('status', 'held', '--tenant', 'acme')
  for (const ask of ['PING', 'INFO', 'STATS'])
    transport.publish(`$SRV.${ask}`, '', { reply: `_INBOX.look.${ask}` })
  // An account that is spent blocks the upstream, so it comes last.
  expect(await ask(served, body('spent'))).toBeGreaterThanOrEqual(400)
  expect(await ask(served, body('whole'))).toBeGreaterThanOrEqual(400)

  recorder.child.kill('SIGINT')
  await recorder.exit
  program.child.kill('SIGTERM')
  expect(await program.exit).toBe(0)
  await client.close()
  await transport.close()
  const [spanText, recordText] = await Promise.all([
    readFile(spans, 'utf8'),
    readFile(recorded, 'utf8'),
  ])
  texts.push(
    { where: 'serve', text: program.output() },
    { where: 'record', text: recorder.output() },
    { where: 'spans', text: spanText },
    { where: 'recorded', text: recordText },
  )

  // All of it was heard, sent on and answered: nothing is absent for want of having been there.
  for (const value of Object.values(WORDS))
    expect(upstreamSaw.join()).toContain(JSON.stringify(value))
  expect(upstreamSaw.join()).toContain(KEYS.upstreamKey)
  for (const value of Object.values(ANSWERS))
    expect(answers.map(({ text }) => text).join()).toContain(JSON.stringify(value).slice(1, -1))
  expect(events).toBeGreaterThan(100)
  expect(spanText.split('\n').length).toBeGreaterThan(50)
  expect(recordText.split('\n').length).toBeGreaterThan(20)
  expect(program.output().split('\n').length).toBeGreaterThan(100)

  const tlsKey = tls.key.split('\n')[1] ?? ''
  expect(foundIn(texts, { ...KEYS, ...WORDS, ...ANSWERS, tlsKey })).toEqual([])
  expect(foundIn(answers, { ...KEYS, ...WORDS, tlsKey })).toEqual([])
  const { upstreamKey: _, ...notForUpstream } = KEYS
  const sentOn = upstreamSaw.map((text) => ({ where: 'upstream', text }))
  expect(foundIn(sentOn, { ...notForUpstream, tlsKey })).toEqual([])
}, 120_000)

test.each([
  ['a broken invariant', 70, 'a broken invariant: this is a bug'],
  ['SIGABRT', 'SIGABRT', ''],
] as const)('a process that ends by %s takes what it knows with it', async (_, end, says) => {
  const program = launch('scheduler', {
    ...surroundings({ HEADGATE_GATEWAY: 'on', HEADGATE_CONFIG: await configFile() }),
    NODE_OPTIONS: `--import=${pathToFileURL(inRoot('test/support/broken-invariant.ts')).href}`,
    BREAK_ID: 'broken',
  })
  programs.push(program)
  const { gateway = '' } = await program.told
  const call = (how: string, id: string) =>
    rawCall(gateway, post('/v1/messages', body(how), { ...caller(), 'headgate-id': id }), tls.cert)
  const calls = [call('held', 'held')]
  await calls[0]?.until((text) => text.includes('PLANTED'))
  if (end === 'SIGABRT') program.child.kill(end)
  else calls.push(call('whole', 'broken'))
  expect(await program.exit).toBe(end)
  await Promise.all(calls.map(({ closed }) => closed))
  expect(program.output()).toContain(says)
  const tlsKey = tls.key.split('\n')[1] ?? ''
  const said = [{ where: 'the scheduler', text: program.output() }]
  expect(foundIn(said, { ...KEYS, ...WORDS, ...ANSWERS, tlsKey })).toEqual([])
})

test('what is planted would be found, however it is written', () => {
  const value = KEYS.adminToken
  for (const text of [
    `x${value}y`,
    JSON.stringify({ a: WORDS.prompt }),
    encodeURIComponent(`?a=${WORDS.prompt}&`),
    Buffer.from(`ab${value}c`).toString('base64'),
    Buffer.from(`{"k":"${value}"}`).toString('base64url'),
    Buffer.from(value).toString('hex'),
  ])
    expect(foundIn([{ where: 'here', text }], { ...KEYS, ...WORDS })).not.toEqual([])
  expect(foundIn([{ where: 'here', text: 'PLANTED' }], { ...KEYS, ...WORDS })).toEqual([])
})
