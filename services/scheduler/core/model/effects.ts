/** Everything the core asks for; closed. The loop performs them in order. */
import type { Reason } from '#contracts/refusals'
import type { Millis } from '#contracts/units'
import type { AbortWhy, Verdict } from '#contracts/verdict'
import type { Account, Allowance } from './account.ts'
import type { Attempt, Quota, Request, Route, Upstream } from './state.ts'

/** How a request ends. `message` is for the caller: what, and the numbers behind it. */
export type Ending = { kind: 'completed'; verdict: Verdict } | Refused

export interface Refused {
  kind: 'refused'
  reason: Reason
  message: string
  /** Within 1 s to 60 s where a number is known, else null. */
  retryAfterMs: Millis | null
  /** The upstream's answer behind it, if one is. */
  verdict: Verdict | null
  /** The same again would meet the same, however late it came. */
  inVain?: true
}

export type Effect =
  | { type: 'queued'; request: Request }
  | { type: 'start-attempt'; request: Request; attempt: Attempt }
  | { type: 'forwarding'; request: Request; attempt: Attempt }
  /** It has said nothing for longer than its model ever takes; it goes on. */
  | { type: 'attempt-silent'; request: Request; attempt: Attempt }
  | { type: 'attempt-ended'; request: Request; attempt: Attempt; verdict: Verdict }
  /** `ending` is the caller's answer, given now; null when the request goes on (preempted). */
  | {
      type: 'abort-attempt'
      request: Request
      attempt: Attempt
      why: AbortWhy
      ending: Refused | null
    }
  /** `owes`: the retry budget is charged when it comes back, if it has a token then. */
  | { type: 'backoff'; request: Request; verdict: Verdict; waitMs: Millis; owes: boolean }
  | { type: 'requeued'; request: Request; why: 'backoff' | 'preempted' }
  | { type: 'settled'; request: Request; ending: Ending }
  /** A request that never was accepted. */
  | { type: 'refused'; key: string; refused: Refused }
  /** An aborted attempt has let go of its slot; its request was answered before. */
  | { type: 'released'; request: Request }
  | { type: 'wake-at'; request: Request; at: Millis }
  | { type: 'route-wake-at'; route: Route; at: Millis }
  | { type: 'route-opened'; route: Route }
  | { type: 'route-closed'; route: Route }
  /** The provider has refused to all of a quota, or to all of an account: other instances would be refused too. */
  | { type: 'quota-paused'; quota: Quota; until: Millis }
  | { type: 'upstream-blocked'; upstream: Upstream; by: Verdict }
  /** More of a tenant's budget is wanted: what it lacks, at least. */
  | { type: 'allowance-wanted'; account: Account; allowance: Allowance; short: number }
  | { type: 'alarm'; name: string; route: string | null; detail: string }
