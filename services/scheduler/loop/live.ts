/** One live request, as the loop keeps it; the core has its own view. The loop hands it over as what is
 *  asked, and finds it again there. */
import type { TraceContext } from '#contracts/events'
import type { RequestRow, RequestsPage } from '#contracts/dashboard'
import type { StatusAnswer } from '#contracts/messages'
import type { MicroUsd } from '#contracts/prices'
import type { RequestState } from '#contracts/outcome'
import type { Expected } from '#core/estimators/cost'
import { waitOfQueued } from '#core/laws/prediction'
import type { Rung } from '#core/laws/degradation'
import type { LaneAdds } from '#core/laws/speed-and-tier'
import type { Refused } from '#core/model/effects'
import type { Carried, NewRequest } from '#core/model/inputs'
import type { Request, State } from '#core/model/state'
import { whyWaits } from '#core/laws/waiting'
import { waitWords } from '#contracts/waiting'
import type { Cell } from '#machines/compile'
import type { Incoming, Millis, RunningAttempt } from '#ports'
import type { Timer } from './timer-heap.ts'
import { retryAtOf, waits } from '#core/model/place'

export interface LiveRequest extends NewRequest {
  readonly incoming: Incoming
  readonly cell: Cell<{ since: Millis }, RequestState>
  readonly timer: Timer
  readonly arrivedWall: Millis
  /** What its lane adds to the body; null: nothing. */
  adds: LaneAdds | null
  readonly trace: TraceContext | null
  /** Set when the core has accepted it. */
  request: Request | null
  running: RunningAttempt | null
  /** Reports an abort that is not confirmed in time. */
  closing: Timer | null
  answered: boolean
  ttftMs: Millis
  carried: Carried | null
  /** How far down its ladder it is (core/degradation). */
  rung: Rung
  /** What it is told if no lesser answer is to be had, and the attempts that had been made then. */
  refused: { refusal: Refused; attempts: number } | null
  /** What is being sought instead of an answer of its own: it stands on no route, and nothing of it is in the
   *  core. */
  seeks: 'cached' | 'place' | null
  /** What is passed on, for the cache; null: nothing is kept. */
  kept: KeptParts | null
  /** The route that took it in, the last one if more did; null: none has. */
  route: string | null
  /** For its attempts that have ended, but for those that yielded to others; null: of one no price is known. */
  paid: MicroUsd | null
}

/** The events of an answer, until they are more than the cache takes. */
export interface KeptParts {
  parts: Uint8Array[]
  bytes: number
}

/** What of a request says how much it will cost, and what it may share with others. */
export const weightOf = ({
  body,
  mediaBytes = 0,
  mediaTokens = 0,
  mayAct = false,
  prefix = null,
  headers,
}: Incoming) => ({
  bytes: body.length,
  mediaBytes,
  mediaTokens,
  mayAct,
  prefix,
  beta: headers.beta ?? null,
})

/** What it has used so far, on whatever route; null: it never was accepted. */
export const spentBy = ({ request, carried }: LiveRequest): Request | Carried | null =>
  request ?? carried

/** What status says of it now. */
export function statusOf(live: LiveRequest, core: State, now: Millis): StatusAnswer {
  const { request, arrivedWall } = live
  const queued = request !== null && waits(request) ? queuedAt(request, core, now) : NOT_QUEUED
  const attempts = spentBy(live)?.attempts ?? 0
  const state = live.cell.state
  const waitsFor = request === null ? null : waitOf(request, core, now)
  return statusAnswer({ ...live.incoming, ...queued, waitsFor, state, attempts, arrivedWall })
}

/** The same without what must be reckoned. */
export const briefStatusOf = (live: LiveRequest): StatusAnswer =>
  statusAnswer({
    ...live.incoming,
    ...NOT_QUEUED,
    state: live.cell.state,
    attempts: spentBy(live)?.attempts ?? 0,
    arrivedWall: live.arrivedWall,
  })

/** Where a waiting request stands in its tenant's queue, and what it will still wait; null: not known. */
interface Queued {
  waitsFor?: StatusAnswer['waits_for'] | undefined
  position: number | null
  estimatedWaitMs: Millis | null
}
export const NOT_QUEUED: Queued = { position: null, estimatedWaitMs: null }

function waitOf(
  request: Request,
  core: State,
  now: Millis,
): NonNullable<StatusAnswer['waits_for']> | null {
  if (!waits(request) && retryAtOf(request) === null) return null
  const wait = whyWaits(core, request, now)
  return { reason: wait.reason, text: waitWords(wait) }
}

/** O(requests of the same tenant before it). */
function queuedAt(request: Request, core: State, now: Millis): Queued {
  const ahead: Expected = { duration: 0, inputTokens: 0, outputTokens: 0 }
  let position = 0
  // What came before there was evidence is taken to be like this one.
  const like = core.costs.estimate(request.asked, core.config)
  for (let r = request.before; r !== null; r = r.before) {
    position++
    const expected = r.expected.evidence ? r.expected : like
    ahead.duration += expected.duration
    ahead.inputTokens += expected.inputTokens
    ahead.outputTokens += expected.outputTokens
  }
  return { position, estimatedWaitMs: remainingWait(request, ahead, core, now) }
}

/** Null where nothing starts until somebody else decides so, and where no pace has been seen yet. */
function remainingWait(
  { laneRoute, flow }: Request,
  ahead: Expected,
  core: State,
  now: Millis,
): Millis | null {
  if (laneRoute.lane.paused || laneRoute.cap === 0 || now < laneRoute.route.upstream.blockedUntil)
    return null
  const wait = waitOfQueued(core, { laneRoute, flow, ahead }, now)
  return wait > 0 || laneRoute.pace.usable > 0 ? Math.round(wait) : null
}

export const statusAnswer = (of: {
  id: string
  tenant: string
  lane: string
  model: string
  state: string
  attempts: number
  position: number | null
  estimatedWaitMs: Millis | null
  waitsFor?: StatusAnswer['waits_for'] | undefined
  arrivedWall: Millis
}): StatusAnswer => ({
  id: of.id,
  tenant: of.tenant,
  lane: of.lane,
  model: of.model,
  state: of.state,
  attempts: of.attempts,
  position: of.position,
  estimated_wait_ms: of.estimatedWaitMs,
  waits_for: of.waitsFor ?? null,
  enqueued_at: new Date(of.arrivedWall).toISOString(),
})

/** Which live requests an operator asks for; null: any. */
export interface RequestsAsked {
  state: RequestState | null
  route: string | null
  tenant: string | null
  limit: number
}

/** Oldest first; `offset` makes wall time of the clock's `now`. */
export function requestsOf(
  lives: Iterable<LiveRequest>,
  asked: RequestsAsked,
  at: { core: State; now: Millis; offset: Millis },
): RequestsPage {
  const { state, route, tenant, limit } = asked
  const rows: RequestRow[] = []
  let matching = 0
  for (const live of lives) {
    if (state !== null && live.cell.state !== state) continue
    if (tenant !== null && live.incoming.tenant !== tenant) continue
    if (route !== null && live.request?.route.id !== route) continue
    matching++
    if (rows.length < limit) rows.push(rowOf(live, at))
  }
  return { matching, rows }
}

const rowOf = (
  live: LiveRequest,
  { core, now, offset }: { core: State; now: Millis; offset: Millis },
): RequestRow => ({
  tenant: live.incoming.tenant,
  lane: live.incoming.lane,
  id: live.incoming.id,
  model: live.model,
  route: live.request?.route.id ?? null,
  state: live.cell.state,
  since: Math.round(live.cell.context.since + offset),
  arrived_at: Math.round(live.arrivedWall),
  attempts: spentBy(live)?.attempts ?? 0,
  preemptions: spentBy(live)?.preemptions ?? 0,
  stream: live.incoming.stream,
  waits_for: live.request === null ? null : waitOf(live.request, core, now),
})

/** Who an event is about. */
export const about = (live: LiveRequest) => ({
  tenant: live.incoming.tenant,
  lane: live.incoming.lane,
  id: live.incoming.id,
  model: live.model,
})

export function countsByState(lives: Iterable<LiveRequest>): Record<RequestState, number> {
  const counts = { queued: 0, running: 0, forwarding: 0, backoff: 0, aborting: 0, settled: 0 }
  for (const live of lives) counts[live.cell.state]++
  return counts
}
