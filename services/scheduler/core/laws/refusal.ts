/** What a refusal of ours says. */
import type { Millis } from '#contracts/units'
import type { Refused } from '#core/model/effects'

/** Bounds of the retry-after that a refusal names. */
export const RETRY_AFTER = { min: 1_000, max: 60_000 }

export function refuse(
  reason: Refused['reason'],
  message: string,
  more: { retryAfterMs?: Millis; verdict?: Refused['verdict']; inVain?: boolean } = {},
): Refused {
  const { retryAfterMs, verdict, inVain } = more
  const bounded =
    retryAfterMs === undefined
      ? null
      : Math.min(RETRY_AFTER.max, Math.max(RETRY_AFTER.min, Math.ceil(retryAfterMs)))
  const refused = { kind: 'refused', reason, message, retryAfterMs: bounded } as const
  return { ...refused, verdict: verdict ?? null, ...(inVain === true ? { inVain } : {}) }
}

/** One mean service of a full queue's head is the earliest that room can appear; without knowing it, the
 *  shortest honest wait is a few seconds. */
export const FULL_RETRY_AFTER: Millis = 4_000

export const queueFull = (message: string): Refused =>
  refuse('QUEUE_FULL', `${message}; retry in ${FULL_RETRY_AFTER / 1_000} s`, {
    retryAfterMs: FULL_RETRY_AFTER,
  })

/** Of those who wait while this instance goes: the next one may be asked at once. */
export const stopping = (): Refused =>
  refuse('SHUTDOWN', 'this instance is stopping; others may serve', {
    retryAfterMs: 1_000,
  })
