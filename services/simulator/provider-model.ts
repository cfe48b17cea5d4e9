/** An Anthropic-like provider in virtual time: a capacity that it does not tell, quota buckets with the
 *  headers that the API sends, and faults when asked.
 *
 *  Overload, as control-laws §17 has it: with n attempts in flight, the new one included, and capacity c, an
 *  attempt is answered 529 with probability min(1, 1.5 (1 - c / n)) after 0.3 to 0.8 s. Quota: continuous
 *  buckets of requests, uncached input (taken at admission) and output (drained while an answer is written);
 *  what does not fit is answered 429 after 0.15 s. Headers tell the account as of admission, token counts
 *  rounded to thousands. */
import type { Millis, Seconds, Tokens } from '#contracts/units'
import type { RateHeaders, Verdict, VerdictKind } from '#contracts/verdict'
import { seeded, type Throw } from './chance.ts'
import type { SimRequest } from './sim-request.ts'
import { TOKENS_PER_SECOND } from './workload.ts'

export interface ProviderSettings {
  /** Slots at an instant; Infinity: as many as are asked for. */
  capacity: (at: Seconds) => number
  /** Per minute; absent: not limited. */
  quota?: {
    requests?: PerMinute
    input?: PerMinute
    output?: PerMinute
    /** Rate-limit headers on every answer, and on a 429 more than the bare retry-after. */
    headers: boolean
  }
  faults?: readonly Fault[]
}

export interface PerMinute {
  limit: (at: Seconds) => number
  burst: number
}

/** A share of attempts goes wrong in one way while it lasts. */
export interface Fault {
  kind: 'overloaded' | 'fault' | 'hang' | 'broken' | 'unexplained' | 'ramp_limited' | 'rejected'
  share: number
  from: Seconds
  until: Seconds
  /** Only this model; absent: all. */
  model?: string
}

/** What will come of an attempt if nobody ends it. */
export interface Plan {
  endsInMs: Millis
  /** Null: no byte before the end. */
  firstByteInMs: Millis | null
  verdict: Verdict
}

const REFUSED_AFTER: Millis = 150
const ERROR_AFTER: Millis = 400
/** Longer than anybody waits. */
const NEVER: Millis = 86_400_000

export class ProviderModel {
  inflight = 0
  attempts = 0
  answers429 = 0
  answers529 = 0
  readonly #settings: ProviderSettings
  readonly #overload: Throw
  readonly #delay: Throw
  readonly #faults: Throw
  readonly #requests: Bucket | null
  readonly #input: Bucket | null
  readonly #output: Bucket | null

  constructor(settings: ProviderSettings, seed: number) {
    this.#settings = settings
    this.#overload = seeded(seed, 'overload')
    this.#delay = seeded(seed, 'error delay')
    this.#faults = seeded(seed, 'faults')
    const { quota } = settings
    const bucket = (of: PerMinute | undefined): Bucket | null =>
      of === undefined ? null : new Bucket(of)
    this.#requests = bucket(quota?.requests)
    this.#input = bucket(quota?.input)
    this.#output = bucket(quota?.output)
  }

  /** An attempt arrives. It counts in flight until `end`. */
  start(request: SimRequest, now: Millis): Plan {
    this.inflight++
    this.attempts++
    const at = now / 1_000
    const fault = this.#fault(request, at)
    if (fault !== null) return this.#counted(fault)
    const wait = this.#quotaWait(request, at)
    if (wait > 0) return this.#counted(this.#throttled(wait, at))
    const capacity = this.#settings.capacity(at)
    if (this.inflight > capacity) {
      const p = Math.min(1, 1.5 * (1 - capacity / this.inflight))
      if (p >= 1 || this.#overload() < p) {
        this.#output?.drain(-1, at)
        return this.#counted(after(300 + 500 * this.#delay(), verdictOf('overloaded', 529)))
      }
    }
    return this.#served(request, at)
  }

  /** It is over; `complete` when the answer was written to its end. */
  end(plan: Plan, now: Millis): void {
    this.inflight--
    if (this.#output !== null && plan.verdict.kind === 'ok') this.#output.drain(-1, now / 1_000)
  }

  #counted(plan: Plan): Plan {
    if (plan.verdict.status === 429) this.answers429++
    if (plan.verdict.status === 529) this.answers529++
    return plan
  }

  #fault(request: SimRequest, at: Seconds): Plan | null {
    const { faults } = this.#settings
    if (faults === undefined) return null
    for (const fault of faults) {
      if (at < fault.from || at >= fault.until) continue
      if (fault.model !== undefined && fault.model !== request.model) continue
      if (fault.share < 1 && this.#faults() >= fault.share) continue
      return faultPlan(fault, request)
    }
    return null
  }

  /** Seconds until it would fit; 0: it fits, and is taken. */
  #quotaWait({ work }: SimRequest, at: Seconds): Seconds {
    const waits = [
      this.#requests?.waitFor(1, at) ?? 0,
      this.#input?.waitFor(work.inputTokens, at) ?? 0,
      this.#output?.waitFor(1, at) ?? 0,
    ]
    const wait = Math.max(...waits)
    if (wait > 0) return wait
    this.#requests?.take(1)
    this.#input?.take(work.inputTokens)
    this.#output?.drain(1, at)
    return 0
  }

  #throttled(wait: Seconds, at: Seconds): Plan {
    const { quota } = this.#settings
    return after(REFUSED_AFTER, {
      ...verdictOf('throttled', 429),
      retryAfterMs: Math.ceil(wait) * 1_000,
      rate: quota?.headers === true ? this.#headers(at) : null,
    })
  }

  #served(request: SimRequest, at: Seconds): Plan {
    const { work, stream } = request
    const { quota } = this.#settings
    return {
      endsInMs: work.serviceMs,
      firstByteInMs: stream ? work.ttftMs : null,
      verdict: {
        kind: 'ok',
        status: 200,
        errorType: null,
        cause: 'ok',
        retryAfterMs: null,
        requestId: null,
        usage: {
          inputTokens: work.inputTokens,
          cacheCreationTokens: 0,
          cacheReadTokens: 0,
          outputTokens: work.outputTokens,
        },
        ttftMs: stream ? work.ttftMs : null,
        mayHaveRun: true,
        rate: quota?.headers === true ? this.#headers(at) : null,
        body: null,
      },
    }
  }

  #headers(at: Seconds): RateHeaders {
    const tokens = (bucket: Bucket | null): RateHeaders['requests'] =>
      bucket === null
        ? { limit: null, remaining: null }
        : { limit: bucket.limit(at), remaining: Math.max(0, thousand(bucket.levelAt(at))) }
    return {
      requests:
        this.#requests === null
          ? { limit: null, remaining: null }
          : {
              limit: this.#requests.limit(at),
              remaining: Math.max(0, Math.floor(this.#requests.levelAt(at))),
            },
      inputTokens: tokens(this.#input),
      outputTokens: tokens(this.#output),
    }
  }
}

const thousand = (tokens: Tokens): Tokens => Math.round(tokens / 1_000) * 1_000

/** A continuous bucket that may be drained at a rate, and go into debt by it. */
class Bucket {
  readonly #of: PerMinute
  #level: number
  #at: Seconds = 0
  /** Answers being written. */
  #writing = 0

  constructor(of: PerMinute) {
    this.#of = of
    this.#level = of.burst
  }

  limit(at: Seconds): number {
    return this.#of.limit(at)
  }

  levelAt(at: Seconds): number {
    const gain = this.#of.limit(at) / 60 - this.#writing * TOKENS_PER_SECOND
    return Math.min(this.#of.burst, this.#level + gain * (at - this.#at))
  }

  waitFor(need: number, at: Seconds): Seconds {
    const missing = Math.min(need, this.#of.burst) - this.#roll(at)
    return missing <= 1e-9 ? 0 : missing / (this.#of.limit(at) / 60)
  }

  take(need: number): void {
    this.#level -= need
  }

  drain(answers: 1 | -1, at: Seconds): void {
    this.#roll(at)
    this.#writing += answers
  }

  #roll(at: Seconds): number {
    this.#level = this.levelAt(at)
    this.#at = at
    return this.#level
  }
}

const after = (ms: Millis, verdict: Verdict): Plan => ({
  endsInMs: Math.round(ms),
  firstByteInMs: null,
  verdict,
})

function faultPlan(fault: Fault, request: SimRequest): Plan {
  const { work, stream } = request
  switch (fault.kind) {
    case 'overloaded':
      return after(ERROR_AFTER, verdictOf('overloaded', 529))
    case 'fault':
      return after(ERROR_AFTER, { ...verdictOf('fault', 500), mayHaveRun: true })
    case 'hang':
      return after(NEVER, { ...verdictOf('hang', null), mayHaveRun: true })
    case 'broken':
      return {
        endsInMs: Math.max(1, Math.round(work.serviceMs / 2)),
        firstByteInMs: stream ? work.ttftMs : null,
        verdict: { ...verdictOf(stream ? 'cut' : 'broken', 200), mayHaveRun: true },
      }
    case 'unexplained':
      return after(REFUSED_AFTER, { ...verdictOf('unexplained', 429), namesConcurrency: true })
    case 'ramp_limited':
      return after(REFUSED_AFTER, { ...verdictOf('ramp_limited', 429), retryAfterMs: 5_000 })
    case 'rejected':
      return after(REFUSED_AFTER, verdictOf('rejected', 400))
  }
}

export const verdictOf = (kind: VerdictKind, status: number | null): Verdict => ({
  kind,
  status,
  errorType: null,
  cause: kind,
  retryAfterMs: null,
  requestId: null,
  usage: null,
  ttftMs: null,
  mayHaveRun: false,
  rate: null,
  body: null,
})
