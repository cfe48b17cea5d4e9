/** The only place in the scheduler where time passes and chance happens by themselves. */
import type { Clock, Dice, Millis } from '#ports'

/** setTimeout fires at once past 2^31 - 1: longer waits are taken in pieces. */
const LONGEST_TIMER: Millis = 2_147_483_647

export const systemClock: Clock = clockOf((timer) => timer)

/** For a guest in somebody else's process: its timers keep nothing alive. */
export const guestClock: Clock = clockOf((timer) => timer.unref())

function clockOf(made: (timer: NodeJS.Timeout) => NodeJS.Timeout): Clock {
  return {
    now: () => Math.floor(performance.now()),
    wall: () => Date.now(),
    after(ms, call) {
      let left = ms
      let timer: NodeJS.Timeout
      const next = (): void => {
        const piece = Math.min(left, LONGEST_TIMER)
        left -= piece
        timer = made(setTimeout(left > 0 ? next : call, piece))
      }
      next()
      return () => clearTimeout(timer)
    },
  }
}

/** While somebody waits for a guest, the process stays; the answer lets it go. */
export function stayAlive(): () => void {
  const timer = setInterval(() => {}, LONGEST_TIMER)
  return () => clearInterval(timer)
}

export const systemDice: Dice = { next: Math.random }

/** As soon as what has arrived is worked through. */
export const systemSoon = (call: () => void): void => void setImmediate(call)

/** Where nobody can catch it, as a broken invariant should be. */
export const throwLater = (bug: unknown): void =>
  queueMicrotask(() => {
    throw bug
  })
