/** A few requests as real actors beside their table cells, for whoever inspects: the same events, a clock that
 *  never fires. A shadow that stands elsewhere than its cell is a bug, and said as an alarm.
 *  Bound: one new a second, `SHADOWS_MAX` at once. */
import type { Inspection } from '#machines/inspection'
import { lifecycleMachine, type LifecycleEvent } from '#machines/request-lifecycle'
import { run } from '#machines/run'
import type { Millis } from '#ports'

export const SHADOWS_MAX = 16
const EVERY: Millis = 1_000

export interface Shadow {
  send(event: LifecycleEvent): void
  state(): string
  end(): void
}

export class ShadowRequests {
  readonly #inspection: Inspection
  readonly #onError: (error: unknown) => void
  #alive = 0
  #nextAt: Millis = 0

  constructor(of: { inspection: Inspection; onError: (error: unknown) => void }) {
    this.#inspection = of.inspection
    this.#onError = of.onError
  }

  /** Null: this one is not sampled. */
  begin(key: string, at: Millis): Shadow | null {
    if (at < this.#nextAt || this.#alive >= SHADOWS_MAX) return null
    const watched = this.#inspection.watch(`request ${key}`)
    if (watched === null) return null
    this.#nextAt = at + EVERY
    this.#alive++
    const actor = run(lifecycleMachine, {
      input: { at },
      after: () => () => {},
      onError: this.#onError,
      inspect: watched.inspect,
    })
    return {
      send: (event) => actor.send(event),
      state: () => actor.getSnapshot().value,
      end: () => {
        this.#alive--
        actor.stop()
        watched.end()
      },
    }
  }
}
