/** The empty state, and what is added to it: lanes, routes, upstreams, quotas. */
import type { Config, LaneConfig, RouteConfig } from '#contracts/config'
import { otherRouteId, routeId } from '#contracts/ids'
import { priceOf } from '#contracts/prices'
import type { Millis, Seconds } from '#contracts/units'
import { CostBook, RunningMean } from '#core/estimators/cost'
import { DelayControl } from '#core/estimators/delay-control'
import { FairQueue } from '#core/estimators/fair-queue'
import { Lately } from '#core/estimators/lately'
import { FirmNeed } from '#core/estimators/lending'
import { LoadWatch } from '#core/estimators/load-watch'
import { Pace } from '#core/estimators/pace'
import { Reserve } from '#core/estimators/reserve'
import { StartPace } from '#core/estimators/start-pace'
import { TokenBucket } from '#core/estimators/token-bucket'
import { Witness } from '#core/estimators/witness'
import type { Priority } from './limits.ts'
import type {
  LaneRoute,
  Lane,
  LaneGroup,
  Quota,
  Request,
  RetryBudget,
  Route,
  State,
  Tenant,
  Upstream,
} from './state.ts'
import { ALONE } from './share.ts'
import { IndexedHeap } from '#core/estimators/indexed-heap'
import { LinkedList } from '#core/estimators/linked-list'

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
    accounts: new Map(),
    waitingAccounts: new IndexedHeap((a, b) => a.until < b.until),
    active: new Set(),
    requests: new Map(),
    costs: new CostBook(),
    load: new LoadWatch(),
    inflight: 0,
    queued: 0,
    aside: 0,
    prefixes: new Lately(),
    bytes: 0,
    headroom: 0,
    firm: new FirmNeed(),
    share: ALONE,
    slots: config.maxInflight,
    large: new Set(),
    anyReserved: false,
    backfills: new Set(),
    holding: new Set(),
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
    lane.config = { ...lane.config, guarantee: 0, reservedSlots: 0 }
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
    laneRoutes: [],
    guarantee: 0,
    reservedSlots: 0,
    cap: 0,
    minimumShare: 0,
  }
}

/** Every route stands in every lane. */
export function attachLanes(state: State, route: Route): void {
  for (const lane of state.lanes) {
    if (route.laneRoutes.some((laneRoute) => laneRoute.lane === lane)) continue
    const laneRoute: LaneRoute = {
      lane,
      route,
      queue: new FairQueue<Request, Tenant>(controlled),
      finish: lane.v,
      inflight: 0,
      running: new Set(),
      pace: new Pace(),
      delay: new DelayControl(),
      allowance: Infinity,
      allowanceCutAt: -Infinity,
      allowanceQuietAt: state.now,
      guarantee: 0,
      reservedSlots: 0,
      cap: 0,
      minimumShare: 0,
    }
    lane.laneRoutes.push(laneRoute)
    route.laneRoutes.push(laneRoute)
  }
}

/** Delay control speaks of requests whose deadline is only the lane's default and that no attempt was made
 *  for: what was admitted with a promise keeps its place. */
export const controlled = (request: Request): boolean =>
  request.lane.config.delayControl &&
  request.asked.deadlineMs === null &&
  request.attempts === 0 &&
  request.preemptions === 0

export function newRoute(state: State, config: RouteConfig, opener: string): Route {
  // Two models may cut to one id: the second would share the first one's machines.
  const usual = routeId(config)
  const id = state.routes.has(usual) ? otherRouteId(config) : usual
  const budget = (): RetryBudget => ({
    tokens: state.config.file.llm_gateway.retry.budget_start,
    at: state.now,
    byTenant: new Lately(),
    owing: new Set(),
  })
  return {
    id,
    config,
    retired: false,
    upstream: upstreamOf(state, config.upstream),
    price: priceOf(state.config.prices, config.model),
    quota: quotaOf(state, config.quota ?? id),
    named: null,
    differs: false,
    limit: config.initial,
    epoch: 0,
    gate: { state: 'closed', cap: Infinity, generation: 0, until: null },
    peak: config.initial,
    heldUntil: -Infinity,
    slowUntil: -Infinity,
    inflight: 0,
    running: new LinkedList(),
    lastByteAt: -Infinity,
    refusedAfter: new RunningMean(),
    failedInRow: 0,
    lastFault: null,
    ofGeneration: 0,
    live: 0,
    laneRoutes: [],
    reserve: new Reserve(),
    budgets: [budget(), budget()],
    opener,
    lastSuccessAt: -Infinity,
    openedAt: state.now,
    headroom: 0,
    firm: new FirmNeed(),
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
      blockedSince: 0,
      tester: null,
      blockedBy: null,
      unauthorisedInRow: 0,
    }
    state.upstreams.set(name, upstream)
  }
  return upstream
}

/** What a quota may have saved up: seconds of its rate, and at least one. A limit per minute may be enforced per
 *  second, so requests save up less than tokens. */
export const BURST: { requests: Seconds; tokens: Seconds; least: number } = {
  requests: 5,
  tokens: 30,
  least: 1,
}

export const newQuota = (name: string, now: Millis): Quota => ({
  name,
  pausedUntil: 0,
  throttledAt: -Infinity,
  backfill: null,
  held: new Map(),
  witness: new Witness(),
  starts: new StartPace(),
  requests: bucketOf(BURST.requests, now),
  inputTokens: bucketOf(BURST.tokens, now),
  outputTokens: bucketOf(BURST.tokens, now),
  priority: null,
})

/** Capacity that the account has committed to, as the provider counts it. */
export const newPriority = (now: Millis): Priority => ({
  inputTokens: bucketOf(BURST.tokens, now),
  outputTokens: bucketOf(BURST.tokens, now),
})

const bucketOf = (burstSeconds: Seconds, now: Millis): TokenBucket =>
  new TokenBucket({ burstSeconds, burstLeast: BURST.least, now })

export function quotaOf(state: State, name: string): Quota {
  let quota = state.quotas.get(name)
  if (quota === undefined) state.quotas.set(name, (quota = newQuota(name, state.now)))
  return quota
}
