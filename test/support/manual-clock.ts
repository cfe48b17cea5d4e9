/** A clock that moves when told. */
import type { Clock, Millis } from '#ports'

export interface ManualClock extends Clock {
  /** Moves on by `ms` and runs what falls due on the way, in order of due time; same time: first asked. */
  advance(ms: Millis): void
  /** Timers that wait. */
  pending(): number
}

export function manualClock(startAt: { wall?: Millis } = {}): ManualClock {
  const wallAtStart = startAt.wall ?? 1_767_225_600_000
  let now: Millis = 0
  let asked = 0
  const timers = new Map<number, { dueAt: Millis; call: () => void }>()

  const nextDue = (until: Millis) => {
    let best: { id: number; dueAt: Millis } | null = null
    for (const [id, { dueAt }] of timers) {
      if (dueAt <= until && (best === null || dueAt < best.dueAt)) best = { id, dueAt }
    }
    return best
  }

  return {
    now: () => now,
    wall: () => wallAtStart + now,
    after(ms, call) {
      const id = asked++
      timers.set(id, { dueAt: now + Math.max(0, ms), call })
      return () => void timers.delete(id)
    },
    advance(ms) {
      const until = now + ms
      for (let due = nextDue(until); due !== null; due = nextDue(until)) {
        const timer = timers.get(due.id)
        timers.delete(due.id)
        now = Math.max(now, due.dueAt)
        timer?.call()
      }
      now = until
    },
    pending: () => timers.size,
  }
}
