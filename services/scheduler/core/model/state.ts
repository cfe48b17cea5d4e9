/** The whole state of the core, and its empty value. Queues and slots are indexes by request: where a
 *  request stands is the lifecycle's to say, and nothing here stores a phase. */
import {
  SHARED_TENANT_CAP,
  type Config,
  type LaneConfig,
  type RouteConfig,
} from '#contracts/config'
import type { Millis, Seconds, Tokens } from '#contracts/units'
import type { AbortWhy, Verdict } from '#contracts/verdict'
import type { CostBook, RunningMean } from '#core/estimators/cost'
import { type Denominators, type Estimate } from '#core/estimators/cost'
import type { LoadWatch } from '#core/estimators/load-watch'
import type { DelayControl } from '#core/estimators/delay-control'
import type * as fair from '#core/estimators/fair-queue'
import type { Gate, NewRequest } from './inputs.ts'
import type { Reserve } from '#core/estimators/reserve'
import type { Limits, Priority, Silence } from './limits.ts'
import type { FirmNeed } from '#core/estimators/lending'
import { type RecentNeed } from '#core/estimators/lending'
import type { Pace } from '#core/estimators/pace'
import type { StartPace } from '#core/estimators/start-pace'
import type { Share } from './share.ts'
import type { Account, Payment } from './account.ts'
import type { Prefix } from './prefix.ts'
import type { IndexedHeap } from '#core/estimators/indexed-heap'
import type { Price } from '#contracts/prices'
import type { Lately } from '#core/estimators/lately'
import type { LinkedList } from '#core/estimators/linked-list'
import type { TokenBucket } from '#core/estimators/token-bucket'
import type { Witness } from '#core/estimators/witness'

/** One tenant's waiting requests in one lane on one route. */
export type Flow = fair.Flow<Request, Tenant>
export type FairQueue = fair.FairQueue<Request, Tenant>

export class Tenant {
  readonly name: string
  weight: number
  /** Configured cap, always binding; null: the shared default. */
  cap: number | null
  /** Slots in use over all lanes and routes. */
  inflight = 0
  /** Of them, in lanes that are not preemptible. */
  firm = 0
  /** Requests waiting, over all lanes and routes. */
  queued = 0
  /** It has one waiting or in a slot: it is in `State.active`. */
  active = false
  /** Bodies of its live requests. */
  bytes = 0
  /** Cost of what it was served, as of `usageAt`; fades over minutes. */
  usage: Seconds = 0
  usageAt: Millis = 0
  /** At the cap that binds now, or its account waits: outside every heap. */
  parked = false
  /** What it may use; null: it has no limits of its own. */
  account: Account<Tenant> | null = null
  /** What the others lately had in flight at most, kept while this one has many; null: it has few. */
  others: RecentNeed | null = null
  /** The default cap as it binds now: what the others lately left. */
  sharedCap = SHARED_TENANT_CAP
  readonly flows: Flow[] = []
  readonly #all: Map<string, Tenant>

  constructor(name: string, of: { weight: number; cap: number | null }, all: Map<string, Tenant>) {
    this.name = name
    this.weight = of.weight
    this.cap = of.cap
    this.#all = all
    all.set(name, this)
  }

  /** It stands out of the queues until its limits allow more. */
  get heldBack(): boolean {
    return this.account !== null && this.account.until > 0
  }

  /** It has no request and no debt anywhere. */
  forget(): void {
    this.account?.members.delete(this)
    this.#all.delete(this.name)
  }
}

/** What an attempt took from the three buckets of a quota, and what each had accepted in that second by then. */
export interface Reservation {
  /** Where it is settled, whatever quota its route has by then. */
  readonly quota: Quota
  /** Of committed capacity; null: of the usual one. */
  readonly priority: Priority | null
  readonly inputTokens: Tokens
  readonly outputTokens: Tokens
  readonly requestsAccepted: number
  readonly inputAccepted: number
  readonly outputAccepted: number
}

/** Where a live request stands: in one of these and no other. */
export type Place =
  | { readonly in: 'queue' }
  /** Until the call that leads its prefix has begun to answer, and no longer than this; it counts as queued. */
  | { readonly in: 'aside'; readonly since: Millis; readonly until: Millis }
  | { readonly in: 'slot'; readonly attempt: Attempt }
  /** `owes`: it ends only when the retry budget has a token for it. */
  | { readonly in: 'back-off'; readonly until: Millis; readonly owes: boolean }
  /** On its way from one to the other, within a step. */
  | { readonly in: 'hand' }

/** One attempt in its slot. */
export interface Attempt {
  readonly number: number
  readonly startedAt: Millis
  readonly generation: number
  readonly epoch: number
  /** Its lane was not preemptible when it started, whatever the configuration says since. */
  readonly firm: boolean
  readonly estimate: Estimate
  readonly by: Denominators
  readonly charged: number
  readonly reserved: Reservation
  /** What it took of its tenant's limits; null: there are none. */
  readonly paid: Payment | null
  /** No byte within this is a hang. */
  readonly firstByteMs: Millis
  /** Silent for longer than this, it proves what a hang proves, however it ends. */
  readonly silence: Silence
  /** Since when it is silent: its start, or when the process had stood still. */
  silentSince: Millis
  /** The machines have heard of its silence. */
  silenceTold: boolean
  firstByte: boolean
  forwarded: boolean
  /** Set when we end it ourselves; the slot is free when the transport confirms. */
  ending: AbortWhy | null
}

export interface Request {
  readonly key: string
  readonly asked: NewRequest
  readonly tenant: Tenant
  readonly lane: Lane
  readonly route: Route
  readonly laneRoute: LaneRoute
  readonly flow: Flow
  readonly acceptedAt: Millis
  readonly deadline: Millis
  /** What it was expected to use when it arrived. */
  readonly expected: Estimate
  /** The wait that was predicted when it arrived. */
  readonly predictedMs: Millis
  /** Virtual times of arrival: lanes, routes of the lane, tenants of the lane on its route. */
  laneStamp: number
  routeStamp: number
  tenantStamp: number
  asideTurn: number
  /** Time spent aside so far. */
  asideMs: Millis
  /** Of it, that in which its tenant's own limits held it; and what of such time had passed when it entered. */
  limitedMs: Millis
  limitedBefore: Millis
  /** What of its prompt it shares with others; null: nothing that is known. */
  readonly prefix: Prefix<Request> | null
  place: Place
  /** Its neighbours in its queue, or among those in slots. */
  before: Request | null
  after: Request | null
  queuedAt: Millis
  /** Time spent waiting so far, over all visits to the queue. */
  queueMs: Millis
  /** Time spent in slots so far. */
  upstreamMs: Millis
  /** Counted attempts: preempted ones are not. */
  attempts: number
  preemptions: number
  /** Tokens that others may still take while it stands aside; null: it never did. */
  mayBeBackfilled: number | null
  /** Unexplained 429s so far; the second ends it. */
  unexplained: number
  lastVerdict: Verdict | null
  /** Its one preemption check of this visit to the queue is done. */
  checked: boolean
  /** The one answer has been given; the slot may still be closing. */
  answered: boolean
}

/** A class of lanes that share one virtual time: non-preemptible ones, or preemptible ones. */
export interface LaneGroup {
  v: number
}

export interface Lane {
  config: LaneConfig
  group: LaneGroup
  finish: number
  /** Virtual time of the lane's routes. */
  v: number
  inflight: number
  queued: number
  paused: boolean
  /** No longer configured: takes nobody new, and goes when empty. */
  retired: boolean
  readonly laneRoutes: LaneRoute[]
  // Slot numbers in the global scope, scaled by `rescale`.
  guarantee: number
  reservedSlots: number
  cap: number
  minimumShare: number
}

/** One lane on one route. */
export interface LaneRoute {
  readonly lane: Lane
  readonly route: Route
  readonly queue: FairQueue
  /** The route's finish tag inside the lane. */
  finish: number
  inflight: number
  /** Running attempts; kept for preemptible lanes only, where victims are sought. */
  readonly running: Set<Request>
  readonly pace: Pace
  readonly delay: DelayControl
  /** Slots that preemption leaves to the lane; grows back to the cap. */
  allowance: number
  allowanceCutAt: Millis
  allowanceQuietAt: Millis
  // Slot numbers in the route's scope, scaled by `rescale`.
  guarantee: number
  reservedSlots: number
  cap: number
  minimumShare: number
}

export interface RetryBudget {
  tokens: number
  at: Millis
  /** Each tenant's part of it; at most `scheduling.idle_tenants_max`. */
  readonly byTenant: Lately<{ tokens: number; at: Millis }>
  /** Those who wait for a token; at most `queue_max` of their lane. */
  readonly owing: Set<Request>
}

export interface Upstream {
  readonly name: string
  /** Nothing starts before this; 0 when not blocked. */
  blockedUntil: Millis
  /** It is blocked: an attempt that starts after `blockedUntil` tests it. */
  testing: boolean
  /** When the block began; of use while `testing`. */
  blockedSince: Millis
  /** The request that tests it now. */
  tester: string | null
  /** Verdict that blocked it, shown to those it refuses. */
  blockedBy: Verdict | null
  unauthorisedInRow: number
}

/** One request of a quota that stands aside. */
export interface Backfill {
  readonly request: Request
  readonly need: Estimate
  /** What it waits for longest. */
  readonly dimension: 'inputTokens' | 'outputTokens'
  /** What others may still take of it. */
  left: number
}

/** A pause for one trait. */
export interface Held {
  until: Millis
  /** Who was stopped by it, with what is at its head. */
  readonly flows: Map<Flow, Route>
}

/** Routes of one quota share it: the provider counts their models together. */
export interface Quota {
  readonly name: string
  /** Nothing starts before this (429 with retry-after). */
  pausedUntil: Millis
  /** The last 429; -Infinity: none. */
  throttledAt: Millis
  /** The request that lets others pass while it waits for tokens. */
  backfill: Backfill | null
  /** Pauses that bind only those who share their cause, by what they share. */
  readonly held: Map<string, Held>
  /** Who was lately answered and refused. */
  readonly witness: Witness
  /** Paces starts where 429s come and no limit is known. */
  readonly starts: StartPace
  readonly requests: TokenBucket
  readonly inputTokens: TokenBucket
  readonly outputTokens: TokenBucket
  /** What comes before these two for calls that may draw on it; null: nobody has spoken of any. */
  priority: Priority | null
}

export interface Route {
  readonly id: string
  config: RouteConfig
  /** No longer configured: takes nobody new, and goes when empty. */
  retired: boolean
  readonly upstream: Upstream
  /** What its model costs; null: it is not known. */
  price: Price | null
  quota: Quota
  /** The limits that the upstream last named for it; null: none yet. */
  named: Limits | null
  /** Routes of its configured quota are named other limits. */
  differs: boolean
  limit: number
  epoch: number
  gate: Gate
  /** Largest load of the last 24 h; the initial limit before any. */
  peak: number
  /** The provider asked for a slower ramp: no raise before the first, slow raises before the second. */
  heldUntil: Millis
  slowUntil: Millis
  inflight: number
  /** In slots, the oldest start first. */
  readonly running: LinkedList<Request>
  /** When a first byte last came; -Infinity: never. */
  lastByteAt: Millis
  /** How long refusals for overload take, in ms. */
  readonly refusedAfter: RunningMean
  /** Attempts that failed since the last success. */
  failedInRow: number
  /** The last failure since then; null: none. */
  lastFault: Pick<Verdict, 'kind' | 'status' | 'errorType'> | null
  /** In flight and started in the gate's present generation. */
  ofGeneration: number
  /** Live requests, in any place. */
  live: number
  readonly laneRoutes: LaneRoute[]
  /** What it needs of the slots that all routes share. */
  readonly reserve: Reserve
  /** Non-preemptible and preemptible. */
  readonly budgets: [RetryBudget, RetryBudget]
  /** The tenant whose request opened it. */
  readonly opener: string
  /** -Infinity: never. */
  lastSuccessAt: Millis
  openedAt: Millis
  headroom: number
  readonly firm: FirmNeed
  /** The wake-up asked for, so that it is asked for once. */
  wakeAt: Millis
}

export interface State {
  config: Config
  now: Millis
  /** Heaviest first. */
  lanes: Lane[]
  readonly lanesByName: Map<string, Lane>
  readonly groups: { firm: LaneGroup; preemptible: LaneGroup }
  readonly routes: Map<string, Route>
  readonly routesByModel: Map<string, Route>
  readonly upstreams: Map<string, Upstream>
  readonly quotas: Map<string, Quota>
  readonly tenants: Map<string, Tenant>
  /** Tenants with a request waiting or in a slot. */
  readonly active: Set<Tenant>
  /** By tenant, of those with limits, whether they are here or not. */
  readonly accounts: Map<string, Account<Tenant>>
  /** Accounts that wait, the next to go on first. */
  readonly waitingAccounts: IndexedHeap<Account<Tenant>>
  readonly requests: Map<string, Request>
  readonly costs: CostBook
  readonly load: LoadWatch
  /** Our part of what a fleet divides. */
  share: Share
  inflight: number
  queued: number
  /** Of them, those who stand aside. */
  aside: number
  /** By tenant, route and prefix, those that were used lately. */
  readonly prefixes: Lately<Prefix<Request>>
  /** Bodies of all live requests. */
  bytes: number
  headroom: number
  /** Need of lanes that are not preemptible, over all routes. */
  readonly firm: FirmNeed
  /** Slots that there are: under the global limit and those of the routes. */
  slots: number
  /** Tenants with many slots under the default cap. */
  readonly large: Set<Tenant>
  anyReserved: boolean
  /** Quotas with a request that stands aside. */
  readonly backfills: Set<Quota>
  /** Quotas with a pause that does not bind all. */
  readonly holding: Set<Quota>
  /** Slots that routes are short of, together. */
  lacking: number
  /** Slot-seconds that preemption may still waste. */
  wasteCredit: Seconds
  /** Charged to nobody: aborted slot-seconds. */
  wasted: Seconds
  draining: boolean
}
