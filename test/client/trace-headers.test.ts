/** The trace that a call is made in, on its headers. */
import {
  context,
  createTraceState,
  propagation,
  trace,
  type TextMapPropagator,
} from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { BasicTracerProvider } from '@opentelemetry/sdk-trace-base'
import { afterEach, describe, expect, test } from 'vitest'
import { HeadgateClient } from '#client'
import { handTransport } from '../support/hand-transport.ts'

const body = '{"model":"m"}'

function register(propagator: TextMapPropagator = new W3CTraceContextPropagator()) {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  propagation.setGlobalPropagator(propagator)
  const provider = new BasicTracerProvider()
  trace.setGlobalTracerProvider(provider)
  return provider.getTracer('test')
}

afterEach(() => {
  trace.disable()
  propagation.disable()
  context.disable()
})

/** The headers of what a call sent, by name. */
async function headersOf(call: (client: HeadgateClient) => unknown) {
  const server = handTransport()
  const client = new HeadgateClient({ tenant: 'acme', transport: server.transport })
  const ended = Promise.resolve(call(client)).catch(() => {})
  const [letter] = await server.sent.take(1)
  await client.close()
  await ended
  const { 'Headgate-Id': _, ...headers } = Object.fromEntries(letter?.headers ?? [])
  return { headers, names: letter?.headers.map(([name]) => name) }
}

const calls: [string, (client: HeadgateClient) => unknown][] = [
  ['request', (client) => client.request(body)],
  ['stream', (client) => client.stream('{"model":"m","stream":true}').final],
  ['submit', (client) => client.submit(body)],
  ['countTokens', (client) => client.countTokens({ model: 'm', messages: [] })],
  [
    'relay',
    (client) => client.relay(body, { answer() {}, event() {}, ping() {}, end() {}, fail() {} }),
  ],
]

describe('trace headers', () => {
  test.each(calls)('%s carries the context it is called in', async (_name, call) => {
    const tracer = register()
    await tracer.startActiveSpan('work', async (span) => {
      const { traceId, spanId } = span.spanContext()
      const { headers } = await headersOf(call)
      expect(headers).toEqual({ traceparent: `00-${traceId}-${spanId}-01` })
    })
  })

  test('tracestate goes with it', async () => {
    register()
    const spanContext = {
      traceId: '0af7651916cd43dd8448eb211c80319c',
      spanId: 'b7ad6b7169203331',
      traceFlags: 0,
      traceState: createTraceState('vendor=1'),
    }
    const parent = trace.setSpanContext(context.active(), spanContext)
    const { headers } = await context.with(parent, () =>
      headersOf((client) => client.request(body)),
    )
    expect(headers).toEqual({
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00',
      tracestate: 'vendor=1',
    })
  })

  test('nothing is said where nothing is registered, or outside any span', async () => {
    expect((await headersOf((client) => client.request(body))).headers).toEqual({})
    register()
    expect((await headersOf((client) => client.request(body))).headers).toEqual({})
  })

  test('what the caller says itself stands, however it is spelled', async () => {
    const tracer = register()
    await tracer.startActiveSpan('work', async () => {
      const own = { Traceparent: '00-own', 'anthropic-beta': 'b' }
      const { headers, names } = await headersOf((client) => client.request(body, { headers: own }))
      expect(headers).toEqual(own)
      expect(names).toEqual(['Headgate-Id', 'Traceparent', 'anthropic-beta'])
    })
  })

  test('only the trace is passed on, whatever else a propagator knows', async () => {
    const tracer = register({
      inject(_context, carrier, setter) {
        setter.set(carrier, 'baggage', 'user=alice')
        setter.set(carrier, 'traceparent', '00-x')
        setter.set(carrier, 'b3', '0')
      },
      extract: (of) => of,
      fields: () => [],
    })
    await tracer.startActiveSpan('work', async () => {
      const { headers } = await headersOf((client) => client.request(body))
      expect(headers).toEqual({ traceparent: '00-x' })
    })
  })
})
