/** A running attempt is heard of: its first byte, and its first event passed on. */
import type { Effect } from '#core/model/effects'
import { attemptOf } from '#core/model/place'
import type { State } from '#core/model/state'
import { becomesWarm } from './prefixes.ts'

export function noteProgress(
  state: State,
  key: string,
  what: 'first-byte' | 'forwarded',
  effects: Effect[],
): void {
  const request = state.requests.get(key)
  if (request === undefined) return
  const attempt = attemptOf(request)
  if (attempt === null) return
  if (!attempt.firstByte) {
    attempt.firstByte = true
    request.route.lastByteAt = state.now
  }
  if (what === 'first-byte' || attempt.forwarded || request.answered) return
  attempt.forwarded = true
  effects.push({ type: 'forwarding', request, attempt })
  const { prefix } = request
  // A first byte may be an error's; an event is an answer's.
  if (prefix !== null) becomesWarm(state, request, prefix, { now: state.now, effects })
}
