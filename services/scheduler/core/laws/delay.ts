/** What delay control drops at its turn (control-laws §12). */
import type { Millis } from '#contracts/units'
import type { Refused } from '#core/model/effects'
import { controlled } from '#core/model/make'
import type { Request } from '#core/model/state'
import { refuse } from './refusal.ts'

/** Delay control hears of every request that leaves its queue, and may drop it (control-laws §12). */
export function stale(request: Request, now: Millis): Refused | null {
  if (!controlled(request)) return null
  const { laneRoute } = request
  const queueMs = now - request.queuedAt
  const drop = laneRoute.delay.leaving({ queueMs, meanService: laneRoute.pace.meanService, now })
  laneRoute.queue.newestFirst = laneRoute.delay.overloaded
  if (!drop) return null
  return refuse('STALE', `waited ${queueMs} ms in a queue that does not get shorter`, {
    retryAfterMs: 1_000 * laneRoute.pace.meanService,
  })
}
