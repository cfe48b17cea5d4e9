/** The command's only clock and dice. */
import { randomBytes } from 'node:crypto'

/** setTimeout fires at once past 2^31 - 1. */
const LONGEST_TIMER = 2_147_483_647

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
