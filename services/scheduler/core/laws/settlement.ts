/** What an attempt really used, once it is over: charged, and learned from. */
import type { Millis, Seconds } from '#contracts/units'
import { verdicts, type Usage, type Verdict } from '#contracts/verdict'
import { costOf } from '#core/estimators/cost'
import { noteUsage } from './degradation.ts'
import { settleSlots } from './lanes.ts'
import type { Attempt, Request, Route, State } from '#core/model/state'

/** Corrects what the start was charged, and learns from a complete answer. */
export function settle(
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
  request.laneRoute.queue.settle(request.flow, actual - attempt.charged)
  noteUsage(request.tenant, actual, now)
  if (verdict.kind === 'ended')
    state.costs.learnAtLeast(request.asked, { duration, estimated: attempt.estimate.duration })
  if (verdict.kind !== 'ok') return
  request.laneRoute.pace.served(duration)
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

/** The route's last failure, for those who ask why; none once it answers well. */
export function noteFault(route: Route, verdict: Verdict): void {
  const said = verdicts[verdict.kind].breaker
  if (said === 'neutral') return
  route.failedInRow = said === 'ok' ? 0 : route.failedInRow + 1
  const { kind, status, errorType } = verdict
  route.lastFault = said === 'ok' ? null : { kind, status, errorType }
}
