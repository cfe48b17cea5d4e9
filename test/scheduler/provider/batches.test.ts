/** The provider's batches: fake and real against one suite, and what only a real socket can show. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { BatchAsk, ProviderBatches } from '#ports'
import { BatchesError } from '#ports'
import { anthropicBatches } from '../../../services/scheduler/provider/batches.ts'
import { exactValue } from '../../../services/scheduler/provider/exact-json.ts'
import {
  startSimulatedProvider,
  type FaultSpec,
  type SimulatedProvider,
} from '../../../services/simulated-provider/listener.ts'
import { batchesConformance, MODEL, TAKES_MS } from '../../conformance/batches.ts'
import { AT_ONCE, heldClock } from '../../simulated-provider/caller.ts'
import { fakeBatches } from '../../support/fake-batches.ts'
import { manualClock } from '../../support/manual-clock.ts'
import { scriptedUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts'

const upstreamAt = (baseUrl: string): BatchAsk => ({
  upstream: { name: 'anthropic', baseUrl, apiKey: 'sk-planted-key', version: '2023-06-01' },
  headers: {},
})

batchesConformance('fake', async () => {
  const clock = manualClock()
  const batches = fakeBatches(clock)
  batches.takesMs = TAKES_MS
  return {
    batches: {
      ...batches,
      look: (...asked) => batches.look(...asked).finally(() => (batches.away = false)),
    },
    ask: upstreamAt('http://nowhere'),
    advance: (ms) => clock.advance(ms),
    ends: (how) => void (batches.end = () => how),
    create: (fault) => void batches.createFaults.push(fault === 'lost' ? 'lost' : 'refused_529'),
    cut: () => void batches.cutsAfter.push(20),
    away: () => void (batches.away = true),
    executed: () => batches.executed.map(({ customId }) => customId),
    stop: async () => {},
  }
})

batchesConformance('anthropic', async () => {
  const held = heldClock()
  const options = { ...AT_ONCE, clock: held.clock, batchMs: TAKES_MS }
  const provider = await startSimulatedProvider(options)
  const batches = anthropicBatches({ clock: manualClock() })
  const faults: Record<string, FaultSpec> = {
    refused: { kind: 'rate_limited_requests', path: 'batches', times: 1 },
    lost: { kind: 'reset_before_headers', path: 'batches', times: 1 },
  }
  return {
    batches,
    ask: upstreamAt(provider.url),
    advance: held.advance,
    ends: (how) => provider.setBatches(how === 'succeeded' ? {} : { [how]: 1 }),
    create: (fault) => provider.fault(faults[fault]!),
    cut: () => provider.fault({ kind: 'reset_mid_json', path: 'batch_results', times: 1 }),
    away: () => provider.fault({ kind: 'unavailable_503', path: 'batch_look', times: 1 }),
    executed: () =>
      provider
        .ledger()
        .entries.filter(({ executed }) => executed)
        .map(({ batch }) => batch?.customId ?? ''),
    async stop() {
      await batches.close()
      await provider.close()
    },
  }
})

let provider: SimulatedProvider
let upstream: ScriptedUpstream
let batches: ProviderBatches
const clock = manualClock()
beforeEach(async () => {
  provider = await startSimulatedProvider(AT_ONCE)
  upstream = await scriptedUpstream()
  batches = anthropicBatches({ clock })
})
afterEach(async () => {
  await batches.close()
  await upstream.close()
  await provider.close()
})

const entry = (body: string, stream = false) => ({ customId: 'a', body: Buffer.from(body), stream })
const BODY = `{"model":"${MODEL}","max_tokens":5, "messages":[{"role":"user","content":"x"}],"n":1.0e0,"big":12345678901234567890}`

test('a body goes up byte for byte, and one that asks for a stream loses that and nothing else', async () => {
  const sent: string[] = []
  upstream.always((turn) => {
    sent.push(turn.body.toString())
    turn.reply({ status: 400, headers: {}, body: '{}' })
  })
  const ask = upstreamAt(upstream.url)
  await batches.create(ask, [entry(BODY), { ...entry(BODY), customId: 'b' }])
  expect(sent[0]).toBe(
    `{"requests":[{"custom_id":"a","params":${BODY}},{"custom_id":"b","params":${BODY}}]}`,
  )
  await batches.create(ask, [entry(BODY.replace('{', '{"stream":true,'), true)])
  expect(sent[1]).toBe(
    `{"requests":[{"custom_id":"a","params":${BODY.replace(', "messages"', ',"messages"')}}]}`,
  )
})

test('a number of an answer keeps its digits', () => {
  const text = '{"a":[1.0,12345678901234567890,{"b":1e400}],"c":"1.0"}'
  expect(JSON.stringify(exactValue(text))).toBe(text)
})

test('the version, the betas and our key go up, and the caller’s version goes before ours', async () => {
  const seen: Record<string, unknown>[] = []
  upstream.always((turn) => {
    seen.push(turn.headers)
    turn.reply({ status: 404, headers: {}, body: '{}' })
  })
  const ask = upstreamAt(upstream.url)
  await batches.look({ ...ask, headers: { version: '2026-10-21', beta: 'files' } }, 'b')
  await batches.look(ask, 'b')
  expect(seen[0]).toMatchObject({
    'anthropic-version': '2026-10-21',
    'anthropic-beta': 'files',
    authorization: 'Bearer sk-planted-key',
  })
  expect(seen[1]).toMatchObject({ 'anthropic-version': '2023-06-01' })
})

test.each([
  ['rate_limited_requests', { how: 'refused', status: 429, retryAfterMs: 5_000 }],
  ['storm_529', { how: 'refused', status: 529, retryAfterMs: null }],
  ['unauthorized_401', { how: 'refused', status: 401, retryAfterMs: null }],
  ['too_large_413', { how: 'refused', status: 413, retryAfterMs: null }],
  ['redirect_302', { how: 'refused', status: 302, retryAfterMs: null }],
  ['timeout_408', { how: 'unknown' }],
  ['internal_500', { how: 'unknown' }],
  ['bad_gateway_502', { how: 'unknown' }],
  ['unavailable_503', { how: 'unknown' }],
  ['origin_timeout_524', { how: 'unknown' }],
  ['empty_200', { how: 'unknown' }],
  ['html_200', { how: 'unknown' }],
  ['broken_json_200', { how: 'unknown' }],
  ['reset_mid_json', { how: 'unknown' }],
] as const)('a create that ends in %s is refused, or nobody knows', async (kind, expected) => {
  provider.fault({ kind, path: 'batches' })
  expect(await batches.create(upstreamAt(provider.url), [entry(BODY)])).toEqual(expected)
})

test('where nobody takes the connection nothing was made', async () => {
  await provider.close()
  expect(await batches.create(upstreamAt(provider.url), [entry(BODY)])).toEqual({
    ...{ how: 'refused', status: null, retryAfterMs: null },
  })
})

test('a create that is not answered in time is given up, and nobody knows', async () => {
  const reached = new Promise<void>((resolve) => upstream.always(() => resolve()))
  const creating = batches.create(upstreamAt(upstream.url), [entry(BODY)])
  await reached
  clock.advance(300_000)
  expect(await creating).toEqual({ how: 'unknown' })
})

test('an error says nothing of what the provider said', async () => {
  upstream.always((turn) =>
    turn.reply({
      status: 500,
      headers: {},
      body: '{"type":"error","error":{"type":"api_error","message":"planted"}}',
    }),
  )
  const error: unknown = await batches
    .look(upstreamAt(upstream.url), 'b')
    .catch((failed: unknown) => failed)
  expect(error).toBeInstanceOf(BatchesError)
  expect(`${String(error)} ${JSON.stringify(error)} ${String((error as Error).cause)}`).not.toMatch(
    /planted/,
  )
})
