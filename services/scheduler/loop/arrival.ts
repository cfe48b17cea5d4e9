/** A request as it comes in. */
import { traceContext } from '#contracts/events'
import { TOP } from '#core/laws/degradation'
import { speedAndTier } from '#core/laws/speed-and-tier'
import type { Carried } from '#core/model/inputs'
import type { State } from '#core/model/state'
import type { Incoming, Millis } from '#ports'
import { weightOf, type KeptParts, type LiveRequest } from './live.ts'
import { Timer } from './timer-heap.ts'

/** How long a request of a lane that there is not may last. */
const ENTRY_LANE_MS: Millis = 300_000

/** A job that comes after a restart, or after a long time in the store, keeps its age and its attempts. */
function pastOf({ past, lane, deadlineMs }: Incoming, now: Millis, state: State): Carried | null {
  if (past === undefined) return null
  const acceptedAt = now - past.ageMs
  const lasts = deadlineMs ?? state.lanesByName.get(lane)?.config.timeoutMs ?? ENTRY_LANE_MS
  const spent = { preemptions: 0, unexplained: 0, queueMs: 0, upstreamMs: 0, lastVerdict: null }
  return {
    acceptedAt,
    deadline: acceptedAt + lasts,
    laneStamp: null,
    attempts: past.attempts,
    ...spent,
  }
}

export function arrived(
  incoming: Incoming,
  of: {
    key: string
    now: Millis
    arrivedWall: Millis
    state: State
    cell: LiveRequest['cell']
    kept: KeptParts | null
    wake: (live: LiveRequest) => void
  },
): LiveRequest {
  const live: LiveRequest = {
    incoming,
    key: of.key,
    id: incoming.id,
    tenant: incoming.tenant,
    lane: incoming.lane,
    model: incoming.model,
    stream: incoming.stream,
    maxTokens: incoming.maxTokens,
    ...weightOf(incoming),
    ...speedAndTier(of.state, incoming, incoming.model),
    deadlineMs: incoming.deadlineMs,
    maxAttempts: incoming.maxAttempts ?? null,
    cell: of.cell,
    timer: new Timer(() => of.wake(live)),
    arrivedWall: of.arrivedWall,
    trace: traceContext(incoming.headers),
    request: null,
    running: null,
    closing: null,
    answered: false,
    ttftMs: 0,
    carried: pastOf(incoming, of.now, of.state),
    rung: TOP,
    refused: null,
    seeks: null,
    kept: of.kept,
    route: null,
    paid: 0,
  }
  return live
}
