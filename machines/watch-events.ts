/** Running machines as XState itself tells of them: every inspection event, as it is. Bound: the listeners. */
import type { InspectionEvent } from 'xstate'
import type { Inspection } from './inspection.ts'

export type MachineEvent = InspectionEvent

export function eventWatch(): {
  readonly inspection: Inspection
  /** The answer ends it. What a listener throws would end an actor, so it is not heard. */
  listen(tell: (event: MachineEvent) => void): () => void
} {
  const listeners = new Set<(event: MachineEvent) => void>()
  const inspect = (event: InspectionEvent): void => {
    for (const tell of listeners) {
      try {
        tell(event)
      } catch {
        continue
      }
    }
  }
  return {
    inspection: {
      // Long-lived machines are watched from their start; a request only while somebody listens.
      watch: (name) =>
        name.startsWith('request ') && listeners.size === 0 ? null : { inspect, end: () => {} },
      listen: () => () => {},
    },
    listen(tell) {
      listeners.add(tell)
      return () => void listeners.delete(tell)
    },
  }
}
