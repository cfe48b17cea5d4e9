/** Real time, for the integration tests: the only real waiting. */
import type { Clock } from '#ports'

export const realClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(ms, call) {
    const timer = setTimeout(call, Math.min(ms, 2_147_483_647))
    return () => clearTimeout(timer)
  },
}
