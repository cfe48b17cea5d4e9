/** How long the first byte of an attempt may take before it is a hang. */
import type { Millis } from '#contracts/units'
import type { Estimate } from '#core/estimators/cost'
import type { Request, State } from '#core/model/state'

/** Of the lane's timeout: the other half is for the rest of the answer. */
export const OF_TIMEOUT = 1 / 2
/** Times the predicted service; and of a model that nothing is known of, times what the priors say. */
export const TIMES = 3

/** No byte within this is a hang (control-laws §2). An answer that is not streamed has its first byte
 *  last, so it is given the time that the whole answer may take. */
export function firstByteMs(state: State, request: Request, estimate: Estimate): Millis {
  const { asked } = request
  const usual = usualFirstByteMs(state, request)
  if (asked.stream) return usual
  const longest = 1_000 * state.costs.longest(asked, state.config)
  // Of a model that nothing is known of, the first answers may take longer than it usually does.
  if (!estimate.evidence) return Math.max(usual, TIMES * longest)
  const service = state.costs.service(asked, estimate, state.now)
  return Math.max(usual, TIMES * 1_000 * service, longest)
}

const usualFirstByteMs = (state: State, { lane }: Request): Millis =>
  Math.min(state.config.file.limits.first_byte_max_ms, OF_TIMEOUT * lane.config.timeoutMs)
