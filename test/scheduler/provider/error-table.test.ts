/** Every way an upstream can fail, each played over a real socket. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { AttemptCall, Verdict } from '#ports'
import { typeOfStatus } from '#contracts/api-errors'
import type { Turn } from '../../support/scripted-upstream.ts'
import { EVENTS } from '../../conformance/provider.ts'
import { JSON_TYPE, PING, SSE_TYPE, bench, frame, type Bench } from './far-side.ts'

let at: Bench
beforeAll(async () => {
  at = await bench()
})
afterAll(() => at.stop())

interface ErrorJson {
  type?: string
  message?: string
  code?: string
}
interface Situation {
  /** What the upstream does. */
  play: (turn: Turn) => void
  call?: Partial<AttemptCall>
  expect: Partial<Verdict>
  /** Whether the caller gets the upstream's JSON; default: that of `play`'s error. */
  body?: string | null
}

const errorJson = ({ type = 'api_error', message = 'no', code }: ErrorJson): string =>
  JSON.stringify({
    type: 'error',
    error: { type, message, ...(code === undefined ? {} : { details: { error_code: code } }) },
    request_id: 'req_1',
  })

/** An answer with a JSON error. */
function status(
  code: number,
  error: ErrorJson,
  expected: Partial<Verdict>,
  headers: Record<string, string> = {},
): Situation {
  const body = errorJson(error)
  return {
    play: (turn) =>
      turn.reply({
        status: code,
        headers: { ...JSON_TYPE, 'request-id': 'req_1', ...headers },
        body,
      }),
    expect: { status: code, requestId: 'req_1', errorType: error.type ?? 'api_error', ...expected },
    body,
  }
}

/** An answer with a page of the edge's. */
function page(code: number, text: string, expected: Partial<Verdict>): Situation {
  return {
    play: (turn) =>
      turn.reply({
        status: code,
        headers: { 'content-type': 'text/html' },
        body: `<html><body><h1>${text}</h1></body></html>`,
      }),
    expect: { status: code, requestId: null, errorType: null, ...expected },
    body: JSON.stringify({ type: 'error', error: { type: typeOfStatus(code), message: text } }),
  }
}

/** A stream: so many events, then `then`. */
function stream(
  count: number,
  then: (turn: Turn) => void,
  expected: Partial<Verdict>,
  body: string | null = null,
): Situation {
  return {
    play(turn) {
      turn.head({ status: 200, headers: SSE_TYPE })
      for (const data of EVENTS.slice(0, count)) turn.chunk(frame(data))
      then(turn)
    },
    call: { stream: true },
    expect: { status: 200, ...expected },
    body,
  }
}

function errorEvent(count: number, type: string, expected: Partial<Verdict>): Situation {
  const data = errorJson({ type })
  const tell = (turn: Turn): void => turn.chunk(PING + frame(data))
  return stream(count, tell, { errorType: type, mayHaveRun: true, ...expected }, data)
}

const json =
  (text: string | Buffer, type = 'application/json') =>
  (turn: Turn) =>
    turn.reply({ status: 200, headers: { 'content-type': type }, body: text })
const finish = (turn: Turn): void => turn.finish()
const reset = (turn: Turn): void => turn.reset()

const rejected = { kind: 'rejected', mayHaveRun: false, retryAfterMs: null } as const
const keyStop = { kind: 'key_stop', mayHaveRun: false } as const
const fault = { kind: 'fault', mayHaveRun: true } as const
const broken = { kind: 'broken', mayHaveRun: true } as const

const situations: Record<string, Situation> = {
  '400': status(400, { type: 'invalid_request_error' }, { ...rejected, cause: 'client_error' }),
  '400, spend limit of the key': status(
    400,
    {
      type: 'invalid_request_error',
      message:
        'You have reached your specified API usage limits. You will regain access on 2026-02-01 at 00:00 UTC.',
    },
    { ...keyStop, spendLimit: true },
  ),
  '400, spend limit of the workspace': status(
    400,
    {
      message:
        'You have reached your specified workspace API usage limits. You will regain access later.',
    },
    { ...keyStop, spendLimit: true },
  ),
  "400, a tenant's words about limits": status(
    400,
    {
      message: 'messages.0.role: "You have reached your specified API usage limits" is not a role',
    },
    rejected,
  ),
  '400, organisation on hold': status(
    400,
    { code: 'organization_on_hold' },
    { ...keyStop, cause: 'organization_on_hold' },
  ),
  '400, organisation on hold by text': status(
    400,
    { message: 'This organization is on hold.' },
    keyStop,
  ),
  '400, no credit': status(
    400,
    { message: 'Your credit balance is too low to access the Anthropic API.' },
    keyStop,
  ),
  '400, request body timeout': status(
    400,
    { code: 'request_body_timeout' },
    { ...rejected, cause: 'request_body_timeout' },
  ),
  '401': status(401, { type: 'authentication_error' }, { ...rejected, cause: 'unauthenticated' }),
  '402': status(402, { type: 'billing_error' }, keyStop),
  '402, linked organisation': status(
    402,
    { type: 'billing_error', code: 'linked_organization_spend_limit_reached' },
    { ...keyStop, spendLimit: true },
  ),
  '403': status(403, { type: 'permission_error' }, rejected),
  '404': status(404, { type: 'not_found_error' }, rejected),
  '409': status(409, { type: 'conflict_error' }, { kind: 'conflict', mayHaveRun: false }),
  '425': status(425, {}, { kind: 'conflict', mayHaveRun: false }),
  '412': status(412, {}, rejected),
  '418': status(418, {}, rejected),
  '422': status(422, {}, rejected),
  '431': status(431, {}, rejected),
  '501': status(501, {}, rejected),
  '408': status(408, { type: 'timeout_error' }, { kind: 'hang', mayHaveRun: true }),
  '413': status(413, { type: 'request_too_large' }, { ...rejected, cause: 'content_too_large' }),
  '413 of the edge': page(413, 'Payload Too Large', rejected),
  '429 with retry-after': status(
    429,
    { type: 'rate_limit_error' },
    { kind: 'throttled', retryAfterMs: 16_000, mayHaveRun: false },
    { 'retry-after': '16' },
  ),
  '429 with a date': status(
    429,
    { type: 'rate_limit_error' },
    { kind: 'throttled', retryAfterMs: 20_000 },
    { 'retry-after': 'Thu, 01 Jan 2026 00:00:20 GMT' },
  ),
  '429 with an absurd retry-after': status(
    429,
    { type: 'rate_limit_error' },
    { kind: 'throttled', retryAfterMs: 300_000, alarm: true },
    { 'retry-after': '259200' },
  ),
  '429 with rate-limit headers only': status(
    429,
    { type: 'rate_limit_error' },
    {
      kind: 'throttled',
      retryAfterMs: null,
      rate: {
        requests: { limit: 1_000, remaining: 0 },
        inputTokens: { limit: null, remaining: null },
        outputTokens: { limit: null, remaining: null },
      },
    },
    {
      'retry-after': '0',
      'anthropic-ratelimit-requests-limit': '1000',
      'anthropic-ratelimit-requests-remaining': '0',
    },
  ),
  '429, ramp': status(
    429,
    { type: 'rate_limit_error', code: 'ramp_limit_exceeded' },
    { kind: 'ramp_limited', retryAfterMs: 5_000, mayHaveRun: false },
    { 'retry-after': '5' },
  ),
  '429, enforced spend limit': status(
    429,
    { type: 'rate_limit_error', code: 'enforced_spend_limit_reached' },
    { ...keyStop, spendLimit: true, retryAfterMs: null },
  ),
  '429, contract spend limit': status(
    429,
    { type: 'rate_limit_error', code: 'contract_spend_limit_reached' },
    { ...keyStop, spendLimit: true, retryAfterMs: 60_000 },
    { 'retry-after': '60' },
  ),
  '429 without a word': status(
    429,
    { type: 'rate_limit_error' },
    { kind: 'unexplained', mayHaveRun: false },
  ),
  '429, concurrent connections': status(
    429,
    {
      type: 'rate_limit_error',
      message: 'Number of concurrent connections has exceeded your rate limit.',
    },
    { kind: 'unexplained', namesConcurrency: true },
  ),
  '429 of the edge': page(429, 'Too Many Requests', { kind: 'unexplained' }),
  '499': status(499, {}, fault),
  '500': status(500, { type: 'api_error' }, { ...fault, cause: 'server_error' }),
  '500 that says Overloaded': status(
    500,
    { message: 'Overloaded' },
    { kind: 'overloaded', mayHaveRun: true },
  ),
  '500 of type overloaded': status(500, { type: 'overloaded_error' }, { kind: 'overloaded' }),
  '502 of the edge': page(502, 'Bad gateway', fault),
  '504': status(504, { type: 'timeout_error' }, { ...fault, cause: 'gateway_timeout' }),
  '524 of the edge': page(524, 'A timeout occurred', fault),
  '503': status(503, { type: 'api_error' }, { kind: 'overloaded', mayHaveRun: false }),
  '503 of the edge': page(503, 'Service Unavailable', { kind: 'overloaded' }),
  '529': status(
    529,
    { type: 'overloaded_error' },
    { kind: 'overloaded', retryAfterMs: null, mayHaveRun: false },
    { 'retry-after': '0', 'x-should-retry': 'true' },
  ),
  '529, compaction': status(
    529,
    { type: 'overloaded_error', code: 'compaction_unavailable' },
    { kind: 'overloaded' },
  ),
  '302': {
    play: (turn) => turn.reply({ status: 302, headers: { location: 'https://elsewhere.test/' } }),
    expect: { ...rejected, status: 302, alarm: true },
    body: null,
  },
  'a status nobody knows': page(777, 'jackpot', { kind: 'fault' }),
  'an error body that breaks off': {
    play(turn) {
      turn.raw(
        'HTTP/1.1 529 No\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"type"',
      )
      turn.reset()
    },
    expect: { kind: 'overloaded', status: 529 },
    body: null,
  },
  '200 with HTML': {
    play: json('<html>', 'text/html'),
    expect: { ...broken, cause: 'content_type' },
  },
  '200 with HTML for a stream': {
    play: json('<html>', 'text/html'),
    call: { stream: true },
    expect: broken,
  },
  '200 with JSON for a stream': { play: json('{}'), call: { stream: true }, expect: broken },
  '200 with broken JSON': { play: json('{"type":"mess'), expect: { ...broken, cause: 'not_json' } },
  '200 with JSON that is no object': {
    play: json('[1]'),
    expect: { ...broken, cause: 'not_json' },
  },
  '200 with nothing': { play: json(''), expect: { ...broken, cause: 'ended_early' } },
  '200 with an error inside': {
    play: json(errorJson({ type: 'overloaded_error' })),
    expect: { kind: 'overloaded', errorType: 'overloaded_error', mayHaveRun: true },
    body: errorJson({ type: 'overloaded_error' }),
  },
  '200 and retry-after, which means nothing there': {
    play: (turn) =>
      turn.reply({ status: 200, headers: { ...JSON_TYPE, 'retry-after': '52' }, body: '{}' }),
    expect: { kind: 'ok', retryAfterMs: null },
    body: '{}',
  },
  '200 that resets in its body': {
    play(turn) {
      turn.raw('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{')
      turn.reset()
    },
    expect: { ...broken, cause: 'reset' },
  },
  '200 shorter than it promised': {
    play(turn) {
      turn.raw('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{}')
      turn.reset()
    },
    expect: broken,
  },
  'reset before the head': { play: reset, expect: { ...fault, status: null, cause: 'reset' } },
  'something that is not HTTP': {
    play: (turn) => turn.raw('220 mail.test ESMTP\r\n'),
    expect: { ...fault, status: null },
  },
  'a stream that resets before its first event': stream(0, reset, broken),
  'a stream that resets after an event': stream(1, reset, { kind: 'cut', cause: 'reset' }),
  'a stream that ends before its first event': stream(0, finish, {
    ...broken,
    cause: 'ended_early',
  }),
  'a stream of one ping': stream(0, (turn) => (turn.chunk(PING), turn.finish()), broken),
  'a stream that ends without message_stop': stream(6, finish, {
    kind: 'cut',
    cause: 'ended_early',
    mayHaveRun: true,
  }),
  'a stream whose first event is no JSON': stream(
    0,
    (turn) => turn.chunk('event: message_start\ndata: {"type\n\n'),
    { ...broken, cause: 'not_json' },
  ),
  'overloaded_error first': errorEvent(0, 'overloaded_error', { kind: 'overloaded' }),
  'rate_limit_error first': errorEvent(0, 'rate_limit_error', { kind: 'throttled' }),
  'api_error first': errorEvent(0, 'api_error', { kind: 'broken' }),
  'timeout_error first': errorEvent(0, 'timeout_error', { kind: 'broken' }),
  'another error first': errorEvent(0, 'invalid_request_error', { kind: 'rejected' }),
  'overloaded_error later': errorEvent(2, 'overloaded_error', { kind: 'cut_overloaded' }),
  'rate_limit_error later': errorEvent(2, 'rate_limit_error', { kind: 'cut' }),
  'api_error later': errorEvent(2, 'api_error', { kind: 'cut' }),
  'another error later': errorEvent(2, 'invalid_request_error', { kind: 'cut' }),
}

test.each(Object.entries(situations))('%s', async (_name, situation) => {
  const running = at.send(situation.call)
  situation.play(await at.upstream.next())
  const verdict = await running.verdict
  expect(verdict).toMatchObject(situation.expect)
  const body = situation.body ?? null
  expect(verdict.body === null ? null : Buffer.from(verdict.body).toString()).toBe(body)
})
