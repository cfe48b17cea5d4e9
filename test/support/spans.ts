/** An OpenTelemetry SDK for this process, whose spans stay here to be looked at. */
import { SpanKind, SpanStatusCode, trace, type Attributes, type HrTime } from '@opentelemetry/api'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
  type ReadableSpan,
  type Sampler,
} from '@opentelemetry/sdk-trace-base'

/** A span that has ended, in few words. */
export interface SeenSpan {
  name: string
  kind: string
  traceId: string
  spanId: string
  /** The parent's span id; null: the first of its trace. */
  parent: string | null
  /** Milliseconds since 1970. */
  from: number
  to: number
  attributes: Attributes
  events: { name: string; at: number; attributes: Attributes }[]
  /** The message of an error; null: no error. */
  error: string | null
}

export interface Spans {
  /** Those that have ended, in the order of their ends. */
  ended(): SeenSpan[]
  /** Those that have begun and not ended. */
  running(): number
  /** How often the sampler was asked. */
  asked(): number
  /** The raw ones, as an exporter gets them. */
  raw(): ReadableSpan[]
  /** No SDK is registered any more. */
  close(): void
}

const everything: Sampler = { shouldSample: () => ({ decision: 2 }), toString: () => 'everything' }

/** Registers it; `sampler` default: every span. */
export function spans(of: { sampler?: Sampler } = {}): Spans {
  const exporter = new InMemorySpanExporter()
  const sampler = of.sampler ?? everything
  let running = 0
  let asked = 0
  const provider = new BasicTracerProvider({
    sampler: {
      shouldSample(...about) {
        asked++
        return sampler.shouldSample(...about)
      },
      toString: () => sampler.toString(),
    },
    spanProcessors: [
      new SimpleSpanProcessor(exporter),
      {
        onStart: () => void running++,
        onEnd: () => void running--,
        forceFlush: () => Promise.resolve(),
        shutdown: () => Promise.resolve(),
      },
    ],
  })
  if (!trace.setGlobalTracerProvider(provider)) throw new Error('another SDK is registered')
  return {
    ended: () => exporter.getFinishedSpans().map(seen),
    raw: () => exporter.getFinishedSpans(),
    running: () => running,
    asked: () => asked,
    close: () => trace.disable(),
  }
}

const seen = (span: ReadableSpan): SeenSpan => ({
  name: span.name,
  kind: SpanKind[span.kind] ?? '',
  traceId: span.spanContext().traceId,
  spanId: span.spanContext().spanId,
  parent: span.parentSpanContext?.spanId ?? null,
  from: ms(span.startTime),
  to: ms(span.endTime),
  attributes: span.attributes,
  events: span.events.map(({ name, time, attributes }) => ({
    name,
    at: ms(time),
    attributes: attributes ?? {},
  })),
  error: span.status.code === SpanStatusCode.ERROR ? (span.status.message ?? '') : null,
})

const ms = ([seconds, nanos]: HrTime): number => seconds * 1_000 + nanos / 1e6
