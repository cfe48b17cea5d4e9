/** The whole state of the core, and its empty value. Queues and slots are indexes by request: where a
 *  request stands is the lifecycle's to say, and nothing here stores a phase. */
import type { Config, LaneConfig, RouteConfig } from '#contracts/config'
import { routeId } from '#contracts/ids'
import type { Millis, Seconds } from '#contracts/units'
import type { AbortWhy, Verdict } from '#contracts/verdict'
import { CostBook, type Denominators, type Estimate } from './cost.ts'
import type { Aside } from './aside.ts'
import { LoadWatch } from './degradation.ts'
import { DelayControl } from './delay-control.ts'
import { FairQueue, type Member } from './fair-queue.ts'
import type { Gate, NewRequest } from './inputs.ts'
import { Reserve } from './isolation.ts'
import { Pace } from './prediction.ts'
import type { TokenBucket } from './token-bucket.ts'
import { newQuota, type Reservation } from './token-buckets.ts'

export class Tenant {
  readonly name: string
  weight: number
  /** Configured cap, always binding; null: the shared default. */
  cap: number | null
  /** Slots in use over all lanes and routes. */
  inflight = 0
  /** Requests waiting, over all lanes and routes. */
  queued = 0
  /** Bodies of its live requests. */
  bytes = 0
  /** Cost of what it was served, as of `usageAt`; fades over minutes. */
  usage: Seconds = 0
  usageAt: Millis = 0
  /** At the cap that binds now: outside every heap. */
  parked = false
  readonly members: Member[] = []
  readonly #all: Map<string, Tenant>

  constructor(name: string, of: { weight: number; cap: number | null }, all: Map<string, Tenant>) {
    this.name = name
    this.weight = of.weight
    this.cap = of.cap
    this.#all = all
    all.set(name, this)
  }

  /** It has no request and no debt anywhere. */
  forget(): void {
    this.#all.delete(this.name)
  }
}

/** One attempt in its slot. */
export interface Attempt {
  readonly number: number
  readonly startedAt: Millis
  readonly generation: number
  readonly epoch: number
  readonly estimate: Estimate
  readonly by: Denominators
  readonly charged: number
  readonly reserved: Reservation
  /** No byte within this is a hang; Infinity when only the deadline limits it. */
  readonly firstByteMs: Millis
  /** Silent for longer than this when its deadline comes, it proves what a hang proves. */
  readonly silenceMs: Millis
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
  readonly cell: Cell
  readonly member: Member
  readonly acceptedAt: Millis
  readonly deadline: Millis
  /** What it was expected to use when it arrived. */
  readonly expected: Estimate
  /** The wait that was predicted when it arrived. */
  readonly predictedMs: Millis
  /** Virtual times of arrival: lanes, routes of the lane, tenants of the cell. */
  laneStamp: number
  routeStamp: number
  tenantStamp: number
  waiting: boolean
  before: Request | null
  after: Request | null
  queuedAt: Millis
  /** Time spent waiting so far, over all visits to the queue. */
  queueMs: Millis
  /** Time spent in slots so far. */
  upstreamMs: Millis
  attempt: Attempt | null
  /** Counted attempts: preempted ones are not. */
  attempts: number
  preemptions: number
  /** Tokens that others may still take while it stands aside; null: it never did. */
  mayBePassed: number | null
  /** Unexplained 429s so far; the second ends it. */
  unexplained: number
  lastVerdict: Verdict | null
  /** Its one preemption check of this visit to the queue is done. */
  checked: boolean
  /** When a back-off ends; null outside one. */
  retryAt: Millis | null
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
  readonly cells: Cell[]
  // Slot numbers in the global scope, scaled by `rescale`.
  guarantee: number
  hold: number
  cap: number
  trickle: number
}

/** One lane on one route. */
export interface Cell {
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
  hold: number
  cap: number
  trickle: number
}

export interface RetryBudget {
  tokens: number
  at: Millis
}

export interface Upstream {
  readonly name: string
  /** Nothing starts before this; 0 when not blocked. */
  blockedUntil: Millis
  /** The block has run out and one attempt may test it. */
  testing: boolean
  /** That attempt. */
  tester: string | null
  /** Verdict that blocked it, shown to those it refuses. */
  blockedBy: Verdict | null
  unauthorisedInRow: number
}

/** Routes of one quota share it: the provider counts their models together. */
export interface Quota {
  readonly name: string
  /** Nothing starts before this (429 with retry-after). */
  pausedUntil: Millis
  /** The last 429; -Infinity: none. */
  throttledAt: Millis
  /** The request that lets others pass while it waits for tokens. */
  aside: Aside | null
  readonly requests: TokenBucket
  readonly inputTokens: TokenBucket
  readonly outputTokens: TokenBucket
}

export interface Route {
  readonly id: string
  config: RouteConfig
  /** No longer configured: takes nobody new, and goes when empty. */
  retired: boolean
  readonly upstream: Upstream
  quota: Quota
  limit: number
  epoch: number
  gate: Gate
  /** Largest load of the last 24 h; the initial limit before any. */
  peak: number
  /** The provider asked for a slower ramp: no raise before the first, slow raises before the second. */
  heldUntil: Millis
  slowUntil: Millis
  inflight: number
  /** In flight and started in the gate's present generation. */
  ofGeneration: number
  /** Live requests, in any place. */
  live: number
  readonly cells: Cell[]
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
  readonly requests: Map<string, Request>
  readonly costs: CostBook
  readonly load: LoadWatch
  inflight: number
  queued: number
  /** Bodies of all live requests. */
  bytes: number
  headroom: number
  anyHold: boolean
  /** Quotas with a request that stands aside. */
  readonly asides: Set<Quota>
  /** Slots that routes are short of, together. */
  lacking: number
  /** Slot-seconds that preemption may still waste. */
  wasteCredit: Seconds
  /** Charged to nobody: aborted slot-seconds. */
  wasted: Seconds
  draining: boolean
}

export function emptyState(config: Config, now: Millis): State {
  const groups = { firm: { v: 0 }, preemptible: { v: 0 } }
  const state: State = {
    config,
    now,
    lanes: [],
    lanesByName: new Map(),
    groups,
    routes: new Map(),
    routesByModel: new Map(),
    upstreams: new Map(),
    quotas: new Map(),
    tenants: new Map(),
    active: new Set(),
    requests: new Map(),
    costs: new CostBook(),
    load: new LoadWatch(),
    inflight: 0,
    queued: 0,
    bytes: 0,
    headroom: 0,
    anyHold: false,
    asides: new Set(),
    lacking: 0,
    wasteCredit: config.file.preemption.credit_start,
    wasted: 0,
    draining: false,
  }
  configureLanes(state)
  return state
}

/** Makes the lanes what the configuration says. A lane that is gone keeps serving what it holds. */
export function configureLanes(state: State): void {
  for (const config of state.config.lanes) {
    const lane = state.lanesByName.get(config.name)
    if (lane === undefined) {
      state.lanesByName.set(config.name, newLane(config, state))
      continue
    }
    const group = groupOf(config, state)
    if (group !== lane.group) {
      // Tags of another group mean nothing here: the lane joins as if it had just arrived.
      lane.group = group
      lane.finish = group.v
      for (const r of state.requests.values()) if (r.lane === lane) r.laneStamp = group.v
    }
    lane.config = config
    lane.retired = false
  }
  const named = new Set(state.config.lanes.map((one) => one.name))
  for (const lane of state.lanesByName.values()) {
    if (named.has(lane.config.name)) continue
    lane.retired = true
    lane.config = { ...lane.config, guarantee: 0, hold: 0 }
  }
  state.lanes = [...state.lanesByName.values()].sort(
    (a, b) => b.config.weight - a.config.weight || (a.config.name < b.config.name ? -1 : 1),
  )
  for (const route of state.routes.values()) attachLanes(state, route)
}

const groupOf = (config: LaneConfig, state: State): LaneGroup =>
  config.preemptible ? state.groups.preemptible : state.groups.firm

function newLane(config: LaneConfig, state: State): Lane {
  return {
    config,
    group: groupOf(config, state),
    finish: 0,
    v: 0,
    inflight: 0,
    queued: 0,
    paused: false,
    retired: false,
    cells: [],
    guarantee: 0,
    hold: 0,
    cap: 0,
    trickle: 0,
  }
}

/** Every route has a cell in every lane. */
export function attachLanes(state: State, route: Route): void {
  for (const lane of state.lanes) {
    if (route.cells.some((cell) => cell.lane === lane)) continue
    const cell: Cell = {
      lane,
      route,
      queue: new FairQueue(),
      finish: lane.v,
      inflight: 0,
      running: new Set(),
      pace: new Pace(),
      delay: new DelayControl(),
      allowance: Infinity,
      allowanceCutAt: -Infinity,
      allowanceQuietAt: state.now,
      guarantee: 0,
      hold: 0,
      cap: 0,
      trickle: 0,
    }
    lane.cells.push(cell)
    route.cells.push(cell)
  }
}

export function newRoute(state: State, config: RouteConfig, opener: string): Route {
  const id = routeId({ upstream: config.upstream, model: config.model })
  const budget = (): RetryBudget => ({
    tokens: state.config.file.llm_gateway.retry.budget_start,
    at: state.now,
  })
  return {
    id,
    config,
    retired: false,
    upstream: upstreamOf(state, config.upstream),
    quota: quotaOf(state, config.quota ?? id),
    limit: config.initial,
    epoch: 0,
    gate: { state: 'closed', cap: Infinity, generation: 0, until: null },
    peak: config.initial,
    heldUntil: -Infinity,
    slowUntil: -Infinity,
    inflight: 0,
    ofGeneration: 0,
    live: 0,
    cells: [],
    reserve: new Reserve(),
    budgets: [budget(), budget()],
    opener,
    lastSuccessAt: -Infinity,
    openedAt: state.now,
    headroom: 0,
    wakeAt: -Infinity,
  }
}

function upstreamOf(state: State, name: string): Upstream {
  let upstream = state.upstreams.get(name)
  if (upstream === undefined) {
    upstream = {
      name,
      blockedUntil: 0,
      testing: false,
      tester: null,
      blockedBy: null,
      unauthorisedInRow: 0,
    }
    state.upstreams.set(name, upstream)
  }
  return upstream
}

export function quotaOf(state: State, name: string): Quota {
  let quota = state.quotas.get(name)
  if (quota === undefined) state.quotas.set(name, (quota = newQuota(name, state.now)))
  return quota
}
