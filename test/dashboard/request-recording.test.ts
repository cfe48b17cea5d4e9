/** What `headgate record` writes, as the page plays it. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { frame as frameShape, hello as helloShape } from '#contracts/dashboard'
import { OUTCOMES } from '#contracts/outcome'
import {
  recordedRequest,
  recordingHeader,
  RECORDING_VERSION,
  type RecordedRequest,
} from '#contracts/recording'
import { readRecording } from '../../services/dashboard/page/recording.ts'

const HEADER = {
  headgate: 'recording',
  version: RECORDING_VERSION,
  started: '2026-01-01T00:00:00Z',
}
const request = (of: Partial<RecordedRequest> = {}): RecordedRequest => ({
  ...{ at_ms: 0, tenant: 'acme', lane: 'batch', model: 'm', stream: false, max_tokens: 10 },
  ...{ deadline_ms: null, input_tokens: 1, output_tokens: 2, queue_ms: 0, upstream_ms: 500 },
  ...{ total_ms: 500, outcome: 'completed', code: null, attempts: 1 },
  ...of,
})
const read = (...lines: unknown[]) =>
  readRecording(
    'x.ndjson',
    new Blob([lines.map((line) => JSON.stringify(line)).join('\n')]).stream(),
    () => {},
  )

test('requests become frames: who waits, who runs, what ended how', async () => {
  const { hello, frames } = await read(
    HEADER,
    request({ queue_ms: 2_500, upstream_ms: 3_000, total_ms: 5_500, attempts: 3 }),
    request({ at_ms: 1_200, lane: 'premium', tenant: 'globex', upstream_ms: 900, total_ms: 900 }),
    request({
      at_ms: 3_000,
      queue_ms: 30,
      upstream_ms: 0,
      total_ms: 30,
      outcome: 'refused',
      attempts: 0,
    }),
    request({ at_ms: 4_000, queue_ms: 0, upstream_ms: 2_000, total_ms: 2_000, outcome: 'expired' }),
  )
  expect(helloShape.parse(hello).lanes.map(({ name }) => name)).toEqual(['batch', 'premium'])
  for (const frame of frames) frameShape.parse(frame)
  expect(frames.map(({ global }) => [global.queued, global.inflight])).toEqual([
    [1, 0],
    [1, 1],
    [0, 1],
    [0, 1],
    [0, 2],
    [0, 1],
    [0, 0],
  ])
  expect(frames[0]).toMatchObject({ at: Date.parse('2026-01-01T00:00:01Z') })
  expect(
    frames.map(({ rates }) => [rates.accepted, rates.completed, rates.failed, rates.refused]),
  ).toEqual([
    [1, 0, 0, 0],
    [1, 0, 0, 0],
    [0, 1, 0, 0],
    [1, 0, 0, 1],
    [1, 0, 0, 0],
    [0, 1, 0, 0],
    [0, 0, 1, 0],
  ])
  expect(frames[5]!.rates).toMatchObject({ attempts: 3, retries: 2 })
  expect(frames[2]!.lanes[0]).toMatchObject({ wait_p95_ms: 2_500, inflight: 1 })
})

test('at the end nobody waits and nobody runs, whatever the requests were', async () => {
  const ms = fc.integer({ min: 0, max: 20_000 })
  const row = fc.record({
    at_ms: ms,
    queue_ms: ms,
    upstream_ms: ms,
    total_ms: ms,
    attempts: fc.nat(4),
    lane: fc.constantFrom('a', 'b'),
    tenant: fc.constantFrom('x', 'y', 'z'),
    outcome: fc.constantFrom(...OUTCOMES),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 30 }), async (rows) => {
      const lines = rows.map((one) => recordedRequest.parse(request(one)))
      const { frames } = await read(recordingHeader.parse(HEADER), ...lines)
      for (const { lanes, global, tenants } of frames) {
        for (const key of ['queued', 'inflight'] as const) {
          for (const one of [...lanes, ...tenants]) expect(one[key]).toBeGreaterThanOrEqual(0)
          expect(lanes.reduce((sum, one) => sum + one[key], 0)).toBe(global[key])
        }
        expect(global.inflight).toBeLessThanOrEqual(global.limit)
      }
      expect(frames.at(-1)!.global).toMatchObject({ queued: 0, inflight: 0 })
      expect(frames.at(-1)!.tenants).toEqual([])
      const ended = frames.reduce((sum, { rates }) => sum + rates.settled, 0)
      expect(ended).toBe(rows.length)
    }),
    { numRuns: 60 },
  )
})

test('days of it make no more frames than a page can hold', async () => {
  const { frames } = await read(HEADER, request(), request({ at_ms: 7 * 86_400_000 }))
  expect(frames.length).toBeLessThanOrEqual(20_001)
  expect(frames.length).toBeGreaterThan(10_000)
})

test.each([
  [[HEADER], 'it holds no request'],
  [[HEADER, { a: 1 }], 'line 2 is no recorded request'],
  [[HEADER, { ...request(), at_ms: -1 }], 'line 2 is no recorded request'],
  [[HEADER, { ...request(), lane: 7 }], 'line 2 is no recorded request'],
  [[HEADER, request(), 'text'], 'line 3 is no object'],
])('what is none is said with its line: %j', (lines, words) =>
  expect(read(...lines)).rejects.toThrow(words),
)
