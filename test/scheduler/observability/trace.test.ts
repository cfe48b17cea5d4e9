import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { context, ROOT_CONTEXT, trace, type Attributes } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  ParentBasedSampler,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import type { HeadgateEvent } from '#ports'
import { recording } from '../../../services/scheduler/observability/record.ts'
import {
  OPEN_REQUESTS_MAX,
  TraceRecorder,
} from '../../../services/scheduler/observability/trace.ts'
import { LoopWorld } from '../../support/loop-world.ts'
import type { Act } from '../../support/scripted-provider.ts'
import { spans, type SeenSpan, type Spans } from '../../support/spans.ts'
import { inRoot } from '../../support/tree.ts'
import { event, EVENT_NAMES, served } from './events.ts'

let sdk: Spans
afterEach(() => trace.disable())

const CALLER = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' }
const traceparent = `00-${CALLER.traceId}-${CALLER.spanId}-01`

const fresh = () => new TraceRecorder({ version: '1.2.3' })

/** At `ms` of the story. */
const START = 1_767_225_600_000
const at = (ms: number, one: HeadgateEvent): HeadgateEvent => ({ ...one, at: START + ms })
const tell = (to: TraceRecorder, ...events: HeadgateEvent[]): void => {
  for (const one of events) to.record(one)
}

/** The loop itself tells, on a hand-moved clock; the last act is played again and again. */
function worldOf(to: TraceRecorder, acts: readonly Act[], file: object = {}): LoopWorld {
  return new LoopWorld({
    file,
    script: (index) => acts[Math.min(index, acts.length - 1)] ?? {},
    onEvent: (one) => to.record(one),
  })
}

const usage = { inputTokens: 7, outputTokens: 30, cacheCreationTokens: 0, cacheReadTokens: 0 }
const good: Act = {
  firstByteMs: 100,
  events: ['{"type":"message_start"}'],
  endMs: 300,
  end: { kind: 'ok', status: 200, cause: 'complete', usage },
}
const overloaded: Act = {
  firstByteMs: 50,
  end: { kind: 'overloaded', status: 529, errorType: 'overloaded_error', cause: 'overloaded' },
}
const silent: Act = { firstByteMs: Infinity }

/** What a request's spans say, its own first, its attempts in their order. */
function told(id: string): [SeenSpan, ...SeenSpan[]] {
  const own = sdk.ended().filter((one) => one.attributes['headgate.id'] === id)
  const request = own.filter((one) => one.kind === 'SERVER')
  expect(request.length).toBe(1)
  const attempts = own.filter((one) => one.kind === 'CLIENT').toSorted((a, b) => a.from - b.from)
  expect(attempts.length + 1).toBe(own.length)
  for (const one of attempts) {
    expect(one.parent).toBe(request[0]!.spanId)
    expect(one.traceId).toBe(request[0]!.traceId)
  }
  return [request[0]!, ...attempts]
}

describe('what a request becomes', () => {
  test('one span and one for its attempt, which say this and no more', () => {
    sdk = spans()
    const recorder = fresh()
    tell(
      recorder,
      at(0, event('request.queued', { deadline_ms: 5_000 })),
      at(12, event('request.dispatched')),
      at(312.5, event('request.forwarding')),
      at(912, event('attempt.ended')),
      at(913, event('request.settled')),
    )
    const [request, attempt] = told('r_1')
    const asked = {
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'anthropic',
      'gen_ai.request.model': 'claude-a',
      'gen_ai.request.max_tokens': 1_024,
      'gen_ai.request.stream': true,
      'headgate.tenant': 'acme',
      'headgate.lane': 'interactive',
      'headgate.id': 'r_1',
      'headgate.route': 'default-claude-a',
    }
    expect(request).toMatchObject({
      name: 'headgate request',
      kind: 'SERVER',
      parent: null,
      from: START,
      to: START + 913,
      error: null,
      events: [
        {
          name: 'headgate.forwarding',
          at: START + 312.5,
          attributes: { 'headgate.ttft_ms': 300 },
        },
      ],
    })
    expect(request.attributes).toEqual({
      ...asked,
      'headgate.deadline_ms': 5_000,
      'headgate.outcome': 'completed',
      'headgate.status': 200,
      'headgate.attempts': 1,
      'headgate.preemptions': 0,
      'headgate.served_by': 'upstream',
      'headgate.queue_ms': 12,
    })
    expect(attempt).toMatchObject({
      name: 'chat claude-a',
      kind: 'CLIENT',
      from: START + 12,
      to: START + 912,
      error: null,
      events: [],
    })
    expect(attempt!.attributes).toEqual({
      ...asked,
      'headgate.attempt': 1,
      'headgate.verdict': 'ok',
      'headgate.cause': 'complete',
      'http.response.status_code': 200,
      'gen_ai.response.time_to_first_chunk': 0.3,
      'gen_ai.usage.input_tokens': 10,
      'gen_ai.usage.output_tokens': 20,
    })
    expect(sdk.raw().map((one) => one.instrumentationScope)).toMatchObject([
      { name: 'headgate', version: '1.2.3' },
      { name: 'headgate', version: '1.2.3' },
    ])
    expect(recorder.open).toBe(0)
  })

  test('a call that is not streamed says nothing of streams', () => {
    sdk = spans()
    tell(
      fresh(),
      event('request.queued', { stream: false }),
      event('request.dispatched'),
      event('attempt.ended', { input_tokens: null, output_tokens: null, status: null }),
      event('request.settled'),
    )
    for (const one of told('r_1')) {
      const names = Object.keys(one.attributes)
      expect(names).not.toContain('gen_ai.request.stream')
      expect(names.filter((name) => /usage|response/.test(name))).toEqual([])
    }
  })

  test('after a retry, two attempts, and a note that says what went wrong and how long the wait is', async () => {
    sdk = spans()
    const recorder = fresh()
    const world = worldOf(recorder, [overloaded, good])
    world.request({ id: 'again' })
    await world.pass(10_000)
    const [request, first, second, ...none] = told('again')
    expect(none).toEqual([])
    expect(first).toMatchObject({
      error: 'overloaded_error',
      attributes: {
        'headgate.attempt': 1,
        'headgate.verdict': 'overloaded',
        'http.response.status_code': 529,
        'error.type': 'overloaded_error',
      },
    })
    expect(second).toMatchObject({
      error: null,
      attributes: { 'headgate.attempt': 2, 'headgate.verdict': 'ok' },
    })
    expect(request).toMatchObject({
      error: null,
      attributes: { 'headgate.outcome': 'completed', 'headgate.attempts': 2 },
    })
    expect(request.events.map(({ name }) => name)).toEqual([
      'headgate.retrying',
      'headgate.forwarding',
    ])
    const [note] = request.events
    expect(note!.attributes).toEqual({
      'headgate.attempt': 1,
      'headgate.max_attempts': 3,
      'headgate.cause': 'overloaded',
      'headgate.wait_ms': expect.any(Number) as number,
      'http.response.status_code': 529,
      'error.type': 'overloaded_error',
    })
    expect(second!.from - first!.to).toBeGreaterThanOrEqual(
      note!.attributes['headgate.wait_ms'] as number,
    )
    expect(recorder.open).toBe(0)
  })

  test('when tries run out, an error by its code, and every attempt one by its own', async () => {
    sdk = spans()
    const world = worldOf(fresh(), [overloaded])
    world.request({ id: 'never' })
    await world.pass(30_000)
    const [request, ...attempts] = told('never')
    expect(request).toMatchObject({
      error: 'retries_exhausted',
      attributes: {
        'error.type': 'retries_exhausted',
        'headgate.code': 'retries_exhausted',
        'headgate.outcome': 'failed',
        'headgate.status': 529,
        'headgate.attempts': 3,
      },
    })
    expect(attempts.map((one) => one.error)).toEqual(Array(3).fill('overloaded_error'))
  })

  test('an attempt that the upstream did not name an error for is called by its verdict', async () => {
    sdk = spans()
    const world = worldOf(fresh(), [silent], { limits: { first_byte_max_ms: 1_000 } })
    world.request({ id: 'hung', deadlineMs: 300_000 })
    await world.pass(60_000, 500)
    const [request, ...attempts] = told('hung')
    expect(request.error).toBe('retries_exhausted')
    for (const one of attempts) {
      expect(one).toMatchObject({ error: 'hang', attributes: { 'error.type': 'hang' } })
      expect(one.attributes).not.toHaveProperty('http.response.status_code')
    }
    expect(attempts.length).toBeGreaterThan(0)
  })

  test('a preempted attempt is no error, and its request goes on with another', async () => {
    sdk = spans()
    const recorder = fresh()
    const long: Act = { firstByteMs: 260, events: ['{}'], endMs: 20_000, end: { kind: 'ok' } }
    const world = worldOf(recorder, [...Array<Act>(56).fill(long), good], {
      llm_gateway: { max_inflight_global: 60, max_inflight_per_tenant: 60 },
      lanes: { batch: { cap: 60 } },
    })
    for (let i = 0; i < 56; i++) world.request({ tenant: 'b', lane: 'batch' })
    for (let i = 0; i < 5; i++) world.request({ tenant: 'i', deadlineMs: 100_000 })
    await world.pass(60_000, 100)
    const [victim] = world.events.filter((one) => one.name === 'request.preempted')
    const [request, first, second] = told(victim?.data.id ?? '')
    expect(first).toMatchObject({
      error: null,
      attributes: { 'headgate.verdict': 'ended', 'headgate.cause': 'preempt' },
    })
    expect(second).toMatchObject({ error: null, attributes: { 'headgate.verdict': 'ok' } })
    expect(request).toMatchObject({
      attributes: { 'headgate.outcome': 'completed', 'headgate.preemptions': 1 },
    })
    expect(request.events[0]).toEqual({
      name: 'headgate.preempted',
      at: victim!.at,
      attributes: {
        'headgate.preemptions': 1,
        'headgate.wasted_ms': expect.any(Number) as number,
      },
    })
    expect(recorder.open).toBe(0)
  })

  test('cancelled while queued: no attempt, and no error, since the caller got what it asked for', async () => {
    sdk = spans()
    const world = worldOf(fresh(), [silent], { llm_gateway: { max_inflight_global: 1 } })
    world.request({ id: 'runs' })
    world.request({ id: 'waits' })
    await world.pass(100)
    world.loop.cancel('a', 'waits')
    const [request, ...attempts] = told('waits')
    expect(attempts).toEqual([])
    expect(request).toMatchObject({
      error: null,
      attributes: { 'headgate.outcome': 'cancelled', 'headgate.code': 'cancelled' },
    })
    expect(request.attributes).not.toHaveProperty('error.type')
  })

  test('cancelled while running: the attempt ends when the transport has let go, after its request', () => {
    sdk = spans()
    const recorder = fresh()
    const cancelled = { outcome: 'cancelled', code: 'cancelled', status: 499 } as const
    tell(
      recorder,
      at(0, event('request.queued')),
      at(5, event('request.dispatched')),
      at(50, event('request.settled', cancelled)),
    )
    expect(sdk.ended().length).toBe(1)
    expect(recorder.open).toBe(1)
    tell(recorder, at(80, event('attempt.ended', { verdict: 'ended', cause: 'cancel' })))
    const [request, attempt] = told('r_1')
    expect(request).toMatchObject({ to: START + 50, error: null })
    expect(attempt).toMatchObject({ from: START + 5, to: START + 80, error: null })
    expect(recorder.open).toBe(0)
  })

  test('expired: an error of the request, queued or running, and not of the attempt we ended', async () => {
    sdk = spans()
    const recorder = fresh()
    const slow: Act = { firstByteMs: 10, endMs: 60_000, end: { kind: 'ok' } }
    const world = worldOf(recorder, [slow], { llm_gateway: { max_inflight_global: 1 } })
    world.request({ id: 'runs', deadlineMs: 2_000 })
    world.request({ id: 'waits', deadlineMs: 1_000 })
    await world.pass(3_000)
    for (const id of ['runs', 'waits'])
      expect(told(id)[0]).toMatchObject({
        error: 'deadline_exceeded',
        attributes: { 'headgate.outcome': 'expired', 'headgate.status': 504 },
      })
    expect(told('runs')[1]).toMatchObject({
      error: null,
      attributes: { 'headgate.cause': 'deadline' },
    })
    expect(told('waits').length).toBe(1)
    expect(recorder.open).toBe(0)
  })

  test('refused at the door: one span of no length, in the trace of the caller', () => {
    sdk = spans()
    const recorder = fresh()
    const world = worldOf(recorder, [good])
    world.request({ id: 'lost', lane: 'nowhere', headers: { traceparent } })
    const [request, ...attempts] = told('lost')
    expect(attempts).toEqual([])
    expect(request).toMatchObject({
      ...{ traceId: CALLER.traceId, parent: CALLER.spanId, kind: 'SERVER' },
      error: 'unknown_lane',
      from: START,
      to: START,
    })
    expect(request.attributes).toEqual({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'anthropic',
      'gen_ai.request.model': 'm',
      'headgate.tenant': 'a',
      'headgate.lane': 'nowhere',
      'headgate.id': 'lost',
      'headgate.outcome': 'refused',
      'headgate.code': 'unknown_lane',
      'headgate.reason': expect.any(String) as string,
      'headgate.status': 400,
      'headgate.attempts': 0,
      'headgate.preemptions': 0,
      'headgate.served_by': 'none',
      'headgate.queue_ms': 0,
      'error.type': 'unknown_lane',
    } satisfies Attributes)
  })

  test('a duplicate id is a span of its own, and the live request keeps its', async () => {
    sdk = spans()
    const recorder = fresh()
    const world = worldOf(recorder, [good])
    world.request({ id: 'same' })
    world.request({ id: 'same' })
    expect(sdk.ended()).toMatchObject([{ error: 'duplicate_id' }])
    expect(recorder.open).toBe(1)
    await world.pass(2_000)
    expect(sdk.ended().map((one) => [one.kind, one.error])).toEqual([
      ['SERVER', 'duplicate_id'],
      ['CLIENT', null],
      ['SERVER', null],
    ])
    expect(recorder.open).toBe(0)
  })

  test('its times are those of the events, also where the clock of the process is far ahead', () => {
    sdk = spans()
    const [queued, ...rest] = served().map((one, i) => ({ ...one, at: 10 + i * 0.25 }))
    tell(fresh(), queued!, ...rest)
    const [request, attempt] = told('r_1')
    expect([request.from, request.to]).toEqual([10, 10.75])
    expect([attempt!.from, attempt!.to]).toEqual([10.25, 10.5])
  })

  test('a body that nobody could read names no model', () => {
    sdk = spans()
    const early = { route: null, model: null, outcome: 'refused', code: 'invalid_request' } as const
    tell(fresh(), event('request.settled', { ...early, status: 400, total_ms: 0 }))
    const [request] = told('r_1')
    expect(request.attributes).not.toHaveProperty('gen_ai.request.model')
    expect(request.error).toBe('invalid_request')
  })

  test('events of controllers are no spans', () => {
    sdk = spans()
    const recorder = fresh()
    for (const name of EVENT_NAMES)
      if (!name.startsWith('request.') && !name.startsWith('attempt.')) tell(recorder, event(name))
    tell(recorder, event('request.dropped'))
    expect([sdk.ended(), sdk.running(), recorder.open]).toEqual([[], 0, 0])
  })

  test('nothing that a careless caller adds to an event comes out', () => {
    sdk = spans()
    const recorder = fresh()
    const through = recording({ buffer: 10, sinks: [recorder] })
    for (const one of [
      ...served(),
      event('request.retrying'),
      event('request.settled', { route: null, code: 'upstream_error', outcome: 'failed' }),
    ]) {
      const data = { ...one.data, prompt: 'PLANTED prompt', message: 'PLANTED', api_key: 'PLANTED' }
      if ('error_type' in data) Object.assign(data, { error_type: 'PLANTED words of the upstream' })
      through.record({ ...one, data, trace: { traceparent } } as HeadgateEvent)
    }
    expect(through.failures()).toBe(0)
    expect(sdk.ended().length).toBe(3)
    expect(JSON.stringify(sdk.ended())).not.toContain('PLANTED')
  })
})

describe('where a span hangs', () => {
  const life = (given: { traceparent: string; tracestate?: string }) =>
    served().map((one) => ({ ...one, trace: given }))

  test('under the span that the caller names, with its trace state', () => {
    sdk = spans()
    tell(fresh(), ...life({ traceparent, tracestate: 'vendor=1' }))
    expect(told('r_1')[0]).toMatchObject({ traceId: CALLER.traceId, parent: CALLER.spanId })
    for (const one of sdk.raw()) expect(one.spanContext().traceState?.serialize()).toBe('vendor=1')
    const [request] = sdk.raw().filter((one) => one.parentSpanContext?.isRemote === true)
    expect(request?.name).toBe('headgate request')
  })

  test.each([
    ['no trace id', `00-${'0'.repeat(32)}-${CALLER.spanId}-01`],
    ['no span id', `00-${CALLER.traceId}-${'0'.repeat(16)}-01`],
    ['the version that is none', `ff-${CALLER.traceId}-${CALLER.spanId}-01`],
  ])('at the top of a new trace when the caller names %s', (_, given) => {
    sdk = spans()
    tell(fresh(), ...life({ traceparent: given }))
    const [request] = told('r_1')
    expect(request.parent).toBe(null)
    expect(request.traceId).not.toBe(CALLER.traceId)
  })

  test('never under a span that merely happens to be active', () => {
    sdk = spans()
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    const other = trace.getTracer('other').startSpan('other')
    context.with(trace.setSpan(ROOT_CONTEXT, other), () => tell(fresh(), ...served()))
    context.disable()
    other.end()
    expect(told('r_1')[0].parent).toBe(null)
  })
})

describe('what is not sampled', () => {
  test('is not held, whatever becomes of it, and is judged once', async () => {
    sdk = spans({ sampler: new AlwaysOffSampler() })
    const recorder = fresh()
    const world = worldOf(recorder, [overloaded, good])
    world.request()
    expect(recorder.open).toBe(0)
    await world.pass(10_000)
    world.request({ lane: 'nowhere' })
    expect(world.codes()).toEqual({ completed: 1, unknown_lane: 1 })
    expect(sdk.asked()).toBe(2)
    expect([sdk.ended(), sdk.running(), recorder.open]).toEqual([[], 0, 0])
  })

  test('is what an unsampled caller sends, refusals too; a sampled one is followed', () => {
    sdk = spans({ sampler: new ParentBasedSampler({ root: new AlwaysOnSampler() }) })
    const recorder = fresh()
    const off = { traceparent: traceparent.replace(/01$/, '00') }
    tell(recorder, ...served().map((one) => ({ ...one, trace: off })))
    tell(recorder, { ...event('request.settled', { route: null }), trace: off })
    expect([sdk.ended(), sdk.running(), recorder.open]).toEqual([[], 0, 0])
    tell(recorder, ...served().map((one) => ({ ...one, trace: { traceparent } })))
    expect(sdk.ended().length).toBe(2)
  })
})

describe('the SDK', () => {
  test('without one, nothing is held', async () => {
    const recorder = fresh()
    const world = worldOf(recorder, [good])
    for (let i = 0; i < 50; i++) world.request({ tenant: `t${i}`, headers: { traceparent } })
    expect(recorder.open).toBe(0)
    await world.pass(1_000)
    expect(world.codes()).toEqual({ completed: 50 })
    expect(recorder.open).toBe(0)
  })

  test('one that comes late is used from the next request on', () => {
    const recorder = fresh()
    const [queued, ...rest] = served()
    tell(recorder, queued!)
    sdk = spans()
    tell(recorder, ...rest)
    expect(sdk.running() + sdk.ended().length).toBe(0)
    tell(recorder, ...served())
    expect(sdk.ended().length).toBe(2)
  })

  test('one with a copy of the API of its own is found, late or not', () => {
    const dir = mkdtempSync(join(tmpdir(), 'headgate-otel-'))
    try {
      cpSync(inRoot('node_modules/@opentelemetry/api'), join(dir, 'api'), { recursive: true })
      const theirs = (createRequire(import.meta.url)(join(dir, 'api')) as { trace: typeof trace })
        .trace
      expect(theirs).not.toBe(trace)
      const recorder = fresh()
      tell(recorder, ...served())
      const exporter = new InMemorySpanExporter()
      const spanProcessors = [new SimpleSpanProcessor(exporter)]
      theirs.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors }))
      tell(recorder, ...served())
      expect(exporter.getFinishedSpans().length).toBe(2)
      theirs.disable()
    } finally {
      rmSync(dir, { recursive: true })
    }
  })
})

describe('what is held', () => {
  test('is bounded: the oldest ends, marked as lost, and what still comes of it is left out', () => {
    sdk = spans()
    const recorder = fresh()
    for (let i = 0; i < OPEN_REQUESTS_MAX; i++)
      tell(recorder, event('request.queued', { id: `q${i}` }))
    tell(recorder, event('request.dispatched', { id: 'q0' }))
    expect([recorder.open, sdk.ended().length]).toEqual([OPEN_REQUESTS_MAX, 0])
    for (let i = 0; i < 2; i++) tell(recorder, at(9, event('request.queued', { id: `late${i}` })))
    expect(recorder.open).toBe(OPEN_REQUESTS_MAX)
    expect(sdk.running()).toBe(OPEN_REQUESTS_MAX)
    const lost = sdk.ended()
    expect(lost.map((one) => [one.attributes['headgate.id'], one.kind])).toEqual([
      ['q0', 'CLIENT'],
      ['q0', 'SERVER'],
      ['q1', 'SERVER'],
    ])
    for (const one of lost) {
      expect(one.to).toBe(START + 9)
      expect(one.attributes['headgate.lost']).toBe(true)
    }
    tell(recorder, event('attempt.ended', { id: 'q0' }), event('request.settled', { id: 'q0' }))
    expect(sdk.ended().length).toBe(3)
  })

  test('whatever the upstream and the callers do, every span has ended when all is settled', async () => {
    const act: fc.Arbitrary<Act> = fc.oneof(
      { weight: 4, arbitrary: fc.constant(good) },
      { weight: 2, arbitrary: fc.constant(overloaded) },
      fc.constant(silent),
      fc.constantFrom('fault', 'broken', 'throttled', 'rejected', 'cut').map((kind) => ({
        firstByteMs: 30,
        end: { kind, status: 500 },
      })) as fc.Arbitrary<Act>,
      fc.constant({ firstByteMs: 40, events: ['{}', '{}'], gapMs: 400, endMs: 2_000 }),
    )
    const deed = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          do: fc.constant('ask' as const),
          id: fc.integer({ min: 0, max: 12 }),
          lane: fc.constantFrom('premium', 'interactive', 'batch', 'nowhere'),
          stream: fc.boolean(),
          deadlineMs: fc.option(fc.integer({ min: 1, max: 3_000 })),
        }),
      },
      fc.record({ do: fc.constant('cancel' as const), id: fc.integer({ min: 0, max: 12 }) }),
      fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 800 }) }),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(act, { minLength: 1, maxLength: 12 }),
        fc.array(deed, { minLength: 1, maxLength: 40 }),
        async (acts, deeds) => {
          trace.disable()
          sdk = spans()
          const recorder = fresh()
          const world = new LoopWorld({
            file: { llm_gateway: { max_inflight_global: 3 } },
            script: (index) => acts[index % acts.length]!,
            onEvent: (one) => recorder.record(one),
          })
          for (const one of deeds) {
            if (one.do === 'cancel') world.loop.cancel('a', `r${one.id}`)
            else if (one.do === 'pass') await world.pass(one.ms)
            else world.request({ ...one, id: `r${one.id}` })
            expect(recorder.open).toBe(world.loop.liveCount)
          }
          const drained = world.loop.drain()
          await world.pass(31_000, 500)
          await drained
          expect(world.bugs).toEqual([])
          expect([recorder.open, sdk.running()]).toEqual([0, 0])
          const count = (name: HeadgateEvent['name']) =>
            world.events.filter((one) => one.name === name).length
          const kinds = sdk.ended().map(({ kind }) => kind)
          expect(kinds.filter((kind) => kind === 'SERVER').length).toBe(count('request.settled'))
          expect(kinds.filter((kind) => kind === 'CLIENT').length).toBe(count('attempt.ended'))
          expect(sdk.ended().filter((one) => 'headgate.lost' in one.attributes)).toEqual([])
          for (const one of sdk.ended()) expect(one.to).toBeGreaterThanOrEqual(one.from)
          world.loop.stop()
        },
      ),
      { numRuns: 60 },
    )
  })

  test('events in any order, as no loop would tell them, leave nothing behind once each request has its end', () => {
    const ids = ['r_1', 'r_2']
    const names = EVENT_NAMES.filter((name) => /^(request|attempt)\./.test(name))
    const any = fc.record({
      name: fc.constantFrom(...names),
      id: fc.constantFrom(...ids),
      refused: fc.boolean(),
      at: fc.integer({ min: 0, max: 10_000 }),
    })
    fc.assert(
      fc.property(fc.array(any, { minLength: 20, maxLength: 60 }), (given) => {
        trace.disable()
        sdk = spans()
        const recorder = fresh()
        for (const { name, id, refused, at: ms } of given) {
          const route = refused && name === 'request.settled' ? { route: null } : {}
          const one = event(name)
          tell(recorder, { ...at(ms, one), data: { ...one.data, id, ...route } } as HeadgateEvent)
          expect(sdk.running()).toBeLessThanOrEqual(2 * ids.length)
        }
        for (const id of ids)
          tell(recorder, event('attempt.ended', { id }), event('request.settled', { id }))
        expect([recorder.open, sdk.running()]).toEqual([0, 0])
      }),
      { numRuns: 500 },
    )
  })
})
