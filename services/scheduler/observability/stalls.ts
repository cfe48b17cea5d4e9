/** Tells how long the event loop stood still: nobody is served meanwhile, no timer runs, and no deadline is kept.
 *  Bound: one observation a second, of the longest stall in it. */
import type { Clock, HeadgateEvent, Millis } from '#ports'

/** Shorter ones are no stall: a large body, a collection of garbage. */
export const STALL_MS: Millis = 100
/** From here on an operator must know. */
export const STALL_ALARM_MS: Millis = 1_000
export const STALLS_CHECK_MS: Millis = 1_000

export function watchStalls(of: {
  clock: Clock
  /** The longest time since it was last asked in which no timer could run. */
  longestMs: () => Millis
  /** Who held the event loop longest since that was last asked; null: nobody who says so. */
  culprit: () => { room: string; ms: Millis } | null
  observe: (stall: { room: string; ms: Millis }) => void
  emit: (event: HeadgateEvent) => void
}): { close(): void } {
  const { clock } = of
  let stop = (): void => {}
  const check = (): void => {
    stop = clock.after(STALLS_CHECK_MS, check)
    const ms = Math.round(of.longestMs())
    const culprit = of.culprit()
    if (ms < STALL_MS) return
    // A room that held it for a small part of the time is not why.
    const room = culprit !== null && culprit.ms >= ms / 2 ? culprit.room : ELSEWHERE
    of.observe({ room, ms })
    if (ms < STALL_ALARM_MS) return
    const where =
      room === ELSEWHERE
        ? 'in none of its rooms: an HTTP door, garbage, or the process stood still'
        : `in ${room}`
    const detail = `nothing could run for ${ms} ms, ${where}`
    of.emit({
      name: 'alarm',
      at: clock.wall(),
      data: { name: 'event_loop_stall', route: null, detail },
    })
  }
  stop = clock.after(STALLS_CHECK_MS, check)
  return { close: () => stop() }
}

const ELSEWHERE = 'elsewhere'
