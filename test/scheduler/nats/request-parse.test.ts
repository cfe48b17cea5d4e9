import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseRequest } from '../../../services/scheduler/nats/request-parse.ts'

const parse = (data: Uint8Array | string, headers: Record<string, string> = {}) =>
  parseRequest({
    message: {
      data: Buffer.from(data as string),
      header: (name) => headers[name],
      names: () => Object.keys(headers),
    },
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
      names: () => [],
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

test('request: one that has its memory for itself is not held twice', () => {
  const text = Buffer.from(JSON.stringify(good))
  const data = Buffer.from(new Uint8Array(text).buffer)
  const parsed = parseRequest({
    message: { data, header: () => undefined, names: () => [] },
    makeId: () => 'made',
    bytesMax: 10_000,
  })
  expect(parsed.ok && parsed.body.buffer === data.buffer).toBe(true)
  expect(parsed.ok && Buffer.from(parsed.body).equals(text)).toBe(true)
})

test.each([
  ['headgate-dealine-ms', 'did you mean Headgate-Deadline-Ms?'],
  ['HEADGATE-DEADLINE', 'did you mean Headgate-Deadline-Ms?'],
  ['Headgate-Max-Attempt', 'did you mean Headgate-Max-Attempts?'],
  ['X-Headgate-Degrade', 'did you mean Headgate-Degrade?'],
  ['headgate_id', 'did you mean Headgate-Id?'],
  ['Headgate-Lane', 'the lane is the last part of the subject'],
  ['Headgate-Zqxj', 'there are Headgate-Id, Headgate-Deadline-Ms'],
  ['Headgate-Attempts', 'stands in answers, not in requests; did you mean Headgate-Max-Attempts?'],
  ['Headgate-Outcome', 'headgate-outcome stands in answers'],
])('request: the header %s is refused, and told what was meant', (name, words) => {
  const parsed = parse(JSON.stringify(good), { [name]: 'zqxj', 'Headgate-Id': 'mine' })
  const refusal = { code: 'invalid_request', message: expect.stringContaining(words) }
  expect(parsed).toMatchObject({ ok: false, id: 'mine', refusal })
  if (!parsed.ok) expect(parsed.refusal.message).not.toContain('Zqxj')
})

test('request: Headgate-Again says never or nothing', () => {
  const text = JSON.stringify(good)
  expect(parse(text, { 'Headgate-Again': 'never' }).ok).toBe(true)
  expect(parse(text, { 'Headgate-Again': 'often', 'Headgate-Id': 'mine' })).toMatchObject({
    ok: false,
    id: 'mine',
    refusal: { message: 'Headgate-Again: expected never, or no such header' },
  })
})

test('request: headers that only look a little like ours are none of ours', () => {
  const odd = { headgate: 'x', 'X-Other': 'x', 'Nats-Msg-Id': 'x', 'my-headgate-id': 'x' }
  expect(parse(JSON.stringify(good), odd).ok).toBe(true)
})

test('request: one that is too large is told the bound and whose it is', () => {
  const parsed = parse(' '.repeat(10_001))
  const message = 'the body has 10001 bytes, at most 10000 are allowed by limits.request_bytes'
  expect(parsed).toMatchObject({ ok: false, refusal: { code: 'payload_too_large', message } })
})

const OURS = [
  'Headgate-Id',
  'Headgate-Deadline-Ms',
  'Headgate-Degrade',
  'Headgate-Max-Attempts',
  'Headgate-Prefix',
  'Headgate-Again',
]

test('request: one of our headers twice, in whatever case, is refused by name; others are let be', () => {
  const values: Record<string, string> = {
    'headgate-id': 'mine',
    'headgate-deadline-ms': '5000',
    'headgate-degrade': 'cache',
    'headgate-max-attempts': '2',
    'headgate-prefix': 'mine',
    'headgate-again': 'never',
  }
  const cased = (name: string) => fc.constantFrom(name, name.toLowerCase(), name.toUpperCase())
  const name = fc.constantFrom(...OURS, 'anthropic-beta', 'traceparent', 'Other').chain(cased)
  fc.assert(
    fc.property(fc.array(name, { maxLength: 8 }), (names) => {
      const lower = names.map((one) => one.toLowerCase())
      const parsed = parseRequest({
        message: {
          data: Buffer.from(JSON.stringify(good)),
          header: (one) =>
            lower.includes(one.toLowerCase()) ? (values[one.toLowerCase()] ?? 'x') : undefined,
          names: () => names,
        },
        makeId: () => 'made',
        bytesMax: 10_000,
      })
      const counts = OURS.map((one) => lower.filter((has) => has === one.toLowerCase()).length)
      const twice = OURS.filter((_, at) => counts[at]! > 1)
      expect(parsed.ok).toBe(twice.length === 0)
      // Which of two ids is meant nobody knows, so that neither is taken.
      expect(parsed.id).toBe(counts[0] === 1 ? 'mine' : 'made')
      if (!parsed.ok)
        expect(parsed.refusal).toMatchObject({
          code: 'invalid_request',
          message: `${twice[0]}: stands twice; expected it once`,
        })
    }),
    { numRuns: 500 },
  )
})
