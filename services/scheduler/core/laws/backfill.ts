/** Backfill: a large request that waits for tokens lets smaller ones pass (decisions/0017).
 *
 *  Starts on a route keep their order, so one prompt of 200,000 tokens that waits for its quota would keep
 *  everybody behind it waiting too. It steps aside: others may start meanwhile, as long as what they take of
 *  what it waits for stays, over its life, within a share of its own need. So it starts later by at most that
 *  share of its wait, and nobody is overtaken without bound. Preemptible lanes never pass. */
import type { Millis } from '#contracts/units'
import type { Estimate } from '#core/estimators/cost'
import type { Effect } from '#core/model/effects'
import type { Quota, Request, State, Backfill } from '#core/model/state'
import { readyAt } from './token-buckets.ts'
import { wakeRoute } from './wakes.ts'

/** Of its own need. */
export const SHARE = 0.25

/** The head of a queue is not ready: it steps aside, unless others have taken all they may or somebody else
 *  stands there. */
export function beginBackfill(
  state: State,
  request: Request,
  need: Estimate,
  now: Millis,
): boolean {
  const { flow, laneRoute } = request
  const { quota } = request.route
  // What comes after all other lanes keeps nobody waiting.
  if (request.lane.config.preemptible || now < quota.pausedUntil) return false
  if (quota.backfill !== null && quota.backfill.request !== request) return false
  // Requests per minute are all alike: who passes takes as much as who waits.
  if (quota.requests.readyAt(1, now) > now) return false
  const input = quota.inputTokens.readyAt(need.inputTokens, now)
  const output = quota.outputTokens.readyAt(need.outputTokens, now)
  const dimension = input >= output ? 'inputTokens' : 'outputTokens'
  const left = quota.backfill?.left ?? request.mayBeBackfilled ?? SHARE * need[dimension]
  if (left < 1) return false
  quota.backfill = { request, need, dimension, left }
  state.backfills.add(quota)
  flow.backfilled = true
  laneRoute.queue.rearm(flow)
  return true
}

/** Tokens are kept for a request that could use them: no preemptible lane takes them. */
export function kept({ backfill }: Quota): boolean {
  return backfill !== null && !backfill.request.lane.paused && !backfill.request.tenant.parked
}

/** May this one start although another of its quota stands aside, or has just come back? When it would take
 *  more than it may, the other's turn has come. */
export function mayBackfill(state: State, request: Request, need: Estimate): boolean {
  const { backfill } = request.route.quota
  if (backfill === null || backfill.request === request) return true
  if (request.lane.config.preemptible) return !kept(request.route.quota)
  backfill.left -= need[backfill.dimension]
  if (backfill.left >= 0) return true
  endBackfill(state, backfill.request)
  return false
}

/** Whoever may start now is a head again, with the tag that it had; for the others their time is set, which
 *  what was settled may have brought nearer. */
export function recall(state: State, now: Millis, effects: Effect[]): void {
  for (const { backfill } of state.backfills) {
    if (backfill === null || !backfill.request.flow.backfilled) continue
    const { route } = backfill.request
    const ready = readyAt(route.quota, backfill.need, now)
    if (ready <= now) comeBack(state, backfill)
    else wakeRoute(route, ready, now, effects)
  }
}

/** Its turn. It keeps its place in the quota until it starts, so that no preemptible lane takes what it waited
 *  for in the last moment. */
function comeBack(state: State, backfill: Backfill): void {
  const { flow, laneRoute } = backfill.request
  if (!flow.backfilled) return
  flow.backfilled = false
  laneRoute.queue.rearm(flow)
}

/** It leaves its queue, or another comes before it. */
export function endBackfill(state: State, request: Request): void {
  for (const quota of state.backfills) {
    const { backfill } = quota
    if (backfill === null || backfill.request.flow !== request.flow) continue
    backfill.request.mayBeBackfilled = backfill.left
    comeBack(state, backfill)
    quota.backfill = null
    state.backfills.delete(quota)
  }
}

/** Nobody stands aside any more: quotas are about to change hands. */
export function endBackfills(state: State): void {
  for (const { backfill } of [...state.backfills])
    if (backfill !== null) endBackfill(state, backfill.request)
}
