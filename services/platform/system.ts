/** Where time passes and chance happens by themselves: for all of the house but the client, the browser's page
 *  and the simulated provider, which are taken home alone. */
import { randomBytes } from 'node:crypto'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Millis } from '#contracts/units'
import type { Clock } from './clock.ts'

/** setTimeout fires at once past 2^31 - 1: longer waits are taken in pieces. */
const LONGEST_TIMER: Millis = 2_147_483_647

export const systemClock: Clock = clockOf((timer) => timer)

/** For a guest in somebody else's process: its timers keep nothing alive. */
export const guestClock: Clock = clockOf((timer) => timer.unref())

/** As soon as what has arrived is worked through. */
export function systemSoon(call: () => void): void {
  setImmediate(call)
}

function clockOf(made: (timer: NodeJS.Timeout) => NodeJS.Timeout): Clock {
  return {
    now: () => Math.floor(performance.now()),
    wall: () => Date.now(),
    soon: systemSoon,
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

/** 0 to below 1. */
export const systemDice = { next: Math.random }

/** How often the event loop's delay is sampled. */
const DELAY_RESOLUTION_MS = 20

/** The longest time since it was last asked in which the event loop ran no timer. Keeps no process alive. */
export function systemLoopDelay(): { longestMs(): Millis; close(): void } {
  const delays = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })
  delays.enable()
  return {
    longestMs() {
      const ms = delays.max / 1e6 - DELAY_RESOLUTION_MS
      delays.reset()
      return Math.max(0, ms)
    },
    close: () => void delays.disable(),
  }
}

/** Where nobody can catch it, as a broken invariant should be. */
export const throwLater = (bug: unknown): void =>
  queueMicrotask(() => {
    throw bug
  })

// ---- for programs that need no port ----

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms))

/** Milliseconds on a clock that never jumps. */
export const now = (): number => performance.now()

/** Milliseconds since 1970. */
export const wall = (): number => Date.now()

/** Calls once, `ms` from now; the answer cancels it. */
export function after(ms: number, call: () => void): () => void {
  const timer = setTimeout(call, Math.min(ms, LONGEST_TIMER))
  return () => clearTimeout(timer)
}

/** The promise's value, or null when it takes longer; no timer is left behind. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T | null> {
  const late = Promise.withResolvers<null>()
  const cancel = after(ms, () => late.resolve(null))
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    cancel()
  }
}

/** Calls again and again; the answer ends it. */
export function every(ms: number, call: () => void): () => void {
  const timer = setInterval(call, ms)
  return () => clearInterval(timer)
}

/** A secret that nobody can guess. */
export const secret = (): string => randomBytes(24).toString('base64url')
