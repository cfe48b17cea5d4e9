/** An upstream's error in every shape that people send. */
import { describe, expect, test, vi } from 'vitest'
import {
  ERROR_TEXT_CHARS_MAX,
  readError,
} from '../../../services/scheduler/provider/upstream-error.ts'

const read = (text: string | Buffer, status: number | null = 400) => {
  const { body, ...rest } = readError(Buffer.from(text), status)
  return {
    ...rest,
    said: body === null ? null : (JSON.parse(String(Buffer.from(body))) as unknown),
  }
}
const said = (message: string, type = 'invalid_request_error') => ({
  type: 'error',
  error: { type, message },
})

describe("an upstream's error", () => {
  test.each([
    ['flat', '{"message":"no room"}', 'no room'],
    ['flat, of the whole', '{"type":"error","message":"no room"}', 'no room'],
    ['a gateway of AWS', '{"Message":"no room"}', 'no room'],
    ['detail', '{"detail":"no room"}', 'no room'],
    [
      'detail as a list',
      '{"detail":[{"loc":["body","messages",0],"msg":"field required","type":"missing"},{"loc":["body"],"msg":"b"}]}',
      'body.messages.0: field required; body: b',
    ],
    ['a problem of RFC 9457', '{"title":"Bad","detail":"no room","status":400}', 'no room'],
    ['error as text', '{"error":"no room"}', 'no room'],
    ['error and its description', '{"error_description":"no room"}', 'no room'],
    ['error without a type', '{"error":{"message":"no room"}}', 'no room'],
    ['error in an error', '{"error":{"error":{"message":"no room"}}}', 'no room'],
    ['errors', '{"errors":[{"code":7,"message":"no room"},"b"]}', 'no room; b'],
    ['success and errors', '{"success":false,"errors":["no room"],"messages":[]}', 'no room'],
    ['a list of errors', '[{"error":{"code":400,"message":"no room"}}]', 'no room'],
    ['a JSON string', '"no room"', 'no room'],
    ['plain text', 'no room\n', 'no room'],
    [
      'a page',
      '<!doctype html><html><head><TITLE>413 &amp; no room</TITLE></head>',
      '413 & no room',
    ],
    ['a page with attributes', '<html><h1 class="x">no room</h1>', 'no room'],
    [
      'an XML document',
      '<?xml version="1.0"?><Error><Code>X</Code><Message>no room</Message></Error>',
      'no room',
    ],
    ['a stream', 'event: error\ndata: {"message":"no room"}\n\n', 'no room'],
    ['a stream of an error without its end', ': hi\ndata: {"error":"no room"}', 'no room'],
    ['a byte order mark', '\uFEFF{"message":"no room"}', 'no room'],
  ])('%s', (_name, text, words) => {
    expect(read(text).said).toEqual(said(words))
  })

  test.each([
    ['nothing', ''],
    ['white space', ' \n'],
    ['null', 'null'],
    ['an empty object', '{}'],
    ['no words', '{"error":{"type":7,"message":[],"details":3}}'],
    ['JSON that broke off', '{"error":{"message":"no ro'],
    ['bytes that are no text', Buffer.from([0xff, 0xfe, 0, 1, 2])],
    ['a page without words', '<html><body></body></html>'],
  ])('nothing is made of %s', (_name, text) => {
    expect(read(text)).toMatchObject({ type: null, code: null, said: null })
  })

  test("the API's own goes on byte for byte, with all its fields", () => {
    const text = '{"error" :{"type":"t","message":"m","details":{"error_code":"c"},"more":1}}'
    const bytes = Buffer.from(text)
    expect(readError(bytes, 400)).toMatchObject({ type: 't', code: 'c', text: 'm' })
    expect(String(readError(bytes, 400).body)).toBe(text)
  })

  test('a type without words is its own word', () => {
    const { said: told } = read('{"type":"error","error":{"type":"overloaded_error"}}', null)
    expect(told).toEqual(said('overloaded_error', 'overloaded_error'))
  })

  test.each([
    [400, 'invalid_request_error'],
    [401, 'authentication_error'],
    [404, 'not_found_error'],
    [408, 'timeout_error'],
    [413, 'request_too_large'],
    [422, 'invalid_request_error'],
    [429, 'rate_limit_error'],
    [500, 'api_error'],
    [503, 'api_error'],
    [504, 'timeout_error'],
    [529, 'overloaded_error'],
    [null, 'api_error'],
  ])('without a type, %s has %s', (status, type) => {
    expect(read('{"message":"m"}', status).said).toEqual(said('m', type))
  })

  test('words are bounded and of one piece, whatever they were', () => {
    const long = read(JSON.stringify({ message: '\u{1F30A}'.repeat(100_000) })).said as {
      error: { message: string }
    }
    expect(long.error.message.length).toBeLessThanOrEqual(ERROR_TEXT_CHARS_MAX)
    expect(long.error.message.isWellFormed()).toBe(true)
    const own = { type: 'x', message: 'm'.repeat(5_000), details: { error_code: 'c' } }
    const cut = read(JSON.stringify({ error: own }))
    expect(cut.said).toMatchObject({ error: { type: 'x', details: { error_code: 'c' } } })
    expect(read('{"message":"a\\u0000\\u001b[31mb"}').said).toEqual(said('a  [31mb'))
  })

  test('of megabytes only a few fields are read', () => {
    const parse = vi.spyOn(JSON, 'parse')
    try {
      const filler = `"a":[${'{},'.repeat(1_000_000)}{}]`
      const { said: told } = read(`{${filler},"error":{"type":"t","message":"m"}}`)
      expect(told).toMatchObject({ error: { type: 't', message: 'm' } })
      expect(read(`{${filler},"error":{"type":"t","mess`).said).toBeNull()
      expect(Math.max(...parse.mock.calls.map(([text]) => text.length))).toBeLessThan(1_000_001)
    } finally {
      parse.mockRestore()
    }
  })

  test('another Headgate has the last word where it has tried, or would say the same again', () => {
    const of = (headgate: object) =>
      read(JSON.stringify({ error: { type: 't', message: 'm' }, headgate })).final
    expect(of({ code: 'retries_exhausted', retryable: true, attempts: 3 })).toBe(true)
    expect(of({ code: 'invalid_request', retryable: false, attempts: 0 })).toBe(true)
    expect(of({ code: 'queue_full', retryable: true, attempts: 0 })).toBe(false)
    expect(read('{"headgate":7}').final).toBe(false)
  })
})
