/** Whoever decides when a request is sent: Headgate itself, or what people run instead of it. */
import type { Config } from '#contracts/config'
import type { Verdict } from '#contracts/verdict'
import type { Plan } from './provider-model.ts'
import type { SimRequest } from './sim-request.ts'

export interface SchedulingPolicy {
  submit(request: SimRequest): void
  /** Nothing starts any more; what runs may end. */
  drain(): void
  /** Requests that have no outcome yet. */
  readonly live: number
  /** Slots that it would use at most now; 0: it knows no limit. */
  limit(): number
  queued(lane: string): number
  /** Broken laws, checked now; none by those who have none. */
  check(): string[]
  /** The run is over: everything must be at rest. */
  atRest(): string[]
  /** Callers take back every n-th of their live requests; nothing where nobody can. */
  cancel(everyNth: number): void
  /** Another configuration, while requests run; nothing where there is none. */
  configure(config: Config): void
  /** Tenants that it remembers. */
  readonly tenants: number
  /** What only some policies can tell. */
  readonly facts: PolicyFacts
}

export interface PolicyFacts {
  decreases: number
  trips: number
  /** Limits seen at each decrease: [second, limit]. */
  lowered: [at: number, limit: number][]
}

/** The provider as a policy sees it: attempts that report their end, and may be ended. */
export interface Wire {
  send(request: SimRequest, on: WireEvents): Attempt
}

export interface WireEvents {
  firstByte?: () => void
  ended: (verdict: Verdict) => void
}

export interface Attempt {
  readonly plan: Plan
  /** Closes the connection; `ended` comes with this verdict when that is done. */
  abort(verdict: Verdict): void
}
