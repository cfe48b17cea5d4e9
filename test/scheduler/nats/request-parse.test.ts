import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseRequest } from '../../../services/scheduler/nats/request-parse.ts'

const parse = (data: Uint8Array | string, headers: Record<string, string> = {}) =>
  parseRequest({
    message: { data: Buffer.from(data as string), header: (name) => headers[name] },
    makeId: () => 'made',
    bytesMax: 10_000,
  })
const good = { model: 'claude-x', max_tokens: 1, messages: [{ role: 'user', content: 'x' }] }

test('request: any bytes parse or are refused without a word of theirs', () => {
  const secret = 'zqxj'
  const odd = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.json().map((json) => json.replaceAll('a', secret)),
    fc
      .record(
        {
          model: fc.anything(),
          max_tokens: fc.anything(),
          messages: fc.anything(),
          stream: fc.anything(),
        },
        { requiredKeys: [] },
      )
      .map((body) => JSON.stringify({ ...good, ...body, [secret]: secret }, bigints)),
  )
  fc.assert(
    fc.property(odd, (data) => {
      const parsed = parse(data)
      if (parsed.ok) expect(parsed.id).toBe('made')
      else {
        expect(parsed.refusal.code).toBe('invalid_request')
        expect(parsed.refusal.message).not.toContain(secret)
        expect(parsed.refusal.message).toMatch(/^[a-zA-Z_.0-9-]+: ./)
      }
    }),
    { numRuns: 1_000 },
  )
})

test('request: any header values parse or are refused without a word of theirs', () => {
  const value = fc.string({ minLength: 1, maxLength: 80 }).map((text) => `zqxj${text}`)
  const values = { requiredKeys: [] as never[] }
  const headers = fc.record(
    {
      'Headgate-Id': value,
      'Headgate-Deadline-Ms': value,
      'Headgate-Degrade': value,
      'anthropic-beta': value,
      'anthropic-version': value,
      traceparent: value,
      tracestate: value,
    },
    values,
  )
  fc.assert(
    fc.property(headers, (given) => {
      const parsed = parse(JSON.stringify(good), given as Record<string, string>)
      if (parsed.ok) {
        expect(given['Headgate-Deadline-Ms'] ?? given['Headgate-Degrade']).toBeUndefined()
        expect(parsed.headers.traceparent).toBeUndefined()
      } else expect(parsed.refusal.message).not.toContain('zqxj')
      expect(parsed.id).toMatch(/^(made|zqxj[A-Za-z0-9_-]*)$/)
    }),
    { numRuns: 1_000 },
  )
})

test('request: headers that cannot be read are refused, and the body is not taken on trust', () => {
  const parsed = parseRequest({
    message: {
      data: Buffer.from(JSON.stringify(good)),
      header() {
        throw new TypeError('unreadable')
      },
    },
    makeId: () => 'made',
    bytesMax: 10_000,
  })
  expect(parsed).toMatchObject({ ok: false, refusal: { code: 'invalid_request' } })
})

test('request: a queued body keeps no more memory than its own', () => {
  const read = Buffer.alloc(65_536, 32)
  Buffer.from(JSON.stringify(good)).copy(read)
  const parsed = parse(read.subarray(0, JSON.stringify(good).length))
  expect(parsed.ok && parsed.body.buffer.byteLength).toBe(JSON.stringify(good).length)
})

function bigints(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}
