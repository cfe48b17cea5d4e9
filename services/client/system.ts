/** The client's only clock and dice. */
export interface ClientSystem {
  /** Calls once, `ms` from now; the answer cancels it. */
  after(ms: number, call: () => void): () => void
  /** 0 to below 1. */
  random(): number
  /** Milliseconds since some beginning; absent: as this machine has them. */
  now?(): number
}

const TIMER_MS_MAX = 2_147_483_647

export const clientSystem: ClientSystem & { now(): number; wall(): number } = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(ms, call) {
    const timer = setTimeout(call, Math.min(ms, TIMER_MS_MAX))
    return () => clearTimeout(timer)
  },
  random: () => Math.random(),
}
