/** Which part of the scheduler is running, so that a stall of the event loop can be told with its place. A call
 *  inside another one's counts for itself alone.
 *  Cost: two readings of the clock for each message, timer and step. */
import type { Clock, Millis } from '#ports'

export type Room = 'loop' | 'intake' | 'config'

export interface Rooms {
  /** Runs `call` as that room's. */
  run<T>(room: Room, call: () => T): T
  /** The room that held the event loop longest in one go since this was last asked; null: none did. */
  longest(): { room: Room; ms: Millis } | null
}

export function rooms(clock: Pick<Clock, 'now'>): Rooms {
  /** Time of the calls inside the one that runs, which is not its own. */
  let inner = 0
  let found: { room: Room; ms: Millis } | null = null
  return {
    run(room, call) {
      const began = clock.now()
      const before = inner
      inner = 0
      try {
        return call()
      } finally {
        const took = clock.now() - began
        const ms = took - inner
        inner = before + took
        if (ms > (found?.ms ?? 0)) found = { room, ms }
      }
    },
    longest() {
      const told = found
      found = null
      return told
    },
  }
}
