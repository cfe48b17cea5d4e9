import type { Clock, Millis } from '#ports'

/** Resolves when it does, or when the time is up. */
export function within(clock: Clock, ms: Millis, work: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const stop = clock.after(ms, resolve)
    void work.then(() => {
      stop()
      resolve()
    })
  })
}
