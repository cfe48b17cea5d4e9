/** The Provider played by hand: attempts do nothing but what the test tells their sinks. */
import type { AbortWhy, AttemptCall, AttemptSink, Provider } from '#ports'

export interface HandProvider extends Provider {
  /** Every attempt so far, in order. */
  readonly calls: readonly AttemptCall[]
  readonly sinks: readonly AttemptSink[]
}

export function handProvider(
  onAbort: (sink: AttemptSink, why: AbortWhy) => void = () => {},
): HandProvider {
  const calls: AttemptCall[] = []
  const sinks: AttemptSink[] = []
  return {
    calls,
    sinks,
    send(call, sink) {
      calls.push(call)
      sinks.push(sink)
      return { abort: (why) => onAbort(sink, why) }
    },
    aux: async () => ({ status: 200, requestId: null, body: new Uint8Array() }),
    close: async () => {},
  }
}
