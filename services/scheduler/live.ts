/** One live request, as the loop keeps it; the core has its own view. */
import type { TraceContext } from '#contracts/events'
import type { StatusAnswer } from '#contracts/messages'
import type { RequestState } from '#contracts/outcome'
import type { Request } from '#core/state'
import type { Cell } from '#machines/compile'
import type { Incoming, Millis, RunningAttempt } from './ports.ts'
import type { Timer } from './timer-heap.ts'

export interface Live {
  readonly incoming: Incoming
  readonly key: string
  readonly cell: Cell<{ since: Millis }, RequestState>
  readonly timer: Timer
  readonly arrivedWall: Millis
  readonly trace: TraceContext | null
  /** Set when the core has accepted it. */
  request: Request | null
  running: RunningAttempt | null
  /** Reports an abort that is not confirmed in time. */
  closing: Timer | null
  answered: boolean
  ttftMs: Millis
}

/** What status says of it now. */
export function statusOf(live: Live): StatusAnswer {
  const { request, arrivedWall } = live
  let position: number | null = null
  if (request?.waiting === true) {
    position = 0
    for (let r = request.before; r !== null; r = r.before) position++
  }
  const attempts = request?.attempts ?? 0
  return statusAnswer({ ...live.incoming, state: live.cell.state, attempts, position, arrivedWall })
}

export const statusAnswer = (of: {
  id: string
  tenant: string
  lane: string
  model: string
  state: string
  attempts: number
  position: number | null
  arrivedWall: Millis
}): StatusAnswer => ({
  id: of.id,
  tenant: of.tenant,
  lane: of.lane,
  model: of.model,
  state: of.state,
  attempts: of.attempts,
  position: of.position,
  estimated_wait_ms: null,
  enqueued_at: new Date(of.arrivedWall).toISOString(),
})

/** Who an event is about. */
export const about = (live: Live) => ({
  tenant: live.incoming.tenant,
  lane: live.incoming.lane,
  id: live.incoming.id,
  model: live.incoming.model,
})
