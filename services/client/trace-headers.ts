/** The trace that the caller is in, as W3C headers: only where OpenTelemetry is registered in this process,
 *  and the caller has not said it itself. */
import type * as OpenTelemetry from '@opentelemetry/api'
import { createRequire } from 'node:module'
import { HEADER } from '#contracts/messages'
import type { TransportHeaders } from './transport.ts'

/** Null where it is not installed: then nobody in this process can have registered anything. */
const api = installed()

function installed(): typeof OpenTelemetry | null {
  try {
    return createRequire(import.meta.url)('@opentelemetry/api') as typeof OpenTelemetry
  } catch (error) {
    if ((error as { code?: unknown }).code === 'MODULE_NOT_FOUND') return null
    throw error
  }
}

const NONE: TransportHeaders = []

/** `given`: the caller's own headers. */
export function traceHeaders(given?: Readonly<Record<string, string>>): TransportHeaders {
  if (api === null) return NONE
  const { context, propagation, trace } = api
  const active = context.active()
  if (trace.getSpanContext(active) === undefined || saysTrace(given)) return NONE
  const found: [string, string][] = []
  propagation.inject(active, found, setter)
  return found
}

/** A propagator may also know baggage and formats of its own: the wire contract has no place for them. */
const setter: OpenTelemetry.TextMapSetter<[string, string][]> = {
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
