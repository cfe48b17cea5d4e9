/** The only entrance of the core: state, one input, the time and the dice give effects.
 *
 *  Pure but for the state that it is given and owns. Each step, in this order: takes what the machines
 *  say, updates quota and retry budget; frees and settles the slot; starts whatever may start; returns
 *  the effects. Submit, settle and cancel are O(log tenants), a start O(lanes x routes + log tenants);
 *  the tick scans neither tenants nor requests. */
import type { Millis, Seconds } from '#contracts/units'
import type { Usage, Verdict } from '#contracts/verdict'
import * as admission from './admission.ts'
import { mayPass, recall, stepAside } from './aside.ts'
import { configure, sweepRetired } from './configure.ts'
import { costOf, type Estimate } from './cost.ts'
import { noteUsage, reviewLevel } from './degradation.ts'
import { controlled } from './delay-control.ts'
import type { Dice } from './dice.ts'
import type { Effect, Ending, Refused } from './effects.ts'
import type { Input, RouteControl } from './inputs.ts'
import { reviewReserves } from './isolation.ts'
import { charge, select, settleSlots } from './lanes.ts'
import { denominators, samplePaces } from './prediction.ts'
import { growAllowances, victimFor } from './preemption.ts'
import { earnRetry, retry } from './retry.ts'
import { release, rescale, reviewActive, take } from './slots.ts'
import type { Attempt, Request, Route, State } from './state.ts'
import { growRates, learnQuota, noteDelay, readyAt, reserve } from './token-buckets.ts'
import { learnUpstream } from './upstream-block.ts'
import { checkAt, wakeNext, wakeQuota, wakeRoute } from './wakes.ts'

export function step(state: State, input: Input, at: Millis, dice: Dice): Effect[] {
  const now = Math.max(at, state.now)
  state.now = now
  const effects: Effect[] = []
  receive(state, input, now, dice, effects)
  if (!state.draining) fill(state, now, effects)
  if (input.type === 'request') {
    const request = state.requests.get(input.request.key)
    if (request !== undefined && request.asked === input.request && !request.answered)
      wakeNext(state, request, effects)
  }
  return effects
}

function receive(state: State, input: Input, now: Millis, dice: Dice, effects: Effect[]): void {
  switch (input.type) {
    case 'request':
      return onRequest(state, input.request, now, effects)
    case 'cancel':
      return onCancel(state, input.key, now, effects)
    case 'progress':
      return onProgress(state, input.key, input.what, effects)
    case 'verdict':
      applyControl(state, input.control)
      return onVerdict(state, input.key, input.verdict, now, dice, effects)
    case 'wake':
      return onWake(state, input.key, now, effects)
    case 'route-wake':
      return undefined
    case 'control':
      return applyControl(state, input.control)
    case 'tick':
      return onTick(state, input.controls, input.elapsedMs, now, effects)
    case 'config':
      return configure(state, input.config, effects)
    case 'lane':
      return onLane(state, input.lane, input.paused)
    case 'drain':
      return onDrain(state, now, effects)
    case 'drain-over':
      return onDrainOver(state, now, effects)
  }
}

// ---- arrivals ----

function onRequest(
  state: State,
  asked: Extract<Input, { type: 'request' }>['request'],
  now: Millis,
  effects: Effect[],
): void {
  const answer = admission.admit(state, asked, now, effects)
  if (!answer.admitted) {
    effects.push({ type: 'refused', key: asked.key, refused: answer.refused })
    return
  }
  const { evicted, request } = answer
  if (evicted !== null) {
    admission.dequeue(state, evicted, now)
    const refused = admission.queueFull(
      `lane ${evicted.lane.config.name} is full and this tenant holds most of it`,
    )
    finish(state, evicted, refused, effects)
  }
  admission.enqueue(state, request, 'tail', now)
  effects.push({ type: 'queued', request })
}

function onCancel(state: State, key: string, now: Millis, effects: Effect[]): void {
  const request = state.requests.get(key)
  if (request === undefined || request.answered) return
  const refused = admission.refuse('CANCELLED', 'cancelled, or the caller is gone')
  conclude(state, request, refused, 'cancel', now, effects)
}

/** Ends a live request with a refusal, wherever it stands. */
function conclude(
  state: State,
  request: Request,
  ending: Refused,
  why: 'cancel' | 'deadline' | 'drain',
  now: Millis,
  effects: Effect[],
): void {
  const { attempt } = request
  if (attempt === null) {
    if (request.waiting) admission.dequeue(state, request, now)
    finish(state, request, ending, effects)
    return
  }
  attempt.ending = why
  request.answered = true
  effects.push({ type: 'abort-attempt', request, attempt, why, ending })
}

/** The one outcome of a request that holds no slot; it leaves the system. */
function finish(state: State, request: Request, ending: Ending, effects: Effect[]): void {
  request.answered = true
  leave(state, request)
  effects.push({ type: 'settled', request, ending })
}

function leave(state: State, request: Request): void {
  state.requests.delete(request.key)
  state.bytes -= request.asked.bytes
  request.tenant.bytes -= request.asked.bytes
  request.route.live--
  request.retryAt = null
  reviewActive(state, request.tenant)
  request.cell.queue.leave(request.member, state.config.file.scheduling.idle_tenants_max)
}

// ---- attempts ----

/** Starts whatever may start. */
function fill(state: State, now: Millis, effects: Effect[]): void {
  if (state.asides.size > 0) recall(state, now, effects)
  let skip: Set<Route> | null = null
  for (;;) {
    const request = select(state, now, skip)
    if (request === null) return
    // What has just arrived was estimated a moment ago.
    const estimate =
      request.acceptedAt === now
        ? request.expected
        : state.costs.estimate(request.asked, state.config)
    const dropped = admission.doomed(state, request, now, estimate)
    if (dropped !== null) {
      admission.dequeue(state, request, now)
      finish(state, request, dropped, effects)
      continue
    }
    const { quota } = request.route
    const ready = readyAt(quota, estimate, now)
    if (ready > now) {
      noteDelay(quota, estimate, now)
      wakeRoute(request.route, ready, now, effects)
      if (stepAside(state, request, estimate, now)) continue
      skip ??= new Set()
      skip.add(request.route)
      continue
    }
    const old = stale(request, now)
    if (old !== null) {
      admission.dequeue(state, request, now)
      finish(state, request, old, effects)
      continue
    }
    if (mayPass(state, request, estimate)) start(state, request, estimate, now, effects)
    else if (quota.aside !== null) (skip ??= new Set()).add(request.route)
  }
}

/** Delay control hears of every request that leaves its queue, and may drop it (control-laws §12). */
function stale(request: Request, now: Millis): Refused | null {
  if (!controlled(request)) return null
  const { cell } = request
  const queueMs = now - request.queuedAt
  const drop = cell.delay.leaving({ queueMs, meanService: cell.pace.meanService, now })
  cell.queue.newestFirst = cell.delay.overloaded
  if (!drop) return null
  return admission.refuse('STALE', `waited ${queueMs} ms in a queue that does not get shorter`, {
    retryAfterMs: 1_000 * cell.pace.meanService,
  })
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
      waitMs: now - request.acceptedAt,
      now,
    })
  charge(state, request, now, { duration: estimate.duration, cost: charged })
  admission.dequeue(state, request, now)
  request.attempts++
  const hangMs = firstByteMs(state, request, estimate)
  const attempt: Attempt = {
    number: request.attempts,
    startedAt: now,
    generation: route.gate.generation,
    epoch: route.epoch,
    estimate,
    by,
    charged,
    reserved: reserve(route.quota, estimate, now),
    firstByteMs: hangMs,
    silenceMs: Number.isFinite(hangMs) ? hangMs : usualFirstByteMs(state, request),
    firstByte: false,
    forwarded: false,
    ending: null,
  }
  take(state, request, attempt)
  const { upstream } = route
  if (upstream.testing) upstream.tester = request.key
  effects.push({ type: 'start-attempt', request, attempt })
}

/** No byte within this is a hang (control-laws §2). An answer that is not streamed has its first byte
 *  last, so it is given the time that the whole answer may take. */
function firstByteMs(state: State, request: Request, estimate: Estimate): Millis {
  const { asked } = request
  const usual = usualFirstByteMs(state, request)
  if (asked.stream) return usual
  if (!estimate.evidence) return Infinity
  const service = state.costs.service(asked.model, estimate, state.now)
  return Math.max(usual, 3_000 * service, 1_000 * state.costs.longest(asked, state.config))
}

const usualFirstByteMs = (state: State, { lane }: Request): Millis =>
  Math.min(state.config.file.limits.first_byte_max_ms, lane.config.timeoutMs / 2)

function onProgress(
  state: State,
  key: string,
  what: 'first-byte' | 'forwarded',
  effects: Effect[],
): void {
  const request = state.requests.get(key)
  const attempt = request?.attempt
  if (request === undefined || attempt === undefined || attempt === null) return
  attempt.firstByte = true
  if (what === 'first-byte' || attempt.forwarded || request.answered) return
  attempt.forwarded = true
  effects.push({ type: 'forwarding', request, attempt })
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
  if (request === undefined || request.attempt === null)
    throw new Error(`${key}: a verdict comes for an attempt in a slot`)
  learnUpstream(state, request, verdict, now, effects)
  const { quota } = request.route
  if (learnQuota(quota, { verdict, request, attempt: request.attempt, now, dice }))
    wakeQuota(state, request.route, now, effects)
  const attempt = release(state, request)
  const preempted = attempt.ending === 'preempt' && verdict.kind === 'ended'
  settle(state, request, attempt, verdict, preempted, now)
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
  if (verdict.kind === 'ok') {
    earnRetry(request, state.config, now)
    finish(state, request, { kind: 'completed', verdict }, effects)
    return
  }
  if (verdict.kind === 'unexplained') request.unexplained++
  const decision = retry(state, request, verdict, now, dice)
  if (!decision.again) {
    finish(
      state,
      request,
      {
        ...admission.refuse(decision.reason, decision.message),
        ...later(request, decision.reason, verdict, now),
      },
      effects,
    )
    return
  }
  request.retryAt = now + decision.waitMs
  effects.push({ type: 'backoff', request, verdict, waitMs: decision.waitMs })
  wakeNext(state, request, effects)
}

/** What a final refusal says beside its reason: the upstream's answer, and when to come back. */
function later(
  request: Request,
  reason: Refused['reason'],
  verdict: Verdict,
  now: Millis,
): Pick<Refused, 'verdict' | 'retryAfterMs'> {
  if (reason === 'SHUTDOWN' || reason === 'STREAM_BROKEN')
    return { verdict: null, retryAfterMs: null }
  const { route } = request
  const until = Math.max(
    route.quota.pausedUntil,
    route.gate.until ?? 0,
    now + (verdict.retryAfterMs ?? 0),
  )
  return { verdict, retryAfterMs: Math.min(60_000, Math.max(1_000, until - now)) }
}

/** Corrects what the start was charged, and learns from a complete answer. */
function settle(
  state: State,
  request: Request,
  attempt: Attempt,
  verdict: Verdict,
  preempted: boolean,
  now: Millis,
): void {
  request.upstreamMs += now - attempt.startedAt
  const duration: Seconds = (now - attempt.startedAt) / 1_000
  const { usage } = verdict
  const actual = preempted
    ? 0
    : costOf(
        {
          duration,
          inputTokens: usage === null ? 0 : usage.inputTokens + usage.cacheCreationTokens,
          outputTokens: usage?.outputTokens ?? 0,
        },
        attempt.by,
      )
  if (preempted) state.wasted += duration
  settleSlots(request, duration - attempt.estimate.duration)
  request.cell.queue.settle(request.member, actual - attempt.charged)
  noteUsage(request.tenant, actual, now)
  if (verdict.kind === 'ended')
    state.costs.learnAtLeast(request.asked, { duration, estimated: attempt.estimate.duration })
  if (verdict.kind !== 'ok') return
  request.cell.pace.served(duration)
  if (!request.lane.config.preemptible) request.route.reserve.served(duration)
  const { credit_max, waste_ratio } = state.config.file.preemption
  state.wasteCredit = Math.min(
    Math.max(credit_max, state.wasteCredit),
    state.wasteCredit + waste_ratio * duration,
  )
  request.route.lastSuccessAt = now
  state.costs.learn(
    request.asked,
    {
      duration,
      ttft: verdict.ttftMs === null ? null : verdict.ttftMs / 1_000,
      outputTokens: usage?.outputTokens ?? null,
      inputTokens:
        usage === null
          ? null
          : usage.inputTokens + usage.cacheCreationTokens + usage.cacheReadTokens,
      cachedShare: usage === null ? null : cachedShareOf(usage),
      estimated: attempt.estimate.duration,
    },
    state.config,
    now,
  )
}

function cachedShareOf(usage: Usage): number | null {
  const all = usage.inputTokens + usage.cacheCreationTokens + usage.cacheReadTokens
  return all === 0 ? null : usage.cacheReadTokens / all
}

// ---- time ----

function onWake(state: State, key: string, now: Millis, effects: Effect[]): void {
  const request = state.requests.get(key)
  if (request === undefined || request.answered) return
  if (now >= request.deadline) {
    const ms = request.deadline - request.acceptedAt
    const where = request.attempt === null ? 'waiting' : 'running'
    const refused = admission.refuse('DEADLINE', `the deadline of ${ms} ms passed while ${where}`)
    return conclude(state, request, refused, 'deadline', now, effects)
  }
  if (request.retryAt !== null && now >= request.retryAt)
    return requeue(state, request, 'backoff', now, effects)
  if (request.waiting && !request.checked && now >= checkAt(state, request)) {
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
    const refused = admission.refuse('SHUTDOWN', 'this instance is stopping; others may serve')
    return finish(state, request, refused, effects)
  }
  admission.enqueue(state, request, 'head', now)
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
  growAllowances(state, now)
  growRates(state, now)
  samplePaces(state, elapsedMs / 1_000)
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
  for (const lane of state.lanes) for (const cell of lane.cells) cell.queue.rest(elapsedMs / 1_000)
  sweepRetired(state, effects)
}

const LEVELS = [
  'normal service',
  'preemptible lanes keep their trickle only',
  'preemptible lanes start nothing, holds are lent',
  'arrivals are shed, heavy tenants of light lanes first',
] as const

// ---- control ----

function applyControl(state: State, control: RouteControl): void {
  const route = state.routes.get(control.route)
  if (route === undefined) return
  const { gate } = control
  const moved = route.limit !== control.limit || route.gate.cap !== gate.cap
  if (gate.generation !== route.gate.generation) route.ofGeneration = 0
  route.limit = control.limit
  route.epoch = control.epoch
  route.gate = gate
  route.peak = control.peak
  route.heldUntil = control.heldUntil
  route.slowUntil = control.slowUntil
  if (moved) rescale(state)
}

function onLane(state: State, name: string, paused: boolean): void {
  const lane = state.lanesByName.get(name)
  if (lane !== undefined) lane.paused = paused
}

/** New and queued requests are refused at once; running ones may end. */
function onDrain(state: State, now: Millis, effects: Effect[]): void {
  state.draining = true
  for (const request of [...state.requests.values()])
    if (request.attempt === null) conclude(state, request, stopping(), 'drain', now, effects)
}

function onDrainOver(state: State, now: Millis, effects: Effect[]): void {
  for (const request of [...state.requests.values()])
    if (!request.answered) conclude(state, request, stopping(), 'drain', now, effects)
}

const stopping = (): Refused =>
  admission.refuse('SHUTDOWN', 'this instance is stopping; others may serve', {
    retryAfterMs: 1_000,
  })
