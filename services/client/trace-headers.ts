/** The trace that the caller is in, as W3C headers: only where OpenTelemetry is registered in this process,
 *  and the caller has not said it itself. */
import { context, propagation, trace, type TextMapSetter } from '@opentelemetry/api'
import { HEADER } from '#contracts/messages'
import type { TransportHeaders } from './transport.ts'

const NONE: TransportHeaders = []

/** `given`: the caller's own headers. */
export function traceHeaders(given?: Readonly<Record<string, string>>): TransportHeaders {
  const active = context.active()
  if (trace.getSpanContext(active) === undefined || saysTrace(given)) return NONE
  const found: [string, string][] = []
  propagation.inject(active, found, setter)
  return found
}

/** A propagator may also know baggage and formats of its own: the wire contract has no place for them. */
const setter: TextMapSetter<[string, string][]> = {
  set(found, name, value) {
    if (isTrace(name)) found.push([name, value])
  },
}

const saysTrace = (given: Readonly<Record<string, string>> = {}): boolean =>
  Object.keys(given).some(isTrace)

const isTrace = (name: string): boolean => {
  const lower = name.toLowerCase()
  return lower === HEADER.traceparent || lower === HEADER.tracestate
}
