/** Every fault does on the wire what its row says; the table below knows every kind. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { ERROR_TYPES } from '../../services/simulated-provider/api-error.ts'
import {
  FAULT_KINDS,
  type FaultKind,
  type FaultSpec,
} from '../../services/simulated-provider/listener.ts'
import { Agent, request } from 'undici'
import { broken, pages, refused, silent } from './fault-table.ts'
import { body, callerOf, eventsOf, HEADERS, type Caller, type Reply } from './caller.ts'

let caller: Caller
beforeAll(async () => void (caller = await callerOf()))
afterEach(() => caller.provider.clear())
afterAll(() => caller.close())

const lastEntry = () => caller.provider.ledger().entries.at(-1)
const errorOf = (reply: Reply) =>
  (
    JSON.parse(reply.text) as {
      error: { type: string; message: string; details?: { error_code: string } }
    }
  ).error

describe('a refusal has the status, type, code and retry-after of its row', () => {
  test.each(Object.entries(refused))('%s', async (kind, row) => {
    caller.provider.fault({ kind: kind as FaultKind, ...row.spec })
    const reply = await caller.post()
    expect(reply.status).toBe(row.status)
    expect(errorOf(reply)).toMatchObject({
      type: row.type,
      ...(row.code === undefined ? {} : { details: { error_code: row.code } }),
    })
    expect(reply.headers['retry-after']).toBe(row.retryAfter)
    expect(reply.headers['request-id']).toBe(
      (JSON.parse(reply.text) as { request_id: string }).request_id,
    )
    expect(lastEntry()).toMatchObject({
      requestId: reply.headers['request-id'],
      accepted: false,
      executed: row.executed ?? false,
      fault: kind,
      billed: { input: 0, output: 0 },
    })
    const thrown: unknown = await caller.sdk.messages
      .create({
        model: 'claude-haiku-4-5',
        max_tokens: 5,
        messages: [{ role: 'user', content: 'x' }],
      })
      .catch((error: unknown) => error)
    expect(thrown).toBeInstanceOf(row.sdk)
    if (row.code !== undefined) expect(thrown).toMatchObject({ errorCode: row.code })
  })
})

describe('a page of the edge is HTML and knows no request id, but for the 200 that looks like an answer', () => {
  test.each(Object.entries(pages))('%s', async (kind, status) => {
    caller.provider.fault({ kind: kind as FaultKind })
    const reply = await caller.post()
    expect(reply.status).toBe(status)
    expect(reply.headers['content-type']).toMatch(/^text\/html/)
    expect(reply.text).toMatch(/^<html>/)
    if (status !== 200) expect(reply.headers['request-id']).toBeUndefined()
  })
})

/** What is left of an answer: the events that arrived whole, and how the connection ended. */
async function remains(extra: object): Promise<{ events: string[]; bytes: number; ended: string }> {
  const controller = new AbortController()
  const res = await fetch(`${caller.provider.url}/v1/messages`, {
    method: 'POST',
    headers: {
      'x-api-key': 'k',
      'anthropic-version': '2023-06-01',
      'content-type': 'application/json',
    },
    body: JSON.stringify({
      model: 'claude-haiku-4-5',
      max_tokens: 99,
      messages: [{ role: 'user', content: 'x' }],
      ...extra,
    }),
    signal: controller.signal,
  }).catch((error: Error) => error)
  if (res instanceof Error) return { events: [], bytes: 0, ended: 'no answer' }
  let text = ''
  const decoder = new TextDecoder()
  const reader = res.body?.getReader()
  try {
    for (;;) {
      const read = await reader?.read()
      if (read === undefined || read.done) break
      text += decoder.decode(read.value, { stream: true })
    }
    return {
      events: eventsOf(text).map((event) => event.type),
      bytes: text.length,
      ended: 'cleanly',
    }
  } catch {
    const events = text.includes('\n\n') ? eventsOf(text).map((event) => event.type) : []
    return { events, bytes: text.length, ended: 'broken' }
  }
}

const steer = { metadata: { simulated_output_tokens: 12 } }
describe('a broken answer breaks where its row says, and never counts as finished', () => {
  test.each(Object.entries(broken))('%s', async (kind, row) => {
    caller.provider.fault({ kind: kind as FaultKind, ...row.spec })
    const left = await remains({ stream: row.stream, ...steer })
    expect(left).toMatchObject({ events: row.events, ended: row.ended })
    if (row.bytes !== undefined) expect(left.bytes).toBe(row.bytes)
    else if (row.ended === 'broken') expect(left.bytes).toBeGreaterThan(0)
    if (kind !== 'empty_200') expect(lastEntry()).toMatchObject({ finished: false, aborted: true })
    expect(lastEntry()).toMatchObject({ executed: kind !== 'error_event_first', fault: kind })
  })
})

describe('a silent answer stays silent until its caller leaves, who is entered as gone', () => {
  test.each(Object.entries(silent))('%s', async (kind, row) => {
    caller.provider.fault({ kind: kind as FaultKind })
    const leaving = new AbortController()
    const { signal } = leaving
    const reply = caller
      .post({ stream: row.stream }, { signal })
      .catch((error: Error) => error.name)
    await caller.until((stats) => stats.inFlight === 1 && lastEntry()?.fault === kind)
    expect(lastEntry()).toMatchObject({ status: row.status, finished: false, aborted: false })
    leaving.abort()
    expect(await reply).toBe('AbortError')
    await caller.until((stats) => stats.inFlight === 0)
    expect(lastEntry()).toMatchObject({ finished: false, aborted: true })
  })
})

test('broken_json_200: a 200 whose JSON cannot be read', async () => {
  caller.provider.fault({ kind: 'broken_json_200' })
  const reply = await caller.post()
  expect(reply).toMatchObject({ status: 200, headers: { 'content-type': 'application/json' } })
  expect(() => void JSON.parse(reply.text)).toThrow(SyntaxError)
})

test('slow_headers: the right answer, later', async () => {
  caller.provider.fault({ kind: 'slow_headers', waitMs: 30 })
  const before = performance.now()
  expect(await caller.post()).toMatchObject({ status: 200 })
  // timers may fire up to a millisecond early
  expect(performance.now() - before).toBeGreaterThan(28)
})

test('idle_close: the answer is whole, and then the connection is gone without a word', async () => {
  caller.provider.fault({ kind: 'idle_close', times: 1 })
  const agent = new Agent()
  const gone = new Promise<void>((resolve) => agent.once('disconnect', () => resolve()))
  const reply = await request(`${caller.provider.url}/v1/messages`, {
    dispatcher: agent,
    method: 'POST',
    headers: HEADERS,
    body: JSON.stringify(body()),
  })
  expect(reply).toMatchObject({ statusCode: 200, headers: { connection: 'keep-alive' } })
  expect(await reply.body.json()).toMatchObject({ type: 'message' })
  await gone
  await agent.destroy()
})

test('ragged: chunks end inside frames, CRLF and characters, and the text is whole', async () => {
  caller.provider.fault({ kind: 'ragged' })
  const reply = await caller.post({ stream: true, metadata: { simulated_output_tokens: 90 } })
  const within = (at: (before: number, after: number) => boolean) =>
    reply.chunks.some((chunk, i) => {
      const next = reply.chunks[i + 1]
      return next !== undefined && at(chunk.at(-1) ?? 0, next[0] ?? 0)
    })
  expect(within((before, after) => before === 13 && after === 10)).toBe(true)
  expect(within((_, after) => (after & 0xc0) === 0x80)).toBe(true)
  const deltas = eventsOf(reply.text).filter((event) => event.type === 'content_block_delta')
  const text = deltas.map(({ delta }) => (delta as { text: string }).text).join('')
  expect(text).toContain('Señora Núñez')
  expect(text.split(' ').length - 1).toBe(90)
})

test('overloaded: a hidden capacity of 0 refuses one and all', async () => {
  caller.provider.fault({ kind: 'overloaded', capacity: 0 })
  expect(await caller.post()).toMatchObject({ status: 529, headers: { 'retry-after': '0' } })
})

test('quota_drop: other limits hold while it lasts', async () => {
  caller.provider.fault({ kind: 'quota_drop', rpm: 1 })
  expect(await caller.post()).toMatchObject({
    status: 200,
    headers: {
      'anthropic-ratelimit-requests-limit': '1',
      'anthropic-ratelimit-requests-remaining': '0',
    },
  })
  expect(await caller.post()).toMatchObject({ status: 429, headers: { 'retry-after': '60' } })
  caller.provider.clear()
  expect(await caller.post()).toMatchObject({ status: 200 })
})

test('no kind of fault is left out here', () => {
  const others = [
    'broken_json_200',
    'slow_headers',
    'idle_close',
    'ragged',
    'overloaded',
    'quota_drop',
  ]
  const known = [
    ...Object.keys(refused),
    ...Object.keys(pages),
    ...Object.keys(broken),
    ...Object.keys(silent),
    ...others,
  ]
  expect(known.toSorted()).toEqual(FAULT_KINDS.toSorted())
})

describe('an exhausted limiter shows itself in its own headers, a bare 429 shows nothing', () => {
  test.each([
    ['rate_limited_requests', 'requests', '0'],
    ['rate_limited_input', 'input-tokens', '0'],
    ['rate_limited_output', 'output-tokens', '0'],
    ['rate_limited_bare', 'requests', undefined],
    ['concurrent_connections', 'requests', undefined],
  ] as const)('%s', async (kind, family, remaining) => {
    caller.provider.fault({ kind })
    const { headers } = await caller.post()
    expect(headers[`anthropic-ratelimit-${family}-remaining`]).toBe(remaining)
  })
})

describe('the knobs of a spec win over its row', () => {
  test.each<[FaultSpec, object, object]>([
    [{ kind: 'rate_limited_requests', retryAfter: 17 }, { 'retry-after': '17' }, {}],
    [{ kind: 'spend_enforced', retryAfter: 9 }, { 'retry-after': '9' }, {}],
    [{ kind: 'internal_500', message: 'Oh' }, {}, { error: { message: 'Oh' } }],
    [{ kind: 'unavailable_503', code: 'x' }, {}, { error: { details: { error_code: 'x' } } }],
    [{ kind: 'status', status: 431, errorType: 'api_error' }, {}, { error: { type: 'api_error' } }],
  ])('%j', async (spec, headers, said) => {
    caller.provider.fault(spec)
    const reply = await caller.post()
    expect(reply.headers).toMatchObject(headers)
    expect(JSON.parse(reply.text)).toMatchObject(said)
  })

  test('a retry-after of null is none', async () => {
    caller.provider.fault({ kind: 'storm_529', retryAfter: null, executed: true })
    const reply = await caller.post()
    expect(reply.headers).not.toHaveProperty('retry-after')
    expect(lastEntry()).toMatchObject({ executed: true })
  })

  test('a cut stream stops after as many events as asked', async () => {
    caller.provider.fault({ kind: 'no_message_stop', after: 2 })
    expect(await remains({ stream: true })).toMatchObject({ events: ['message_start', 'ping'] })
  })

  test.each(ERROR_TYPES)('an error event may be of type %s', async (errorType) => {
    caller.provider.fault({ kind: 'error_event_late', after: 0, errorType, message: 'Oh' })
    const events = eventsOf((await caller.post({ stream: true })).text)
    expect(events.at(-1)).toMatchObject({
      type: 'error',
      error: { type: errorType, message: 'Oh' },
    })
  })
})

test('faults that only modify combine, also with one that breaks', async () => {
  caller.provider.fault({ kind: 'ragged' })
  caller.provider.fault({ kind: 'slow_headers', waitMs: 1 })
  caller.provider.fault({ kind: 'error_event_late', after: 1 })
  const reply = await caller.post({ stream: true })
  expect(reply.text).toContain('\r\n')
  expect(eventsOf(reply.text).at(-1)).toMatchObject({ type: 'error' })
})

test('a fault of streams passes by a call that is not streamed, and keeps its use for one that is', async () => {
  caller.provider.fault({ kind: 'error_event_first', times: 1 })
  expect(await caller.post()).toMatchObject({ status: 200 })
  expect(eventsOf((await caller.post({ stream: true })).text)).toHaveLength(1)
})

test('a ragged body that is not streamed is the same message', async () => {
  caller.provider.fault({ kind: 'ragged' })
  const reply = await caller.post({ metadata: { simulated_output_tokens: 60 } })
  expect(reply.chunks.length).toBeGreaterThan(5)
  expect(JSON.parse(reply.text)).toMatchObject({ usage: { output_tokens: 60 } })
})
