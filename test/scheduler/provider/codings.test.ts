/** Answers that come packed, over a real socket. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import zlib from 'node:zlib'
import type { Verdict } from '#ports'
import { ANSWER, ERROR, EVENTS, USAGE } from '../../conformance/provider.ts'
import { listener } from '../../support/listener.ts'
import { bench, frame, JSON_TYPE, SSE_TYPE, type Bench } from './far-side.ts'

let at: Bench
beforeEach(async () => {
  at = await bench()
})
afterEach(() => at.stop())

type Pack = (bytes: Buffer) => Buffer

const codings: [name: string, header: string | null, pack: Pack][] = [
  ['gzip', 'gzip', (b) => zlib.gzipSync(b)],
  ['x-gzip', 'X-GZIP', (b) => zlib.gzipSync(b)],
  [
    'gzip in two members',
    'gzip',
    (b) => Buffer.concat([zlib.gzipSync(b.subarray(0, 20)), zlib.gzipSync(b.subarray(20))]),
  ],
  ['deflate', 'deflate', (b) => zlib.deflateSync(b)],
  ['bare deflate', 'deflate', (b) => zlib.deflateRawSync(b)],
  ['br', 'br', (b) => zlib.brotliCompressSync(b)],
  ['zstd', 'zstd', (b) => zlib.zstdCompressSync(b)],
  ['gzip, then br', 'gzip, br', (b) => zlib.brotliCompressSync(zlib.gzipSync(b))],
  ['deflate, then gzip', 'deflate,identity, gzip', (b) => zlib.gzipSync(zlib.deflateSync(b))],
  ['identity', 'identity', (b) => b],
  ['gzip without a label', null, (b) => zlib.gzipSync(b)],
  ['zstd without a label', null, (b) => zlib.zstdCompressSync(b)],
  ['a label of gzip that was left on', 'gzip', (b) => b],
  ['a label of br that was left on', 'br', (b) => b],
  ['a label of deflate that was left on', 'deflate', (b) => b],
  ['a label that is none', 'utf-8', (b) => b],
]
const labelled = (header: string | null): Record<string, string> =>
  header === null ? {} : { 'content-encoding': header }

describe.each(codings)('%s', (_name, header, pack) => {
  test('a whole answer', async () => {
    const running = at.send()
    const headers = { ...JSON_TYPE, ...labelled(header) }
    ;(await at.upstream.next()).reply({ status: 200, headers, body: pack(Buffer.from(ANSWER)) })
    const verdict = await running.verdict
    expect(verdict).toMatchObject({ kind: 'ok', usage: USAGE })
    expect(Buffer.from(verdict.body ?? []).toString()).toBe(ANSWER)
  })

  test('a stream, cut anywhere', async () => {
    for (const size of [1, 3, 10_000]) {
      const sink = listener()
      const running = at.send({ stream: true }, sink)
      const turn = await at.upstream.next()
      turn.head({ status: 200, headers: { ...SSE_TYPE, ...labelled(header) } })
      const bytes = pack(Buffer.from(EVENTS.map(frame).join('')))
      for (let from = 0; from < bytes.length; from += size)
        turn.chunk(bytes.subarray(from, from + size))
      turn.finish()
      expect(await running.verdict).toMatchObject({ kind: 'ok', usage: USAGE })
      expect(sink.events.all).toEqual(EVENTS)
    }
  })

  test('an error, whose words decide what it is', async () => {
    const spent = JSON.stringify({
      error: {
        type: 'invalid_request_error',
        message: 'You have reached your specified API usage limits.',
      },
    })
    for (const [status, body, kind] of [
      [400, ERROR, 'rejected'],
      [400, spent, 'key_stop'],
      [429, ERROR, 'unexplained'],
      [500, ERROR, 'fault'],
    ] as const) {
      const running = at.send({ stream: status === 429 })
      const headers = { ...JSON_TYPE, ...labelled(header) }
      ;(await at.upstream.next()).reply({ status, headers, body: pack(Buffer.from(body)) })
      const verdict = await running.verdict
      expect(verdict).toMatchObject({ kind, errorType: 'invalid_request_error' })
      expect(Buffer.from(verdict.body ?? []).toString()).toBe(body)
    }
  })

  test('a count of tokens', async () => {
    const counted = at.provider.aux({
      upstream: { name: 'main', baseUrl: at.upstream.url, apiKey: 'key', version: 'v' },
      headers: {},
      kind: 'count_tokens',
      body: Buffer.from('{}'),
      timeoutMs: 1_000,
    })
    const headers = { ...JSON_TYPE, ...labelled(header) }
    const body = pack(Buffer.from('{"input_tokens":7}'))
    ;(await at.upstream.next()).reply({ status: 200, headers, body })
    const answer = await counted
    expect([answer.status, Buffer.from(answer.body).toString()]).toEqual([
      200,
      '{"input_tokens":7}',
    ])
  })
})

test('each event of a packed stream comes when it was sent', async () => {
  const packers = {
    gzip: () => zlib.createGzip(),
    br: () => zlib.createBrotliCompress(),
    zstd: () => zlib.createZstdCompress(),
  }
  for (const [coding, make] of Object.entries(packers)) {
    const packer = make()
    const sink = listener()
    const running = at.send({ stream: true }, sink)
    const turn = await at.upstream.next()
    turn.head({ status: 200, headers: { ...SSE_TYPE, 'content-encoding': coding } })
    packer.on('data', (bytes: Buffer) => turn.chunk(bytes))
    for (const [index, data] of EVENTS.entries()) {
      packer.write(frame(data))
      packer.flush()
      await sink.events.take(index + 1)
    }
    turn.finish()
    // Without the end of its coding, but complete.
    expect(await running.verdict).toMatchObject({ kind: 'ok' })
  }
})

const answered = async (
  body: Buffer,
  given: { status?: number; coding?: string; stream?: boolean; cut?: boolean } = {},
): Promise<Verdict> => {
  const { status = 200, coding = 'gzip', stream = false, cut = false } = given
  const running = at.send({ stream })
  const turn = await at.upstream.next()
  turn.head({ status, headers: { ...JSON_TYPE, 'content-encoding': coding } })
  turn.chunk(body)
  if (cut) turn.reset()
  else turn.finish()
  return running.verdict
}

describe('what does not unpack', () => {
  const packed = zlib.gzipSync(Buffer.from(ANSWER))

  test('is broken, at once or at the end', async () => {
    const spoilt = Buffer.from(packed)
    spoilt.fill(0xff, 12, 40)
    expect(await answered(spoilt)).toMatchObject({ kind: 'broken', cause: 'garbled' })
    expect(await answered(packed.subarray(0, -12))).toMatchObject({
      kind: 'broken',
      cause: 'garbled',
    })
    expect(await answered(packed.subarray(0, 5))).toMatchObject({
      kind: 'broken',
      cause: 'garbled',
    })
    expect(await answered(packed.subarray(0, 60), { cut: true })).toMatchObject({ cause: 'reset' })
  })

  test('leaves an error its status', async () => {
    const verdict = await answered(packed.subarray(0, 20), { status: 529 })
    expect(verdict).toMatchObject({ kind: 'overloaded', body: null })
  })

  test('an unknown coding is no answer, and nobody is told its bytes', async () => {
    const bytes = Buffer.from([1, 2, 3, 0xfe, 0xff, 0, 5, 6, 7])
    for (const coding of ['compress', 'gzip, compress', 'br,br,br,br,br'])
      expect(await answered(bytes, { coding })).toMatchObject({ kind: 'broken', body: null })
    expect(await answered(bytes, { coding: 'compress', status: 400 })).toMatchObject({ body: null })
  })
})

describe('a bomb is stopped by what comes out of it', () => {
  const zeros = Buffer.alloc(80_000_000)
  const bombs: [string, Buffer][] = [
    ['gzip', zlib.gzipSync(zeros)],
    [
      'br',
      zlib.brotliCompressSync(zeros, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } }),
    ],
    ['zstd', zlib.zstdCompressSync(zeros)],
    ['gzip, gzip', zlib.gzipSync(zlib.gzipSync(zeros))],
  ]

  test.each(bombs)('%s', async (coding, bomb) => {
    await at.stop()
    at = await bench({ bodyBytesMax: 1_000_000, streamBytesMax: 1_000_000, eventBytesMax: 100_000 })
    for (const stream of [false, true]) {
      const running = at.send({ stream })
      const turn = await at.upstream.next()
      turn.head({ status: 200, headers: { ...JSON_TYPE, 'content-encoding': coding } })
      turn.chunk(bomb)
      const verdict = await running.verdict
      expect(verdict.kind).toBe('broken')
      await turn.closed
    }
    expect(await answered(bomb, { coding, status: 429 })).toMatchObject({ status: 429, body: null })
    const counted = at.provider.aux({
      upstream: { name: 'main', baseUrl: at.upstream.url, apiKey: 'key', version: 'v' },
      headers: {},
      kind: 'models',
      body: null,
      timeoutMs: 1_000,
    })
    const turn = await at.upstream.next()
    turn.head({ status: 200, headers: { ...JSON_TYPE, 'content-encoding': coding } })
    turn.chunk(bomb)
    expect((await counted).status).toBe(502)
  })
})
