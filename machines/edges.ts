/** Which edge of its chart an actor took, and how often: ids and order are those of `compile` and of the
 *  drawings. Costs a look-up per event; watches one actor. */
import type { AnyStateMachine, InspectionEvent } from 'xstate'

export type { InspectionEvent }

/** Place of each transition of a flat machine, in the order of its chart. */
export function edgePlaces(machine: AnyStateMachine): ReadonlyMap<object, number> {
  const places = new Map<object, number>()
  for (const node of Object.values(machine.root.states))
    for (const transitions of node.transitions.values())
      for (const transition of transitions) places.set(transition, places.size)
  return places
}

export interface EdgeCounter {
  /** Since the actor's start. */
  readonly counts: readonly number[]
  readonly inspect: (event: InspectionEvent) => void
}

export function countEdges(places: ReadonlyMap<object, number>): EdgeCounter {
  const counts = Array.from({ length: places.size }, () => 0)
  return {
    counts,
    inspect(event) {
      if (event.type !== '@xstate.microstep') return
      for (const transition of event._transitions) {
        const place = places.get(transition)
        if (place !== undefined) counts[place]! += 1
      }
    },
  }
}
