/** Every way in which the upstream can fail, over real NATS, the real SDK and the simulated provider: one
 *  clear end for the caller, and everything given back. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { HeadgateError } from '#client'
import type { FaultSpec } from '../../services/simulated-provider/listener.ts'
import { body, openHouse, type House } from '../support/house.ts'

let house: House
beforeAll(async () => {
  house = await openHouse({
    yaml: `
llm_gateway:
  retry: { base_backoff_ms: 1, cap_backoff_ms: 2, budget_start: 10000, budget_max: 10000 }
  circuit_breaker: { min_samples: 10000 }
limits: { idle_ms: 150, first_byte_max_ms: 150 }
`,
  })
})
afterAll(() => house.close())
beforeEach(() => house.provider.clear())

interface Row {
  fault: FaultSpec
  /** The caller's end, when the fault lasts. */
  code: string
  status: number
  /** Attempts made when the fault lasts. */
  attempts: number
  only?: 'streamed' | 'whole'
}

/** Each row of the error table that can be caused from the far side. */
const rows: Row[] = [
  { fault: { kind: 'bad_request_400' }, code: 'upstream_error', status: 400, attempts: 1 },
  { fault: { kind: 'forbidden_403' }, code: 'upstream_error', status: 403, attempts: 1 },
  { fault: { kind: 'not_found_404' }, code: 'upstream_error', status: 404, attempts: 1 },
  { fault: { kind: 'too_large_413' }, code: 'upstream_error', status: 413, attempts: 1 },
  { fault: { kind: 'not_implemented_501' }, code: 'upstream_error', status: 501, attempts: 1 },
  { fault: { kind: 'redirect_302' }, code: 'upstream_error', status: 502, attempts: 1 },
  { fault: { kind: 'timeout_408' }, code: 'retries_exhausted', status: 408, attempts: 3 },
  { fault: { kind: 'client_closed_499' }, code: 'retries_exhausted', status: 499, attempts: 3 },
  { fault: { kind: 'internal_500' }, code: 'retries_exhausted', status: 500, attempts: 3 },
  { fault: { kind: 'overloaded_500' }, code: 'retries_exhausted', status: 500, attempts: 3 },
  { fault: { kind: 'bad_gateway_502' }, code: 'retries_exhausted', status: 502, attempts: 3 },
  { fault: { kind: 'unavailable_503' }, code: 'retries_exhausted', status: 503, attempts: 3 },
  { fault: { kind: 'gateway_timeout_504' }, code: 'retries_exhausted', status: 504, attempts: 3 },
  { fault: { kind: 'origin_timeout_524' }, code: 'retries_exhausted', status: 524, attempts: 3 },
  { fault: { kind: 'storm_529' }, code: 'retries_exhausted', status: 529, attempts: 3 },
  { fault: { kind: 'rate_limited_bare' }, code: 'retries_exhausted', status: 429, attempts: 2 },
  { fault: { kind: 'concurrent_connections' }, code: 'retries_exhausted', status: 429, attempts: 2 },
  { fault: { kind: 'reset_before_headers' }, code: 'retries_exhausted', status: 502, attempts: 3 },
  { fault: { kind: 'hang_before_headers' }, code: 'retries_exhausted', status: 504, attempts: 3, only: 'streamed' },
  { fault: { kind: 'stalled_body' }, code: 'retries_exhausted', status: 502, attempts: 3 },
  { fault: { kind: 'reset_mid_json' }, code: 'retries_exhausted', status: 502, attempts: 3, only: 'whole' },
  { fault: { kind: 'empty_200' }, code: 'retries_exhausted', status: 502, attempts: 3 },
  { fault: { kind: 'html_200' }, code: 'retries_exhausted', status: 502, attempts: 3 },
  { fault: { kind: 'broken_json_200' }, code: 'retries_exhausted', status: 502, attempts: 3, only: 'whole' },
  { fault: { kind: 'error_event_first', errorType: 'overloaded_error' }, code: 'retries_exhausted', status: 529, attempts: 3, only: 'streamed' },
  { fault: { kind: 'error_event_first', errorType: 'api_error' }, code: 'retries_exhausted', status: 502, attempts: 3, only: 'streamed' },
  { fault: { kind: 'error_event_late', after: 1 }, code: 'stream_broken', status: 502, attempts: 1, only: 'streamed' },
  { fault: { kind: 'reset_mid_stream' }, code: 'stream_broken', status: 502, attempts: 1, only: 'streamed' },
  { fault: { kind: 'stalled_stream' }, code: 'stream_broken', status: 502, attempts: 1, only: 'streamed' },
  { fault: { kind: 'no_message_stop' }, code: 'stream_broken', status: 502, attempts: 1, only: 'streamed' },
] // prettier-ignore

const cases = rows.flatMap((row) =>
  (['streamed', 'whole'] as const)
    .filter((how) => row.only === undefined || row.only === how)
    .map((how) => ({
      ...row,
      how,
      name: `${row.fault.kind} ${row.fault.errorType ?? ''}, ${how}`,
    })),
)

async function ask(how: 'streamed' | 'whole', options: object = {}): Promise<string> {
  if (how === 'whole') {
    const answer = await house.client.request(body(), options)
    return answer.accounting.outcome ?? ''
  }
  const stream = house.client.stream(body(), options)
  let last = ''
  for await (const event of stream) last = event.type
  expect(last).toBe('message_stop')
  return (await stream.final).outcome ?? ''
}

async function errorOf(asked: Promise<unknown>): Promise<HeadgateError> {
  try {
    await asked
  } catch (error) {
    if (error instanceof HeadgateError) return error
    throw error
  }
  throw new Error('expected a refusal')
}

describe('a fault that lasts ends in one clear error', () => {
  test.each(cases)('$name', async ({ fault, how, code, status, attempts }) => {
    house.provider.fault(fault)
    const error = await errorOf(ask(how, { lane: 'premium' }))
    expect({ code: error.code, status: error.status }).toEqual({ code, status })
    expect(error.accounting?.outcome).toBe('failed')
    expect(error.accounting?.attempts).toBe(attempts)
    await house.rest()
  })
})

describe('a fault that passes is not seen by the caller', () => {
  const passing = cases.filter(({ attempts, how }) => attempts > 1 && how !== undefined)
  test.each(passing)('$name', async ({ fault, how }) => {
    house.provider.fault({ ...fault, times: 1 })
    expect(await ask(how)).toBe('completed')
    await house.rest()
  })
})

describe('429 with a reason', () => {
  test('is waited out, and the pause holds the whole route', async () => {
    house.provider.fault({ kind: 'rate_limited_requests', times: 1, retryAfter: 1 })
    const [first, second] = await Promise.all([
      house.client.request(body()),
      house.client.request(body()),
    ])
    expect([first.accounting.outcome, second.accounting.outcome]).toEqual([
      'completed',
      'completed',
    ])
    const waited = Math.max(first.accounting.totalMs ?? 0, second.accounting.totalMs ?? 0)
    expect(waited).toBeGreaterThanOrEqual(990)
    await house.rest()
  })

  test('beyond the deadline ends at once', async () => {
    house.provider.fault({ kind: 'rate_limited_requests', times: 1, retryAfter: 30 })
    const other = body({ model: 'claude-haiku-4-5' })
    const error = await errorOf(house.client.request(other, { deadlineMs: 5_000 }))
    expect([error.code, error.status]).toEqual(['retries_exhausted', 429])
    expect(error.retryable).toBe(true)
    expect(error.retryAfterMs).toBeGreaterThan(20_000)
    await house.rest()
  })
})

describe('an account that may not spend', () => {
  test.each(['spend_enforced', 'spend_contract', 'spend_specified', 'payment_402', 'organization_on_hold'] as const)(
    '%s blocks the upstream: later arrivals get the answer that blocked it',
    async (kind) => {
      const own = await openHouse()
      try {
        own.provider.fault({ kind, times: 1 })
        const first = await errorOf(own.client.request(body()))
        expect(first.code).toBe('upstream_error')
        expect(first.accounting?.attempts).toBe(1)
        const second = await errorOf(own.client.request(body()))
        expect([second.code, second.status]).toEqual([first.code, first.status])
        expect(second.accounting).toMatchObject({ outcome: 'refused', attempts: 0 })
        await own.rest()
      } finally {
        await own.close()
      }
    },
  ) // prettier-ignore

  test('five 401 in a row do the same', async () => {
    const own = await openHouse()
    try {
      own.provider.fault({ kind: 'unauthorized_401' })
      for (let i = 0; i < 5; i++) {
        const error = await errorOf(own.client.request(body()))
        expect([error.code, error.status, error.accounting?.attempts]).toEqual([
          'upstream_error',
          401,
          1,
        ])
      }
      const error = await errorOf(own.client.request(body()))
      expect([error.code, error.status, error.accounting?.attempts]).toEqual([
        'upstream_error',
        401,
        0,
      ])
    } finally {
      await own.close()
    }
  })
})

test('no prompt, answer or key is in any log line, event or metric', async () => {
  house.provider.fault({
    kind: 'bad_request_400',
    times: 1,
    message: 'you wrote: a planted prompt',
  })
  await errorOf(house.client.request(body()))
  const events = JSON.stringify(house.scheduler.recording.recent())
  for (const text of [events, house.logged.join('')])
    for (const planted of ['planted prompt', 'sk-planted-key', 'you wrote'])
      expect(text.includes(planted)).toBe(false)
  expect(house.logged.length).toBeGreaterThan(10)
})
