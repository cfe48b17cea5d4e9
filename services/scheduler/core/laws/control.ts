/** What is decided elsewhere, put in force: by the machines of a route, and by operators of a lane. */
import type { RouteControl } from '#core/model/inputs'
import type { State } from '#core/model/state'
import { rescale } from './slots.ts'

export function applyControl(state: State, control: RouteControl): void {
  const route = state.routes.get(control.route)
  if (route === undefined) return
  const { gate } = control
  const moved = route.limit !== control.limit || route.gate.cap !== gate.cap
  if (gate.generation !== route.gate.generation) route.ofGeneration = 0
  route.limit = control.limit
  route.epoch = control.epoch
  route.gate = gate
  route.peak = control.peak
  route.heldUntil = control.heldUntil
  route.slowUntil = control.slowUntil
  if (moved) rescale(state)
}

export function pauseLane(state: State, name: string, paused: boolean): void {
  const lane = state.lanesByName.get(name)
  if (lane !== undefined) lane.paused = paused
}
