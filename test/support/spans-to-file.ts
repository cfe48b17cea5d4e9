/** What an operator's `--import` brings into a process: an OpenTelemetry SDK, here one that writes each span
 *  that has ended as a line of JSON into the file SPANS_FILE. */
import { appendFileSync } from 'node:fs'
import { trace } from '@opentelemetry/api'
import {
  BasicTracerProvider,
  SimpleSpanProcessor,
  type ReadableSpan,
} from '@opentelemetry/sdk-trace-base'

/** One line. */
export interface SpanLine {
  pid: number
  name: string
  traceId: string
  parent: string | null
  attributes: ReadableSpan['attributes']
  /** What else it says: its notes, how it ended, whose state came with it. */
  more: unknown
}

const file = process.env['SPANS_FILE'] ?? ''

function write(span: ReadableSpan): void {
  const { name, attributes, events, status, links, resource } = span
  const { traceId, traceState } = span.spanContext()
  const more = { events, status, links, of: resource.attributes, state: traceState?.serialize() }
  const parent = span.parentSpanContext?.spanId ?? null
  const line: SpanLine = { pid: process.pid, name, traceId, parent, attributes, more }
  appendFileSync(file, `${JSON.stringify(line)}\n`)
}

const exporter = {
  export(ended: ReadableSpan[], done: (result: { code: number }) => void) {
    for (const span of ended) write(span)
    done({ code: 0 })
  },
  shutdown: () => Promise.resolve(),
}
trace.setGlobalTracerProvider(
  new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
)
