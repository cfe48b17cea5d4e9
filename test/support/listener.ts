/** An attempt's sink that keeps what it hears, and one attempt with its verdict as a promise. */
import type { AttemptCall, AttemptSink, Provider, RunningAttempt, Verdict } from '#ports'
import { heard, type Heard } from './heard.ts'

export interface Listener extends AttemptSink {
  readonly events: Heard<string>
  readonly firstBytes: Heard<true>
  readonly ends: Heard<Verdict>
}

export function listener(): Listener {
  const events = heard<string>()
  const firstBytes = heard<true>()
  const ends = heard<Verdict>()
  return {
    events,
    firstBytes,
    ends,
    firstByte: () => firstBytes.add(true),
    event: (data) => events.add(Buffer.from(data).toString()),
    ended: (verdict) => ends.add(verdict),
  }
}

export interface Sent {
  abort: RunningAttempt['abort']
  seen: NonNullable<RunningAttempt['seen']> | undefined
  /** The first one, should there ever be more. */
  verdict: Promise<Verdict>
}

export function sendTo(provider: Provider, call: AttemptCall, sink: Listener = listener()): Sent {
  const running = provider.send(call, sink)
  return {
    abort: (why) => running.abort(why),
    seen: running.seen?.bind(running),
    verdict: sink.ends.find(() => true),
  }
}
