/** Which attempt should yield (control-laws §7).
 *
 *  A request of a non-preemptible lane that has waited `check_ms` may end one batch attempt, if that
 *  attempt's slot is exactly what is missing. Each abort also lowers what the batch lane may take on the
 *  route, so that the next burst needs none.
 *  Bound: aborted slot-seconds <= 5 % of useful ones + 50 + 1 s per abort (invariant I10). */
import type { Millis, Seconds } from '#contracts/units'
import { doomed } from './admission.ts'
import { eligible } from './lanes.ts'
import { freeOn, freeOverall, rescaleAllowance, reserved, usable } from './slots.ts'
import type { Attempt, Cell, Request, State } from './state.ts'
import { readyAt } from './token-buckets.ts'

/** A victim that is expected to be done so soon is left alone. */
const NEARLY_DONE: Seconds = 2
/** Times its estimate: what has run for longer would lose too much. */
const TOO_LATE = 2
/** It grows faster while so much of the route is free, beyond the headroom: a burst is over. */
const ALLOWANCE = {
  cutEvery: 2_000,
  growEvery: 7_000,
  growEveryRoomy: 1_000,
  roomy: 0.2,
  factor: 0.5,
} as const

export interface Victim {
  request: Request
  attempt: Attempt
}

/** The attempt that should yield to this waiting request, or null. Spends the waste credit. */
export function victimFor(state: State, request: Request, now: Millis): Victim | null {
  if (!request.waiting || request.lane.config.preemptible || !mayStart(state, request, now))
    return null
  const held = reserved(state, request.cell)
  const onRoute = freeOn(request.route) - held.route
  const overall = freeOverall(state) - held.overall
  if (Math.min(onRoute, overall) !== 0) return null
  const victim = leastLoss(state, onRoute === 0 ? request.route.cells : allCells(state), now)
  if (victim === null) return null
  const elapsed = (now - victim.attempt.startedAt) / 1_000
  if (state.wasteCredit < elapsed) return null
  state.wasteCredit -= elapsed
  cutAllowance(state, victim.request.cell, now)
  return victim
}

/** Would the freed slot really be used? Not if the breaker, a pause, quota or the deadline is in the way. */
function mayStart(state: State, request: Request, now: Millis): boolean {
  if (request.route.gate.state !== 'closed' || !eligible(request.cell, now)) return false
  const head = request.cell.queue.first()
  if (head === null || readyAt(request.route.quota, head.expected, now) > now) return false
  return doomed(state, head, now) === null
}

const allCells = (state: State): Cell[] => state.lanes.flatMap((lane) => lane.cells)

/** The victim that loses least: no byte yet, then least elapsed, then the smaller id. */
function leastLoss(state: State, cells: readonly Cell[], now: Millis): Victim | null {
  const most = state.config.file.preemption.max_per_request
  let best: Victim | null = null
  for (const cell of cells) {
    if (!cell.lane.config.preemptible || !aboveTrickle(cell)) continue
    for (const request of cell.running) {
      const { attempt } = request
      if (attempt === null || attempt.ending !== null || attempt.forwarded) continue
      if (request.preemptions >= most) continue
      const elapsed = (now - attempt.startedAt) / 1_000
      const { duration } = attempt.estimate
      // Past its estimate nobody knows when it ends; answers that are long already tend to go on.
      if (elapsed > TOO_LATE * duration) continue
      if (elapsed <= duration && duration - elapsed <= NEARLY_DONE) continue
      const one = { request, attempt }
      if (best === null || losesLess(one, best)) best = one
    }
  }
  return best
}

/** Attempts that are being ended already do not count towards the trickle. */
function aboveTrickle(cell: Cell): boolean {
  let ending = 0
  for (const request of cell.running) if (request.attempt?.ending !== null) ending++
  let endingInLane = 0
  for (const other of cell.lane.cells)
    for (const request of other.running) if (request.attempt?.ending !== null) endingInLane++
  return (
    cell.inflight - ending > cell.trickle && cell.lane.inflight - endingInLane > cell.lane.trickle
  )
}

function losesLess(a: Victim, b: Victim): boolean {
  if (a.attempt.firstByte !== b.attempt.firstByte) return b.attempt.firstByte
  if (a.attempt.startedAt !== b.attempt.startedAt) return a.attempt.startedAt > b.attempt.startedAt
  return a.request.key < b.request.key
}

function cutAllowance(state: State, cell: Cell, now: Millis): void {
  if (now - cell.allowanceCutAt < ALLOWANCE.cutEvery) return
  cell.allowanceCutAt = now
  cell.allowanceQuietAt = now
  const halved = Math.floor(ALLOWANCE.factor * Math.min(cell.allowance, cell.inflight + 1))
  cell.allowance = Math.max(cell.trickle, halved)
  rescaleAllowance(state, cell)
}

/** Once a second: the allowance grows back while no other lane is kept waiting. */
export function growAllowances(state: State, now: Millis): void {
  for (const route of state.routes.values()) {
    const wanted = route.cells.some((one) => !one.lane.config.preemptible && one.queue.queued > 0)
    const roomy = freeOn(route) > route.headroom + ALLOWANCE.roomy * usable(route)
    const growEvery = roomy ? ALLOWANCE.growEveryRoomy : ALLOWANCE.growEvery
    for (const cell of route.cells) {
      if (!cell.lane.config.preemptible || cell.allowance === Infinity) continue
      if (wanted) cell.allowanceQuietAt = now
      else if (now - cell.allowanceQuietAt >= growEvery) {
        cell.allowanceQuietAt = now
        cell.allowance += 1
        const full = (cell.lane.config.cap * usable(route)) / state.config.file.scheduling.base
        if (cell.allowance >= full) cell.allowance = Infinity
        rescaleAllowance(state, cell)
      }
    }
  }
}
