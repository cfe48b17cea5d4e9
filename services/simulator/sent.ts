/** An attempt between the loop, which may end it, and the provider, which tells of it. */
import type { Millis } from '#contracts/units'
import type { AbortWhy, Verdict } from '#contracts/verdict'
import type { AttemptSink, RunningAttempt } from '#ports'
import type { Attempt, WireEvents } from './policy.ts'
import { verdictOf } from './provider-model.ts'
import type { SimRequest } from './sim-request.ts'

const EVENT = new TextEncoder().encode('{"type":"message_start"}')

export class Sent implements WireEvents, RunningAttempt {
  attempt: Attempt | null = null
  /** Takes the watch over its first byte back. */
  silence: () => void = () => {}
  readonly request: SimRequest
  readonly startedAt: Millis
  readonly #sink: AttemptSink
  /** Told when the sink was. */
  readonly #over: (ran: boolean) => void
  #dead = false

  constructor(of: {
    request: SimRequest
    startedAt: Millis
    sink: AttemptSink
    over: (ran: boolean) => void
  }) {
    this.request = of.request
    this.startedAt = of.startedAt
    this.#sink = of.sink
    this.#over = of.over
  }

  firstByte(): void {
    if (this.#dead) return
    this.#sink.firstByte()
    if (this.request.stream) this.#sink.event(EVENT)
  }

  ended(verdict: Verdict): void {
    this.silence()
    if (!this.#dead) this.#sink.ended(verdict)
    this.#over(
      verdict.kind === 'ok' || (verdict === DIED && this.attempt?.plan.verdict.kind === 'ok'),
    )
  }

  /** Its process died; false: that was known. */
  cut(): boolean {
    if (this.#dead) return false
    this.#dead = true
    this.attempt?.abort(DIED)
    return true
  }

  abort(why: AbortWhy): void {
    this.attempt?.abort(endedBy(why))
  }

  /** No byte came within the time that the scheduler gives it. */
  hung(): void {
    this.attempt?.abort(HUNG)
  }
}

const DIED: Verdict = { ...verdictOf('ended', null), cause: 'died', mayHaveRun: true }
const HUNG: Verdict = { ...verdictOf('hang', null), cause: 'first_byte', mayHaveRun: true }

/** One verdict per way of ending it: nobody changes them. */
const ended = new Map<AbortWhy, ReturnType<typeof verdictOf>>()
function endedBy(why: AbortWhy): ReturnType<typeof verdictOf> {
  let verdict = ended.get(why)
  if (verdict === undefined) {
    verdict = { ...verdictOf('ended', null), cause: why, mayHaveRun: true }
    ended.set(why, verdict)
  }
  return verdict
}
