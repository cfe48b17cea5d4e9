/** A body read from its bytes: as JSON.parse and the schema would have it, at a cost in proportion to its bytes. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MODEL_SHAPE } from '#contracts/ids'
import { requestBody, requestHeaders } from '#contracts/messages'
import { mayAct } from '#contracts/acting'
import { scanBody } from '../../../services/scheduler/nats/body-scan.ts'
import { parseRequest } from '../../../services/scheduler/nats/request-parse.ts'

const scan = (text: string | Uint8Array) =>
  scanBody(typeof text === 'string' ? Buffer.from(text) : text)
const good = { model: 'claude-x', max_tokens: 1, messages: [{ role: 'user', content: 'x' }] }
const body = (more: object): string => JSON.stringify({ ...good, ...more })

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

describe('as JSON.parse and the schema have it', () => {
  const field = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.constantFrom('claude-x', true, false, 0, -0, 1, 1.5, -1, 1e9, 1e300, [], [{}]),
    fc.array(fc.oneof(fc.constant({ role: 'user' }), fc.jsonValue({ maxDepth: 2 }))),
  )
  const key = fc.oneof(
    fc.constantFrom('model', 'max_tokens', 'messages', 'stream', 'role'),
    fc.string(),
  )
  const value = fc.oneof(
    fc.dictionary(key, field).map((more) => ({ ...good, ...more })),
    fc.dictionary(key, field),
    fc.jsonValue(),
  )

  test('what fits, and what is known of it', () => {
    fc.assert(
      fc.property(value, fc.constantFrom(undefined, 1, '\t'), (json, space) => {
        const text = JSON.stringify(json, null, space)
        const read = scan(text)
        const parsed = requestBody.safeParse(JSON.parse(text))
        expect(read.ok).toBe(parsed.success)
        if (!read.ok || !parsed.success) return
        const { model, max_tokens, stream } = parsed.data
        expect(read).toEqual({
          ok: true,
          model,
          maxTokens: max_tokens === undefined ? null : Math.abs(max_tokens),
          stream: stream ?? false,
          media: { bytes: 0, tokens: 0 },
          mayAct: mayAct(JSON.parse(text)),
          speed: null,
          tier: null,
        })
      }),
      { numRuns: 2_000 },
    )
  })

  const tool = (more: object) => ({ tools: [{ name: 'one', input_schema: {} }, more] })
  test.each([
    ['the provider searches', tool({ type: 'web_search_20250305', name: 'web_search' }), true],
    ['it runs code', tool({ type: 'code_execution_20250825' }), true],
    ['nobody here knows it', tool({ type: 'send_letter_20300101' }), true],
    ['its name is written with escapes', null, true],
    ['MCP servers', { mcp_servers: [{ url: 'https://x' }] }, true],
    ['a container', { container: 'c_1' }, true],
    ["the caller's own", tool({ type: 'custom', name: 'two' }), false],
    ['the caller runs it', tool({ type: 'bash_20250124', name: 'bash' }), false],
    ['the caller edits', tool({ type: 'text_editor_20250728' }), false],
    ['no server', { mcp_servers: [] }, false],
    ['no container', { container: null }, false],
    ['odd', { tools: [1, null, [], { type: 7 }] }, false],
    ['in what a tool is described by', tool({ input_schema: { type: 'web_search' } }), false],
  ])('whether the provider may act: %s', (name, more, acts) => {
    const text =
      more === null
        ? JSON.stringify({ ...good, ...tool({ type: 'x' }) }).replace('"x"', '"\\u0077eb_search"')
        : JSON.stringify({ ...good, ...more }, null, name.length % 3)
    expect(scan(text)).toMatchObject({ ok: true, mayAct: acts })
    expect(mayAct(JSON.parse(text))).toBe(acts)
  })

  test.each([
    [{ speed: 'fast' }, 'fast', null],
    [{ service_tier: 'standard_only', speed: 'standard' }, 'standard', 'standard_only'],
    [{ speed: null, service_tier: 7 }, '', ''],
    [{ metadata: { speed: 'fast', service_tier: 'auto' } }, null, null],
  ])('how it is to be served: %j', (more, speed, tier) => {
    expect(scan(body(more))).toMatchObject({ ok: true, speed, tier })
  })

  test.each([
    ['png', Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), 1_600],
    ['jpeg', Buffer.from([0xff, 0xd8, 0xff, 0xe0]), 1_600],
    ['gif', Buffer.from('GIF89a'), 1_600],
    ['webp', Buffer.from('RIFF'), 1_600],
    ['pdf', Buffer.from('%PDF-1.7'), 40_000],
    ['text', Buffer.from('just words'), 0],
  ])('of a %s, how much it is and what it may cost', (_kind, begins, tokens) => {
    const data = Buffer.concat([begins, Buffer.alloc(750_000 - begins.length)]).toString('base64')
    const source = { type: 'base64', media_type: 'x', data }
    const read = scan(JSON.stringify({ ...good, system: [{ type: 'image', source }] }))
    const media = { bytes: tokens === 0 ? 0 : data.length, tokens }
    expect(read).toMatchObject({ ok: true, media })
  })

  test('what is JSON at all, with a character changed anywhere', () => {
    const odd = fc.constantFrom(...'{}[]",:\\u0e-+.tfn 1\u0000\u001f\t\u00e9x')
    fc.assert(
      fc.property(value, fc.nat(), odd, fc.boolean(), (json, at, change, insert) => {
        const text = JSON.stringify(json)
        const place = at % (text.length + 1)
        const changed = text.slice(0, place) + change + text.slice(place + (insert ? 0 : 1))
        const read = scan(changed)
        const is = isJson(Buffer.from(changed).toString())
        expect(read.ok || read.known !== null).toBe(is)
      }),
      { numRuns: 3_000 },
    )
  })

  test('the end of a text, wherever it stands and whatever byte is before it', () => {
    const whole = Buffer.alloc(120)
    for (let offset = 0; offset < 4; offset++)
      for (let length = 28; length < 76; length++)
        for (let byte = 0; byte < 128; byte++) {
          const text = `["${'x'.repeat(length)}${String.fromCharCode(byte)}","y"]`
          whole.write(text, offset)
          const read = scan(whole.subarray(offset, offset + text.length))
          if (!read.ok && (read.known !== null) === isJson(text)) continue
          expect([offset, length, byte, read]).toEqual('as JSON.parse has it')
        }
  })

  test.each([
    [
      'a key that is written with escapes',
      '{"\\u006dodel":"claude-x","messages":[{"\\u0072ole":"u"}]}',
    ],
    [
      'of two keys the last',
      '{"model":7,"model":"claude-x","messages":1,"messages":[{"role":1,"role":"u"}]}',
    ],
    ['a number with an exponent', body({}).replace('"max_tokens":1', '"max_tokens":1e3')],
    ['spaces everywhere', ' { "model" : "claude-x" , "messages" : [ { "role" : "u" } ] } \r\n'],
  ])('%s', (_what, text) => {
    expect(scan(text).ok).toBe(true)
  })

  test.each([
    '01',
    '1.',
    '.5',
    '+1',
    '1e',
    '- 1',
    'nul',
    '"\\x"',
    '"\\u12g4"',
    '"\n"',
    '[1,]',
    '{"a":1,}',
    '{a:1}',
    "'a'",
    '[1 2]',
    '{"a" 1}',
    '\ufeff{}',
    '{} {}',
    '[',
    '"',
    '',
  ])('no JSON: %j', (text) => {
    const read = scan(text)
    const problem = expect.stringMatching(/^body: expected JSON in UTF-8; it /)
    expect(read).toEqual({ ok: false, problem, known: null })
  })

  test.each([
    ['', 'it is empty'],
    ['{"model":"claude', 'it ends in the middle'],
    ['[', 'it ends in the middle'],
    ['hello', 'it is none from byte 1 of 5 on'],
    ["{'model':1}", 'it is none from byte 2 of 11 on'],
    ['{"a":1}x', 'it is none from byte 8 of 8 on'],
    ['{"a" 1}', 'it is none from byte 6 of 7 on'],
    ['{"a":NaN}', 'it is none from byte 6 of 9 on'],
    ['{"a":nul}', 'it is none from byte 9 of 9 on'],
    ['{"a":"\\x"}', 'it is none from byte 7 of 10 on'],
    ['\ufeff{}', 'it begins with a byte order mark'],
  ])('where it stops being JSON is told: %j', (text, where) => {
    expect(scan(text)).toMatchObject({ problem: `body: expected JSON in UTF-8; ${where}` })
  })

  test('bytes that are no text are told as that', () => {
    const problem = 'body: expected JSON in UTF-8; its bytes are no UTF-8'
    expect(scan(new Uint8Array([0x7b, 0xff, 0x7d]))).toMatchObject({ problem })
  })
})

test.each([
  [{ max_tokens: 0 }, 0],
  [{ max_tokens: undefined }, null],
  [{ max_tokens: 64_000 }, 64_000],
  [{ max_tokens: 2 ** 40 }, 2 ** 40],
])('max_tokens is for the API to judge: %j', (more, maxTokens) => {
  expect(scan(body(more))).toMatchObject({ ok: true, maxTokens })
})

const LIST = 'expected a list of at least one message'
const WHOLE = 'expected a whole number from 0, or nothing'
test.each([
  [{ model: undefined }, 'model: expected a string; it is missing'],
  [{ model: null }, 'model: expected a string; it is null'],
  [{ model: [] }, 'model: expected a string; it is a list'],
  [{ model: 'claude haiku' }, `model: expected ${MODEL_SHAPE}`],
  [{ max_tokens: '10' }, `max_tokens: ${WHOLE}; it is a string`],
  [{ max_tokens: -1 }, `max_tokens: ${WHOLE}; it is below 0`],
  [{ max_tokens: 1.5 }, `max_tokens: ${WHOLE}; it is no whole number`],
  [{ max_tokens: 1e300 }, `max_tokens: ${WHOLE}; it is above 9007199254740991`],
  [{ max_tokens: null }, `max_tokens: ${WHOLE}; it is null`],
  [{ messages: undefined }, `messages: ${LIST}; it is missing`],
  [{ messages: {} }, `messages: ${LIST}; it is an object`],
  [{ messages: [] }, `messages: ${LIST}; it is empty`],
  [
    { messages: [good.messages[0], 'x'] },
    'messages.1: expected an object with role and content; it is a string',
  ],
  [{ messages: [{}, {}] }, 'messages.0.role: expected a string; it is missing'],
  [{ messages: [{ role: 7 }] }, 'messages.0.role: expected a string; it is a number'],
  [{ stream: 'true' }, 'stream: expected true or false; it is a string'],
])('%j is told by its place, by what is allowed and by what stands there', (more, problem) => {
  expect(scan(body(more))).toMatchObject({ ok: false, problem })
})

test('a stream is known also where something else is wrong', () => {
  expect(scan(body({ messages: [{}], stream: true }))).toMatchObject({
    ok: false,
    known: { model: 'claude-x', stream: true },
  })
})

describe('what is there to stall everybody costs about what its bytes cost', () => {
  /** Of a good body of the same size, in one text: the yardstick of this machine, at this moment. */
  const MEGABYTES = 2
  const size = MEGABYTES * 1_000_000
  const many = (piece: string): string =>
    Array.from({ length: Math.floor(size / (piece.length + 1)) }, () => piece).join(',')
  const read = (data: Uint8Array): void =>
    void parseRequest({
      message: { data, header: () => undefined, names: () => [] },
      makeId: () => 'made',
      bytesMax: 2 * size,
      scan: { depthMax: 256, valuesMax: Infinity },
    })
  /** CPU time of a run, in ms; the clock of a thread goes in steps of some ms, so what is short runs often. */
  const took = (text: string, runs = 1): number => {
    const data = Buffer.from(text)
    const all = Array.from({ length: 3 }, () => {
      const { user: began } = process.threadCpuUsage()
      for (let run = 0; run < runs; run++) read(data)
      return (process.threadCpuUsage().user - began) / 1_000 / runs
    })
    return Math.min(...all)
  }
  const keys = Array.from({ length: size / 12 }, (_, i) => `"${i.toString(36)}":1`).join(',')

  test.each([
    ['empty messages', body({ messages: [] }).replace('[]', `[${many('{}')}]`)],
    [
      'tiny messages',
      body({ messages: [] }).replace('[]', `[${many('{"role":"u","content":""}')}]`),
    ],
    ['numbers for messages', body({ messages: [] }).replace('[]', `[${many('1')}]`)],
    ['a list beside', body({ pad: [] }).replace('"pad":[]', `"pad":[${many('[]')}]`)],
    ['as many names', `{${keys},"model":"claude-x"}`],
    ['brackets', '['.repeat(size)],
    ['escapes', body({ pad: '\n'.repeat(size / 2) })],
    ['spaces', `${' '.repeat(size)}${body({})}`],
  ])('%s', (_what, text) => {
    const plain = took(body({ pad: 'x'.repeat(size) }), 32)
    // Some bytes are dearer than those of a text; objects and errors made of them were thousands of times so.
    expect(took(text)).toBeLessThan(plain * 150 + 62.5 * MEGABYTES)
  })

  test('brackets are refused where they are too deep, in words', () => {
    expect(scan('['.repeat(1_000_000))).toMatchObject({
      problem: 'body: nested deeper than 256 (limits.json_depth)',
    })
    expect(scan(body({ pad: [] }).replace('[]', `${'['.repeat(255)}${']'.repeat(255)}`)).ok).toBe(
      true,
    )
  })

  test('more values than any body has are refused, in words', () => {
    expect(scan(body({ pad: [] }).replace('[]', `[${many('1')}]`))).toMatchObject({
      problem: 'body: more than 1000000 values in lists and objects (limits.json_values)',
    })
    expect(scan(body({ messages: Array(100_000).fill(good.messages[0]) })).ok).toBe(true)
  })

  test('a long list of nothing in Headgate-Degrade is refused before it is split', () => {
    const read = requestHeaders.safeParse({ degrade: ','.repeat(60_000) })
    expect(read.success).toBe(false)
    expect(read.error?.issues).toHaveLength(1)
    expect(requestHeaders.safeParse({ degrade: ' fallback , cache , defer ' }).success).toBe(true)
  })
})
