/** An Anthropic-like provider in virtual time: a capacity that it does not tell, quota buckets with the
 *  headers that the API sends, and faults when asked.
 *
 *  Overload comes in three kinds, with capacity c. `hard`: c calls are served at once, and one more is answered
 *  529 at once; whoever pushes gets nothing by it, so that here useful work has a bound. `slow`: n calls beyond c
 *  take n / c times as long, and beyond 2 c one more is answered 529. `soft`, as control-laws §17 has it: with n
 *  attempts in flight, the new one and those that will be refused included, an attempt is answered 529 with
 *  probability min(1, 1.5 (1 - c / n)) after 0.3 to 0.8 s; it serves more than c to whoever pushes. Quota: continuous
 *  buckets of requests, uncached input (taken at admission; a prompt cache keeps prefixes) and output (drained while an answer is written);
 *  what does not fit is answered 429 after 0.15 s. Headers tell the account as of admission, token counts
 *  rounded to thousands. */
import type { Millis, Seconds, Tokens } from '#contracts/units'
import type { RateHeaders, Verdict, VerdictKind } from '#contracts/verdict'
import { seeded, type Throw } from './chance.ts'
import { NOTHING_CACHED, PromptCache, type Cached } from './prompt-cache.ts'
import { Bucket, type PerMinute } from './quota-bucket.ts'
import type { SimRequest } from './sim-request.ts'

export interface ProviderSettings {
  /** Slots at an instant; Infinity: as many as are asked for. */
  capacity: (at: Seconds) => number
  /** What more calls than that meet; absent: hard. */
  overload?: 'hard' | 'slow' | 'soft'
  /** Each model has the capacity for itself; absent: all share it. */
  apart?: boolean
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

/** `reset`: no answer at all, at once. `throttled`: 429 with a retry-after. `unauthorised`: 401. `spent`: 402, the
 *  account may not spend. `slow`: a good answer, late. */
export const FAULTS = [
  'overloaded',
  'fault',
  'reset',
  'hang',
  'broken',
  'unexplained',
  'throttled',
  'ramp_limited',
  'rejected',
  'unauthorised',
  'spent',
  'slow',
] as const

/** A share of attempts goes wrong in one way while it lasts. */
export interface Fault {
  kind: (typeof FAULTS)[number]
  share: number
  from: Seconds
  until: Seconds
  /** Only this model; absent: all. */
  model?: string
  /** When an error comes, of kinds that are answered with one; absent: as the API would. */
  afterMs?: Millis
  /** Of a `throttled` answer; absent: 5 s. */
  retryAfterMs?: Millis
  /** Times as long as it would take, for `slow`; absent: 4. */
  factor?: number
  /** Of an `unexplained` answer, that it does not speak of concurrent connections; absent: it does. */
  plain?: boolean
}

/** What will come of an attempt if nobody ends it. */
export interface Plan {
  endsInMs: Millis
  /** Null: no byte before the end. */
  firstByteInMs: Millis | null
  verdict: Verdict
  /** Times as long as it would take with nobody else there. */
  stretch?: number
  /** A fault's doing: it took nothing of any quota. */
  byFault?: boolean
  /** Where its model is counted for itself. */
  own?: Count
  /** What it does with the prompt cache, where it marks a prefix. */
  cached?: Cached
}

type Call = Pick<SimRequest, 'model' | 'work' | 'marked'>

interface Count {
  inflight: number
  /** Of these, what is being served. */
  serving: number
}

const AT_ONCE: Millis = 5
/** In slow overload, of the capacity, above which calls are refused. */
const SLOW_UNTIL = 2
const REFUSED_AFTER: Millis = 150
const ERROR_AFTER: Millis = 400
/** Longer than anybody waits. */
const NEVER: Millis = 86_400_000

export class ProviderModel {
  inflight = 0
  /** Of these, what is being served. */
  serving = 0
  /** The same by model; kept where each has the capacity for itself. */
  readonly #byModel = new Map<string, Count>()
  attempts = 0
  answers429 = 0
  answers529 = 0
  readonly #settings: ProviderSettings
  readonly #cache = new PromptCache()
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
    const own = this.#settings.apart === true ? this.#countOf(request.model) : null
    this.attempts++
    this.inflight++
    if (own !== null) own.inflight++
    const plan = this.#planOf(request, now)
    if (holdsSlot(plan)) this.serving++
    if (own === null) return plan
    if (holdsSlot(plan)) own.serving++
    return { ...plan, own }
  }

  /** Would it serve one more call like this now? Nothing is taken by asking. */
  wouldTake(request: Call, now: Millis): boolean {
    const at = now / 1_000
    const { faults = [], capacity } = this.#settings
    if (faults.some((one) => isOf(one, request.model, at))) return false
    if (this.#countOf(request.model).serving >= capacity(at)) return false
    return this.#waitOf(this.#uncached(request, now), at) <= 0
  }

  /** Of those who share a capacity with this model. */
  #countOf(model: string): Count {
    if (this.#settings.apart !== true) return this
    let own = this.#byModel.get(model)
    if (own === undefined) this.#byModel.set(model, (own = { inflight: 0, serving: 0 }))
    return own
  }

  #planOf(request: SimRequest, now: Millis): Plan {
    const at = now / 1_000
    const fault = this.#fault(request, at)
    if (fault !== null) return this.#counted(fault)
    const wait = this.#quotaWait(this.#uncached(request, now), at)
    if (wait > 0) return this.#counted(this.#throttled(wait, at))
    const capacity = this.#settings.capacity(at)
    const count = this.#countOf(request.model)
    const refusedIn = this.#overloaded(capacity, count)
    if (refusedIn !== null) {
      this.#output?.drain(-1, at)
      return this.#counted(after(refusedIn, verdictOf('overloaded', 529)))
    }
    const slowed = this.#settings.overload === 'slow' ? (count.serving + 1) / capacity : 1
    return this.#served(request, now, Math.max(1, slowed))
  }

  /** Input that is not read from the cache: what its quota counts. */
  #uncached({ model, work, marked }: Call, now: Millis): Tokens {
    return work.inputTokens - (marked === null ? 0 : this.#cache.read(model, marked, now))
  }

  /** When the 529 comes; null: none does. */
  #overloaded(capacity: number, now: Count): Millis | null {
    switch (this.#settings.overload) {
      case 'soft': {
        const p = 1.5 * (1 - capacity / now.inflight)
        const refused = p >= 1 || (p > 0 && this.#overload() < p)
        return refused ? 300 + 500 * this.#delay() : null
      }
      case 'slow':
        return now.serving + 1 > SLOW_UNTIL * capacity ? AT_ONCE : null
      default:
        return now.serving + 1 > capacity ? AT_ONCE : null
    }
  }

  /** It is over. */
  end(plan: Plan, now: Millis): void {
    const { own, cached } = plan
    this.inflight--
    if (holdsSlot(plan)) this.serving--
    if (own !== undefined) own.inflight--
    if (own !== undefined && holdsSlot(plan)) own.serving--
    if (cached !== undefined) this.#cache.end(cached, now)
    if (this.#output !== null && drains(plan)) this.#output.drain(-1, now / 1_000)
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
      if (!isOf(fault, request.model, at)) continue
      if (fault.share < 1 && this.#faults() >= fault.share) continue
      return faultPlan(fault, request)
    }
    return null
  }

  /** Seconds until it would fit; 0: it fits, and is taken. */
  #quotaWait(uncached: Tokens, at: Seconds): Seconds {
    const wait = this.#waitOf(uncached, at)
    if (wait > 0) return wait
    this.#requests?.take(1)
    this.#input?.take(uncached)
    this.#output?.drain(1, at)
    return 0
  }

  #waitOf(uncached: Tokens, at: Seconds): Seconds {
    return Math.max(
      this.#requests?.waitFor(1, at) ?? 0,
      this.#input?.waitFor(uncached, at) ?? 0,
      this.#output?.waitFor(1, at) ?? 0,
    )
  }

  #throttled(wait: Seconds, at: Seconds): Plan {
    const { quota } = this.#settings
    return after(REFUSED_AFTER, {
      ...verdictOf('throttled', 429),
      retryAfterMs: Math.ceil(wait) * 1_000,
      rate: quota?.headers === true ? this.#headers(at) : null,
    })
  }

  #served(request: SimRequest, now: Millis, stretch: number): Plan {
    const { quota } = this.#settings
    const { model, marked, work } = request
    const rate = quota?.headers === true ? this.#headers(now / 1_000) : null
    if (marked === null) return served(request, { stretch, rate })
    const answersAt = now + Math.round(stretch * work.ttftMs)
    const cached = this.#cache.start(model, marked, { now, answersAt })
    return { ...served(request, { stretch, rate, cached }), cached }
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

const isOf = (fault: Fault, model: string, at: Seconds): boolean =>
  at >= fault.from && at < fault.until && (fault.model === undefined || fault.model === model)

/** Its answer was written at the expense of the output quota. */
const drains = ({ verdict, byFault }: Plan): boolean => verdict.kind === 'ok' && byFault !== true

/** Else it is refused before it takes anything. */
const holdsSlot = ({ verdict }: Plan): boolean => verdict.status === 200 || verdict.kind === 'hang'

const thousand = (tokens: Tokens): Tokens => Math.round(tokens / 1_000) * 1_000

function served(
  { work, stream }: SimRequest,
  of: { stretch: number; rate: RateHeaders | null; cached?: Cached },
): Plan {
  const { stretch, rate, cached = NOTHING_CACHED } = of
  const ttftMs = stream ? Math.round(stretch * work.ttftMs) : null
  return {
    endsInMs: Math.round(stretch * work.serviceMs),
    firstByteInMs: ttftMs,
    stretch,
    verdict: {
      ...verdictOf('ok', 200),
      usage: {
        inputTokens: work.inputTokens - cached.written - cached.read,
        cacheCreationTokens: cached.written,
        cacheReadTokens: cached.read,
        outputTokens: work.outputTokens,
      },
      ttftMs,
      mayHaveRun: true,
      rate,
    },
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
      return after(fault.afterMs ?? ERROR_AFTER, verdictOf('overloaded', 529))
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
    case 'reset':
      return after(AT_ONCE, { ...verdictOf('fault', null), cause: 'reset' })
    case 'unexplained':
      return after(REFUSED_AFTER, {
        ...verdictOf('unexplained', 429),
        namesConcurrency: fault.plain !== true,
      })
    case 'throttled':
      return after(REFUSED_AFTER, {
        ...verdictOf('throttled', 429),
        retryAfterMs: fault.retryAfterMs ?? 5_000,
      })
    case 'ramp_limited':
      return after(REFUSED_AFTER, { ...verdictOf('ramp_limited', 429), retryAfterMs: 5_000 })
    case 'rejected':
      return after(REFUSED_AFTER, verdictOf('rejected', 400))
    case 'unauthorised':
      return after(REFUSED_AFTER, verdictOf('rejected', 401))
    case 'spent':
      return after(REFUSED_AFTER, { ...verdictOf('key_stop', 402), spendLimit: true })
    case 'slow':
      return { ...served(request, { stretch: fault.factor ?? 4, rate: null }), byFault: true }
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
