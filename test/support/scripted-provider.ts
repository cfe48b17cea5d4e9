/** The Provider without a network: each attempt plays one act on the injected clock, on cue and the same
 *  every time. Keeps the port's promises: one end, both watchdogs, the first `why`, silence afterwards. */
import type {
  AbortWhy,
  AttemptCall,
  AttemptSink,
  Clock,
  Dice,
  Millis,
  Provider,
  RunningAttempt,
  Verdict,
} from '#ports'
import type { VerdictKind } from '#contracts/verdict'

/** What the far side does with one attempt. */
export interface Act {
  /** Until the first byte; default 0. Infinity: it never comes. */
  firstByteMs?: Millis
  /** Events to forward, as `data` JSON; only for a streamed call. */
  events?: readonly string[]
  /** Before each event; default 0. */
  gapMs?: Millis
  /** From the last event, or the first byte, to the end; default 0. Infinity: it never comes. */
  endMs?: Millis
  /** The verdict; what is left out is empty. */
  end?: Partial<Verdict> & { kind: VerdictKind }
}

export interface ScriptedProvider extends Provider {
  /** Every attempt so far, in order. */
  readonly calls: readonly AttemptCall[]
  /** Attempts that have not ended yet. */
  running(): number
}

export function scriptedProvider(of: {
  clock: Clock
  /** The act for an attempt; `index` counts from 0. */
  script: (call: AttemptCall, index: number) => Act
  aux?: Provider['aux']
}): ScriptedProvider {
  const calls: AttemptCall[] = []
  const playing = new Set<Playing>()
  return {
    calls,
    running: () => playing.size,
    send(call, sink) {
      calls.push(call)
      const act = of.script(call, calls.length - 1)
      const { clock } = of
      const attempt = new Playing({ act, call, sink, clock, over: () => playing.delete(attempt) })
      playing.add(attempt)
      return attempt
    },
    aux: of.aux ?? (async () => ({ status: 200, requestId: null, body: Buffer.from('{}') })),
    async close() {
      for (const attempt of playing) attempt.abort('drain')
    },
  }
}

/** A script that rolls for each act, by weight. */
export function rolledScript(dice: Dice, mix: readonly { weight: number; act: Act }[]): () => Act {
  const total = mix.reduce((sum, { weight }) => sum + weight, 0)
  return () => {
    let roll = dice.next() * total
    for (const { weight, act } of mix) {
      roll -= weight
      if (roll < 0) return act
    }
    return {}
  }
}

/** A verdict with nothing in it but what is given. */
export function verdictOf(given: Partial<Verdict> & { kind: VerdictKind }): Verdict {
  return {
    status: null,
    errorType: null,
    cause: given.kind,
    retryAfterMs: null,
    requestId: null,
    usage: null,
    ttftMs: null,
    mayHaveRun: true,
    rate: null,
    body: null,
    ...given,
  }
}

class Playing implements RunningAttempt {
  readonly #act: Act
  readonly #call: AttemptCall
  readonly #sink: AttemptSink
  readonly #clock: Clock
  readonly #startedAt: Millis
  readonly #onOver: () => void
  #cancelStep = (): void => {}
  #cancelWatchdog = (): void => {}
  #over = false
  #forwarded = false
  #ttftMs: Millis | null = null

  constructor(of: {
    act: Act
    call: AttemptCall
    sink: AttemptSink
    clock: Clock
    /** It is about to tell its end. */
    over: () => void
  }) {
    this.#act = of.act
    this.#call = of.call
    this.#sink = of.sink
    this.#clock = of.clock
    this.#startedAt = of.clock.now()
    this.#onOver = of.over
    this.#watch(of.call.firstByteMs, { kind: 'hang', cause: 'first_byte' })
    this.#step(of.act.firstByteMs ?? 0, () => {
      this.#heard()
      of.sink.firstByte()
      this.#play(of.call.stream ? [...(of.act.events ?? [])] : [])
    })
  }

  abort(why: AbortWhy): void {
    this.#end({ kind: 'ended', cause: why, ...this.seen() })
  }

  /** What the act ends with is known from its first event on. */
  seen(): Pick<Verdict, 'usage' | 'requestId'> {
    const { usage = null, requestId = null } = this.#act.end ?? {}
    return this.#forwarded ? { usage, requestId } : { usage: null, requestId: null }
  }

  #play(events: string[]): void {
    const data = events.shift()
    if (data === undefined) {
      return this.#step(this.#act.endMs ?? 0, () => this.#end(this.#act.end ?? { kind: 'ok' }))
    }
    this.#step(this.#act.gapMs ?? 0, () => {
      this.#heard()
      if (!this.#forwarded) this.#ttftMs = this.#clock.now() - this.#startedAt
      this.#forwarded = true
      this.#sink.event(Buffer.from(data))
      this.#play(events)
    })
  }

  /** No delay is no timer: such a step follows as soon as the caller has returned. */
  #step(ms: Millis, take: () => void): void {
    if (this.#over || ms === Infinity) return
    if (ms > 0) this.#cancelStep = this.#clock.after(ms, take)
    else queueMicrotask(() => (this.#over ? undefined : take()))
  }

  #heard(): void {
    this.#watch(this.#call.idleMs, { kind: 'broken', cause: 'idle' })
  }

  #watch(ms: Millis, end: { kind: VerdictKind; cause: string }): void {
    this.#cancelWatchdog()
    if (!Number.isFinite(ms)) return
    this.#cancelWatchdog = this.#clock.after(ms, () =>
      this.#end(end.kind === 'broken' && this.#forwarded ? { ...end, kind: 'cut' } : end),
    )
  }

  #end(end: Partial<Verdict> & { kind: VerdictKind }): void {
    if (this.#over) return
    this.#over = true
    this.#cancelStep()
    this.#cancelWatchdog()
    this.#onOver()
    this.#sink.ended(verdictOf({ ttftMs: this.#ttftMs, ...end }))
  }
}
