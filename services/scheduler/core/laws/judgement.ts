/** What the end of an attempt proves: the provider's word, read in the light of what we know ourselves. */
import type { Millis } from '#contracts/units'
import type { Verdict } from '#contracts/verdict'
import type { Attempt } from '#core/model/state'
import { withSilence } from './silence.ts'
import { explained } from './token-buckets.ts'

const SILENCES: ReadonlySet<Verdict['kind']> = new Set(['hang', 'ended', 'ended_silent'])

/** `known`: the machines have heard of it already, while it lasted, and are not told twice. */
export function judge(
  attempt: Attempt,
  raw: Verdict,
  of: { now: Millis; jumpedAt: Millis },
): { verdict: Verdict; known: boolean } {
  // Silence that fell while the process stood still was not the upstream's.
  const heard = attempt.startedAt < of.jumpedAt ? raw : withSilence(attempt, raw, of.now)
  const verdict = explained(attempt.reserved.quota, heard, of.now)
  return { verdict, known: attempt.silenceTold && SILENCES.has(verdict.kind) }
}
