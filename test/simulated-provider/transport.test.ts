/** What the API demands of every request, and what every answer carries. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AT_ONCE, callerOf, HEADERS, MODEL, type Caller } from './caller.ts'

let caller: Caller
beforeAll(async () => void (caller = await callerOf({ ...AT_ONCE, keys: ['key-1', 'key-2'] })))
afterAll(() => caller.close())

const without = (name: string) =>
  Object.fromEntries(Object.entries(HEADERS).filter(([header]) => header !== name))
const NEWEST = { ...HEADERS, 'anthropic-version': '2026-10-21' }
const user = { role: 'user', content: 'x' }
const prefill = { role: 'assistant', content: 'So' }

describe('a request that breaks a rule is refused, and the message names the rule', () => {
  test.each([
    ['no key', {}, without('x-api-key'), 401, /x-api-key header is required/],
    ['a strange key', {}, { ...HEADERS, 'x-api-key': 'other' }, 401, /invalid x-api-key/],
    ['no version', {}, without('anthropic-version'), 400, /anthropic-version/],
    ['a strange version', {}, { ...HEADERS, 'anthropic-version': '1' }, 400, /"1" is not/],
    ['no content type', {}, without('content-type'), 415, /content-type/],
    ['text', {}, { ...HEADERS, 'content-type': 'text/plain' }, 415, /content-type/],
    ['no model', { model: undefined }, HEADERS, 400, /^model: Field required/],
    ['an unknown model', { model: 'gpt-2' }, HEADERS, 404, /^model: gpt-2/],
    ['no max_tokens', { max_tokens: undefined }, HEADERS, 400, /^max_tokens: Field required/],
    ['max_tokens 0', { max_tokens: 0 }, HEADERS, 400, /^max_tokens/],
    ['no messages', { messages: undefined }, HEADERS, 400, /^messages: Field required/],
    ['empty messages', { messages: [] }, HEADERS, 400, /^messages: at least one/],
    ['a wrong message', { messages: [user, {}] }, HEADERS, 400, /^messages\.1/],
    ['stream as text', { stream: 'yes' }, HEADERS, 400, /^stream/],
    ['temperature, newest version', { temperature: 0.5 }, NEWEST, 400, /^temperature/],
    ['top_p, newest version', { top_p: 0.5 }, NEWEST, 400, /^top_p/],
    ['top_k, newest version', { top_k: 5 }, NEWEST, 400, /^top_k/],
    [
      'a document in an assistant message, newest version',
      { messages: [{ role: 'assistant', content: [{ type: 'document' }] }, user] },
      NEWEST,
      400,
      /document/,
    ],
    [
      'prefill on a model that refuses it',
      { model: 'claude-opus-4-8', messages: [user, prefill] },
      HEADERS,
      400,
      /prefill/,
    ],
  ])('%s', async (_, extra, headers, status, message) => {
    const reply = await caller.post(extra, { headers })
    const said = JSON.parse(reply.text) as { type: string; error: { message: string } }
    expect({ status: reply.status, type: said.type }).toEqual({ status, type: 'error' })
    expect(said.error.message).toMatch(message)
    expect(reply.headers['request-id']).toMatch(/^req_/)
    const last = caller.provider.ledger().entries.at(-1)
    expect(last).toMatchObject({ accepted: false, executed: false, status })
  })
})

describe('what an older version or model allows is answered', () => {
  test.each([
    ['temperature under 2023-06-01', { temperature: 0.5 }, HEADERS],
    ['prefill on an older model', { messages: [user, prefill] }, HEADERS],
    ['no sampling under the newest version', {}, NEWEST],
    ['a bearer key', {}, { ...without('x-api-key'), authorization: 'Bearer key-2' }],
    ['a charset', {}, { ...HEADERS, 'content-type': 'application/json; charset=utf-8' }],
  ])('%s', async (_, extra, headers) => {
    expect(await caller.post(extra, { headers })).toMatchObject({ status: 200 })
  })
})

test('every answer names request, organisation and workspace, and tells its quota', async () => {
  const { headers } = await caller.post()
  expect(headers).toMatchObject({
    'request-id': expect.stringMatching(/^req_01\w+$/) as string,
    'anthropic-organization-id': expect.any(String) as string,
    'anthropic-workspace-id': expect.stringMatching(/^wrkspc_01/) as string,
  })
  for (const family of ['requests', 'tokens', 'input-tokens', 'output-tokens']) {
    expect(headers[`anthropic-ratelimit-${family}-limit`]).toMatch(/^\d+$/)
    expect(headers[`anthropic-ratelimit-${family}-remaining`]).toMatch(/^\d+$/)
    expect(headers[`anthropic-ratelimit-${family}-reset`]).toMatch(/^[\d-]{10}T[\d:]{8}Z$/)
  }
})

test('a body above 32 MB is refused by the edge: HTML, without a request id', async () => {
  const reply = await caller.post({ system: 'x'.repeat(32 * 1_024 * 1_024) })
  expect(reply).toMatchObject({
    status: 413,
    headers: { 'content-type': 'text/html; charset=UTF-8' },
  })
  expect(reply.headers['request-id']).toBeUndefined()
})

test('a prompt nested beyond reason is answered like any other', async () => {
  const content = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
  const body = `{"model":"${MODEL}","max_tokens":1,"messages":[{"role":"user","content":${content}}]}`
  const init = { method: 'POST', headers: HEADERS, body }
  expect((await fetch(`${caller.provider.url}/v1/messages`, init)).status).toBe(200)
})

test('a body that is no JSON object is refused', async () => {
  for (const body of ['{', '[]', '"x"', '']) {
    const res = await fetch(`${caller.provider.url}/v1/messages`, {
      method: 'POST',
      headers: HEADERS,
      body,
    })
    expect(res.status).toBe(400)
  }
})

test('unknown paths are 404, wrong methods 405', async () => {
  const get = (path: string) => fetch(caller.provider.url + path, { headers: HEADERS })
  expect((await get('/v1/nothing')).status).toBe(404)
  expect((await get('/v1/messages')).status).toBe(405)
})

test('an SDK finds the models, one model, and counts tokens for free', async () => {
  const { sdk, provider } = caller
  const before = provider.ledger().entries.length
  const page = await sdk.models.list()
  expect(page.data.map((model) => model.id)).toContain(MODEL)
  expect(await sdk.models.retrieve('claude-haiku-4-5')).toMatchObject({ id: MODEL })
  await expect(sdk.models.retrieve('claude-none')).rejects.toMatchObject({ status: 404 })
  const messages = [{ role: 'user' as const, content: 'x'.repeat(350) }]
  const counted = await sdk.messages.countTokens({ model: MODEL, messages })
  const answered = await sdk.messages.create({ model: MODEL, max_tokens: 9, messages })
  expect(counted.input_tokens).toBeGreaterThan(100)
  expect(answered.usage.input_tokens).toBe(counted.input_tokens)
  expect(provider.ledger().entries.length).toBe(before + 1)
})

test('an SDK runs a batch: its items succeed or fail one by one, and each ran once', async () => {
  const { sdk, provider } = caller
  const before = provider.ledger().entries.length
  const params = {
    model: MODEL,
    max_tokens: 5,
    messages: [{ role: 'user' as const, content: 'x' }],
  }
  const created = await sdk.messages.batches.create({
    requests: [
      { custom_id: 'a', params },
      { custom_id: 'b', params: { ...params, max_tokens: 0 } },
    ],
  })
  const batch = await sdk.messages.batches.retrieve(created.id)
  expect(batch).toMatchObject({
    processing_status: 'ended',
    request_counts: { succeeded: 1, errored: 1, processing: 0 },
  })
  const results: Record<string, string> = {}
  for await (const { custom_id: id, result } of await sdk.messages.batches.results(created.id)) {
    results[id] = result.type
  }
  expect(results).toEqual({ a: 'succeeded', b: 'errored' })
  expect(provider.ledger().entries.length).toBe(before + 1)
})
