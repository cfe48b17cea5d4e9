/** Everything that can happen to the core; closed. */
import type { Config } from '#contracts/config'
import type { Millis, Tokens } from '#contracts/units'
import type { BudgetUnit, Span } from '#contracts/tenant-limits'
import type { Grant } from './account.ts'
import type { Share } from './share.ts'
import type { Verdict } from '#contracts/verdict'

/** A request as the loop hands it over: parsed and well-formed, not yet accepted. */
export interface NewRequest {
  key: string
  id: string
  tenant: string
  lane: string
  model: string
  stream: boolean
  maxTokens: Tokens
  /** Size of the body. */
  bytes: number
  /** Of it, pictures and documents, and the tokens that their kinds and sizes suggest; absent: none. */
  mediaBytes?: number
  mediaTokens?: Tokens
  /** The provider may do more than answer, so that a second try could do it twice; absent: no. */
  mayAct?: boolean
  /** It is asked in fast mode, whose capacity the provider counts apart; absent: no. */
  fast?: boolean
  /** It may draw on capacity that the account has committed to, if there is any; absent: no. */
  priority?: boolean
  /** The provider's features that it asks for, as its header names them; absent or null: none. */
  beta?: string | null
  /** What of its prompt it shares with others, by name; absent or null: nothing that is known. */
  prefix?: string | null
  /** The caller's remaining budget; null: the lane's default. */
  deadlineMs: Millis | null
  /** Attempts that the caller allows, the first included; absent or null: the lane's. */
  maxAttempts?: number | null
  /** Set when it was refused elsewhere and comes again, for another model. */
  carried?: Carried | null
}

/** What a request keeps when it goes to another route (control-laws §13): the time it has, what it spent, and
 *  its place among the lanes. Where it stands among routes and tenants begins anew. */
export interface Carried {
  acceptedAt: Millis
  deadline: Millis
  /** Null: it never stood in a queue. */
  laneStamp: number | null
  attempts: number
  preemptions: number
  unexplained: number
  queueMs: Millis
  upstreamMs: Millis
  lastVerdict: Verdict | null
}

/** What the breaker of a route permits. */
export interface Gate {
  state: 'closed' | 'open' | 'half_open' | 'ramp'
  /** Concurrent attempts of this generation; Infinity when closed, 0 when open. */
  cap: number
  /** Raised by each change that starts a new count; attempts carry it. */
  generation: number
  /** When an open breaker will let probes through; null otherwise. */
  until: Millis | null
}

/** What the machines of one route say, handed to the core with an input. */
export interface RouteControl {
  route: string
  limit: number
  /** Raised by each decrease of the limit; attempts carry it. */
  epoch: number
  gate: Gate
  /** Largest load of the last 24 h; the initial limit before any. */
  peak: number
  /** The provider asked for a slower ramp: no raise before the first, slow raises before the second. */
  heldUntil: Millis
  slowUntil: Millis
}

export type Input =
  | { type: 'request'; request: NewRequest }
  | { type: 'cancel'; key: string }
  | { type: 'progress'; key: string; what: 'first-byte' | 'forwarded' }
  | { type: 'verdict'; key: string; verdict: Verdict; control: RouteControl }
  /** The request's own timer. */
  | { type: 'wake'; key: string }
  /** The route's timer: a pause or a block has run out. */
  | { type: 'route-wake'; route: string }
  /** A machine moved by itself. */
  | { type: 'control'; control: RouteControl }
  /** Once a second. */
  | { type: 'tick'; elapsedMs: Millis; controls: readonly RouteControl[] }
  | { type: 'config'; config: Config }
  /** What we may use of the fleet's limits, and the routes' limits under it. */
  | { type: 'share'; share: Share; controls: readonly RouteControl[] }
  /** Another instance of the fleet was refused: a quota is used up until then, an account is stopped. */
  | { type: 'peer-paused'; quota: string; until: Millis }
  | { type: 'peer-blocked'; upstream: string; by: Verdict }
  /** An operator says that a blocked upstream may be tested now. */
  | { type: 'test-upstream'; upstream: string }
  /** What the store says of a budget; null: it did not answer. */
  | { type: 'allowance'; account: string; span: Span; unit: BudgetUnit; grant: Grant | null }
  | { type: 'lane'; lane: string; paused: boolean }
  /** Stop: nothing starts any more. */
  | { type: 'drain' }
  /** The drain has lasted long enough. */
  | { type: 'drain-over' }
