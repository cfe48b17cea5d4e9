/** What bounds calls, as numbers of their own. */
import type { Millis } from '#contracts/units'
import type { TokenBucket } from '#core/estimators/token-bucket'

/** Per minute, of requests, input and output tokens; null where nothing is said. */
export type Limits = readonly [requests: number | null, input: number | null, output: number | null]

/** Tokens of the capacity that an account has committed to. */
export interface Priority {
  readonly inputTokens: TokenBucket
  readonly outputTokens: TokenBucket
}

/** How long an attempt may say nothing. */
export interface Silence {
  ms: Millis
  /** It rests on what answers took, not on what is expected of a model that nobody has heard yet. */
  evidence: boolean
}
