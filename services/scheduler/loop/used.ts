/** What a request's attempts used, in the words of a bill. */
import { costOfAnswer } from '#contracts/cost'
import type { MicroUsd, Prices } from '#contracts/prices'
import type { Tokens } from '#contracts/units'
import type { UsageKind } from '#contracts/usage-report'
import type { Usage } from '#contracts/verdict'
import type { Effect } from '#core/model/effects'
import type { Used } from '#ports'
import type { LiveRequest } from './live.ts'

type Ended = Pick<Extract<Effect, { type: 'attempt-ended' }>, 'request' | 'attempt' | 'verdict'>

export const usedOf = (live: LiveRequest, { request, attempt, verdict }: Ended): Used => ({
  tenant: live.tenant,
  lane: live.lane,
  // Its own may be another by now: that of the answer which the caller got instead.
  model: request.route.config.model,
  kind: kindOf({ attempt, verdict }),
  usage: verdict.usage ?? unseen(request, verdict),
  ...(request.asideMs > 0 ? { waitedForPrefix: true } : {}),
})

/** What nobody counted of a call that may have run: its input, as it was expected. An error that the upstream answers
 *  with costs nothing. */
const unseen = (
  { expected }: Pick<Ended['request'], 'expected'>,
  { mayHaveRun, status }: Pick<Ended['verdict'], 'mayHaveRun' | 'status'>,
): Usage | null =>
  mayHaveRun && (status === null || status < 400) ? guessedInput(expected.inputTokens) : null

function guessedInput(expected: Tokens): Usage {
  const inputTokens = Math.round(expected)
  return {
    ...{ inputTokens, guessedInputTokens: inputTokens, outputTokens: 0 },
    ...{ cacheCreationTokens: 0, cacheReadTokens: 0 },
  }
}

function kindOf({ attempt, verdict }: Pick<Ended, 'attempt' | 'verdict'>): UsageKind {
  if (verdict.kind === 'ok') return 'answered'
  if (verdict.kind !== 'ended' && verdict.kind !== 'ended_silent') return 'failed'
  return attempt.ending === 'preempt' && verdict.kind === 'ended' ? 'preempted' : 'aborted'
}

/** What is paid for it when one more of its attempts has ended. */
export function paidWith(live: LiveRequest, used: Used, prices: Prices): MicroUsd | null {
  if (used.usage === null || used.kind === 'preempted' || live.paid === null) return live.paid
  const cost = costOfAnswer(used.usage, { model: used.model, prices })
  return cost === null ? null : live.paid + cost
}

/** Of a settled event. What still runs when a request is answered counts as far as it was seen. */
export function costData(
  live: LiveRequest,
  prices: Prices,
): { cost_usd: number | null; unpriced?: true } {
  const seen = live.running?.seen?.().usage ?? null
  const model = live.request?.route.config.model ?? live.model
  const running = seen === null ? 0 : costOfAnswer(seen, { model, prices })
  if (live.paid === null || running === null) return { cost_usd: null, unpriced: true }
  return { cost_usd: Math.round((live.paid + running) * 1e3) / 1e9 }
}
