/** A large request that waits for tokens lets smaller ones pass (decisions/0017).
 *
 *  Starts on a route keep their order, so one prompt of 200,000 tokens that waits for its quota would keep
 *  everybody behind it waiting too. It steps aside: others may start meanwhile, as long as what they take of
 *  what it waits for stays, over its life, within a share of its own need. So it starts later by at most that
 *  share of its wait, and nobody is overtaken without bound. Preemptible lanes never pass. */
import type { Millis } from '#contracts/units'
import type { Estimate } from './cost.ts'
import type { Effect } from './effects.ts'
import type { Quota, Request, State } from './state.ts'
import { readyAt } from './token-buckets.ts'
import { wakeRoute } from './wakes.ts'

/** Of its own need. */
const SHARE = 0.25

/** One request of a quota that stands aside. */
export interface Aside {
  readonly request: Request
  readonly need: Estimate
  /** What it waits for longest. */
  readonly dimension: 'inputTokens' | 'outputTokens'
  /** What others may still take of it. */
  left: number
}

/** The head of a queue is not ready: it steps aside, unless others have taken all they may or somebody else
 *  stands there. */
export function stepAside(state: State, request: Request, need: Estimate, now: Millis): boolean {
  const { member, cell } = request
  const { quota } = request.route
  // What comes after all other lanes keeps nobody waiting.
  if (request.lane.config.preemptible || now < quota.pausedUntil) return false
  if (quota.aside !== null && quota.aside.request !== request) return false
  // Requests per minute are all alike: who passes takes as much as who waits.
  if (quota.requests.readyAt(1, now) > now) return false
  const input = quota.inputTokens.readyAt(need.inputTokens, now)
  const output = quota.outputTokens.readyAt(need.outputTokens, now)
  const dimension = input >= output ? 'inputTokens' : 'outputTokens'
  const left = quota.aside?.left ?? request.mayBePassed ?? SHARE * need[dimension]
  if (left < 1) return false
  quota.aside = { request, need, dimension, left }
  state.asides.add(quota)
  member.aside = true
  cell.queue.rearm(member)
  return true
}

/** Tokens are kept for a request that could use them: no preemptible lane takes them. */
export function kept({ aside }: Quota): boolean {
  return aside !== null && !aside.request.lane.paused && !aside.request.tenant.parked
}

/** May this one start although another of its quota stands aside, or has just come back? When it would take
 *  more than it may, the other's turn has come. */
export function mayPass(state: State, request: Request, need: Estimate): boolean {
  const { aside } = request.route.quota
  if (aside === null || aside.request === request) return true
  if (request.lane.config.preemptible) return !kept(request.route.quota)
  aside.left -= need[aside.dimension]
  if (aside.left >= 0) return true
  forgetAside(state, aside.request)
  return false
}

/** Whoever may start now is a head again, with the tag that it had; for the others their time is set, which
 *  what was settled may have brought nearer. */
export function recall(state: State, now: Millis, effects: Effect[]): void {
  for (const { aside } of state.asides) {
    if (aside === null || !aside.request.member.aside) continue
    const { route } = aside.request
    const ready = readyAt(route.quota, aside.need, now)
    if (ready <= now) comeBack(state, aside)
    else wakeRoute(route, ready, now, effects)
  }
}

/** Its turn. It keeps its place in the quota until it starts, so that no preemptible lane takes what it waited
 *  for in the last moment. */
function comeBack(state: State, aside: Aside): void {
  const { member, cell } = aside.request
  if (!member.aside) return
  member.aside = false
  cell.queue.rearm(member)
}

/** It leaves its queue, or another comes before it. */
export function forgetAside(state: State, request: Request): void {
  for (const quota of state.asides) {
    const { aside } = quota
    if (aside === null || aside.request.member !== request.member) continue
    aside.request.mayBePassed = aside.left
    comeBack(state, aside)
    quota.aside = null
    state.asides.delete(quota)
  }
}

/** Nobody stands aside any more: quotas are about to change hands. */
export function endAsides(state: State): void {
  for (const { aside } of [...state.asides]) if (aside !== null) forgetAside(state, aside.request)
}
