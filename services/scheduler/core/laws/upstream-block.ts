/** Accounts that may not spend, and keys that are refused: nothing on them can succeed, so nothing is tried
 *  until one attempt has tested them (control-laws §2). A test is one call; while it runs, and for as long as
 *  it may take, nobody else starts, and after that somebody else may test. What an operator can mend at once
 *  (a key) is tested every few seconds; a spending limit, which only time or a contract lifts, less often. */
import type { Millis } from '#contracts/units'
import { verdicts, type Verdict } from '#contracts/verdict'
import type { Effect } from '#core/model/effects'
import type { Request, State, Upstream } from '#core/model/state'
import { wakeRoute } from './wakes.ts'

/** When a spending limit is tested again. */
export const SPENT: Millis = 900_000
/** When a refused key is tested again; and the longest that one test keeps others from testing. */
export const TEST_EVERY: Millis = 15_000
/** Consecutive 401s that mean the key is bad, not a request. */
export const UNAUTHORISED_MAX = 5

/** An attempt starts; on a blocked account it is the test, and nobody else's turn comes while it may run. */
export function startsTest(state: State, request: Request, now: Millis, effects: Effect[]): void {
  const { upstream } = request.route
  if (!upstream.testing) return
  upstream.tester = request.key
  blockUntil(state, upstream, now + TEST_EVERY, now, effects)
}

/** Blocks an account that may not spend, and finds out whether it may again. True: this attempt was the test,
 *  and the account is blocked as before. */
export function learnUpstream(
  state: State,
  request: Request,
  verdict: Verdict,
  now: Millis,
  effects: Effect[],
): boolean {
  const { upstream, id } = request.route
  const tested = upstream.tester === request.key
  if (tested) upstream.tester = null
  if (verdict.alarm === true)
    effects.push({ type: 'alarm', name: 'upstream', route: id, detail: verdict.cause })
  if (verdict.kind === 'ok') upstream.unauthorisedInRow = 0
  if (verdict.status === 401) upstream.unauthorisedInRow++
  const badKey = verdict.status === 401 && upstream.unauthorisedInRow >= UNAUTHORISED_MAX
  const stop = badKey || verdicts[verdict.kind].quota === 'block'
  if (stop) {
    if (!upstream.testing) {
      effects.push({ type: 'alarm', name: 'upstream_blocked', route: id, detail: verdict.cause })
      effects.push({ type: 'upstream-blocked', upstream, by: verdict })
      upstream.blockedSince = now
    }
    upstream.testing = true
    upstream.blockedBy = verdict
    blockUntil(state, upstream, now + (badKey ? TEST_EVERY : SPENT), now, effects)
    return tested
  }
  // Somebody who started before the block and came through proves as much as a test.
  if (upstream.testing && (verdict.kind === 'ok' || (tested && works(verdict)))) unblock(upstream)
  else if (tested) blockUntil(state, upstream, now, now, effects)
  return false
}

const works = ({ kind, status }: Verdict): boolean =>
  (kind === 'ok' || kind === 'rejected' || kind === 'throttled') && status !== 401

/** Another instance of the fleet was stopped. Ours may have another key: one attempt tests that, at once, and nobody
 *  else starts until it is known. */
export function blockedByPeer(
  state: State,
  of: { upstream: string; by: Verdict },
  now: Millis,
  effects: Effect[],
): void {
  const upstream = state.upstreams.get(of.upstream)
  if (upstream === undefined || upstream.testing) return
  upstream.testing = true
  upstream.blockedSince = now
  upstream.blockedBy = of.by
  blockUntil(state, upstream, now, now, effects)
}

/** The next arrival is let through as a test, now: an operator has mended it. False: it was not blocked. */
export function testNow(state: State, name: string, now: Millis, effects: Effect[]): boolean {
  const upstream = state.upstreams.get(name)
  if (upstream === undefined || !upstream.testing) return false
  blockUntil(state, upstream, now, now, effects)
  return true
}

function unblock(upstream: Upstream): void {
  upstream.testing = false
  upstream.blockedBy = null
  upstream.blockedUntil = 0
}

function blockUntil(
  state: State,
  upstream: Upstream,
  until: Millis,
  now: Millis,
  effects: Effect[],
): void {
  upstream.blockedUntil = until
  for (const route of state.routes.values())
    if (route.upstream === upstream) wakeRoute(route, until, now, effects)
}

/** What blocked it, for its callers. */
export function blockWords({ blockedBy }: Upstream): string {
  if (blockedBy === null) return 'the upstream account is blocked'
  if (blockedBy.status === 401) return 'the upstream refuses the key (401)'
  return blockedBy.spendLimit === true
    ? 'the upstream account has reached its spend limit'
    : `the upstream account is stopped (${blockedBy.cause})`
}
