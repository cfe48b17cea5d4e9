/** The ways an attempt ends, and what each proves.
 *  Source: control laws, section 2; the table there, row by row. */
import type { Millis, Tokens } from './units.ts'

interface Row {
  /** Vote on the concurrency limit. */
  limit: 'ok' | 'throttle' | 'hold' | 'none'
  /** Vote on the breaker; neutral still gives a half-open permit back. */
  breaker: 'ok' | 'fail' | 'neutral'
  /** What the route's token buckets learn. */
  quota: 'settle' | 'pause-and-cut' | 'pause' | 'slow-requests' | 'block' | 'none'
  /** What a retry costs; 'earn' adds to the budget. */
  budget: 'earn' | 'charge' | 'free' | 'none'
  retry: 'yes' | 'after-retry-after' | 'once' | 'never'
}

export const verdicts = {
  /** 1. A complete answer: `message_stop` seen, or a valid body. */
  ok: { limit: 'ok', breaker: 'ok', quota: 'settle', budget: 'earn', retry: 'never' },
  /** 2. 429, explained: a quota, not congestion. */
  throttled: {
    limit: 'none',
    breaker: 'neutral',
    quota: 'pause-and-cut',
    budget: 'free',
    retry: 'after-retry-after',
  },
  /** 3. 429 `ramp_limit_exceeded`: growing too fast. */
  ramp_limited: {
    limit: 'hold',
    breaker: 'neutral',
    quota: 'pause',
    budget: 'free',
    retry: 'after-retry-after',
  },
  /** 4. 429 without a word why. */
  unexplained: {
    limit: 'throttle',
    breaker: 'neutral',
    quota: 'slow-requests',
    budget: 'charge',
    retry: 'once',
  },
  /** 5. The account may not spend: nothing on this upstream can succeed. */
  key_stop: { limit: 'none', breaker: 'neutral', quota: 'block', budget: 'none', retry: 'never' },
  /** 6. 529, 503, or an overloaded error event before the first forwarded one. */
  overloaded: {
    limit: 'throttle',
    breaker: 'fail',
    quota: 'settle',
    budget: 'charge',
    retry: 'yes',
  },
  /** 7. Other 5xx, 499, a connection that failed before headers. */
  fault: { limit: 'none', breaker: 'fail', quota: 'settle', budget: 'charge', retry: 'yes' },
  /** 8. No response byte in time, or 408. */
  hang: { limit: 'throttle', breaker: 'fail', quota: 'settle', budget: 'charge', retry: 'yes' },
  /** 9. An answer that broke, stalled or made no sense before the first forwarded event. */
  broken: { limit: 'none', breaker: 'fail', quota: 'settle', budget: 'charge', retry: 'yes' },
  /** 10. The same after the first forwarded event. */
  cut: { limit: 'none', breaker: 'fail', quota: 'settle', budget: 'none', retry: 'never' },
  /** 10. The same, and the upstream named overload as the cause. */
  cut_overloaded: {
    limit: 'throttle',
    breaker: 'fail',
    quota: 'settle',
    budget: 'none',
    retry: 'never',
  },
  /** 11. The request itself is wrong, or the configuration is. */
  rejected: { limit: 'none', breaker: 'neutral', quota: 'settle', budget: 'none', retry: 'never' },
  /** 11a. Not so and not now, through no fault of load: 409, 425, or another 4xx that asks to be asked again. */
  conflict: { limit: 'none', breaker: 'neutral', quota: 'settle', budget: 'charge', retry: 'yes' },
  /** 12. Our own doing: cancelled, expired, preempted, drained. */
  ended: { limit: 'none', breaker: 'neutral', quota: 'settle', budget: 'none', retry: 'never' },
  /** 12. Expired after more than `first_byte_ms` without a byte: it proves what a hang proves. */
  ended_silent: {
    limit: 'throttle',
    breaker: 'fail',
    quota: 'settle',
    budget: 'none',
    retry: 'never',
  },
} as const satisfies Record<string, Row>

export type VerdictKind = keyof typeof verdicts

/** Why we ended an attempt ourselves. */
export type AbortWhy = 'cancel' | 'preempt' | 'deadline' | 'drain'

/** Tokens by what is asked for them. */
export interface TokenCounts {
  inputTokens: Tokens
  /** Written into a cache, altogether. */
  cacheCreationTokens: Tokens
  /** Of them, those that live for an hour; absent: none. */
  cacheCreation1hTokens?: Tokens
  cacheReadTokens: Tokens
  outputTokens: Tokens
}

/** Tokens of one attempt as the upstream counted them. */
export interface Usage extends TokenCounts {
  /** Of the output, what nobody counted: guessed from what was delivered of an answer that broke; absent: none. */
  guessedTokens?: Tokens
  /** Of the input, what nobody counted: as it was expected of a call that may have run; absent: none. */
  guessedInputTokens?: Tokens
  /** How it was served, as the answer names it (`service_tier`, `speed`, `inference_geo`); absent: it does not. */
  tier?: string
  speed?: string
  place?: string
  webSearches?: number
  /** Each piece of work that is paid for, where the answer lists them (`iterations`): turns with the server's tools,
   *  compactions, advisors, models that it fell back on. Absent: the numbers above are all of it. */
  hops?: readonly Hop[]
}

export interface Hop extends TokenCounts {
  /** Null: the model that was asked. */
  model: string | null
}

/** One family of `anthropic-ratelimit-*` headers, as of the attempt's admission. */
export interface RateFamily {
  limit: number | null
  remaining: number | null
}

export interface RateHeaders {
  /** Of the capacity that the call was asked of: in fast mode that of fast mode. */
  requests: RateFamily
  inputTokens: RateFamily
  outputTokens: RateFamily
  /** Of the capacity that the account has committed to (`anthropic-priority-*`); absent: it is not spoken of. */
  priority?: { inputTokens: RateFamily; outputTokens: RateFamily }
}

/** The classified end of one attempt. */
export interface Verdict {
  kind: VerdictKind
  /** The upstream's HTTP status; null when no status line came. */
  status: number | null
  /** The upstream's `error.type`; null when it named none. */
  errorType: string | null
  /** A short cause of our own for logs and events, never the upstream's text. */
  cause: string
  /** How long the upstream asked us to stay away; null when absent, unreadable, zero or negative. */
  retryAfterMs: Millis | null
  /** The same before it was cut to what a route keeps to: for the caller to know. */
  toldRetryAfterMs?: Millis
  /** True when the upstream says that asking again is in vain: `x-should-retry: false`, or a Headgate there
   *  that has tried already. */
  notAgain?: boolean
  /** The upstream's `request-id`. */
  requestId: string | null
  usage: Usage | null
  /** From sending to the first response byte of a streamed answer; null when not streamed or none came. */
  ttftMs: Millis | null
  /** True when the upstream may have executed, and billed, the attempt. */
  mayHaveRun: boolean
  /** True for `key_stop` when a spending limit is the cause. */
  spendLimit?: boolean
  /** True when a 429 speaks of concurrent connections. */
  namesConcurrency?: boolean
  /** True when the answer points at a configuration fault that an operator must see (3xx, 5 x 401). */
  alarm?: boolean
  rate: RateHeaders | null
  /** For the caller's eyes only: never logged, never in an event, a metric or a span. */
  body: Uint8Array | null
}
