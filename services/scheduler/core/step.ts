/** The only entrance of the core: state, one input, the time and the dice give effects.
 *
 *  Pure but for the state that it is given and owns. Each step, in this order: takes what the machines
 *  say, updates quota and retry budget; frees and settles the slot; starts whatever may start; returns
 *  the effects. Submit, settle and cancel are O(log tenants), a start O(lanes x routes + log tenants);
 *  the tick scans neither tenants nor requests. */
import type { Millis } from '#contracts/units'
import type { Verdict } from '#contracts/verdict'
import {
  mayPay,
  pay,
  releaseAccounts,
  settlePayment,
  sweepAccounts,
  takeGrant,
} from './laws/accounts.ts'
import { admit } from './laws/admission.ts'
import { mayBackfill, recall, beginBackfill } from './laws/backfill.ts'
import { configure, sweepRetired } from './laws/configure.ts'
import { costOf, type Estimate } from './estimators/cost.ts'
import { applyControl, pauseLane } from './laws/control.ts'
import { LEVELS, reviewLevel } from './laws/degradation.ts'
import { stale } from './laws/delay.ts'
import { conclude, finish, later, leave } from './laws/ending.ts'
import type { Dice } from './estimators/dice.ts'
import type { Effect } from './model/effects.ts'
import { letGo, standsBack } from './laws/held.ts'
import type { Input, NewRequest, RouteControl } from './model/inputs.ts'
import { reviewReserves } from './laws/isolation.ts'
import { charge, select } from './laws/lanes.ts'
import { denominators, samplePaces } from './laws/prediction.ts'
import { growAllowances, victimFor } from './laws/preemption.ts'
import { shareLimits } from './laws/quota-sharing.ts'
import { earnRetry, payRetry, retry, waitForToken } from './laws/retry.ts'
import { forgiveSilence, silenceOf, tellSilence } from './laws/silence.ts'
import { release, rescale, take } from './laws/slots.ts'
import type { Attempt, Request, Route, State } from './model/state.ts'
import {
  growRates,
  learnQuota,
  limitsOf,
  noteDelay,
  readyAt,
  reserve,
} from './laws/token-buckets.ts'
import { pausedByPeer, pausedHere } from './laws/peers.ts'
import { blockedByPeer, learnUpstream, startsTest, testNow } from './laws/upstream-block.ts'
import { checkAt, wakeNext, wakeRoute } from './laws/wakes.ts'
import { attemptOf, ownWaitOf } from './model/place.ts'
import { drain, drainOver } from './laws/draining.ts'
import { deadlineWords, doomed } from './laws/deadlines.ts'
import { firstByteMs } from './laws/first-byte.ts'
import { sampleNeeds } from './laws/needs.ts'
import { noteProgress } from './laws/progress.ts'
import { reviewShare, takeShare } from './laws/share-in-force.ts'
import { standsAside, hasEnded } from './laws/prefixes.ts'
import { comeBack, dequeue, enqueue } from './laws/queueing.ts'
import { queueFull, refuse } from './laws/refusal.ts'
import { noteFault, settle } from './laws/settlement.ts'

export function step(state: State, input: Input, at: Millis, dice: Dice): Effect[] {
  const now = Math.max(at, state.now)
  state.now = now
  const effects: Effect[] = []
  let came: Request | null = null
  if (input.type === 'request') came = onRequest(state, input.request, now, effects)
  else receive(state, input, now, dice, effects)
  if (!state.draining) fill(state, came, now, effects)
  if (came !== null && !came.answered) wakeNext(state, came, effects)
  return effects
}

function receive(
  state: State,
  input: Exclude<Input, { type: 'request' }>,
  now: Millis,
  dice: Dice,
  effects: Effect[],
): void {
  switch (input.type) {
    case 'cancel':
      return onCancel(state, input.key, now, effects)
    case 'progress':
      return noteProgress(state, input.key, input.what, effects)
    case 'verdict':
      applyControl(state, input.control)
      return onVerdict(state, input.key, input.verdict, now, dice, effects)
    case 'wake':
      return onWake(state, input.key, now, dice, effects)
    case 'route-wake':
      return undefined
    case 'control':
      return applyControl(state, input.control)
    case 'tick':
      return onTick(state, input.controls, input.elapsedMs, now, effects)
    case 'config':
      return configure(state, input.config, effects)
    case 'share':
      takeShare(state, input.share)
      return input.controls.forEach((control) => applyControl(state, control))
    case 'peer-paused':
      return pausedByPeer(state, input, now, effects)
    case 'peer-blocked':
      return blockedByPeer(state, input, now, effects)
    case 'test-upstream':
      return void testNow(state, input.upstream, now, effects)
    case 'allowance':
      return takeGrant(state, input)
    case 'lane':
      return pauseLane(state, input.lane, input.paused)
    case 'drain':
      return drain(state, now, effects)
    case 'drain-over':
      return drainOver(state, now, effects)
  }
}

// ---- arrivals ----

/** Null: it is refused. */
function onRequest(
  state: State,
  asked: NewRequest,
  now: Millis,
  effects: Effect[],
): Request | null {
  const answer = admit(state, asked, now, effects)
  if (!answer.admitted) {
    effects.push({ type: 'refused', key: asked.key, refused: answer.refused })
    return null
  }
  const { evicted, request } = answer
  if (evicted !== null) {
    dequeue(state, evicted, now)
    const refused = queueFull(
      `lane ${evicted.lane.config.name} is full and this tenant holds most of it`,
    )
    finish(state, evicted, refused, effects)
  }
  enqueue(state, request, 'tail', now)
  effects.push({ type: 'queued', request })
  return request
}

function onCancel(state: State, key: string, now: Millis, effects: Effect[]): void {
  const request = state.requests.get(key)
  if (request === undefined || request.answered) return
  const refused = refuse('CANCELLED', 'cancelled, or the caller is gone')
  conclude(state, request, refused, 'cancel', now, effects)
}

// ---- attempts ----

/** Starts whatever may start; `came` has arrived with this step. */
function fill(state: State, came: Request | null, now: Millis, effects: Effect[]): void {
  if (state.backfills.size > 0) recall(state, now, effects)
  if (state.holding.size > 0) letGo(state, now, effects)
  if (state.waitingAccounts.size > 0) releaseAccounts(state, now, effects)
  let skip: Set<Route> | null = null
  for (;;) {
    const request = select(state, now, skip)
    if (request === null) return
    if (state.holding.size > 0 && standsBack(state, request, now, effects)) continue
    // What has just arrived was estimated a moment ago, and nothing was learned since.
    const estimate =
      request === came ? request.expected : state.costs.estimate(request.asked, state.config)
    const dropped = doomed(state, request, now, estimate)
    if (dropped !== null) {
      dequeue(state, request, now)
      finish(state, request, dropped, effects)
      continue
    }
    const { prefix } = request
    if (prefix !== null && standsAside(state, request, prefix, { estimate, now, effects })) continue
    const { account } = request.tenant
    if (account !== null && !mayPay(state, account, { request, need: estimate, now, effects }))
      continue
    const { quota } = request.route
    const ready = readyAt(quota, estimate, now)
    if (ready > now) {
      noteDelay(quota, estimate, now)
      wakeRoute(request.route, ready, now, effects)
      if (beginBackfill(state, request, estimate, now)) continue
      skip ??= new Set()
      skip.add(request.route)
      continue
    }
    const old = stale(request, now)
    if (old !== null) {
      dequeue(state, request, now)
      finish(state, request, old, effects)
      continue
    }
    if (mayBackfill(state, request, estimate)) start(state, request, estimate, now, effects)
    else if (quota.backfill !== null) (skip ??= new Set()).add(request.route)
  }
}

function start(
  state: State,
  request: Request,
  estimate: Estimate,
  now: Millis,
  effects: Effect[],
): void {
  const { route } = request
  const by = denominators(route)
  const charged = costOf(estimate, by)
  if (request.attempts + request.preemptions === 0)
    state.load.started({
      firm: !request.lane.config.preemptible,
      waitMs: now - request.acceptedAt - ownWaitOf(request),
      now,
    })
  charge(state, request, now, { duration: estimate.duration, cost: charged })
  dequeue(state, request, now)
  const { account } = request.tenant
  const paid = account === null ? null : pay(account, request, { need: estimate, now, effects })
  request.attempts++
  const hangMs = firstByteMs(state, request, estimate)
  const attempt: Attempt = {
    number: request.attempts,
    startedAt: now,
    generation: route.gate.generation,
    epoch: route.epoch,
    firm: !request.lane.config.preemptible,
    estimate,
    by,
    charged,
    reserved: reserve(route.quota, estimate, now),
    paid,
    firstByteMs: hangMs,
    silence: silenceOf(state, request, estimate, hangMs),
    silentSince: now,
    silenceTold: false,
    firstByte: false,
    forwarded: false,
    ending: null,
  }
  take(state, request, attempt)
  request.prefix?.opening.add(request)
  startsTest(state, request, now, effects)
  effects.push({ type: 'start-attempt', request, attempt })
}

function onVerdict(
  state: State,
  key: string,
  verdict: Verdict,
  now: Millis,
  dice: Dice,
  effects: Effect[],
): void {
  const request = state.requests.get(key)
  const running = request === undefined ? null : attemptOf(request)
  if (request === undefined || running === null)
    throw new Error(`${key}: a verdict comes for an attempt in a slot`)
  const stillBlocked = learnUpstream(state, request, verdict, now, effects)
  // A reload may have given the route another quota since.
  const { quota } = running.reserved
  const limits = shareLimits(state, request.route, limitsOf(verdict.rate), effects)
  if (learnQuota(state, quota, { verdict, request, attempt: running, now, dice, limits }))
    pausedHere(state, quota, now, effects)
  const attempt = release(state, request)
  if (request.prefix !== null) hasEnded(state, request, request.prefix, { verdict, now, effects })
  const preempted = attempt.ending === 'preempt' && verdict.kind === 'ended'
  settle(state, request, attempt, verdict, preempted, now)
  settlePayment(state, request, attempt, { verdict, preempted, now, effects })
  effects.push({ type: 'attempt-ended', request, attempt, verdict })
  request.lastVerdict = verdict
  if (request.answered) {
    leave(state, request)
    effects.push({ type: 'released', request })
    return
  }
  if (preempted) {
    request.attempts--
    request.preemptions++
    requeue(state, request, 'preempted', now, effects)
    return
  }
  noteFault(request.route, verdict)
  if (verdict.kind === 'ok') {
    request.route.lastByteAt = now
    earnRetry(request, state.config, now)
    finish(state, request, { kind: 'completed', verdict }, effects)
    return
  }
  if (stillBlocked && request.lane.config.preemptible && !state.draining) {
    // It was the house's test, not this request's turn: it waits for the next one.
    request.attempts--
    const until = request.route.upstream.blockedUntil
    request.place = { in: 'back-off', until, owes: false }
    const waitMs = until - now
    effects.push({ type: 'backoff', request, verdict, waitMs, owes: false })
    return wakeNext(state, request, effects)
  }
  if (verdict.kind === 'unexplained') request.unexplained++
  const decision = retry(state, request, verdict, now, dice)
  if (!decision.again) {
    const refused = refuse(decision.reason, decision.message)
    const more = later(request, decision.reason, verdict, now)
    return finish(state, request, { ...refused, ...more }, effects)
  }
  const { waitMs, owes } = decision
  request.place = { in: 'back-off', until: now + waitMs, owes }
  effects.push({ type: 'backoff', request, verdict, waitMs, owes })
  wakeNext(state, request, effects)
}

// ---- time ----

function onWake(state: State, key: string, now: Millis, dice: Dice, effects: Effect[]): void {
  const request = state.requests.get(key)
  if (request === undefined || request.answered) return
  if (now >= request.deadline) {
    const refused = refuse('DEADLINE', deadlineWords(state, request, now))
    return conclude(state, request, refused, 'deadline', now, effects)
  }
  if (request.place.in === 'aside' && now >= request.place.until) comeBack(state, request, now)
  const { place } = request
  if (place.in === 'back-off' && now >= place.until) {
    if (!place.owes || payRetry(state, request, now))
      return requeue(state, request, 'backoff', now, effects)
    const decision = waitForToken(state, request, { now, service: 0, waitMs: 0 }, dice)
    if (!decision.again) {
      const refused = refuse(decision.reason, decision.message)
      const { lastVerdict } = request
      const more = lastVerdict === null ? {} : later(request, decision.reason, lastVerdict, now)
      return finish(state, request, { ...refused, ...more }, effects)
    }
    request.place = { ...place, until: now + decision.waitMs }
  }
  if (place.in === 'queue' && !request.checked && now >= checkAt(state, request)) {
    request.checked = true
    const victim = victimFor(state, request, now)
    if (victim !== null) {
      victim.attempt.ending = 'preempt'
      effects.push({ type: 'abort-attempt', ...victim, why: 'preempt', ending: null })
    }
  }
  wakeNext(state, request, effects)
}

function requeue(
  state: State,
  request: Request,
  why: 'backoff' | 'preempted',
  now: Millis,
  effects: Effect[],
): void {
  if (state.draining) {
    const refused = refuse('SHUTDOWN', 'this instance is stopping; others may serve')
    return finish(state, request, refused, effects)
  }
  enqueue(state, request, 'head', now)
  effects.push({ type: 'requeued', request, why })
  wakeNext(state, request, effects)
}

function onTick(
  state: State,
  controls: readonly RouteControl[],
  elapsedMs: Millis,
  now: Millis,
  effects: Effect[],
): void {
  for (const control of controls) applyControl(state, control)
  if (elapsedMs === 0) forgiveSilence(state, now)
  else tellSilence(state, now, effects)
  reviewShare(state, now, effects)
  growAllowances(state, now)
  growRates(state, now)
  samplePaces(state, elapsedMs / 1_000)
  sampleNeeds(state)
  reviewReserves(state, elapsedMs / 1_000)
  if (reviewLevel(state, now)) {
    rescale(state)
    effects.push({
      type: 'alarm',
      name: 'degradation',
      route: null,
      detail: `level ${state.load.level}: ${LEVELS[state.load.level]}`,
    })
  }
  for (const lane of state.lanes)
    for (const laneRoute of lane.laneRoutes) laneRoute.queue.rest(elapsedMs / 1_000)
  sweepRetired(state, effects)
  if (state.accounts.size > 0) sweepAccounts(state, now)
}
