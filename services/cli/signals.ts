/** Signals that mean: stop. npm passes on the Ctrl-C that the terminal has already sent to us, so that two
 *  within a moment are one. */
import { now } from '#platform/system'

const ONE_MS = 500
const NAMES = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
export type StopSignal = (typeof NAMES)[number]

/** `times` counts from 1. The answer ends the listening. */
export function onStop(listener: (signal: StopSignal, times: number) => void): () => void {
  let times = 0
  let last = -Infinity
  const hear = (signal: StopSignal): void => {
    const at = now()
    if (at - last < ONE_MS) return
    last = at
    listener(signal, ++times)
  }
  for (const name of NAMES) process.on(name, hear)
  return () => {
    for (const name of NAMES) process.off(name, hear)
  }
}
