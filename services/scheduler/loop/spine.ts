/** What the parts of the loop share: its one entrance, its time, and what any of them may do to a request. */
import type { Input } from '#core/model/inputs'
import type { State } from '#core/model/state'
import type { LifecycleEvent } from '#machines/request-lifecycle'
import type { Millis } from '#ports'
import type { LiveRequest } from './live.ts'
import type { TimerHeap } from './timer-heap.ts'

export interface Spine {
  readonly state: State
  readonly heap: TimerHeap
  now(): Millis
  wall(): Millis
  /** Runs now, or after the step that is being performed. */
  enter(act: () => void): void
  /** One input into the core; its effects are performed before this returns. */
  step(input: Input): void
  /** Moves the lifecycle; a move that the chart forbids is a bug. */
  move(live: LiveRequest, type: LifecycleEvent['type'], at: Millis): void
  /** The request holds nothing any more. */
  end(live: LiveRequest, now: Millis): void
  /** What a port threw: one request's trouble, and nobody else's. */
  fault(error: unknown): void
}
