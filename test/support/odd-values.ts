/** Odd values for fuzzing a door: text, headers, bodies and whole HTTP requests, well framed and not. Text of
 *  ours holds `MARK`, so that an echo shows. */
import { gzipSync } from 'node:zlib'
import fc, { type Arbitrary } from 'fast-check'

export const MARK = 'zq~Echoed~qz'

/** Any text: controls, line breaks of every kind, lone surrogates, other alphabets. */
export const anyText: Arbitrary<string> = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.string({
    unit: fc.constantFrom(
      '\r',
      '\n',
      '\r\n',
      '\0',
      '\t',
      ' ',
      ':',
      ',',
      'a',
      '\u2028',
      '\u0085',
      '\ud800',
    ),
    maxLength: 20,
  }),
  fc.constantFrom(
    '',
    MARK,
    `${MARK}\r\nset-cookie: a=b`,
    `${MARK}\n\nevent: error\ndata: {}`,
    '__proto__',
  ),
)

/** What may stand in a header on the wire. */
const fieldText: Arbitrary<string> = fc.oneof(
  fc.string({ unit: 'grapheme-ascii', maxLength: 60 }).map(inField),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => inField(Buffer.from(bytes).toString('latin1'))),
  fc.constantFrom(MARK, `${MARK} ${MARK}`, '', ' ', '\t', '"', MARK.repeat(100)),
)

function inField(text: string): string {
  return text.replace(/[^\t\x20-\x7e\x80-\xff]/g, '').trim()
}

// ---- headers as a handler gets them ----

const NAMES = [
  'headgate-lane',
  'headgate-id',
  'headgate-deadline-ms',
  'headgate-degrade',
  'headgate-prefix',
  'anthropic-version',
  'anthropic-beta',
  'traceparent',
  'tracestate',
  'x-api-key',
  'authorization',
  'host',
  'origin',
  'sec-fetch-site',
  '__proto__',
  'constructor',
] as const

export const anyHeaders: Arbitrary<Record<string, string | string[] | undefined>> = fc.dictionary(
  fc.oneof({ arbitrary: fc.constantFrom(...NAMES), weight: 9 }, { arbitrary: anyText, weight: 1 }),
  fc.oneof(
    { arbitrary: anyText, weight: 6 },
    {
      arbitrary: fc.constantFrom('interactive', 'batch', 'r_1', '1000', 'fallback,cache'),
      weight: 3,
    },
    {
      arbitrary: fc.constantFrom('127.0.0.1:80', 'localhost', '[::1]:1', 'evil.example'),
      weight: 3,
    },
    { arbitrary: fc.array(anyText, { maxLength: 3 }), weight: 1 },
    { arbitrary: fc.constant(undefined), weight: 1 },
  ),
  { maxKeys: 8, noNullPrototype: false },
)

// ---- bodies ----

const MODEL = 'claude-haiku-4-5'

const good: Arbitrary<Record<string, unknown>> = fc.record({
  model: fc.constant(MODEL),
  max_tokens: fc.constantFrom(1, 64, 1_000),
  messages: fc
    .array(
      fc.record({ role: fc.constant('user'), content: fc.oneof(anyText, fc.constant(MARK)) }),
      {
        minLength: 1,
        maxLength: 3,
      },
    )
    .map((messages) => messages.map((one) => ({ ...one, content: `${one.content}.` }))),
  stream: fc.boolean(),
})

/** One field that does not belong, or is not what it should be. */
const bent: Arbitrary<string> = fc
  .tuple(
    good,
    fc.constantFrom('model', 'max_tokens', 'messages', 'stream', 'system', 'metadata', MARK),
    fc.oneof(fc.jsonValue({ maxDepth: 3 }), fc.constantFrom(null, MARK, -1, 1.5, {}, [])),
  )
  .map(([body, field, value]) => JSON.stringify({ ...body, [field]: value }))

const spliced: Arbitrary<string> = fc
  .tuple(
    good,
    fc.constantFrom(
      '"__proto__":{"model":"x","stream":true}',
      '"constructor":{"prototype":{"model":"x"}}',
      '"model":"claude-haiku-4-5","model":"x"',
      '"max_tokens":1e999',
      '"max_tokens":12345678901234567890123',
      '"max_tokens":-0',
      `"temperature":${'9'.repeat(400)}`,
      `"a":"\\ud800","b":"\\u0000${MARK}"`,
      `"a\u0000":1`,
      `"${MARK}":${'['.repeat(20_000)}${']'.repeat(20_000)}`,
      `"${MARK}":${'{"a":'.repeat(2_000)}1${'}'.repeat(2_000)}`,
      `"messages":[${Array.from({ length: 2_000 }, () => '{"role":"user","content":"x"}').join()}]`,
    ),
    fc.boolean(),
  )
  .map(([body, more, first]) => {
    const text = JSON.stringify(body)
    return first ? `{${more},${text.slice(1)}` : `${text.slice(0, -1)},${more}}`
  })

/** Bytes changed, cut out and put in, wherever. */
const broken: Arbitrary<Buffer> = fc
  .tuple(
    fc.oneof(
      good.map((body) => JSON.stringify(body)),
      bent,
    ),
    fc.array(fc.tuple(fc.nat(), fc.nat(3), fc.uint8Array({ maxLength: 4 })), {
      minLength: 1,
      maxLength: 5,
    }),
  )
  .map(([text, cuts]) => {
    let bytes = Buffer.from(text)
    for (const [at, gone, more] of cuts) {
      const place = at % (bytes.length + 1)
      bytes = Buffer.concat([bytes.subarray(0, place), more, bytes.subarray(place + gone)])
    }
    return bytes
  })

export const anyBody: Arbitrary<Buffer> = fc.oneof(
  { arbitrary: good.map((body) => Buffer.from(JSON.stringify(body))), weight: 8 },
  { arbitrary: good.map((body) => gzipSync(JSON.stringify(body))), weight: 1 },
  { arbitrary: bent.map((text) => Buffer.from(text)), weight: 4 },
  { arbitrary: spliced.map((text) => Buffer.from(text)), weight: 2 },
  { arbitrary: broken, weight: 4 },
  { arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)), weight: 2 },
  { arbitrary: fc.json().map((text) => Buffer.from(text)), weight: 1 },
  {
    arbitrary: fc
      .constantFrom(
        '',
        MARK,
        'null',
        '"stream": true',
        '\ufeff{}',
        '\u0000',
        'x'.repeat(150_000),
        `{"stream":true,"x":"${MARK.repeat(12_000)}"}`,
        `"stream"${' '.repeat(90_000)}`,
      )
      .map((text) => Buffer.from(text)),
    weight: 1,
  },
)

// ---- requests that HTTP can frame ----

export interface Asked {
  method: string
  path: string
  headers: [string, string][]
  body: Buffer
  /** Null: by its length; else in chunks of about so many bytes. */
  chunk: number | null
}

const path: Arbitrary<string> = fc.oneof(
  { arbitrary: fc.constant('/v1/messages'), weight: 12 },
  {
    arbitrary: fc.constantFrom(
      '/v1/messages/count_tokens',
      '/v1/models',
      `/v1/models?limit=2&after_id=${MARK}`,
      '/v1/models?__proto__=1&limit=2&limit=x',
      `/v1/models/${MARK}`,
      '/v1/models/claude-haiku-4-5',
      '/v1/messages/',
      '/v1/messages/batches',
      `/v1/messages?${MARK}=${MARK}`,
      '/healthz',
      '/readyz',
      '/',
      '*',
      '//v1//messages',
      '/v1/models/%00',
      '/v1/models/%ff%zz',
      '/v1/models/..%2f..%2fetc',
      'http://evil.example/v1/models',
      `/${MARK.repeat(200)}`,
    ),
    weight: 5,
  },
  {
    arbitrary: fc
      .string({ unit: fc.constantFrom(...'/%.?&=#;:@a1\\|^"<>[]{}~'), maxLength: 30 })
      .map((text) => `/${text}`),
    weight: 2,
  },
)

const header: Arbitrary<[string, string]> = fc.tuple(
  fc.oneof(
    { arbitrary: fc.constantFrom(...NAMES.slice(0, 8)), weight: 5 },
    {
      arbitrary: fc.constantFrom(
        'x-api-key',
        'authorization',
        'origin',
        'sec-fetch-site',
        'content-type',
        'content-encoding',
        'accept-encoding',
        'accept',
        'cookie',
        'te',
        'trailer',
        'x-forwarded-for',
        'x-http-method-override',
        'x-stainless-retry-count',
        'upgrade',
        '__proto__',
        'constructor',
      ),
      weight: 5,
    },
    {
      arbitrary: fc.stringMatching(/^[a-z!#$%&'*+.^_`|~-]{1,20}$/).map((name) => `x-${name}`),
      weight: 2,
    },
  ),
  fc.oneof(
    { arbitrary: fieldText, weight: 3 },
    {
      arbitrary: fc.constantFrom(
        'interactive',
        'premium',
        'batch',
        '30000',
        'fallback,cache',
        'cache',
        '2023-06-01',
        'application/json',
        'text/plain; charset=utf-16',
        'multipart/form-data',
        'gzip',
        'br',
        'same-origin',
        'cross-site',
        'null',
        'trailers',
        'h2c',
        '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      ),
      weight: 3,
    },
  ),
)

export const anyAsked: Arbitrary<Asked> = fc.record({
  method: fc.oneof(
    { arbitrary: fc.constant('POST'), weight: 12 },
    {
      arbitrary: fc.constantFrom(
        'GET',
        'PUT',
        'PATCH',
        'DELETE',
        'OPTIONS',
        'HEAD',
        'TRACE',
        'PROPFIND',
        'QUERY',
      ),
      weight: 3,
    },
  ),
  path,
  headers: fc.array(header, { maxLength: 6 }),
  body: anyBody,
  chunk: fc.oneof(
    { arbitrary: fc.constant(null), weight: 3 },
    { arbitrary: fc.constantFrom(1, 7, 1_000, 1_000_000), weight: 1 },
  ),
})

/** `more` comes first; a caller's own `host` and `connection` are among them. */
export function requestBytes(asked: Asked, more: readonly [string, string][]): Buffer {
  const { method, path: target, headers, body, chunk } = asked
  const framing: [string, string] =
    chunk === null ? ['content-length', String(body.length)] : ['transfer-encoding', 'chunked']
  const lines = [...more, ...headers, framing].map(([name, value]) => `${name}: ${value}\r\n`)
  const head = Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1')
  return Buffer.concat([head, ...(chunk === null ? [body] : inChunks(body, chunk))])
}

/** At most a hundred, so that the framing is not all there is. */
function inChunks(body: Buffer, about: number): Buffer[] {
  const size = Math.max(about, Math.ceil(body.length / 100))
  const parts: Buffer[] = []
  for (let at = 0; at < body.length; at += size) {
    const part = body.subarray(at, at + size)
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n'))
  }
  return [...parts, Buffer.from('0\r\n\r\n')]
}

// ---- what is no request ----

const CASES: readonly string[] = [
  'content-length: 5\r\ncontent-length: 6\r\n\r\nhello',
  'content-length: 5\r\ncontent-length: 5\r\n\r\nhello',
  'content-length: 5, 5\r\n\r\nhello',
  'content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
  'transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n',
  'transfer-encoding: xchunked\r\n\r\n0\r\n\r\n',
  'transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n',
  'transfer-encoding\x0b: chunked\r\n\r\n0\r\n\r\n',
  'transfer-encoding : chunked\r\n\r\n0\r\n\r\n',
  'content-length : 5\r\n\r\nhello',
  'content-length: +5\r\n\r\nhello',
  'content-length: -1\r\n\r\n',
  'content-length: 0x5\r\n\r\nhello',
  'content-length: 99999999999999999999999\r\n\r\n',
  `x-a: b\r\n ${MARK}\r\ncontent-length: 0\r\n\r\n`,
  ` ${MARK}: b\r\ncontent-length: 0\r\n\r\n`,
  `x-a: b\nx-b: ${MARK}\r\ncontent-length: 0\r\n\r\n`,
  `x-a: b\rc\r\ncontent-length: 0\r\n\r\n`,
  `x-a: b\0${MARK}\r\ncontent-length: 0\r\n\r\n`,
  `x-a: b\x7f\r\ncontent-length: 0\r\n\r\n`,
  `${MARK}\r\ncontent-length: 0\r\n\r\n`,
  `:${MARK}\r\ncontent-length: 0\r\n\r\n`,
  `x a: b\r\ncontent-length: 0\r\n\r\n`,
  `x\xe9: b\r\ncontent-length: 0\r\n\r\n`,
  'transfer-encoding: chunked\r\n\r\nzz\r\n\r\n',
  'transfer-encoding: chunked\r\n\r\n-1\r\n\r\n',
  'transfer-encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n',
  'transfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n',
  `transfer-encoding: chunked\r\n\r\n1;${MARK.repeat(3_000)}\r\nx\r\n0\r\n\r\n`,
  `transfer-encoding: chunked\r\n\r\n0\r\n${MARK}\r\n\r\n`,
  'transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n',
  `x: ${MARK.repeat(2_000)}\r\ncontent-length: 0\r\n\r\n`,
  `${'a: b\r\n'.repeat(4_000)}content-length: 0\r\n\r\n`,
  'host: evil.example\r\ncontent-length: 0\r\n\r\n',
]

/** Bytes of which a server must refuse the first and may not guess at the rest. */
export const anyGarbage: Arbitrary<Buffer> = fc.oneof(
  {
    arbitrary: fc
      .constantFrom(...CASES)
      .map((rest) => latin1(`POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\nKEY${rest}`)),
    weight: 8,
  },
  {
    arbitrary: fc
      .constantFrom(
        'POST /v1/messages HTTP/1.1\r\ncontent-length: 0\r\n\r\n',
        `POST /v1/messages HTTP/1.1\nhost: 127.0.0.1\ncontent-length: 0\n\n`,
        `POST /v1/messages ${MARK}\r\nhost: 127.0.0.1\r\n\r\n`,
        `POST /v1/mess ages HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`,
        `post /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`,
        `${MARK} /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`,
        `POST /${'a'.repeat(17_000)} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`,
        `CONNECT ${MARK}:443 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`,
        'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
        '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 hello\r\n\r\n',
        `GET http://${MARK}\r\n\r\n`,
        `HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n`,
      )
      .map(latin1),
    weight: 4,
  },
  {
    arbitrary: fc
      .uint8Array({ minLength: 1, maxLength: 60 })
      // Empty lines before a request are no fault, so that nothing else would come.
      .map((bytes) => Buffer.concat([latin1('\x01'), bytes, latin1('\r\n\r\n')])),
    weight: 2,
  },
)

function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}
