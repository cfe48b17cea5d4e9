/** Ended requests that status and cancel still know: the last `settled_max`, for `settled_ms` each. */
import type { StatusAnswer } from '#contracts/messages'
import { NOT_QUEUED, spentBy, statusAnswer, type LiveRequest } from './live.ts'
import type { Millis } from '#ports'

/** A body is not kept. */
interface Settled {
  readonly key: string
  readonly at: Millis
  readonly tenant: string
  readonly id: string
  readonly lane: string
  readonly model: string
  readonly attempts: number
  readonly arrivedWall: Millis
}

export interface SettledBounds {
  settled_max: number
  settled_ms: Millis
}

/** Forgotten ones at the front of `#order` before it is cut. */
const SLACK = 1_000

export class SettledIds {
  readonly #byKey = new Map<string, Settled>()
  /** Oldest first from `#head` on. A Map's own order would do, but finding its first entry passes over the
   *  graves of all that were deleted. */
  #order: Settled[] = []
  #head = 0

  remember(live: LiveRequest, now: Millis, bounds: SettledBounds): void {
    if (bounds.settled_max === 0) return
    const { tenant, id, lane, model } = live.incoming
    const { key, arrivedWall } = live
    const attempts = spentBy(live)?.attempts ?? 0
    const settled: Settled = { key, at: now, tenant, id, lane, model, attempts, arrivedWall }
    this.#byKey.set(key, settled)
    this.#order.push(settled)
    this.#forget(now, bounds)
  }

  recall(key: string, now: Millis, bounds: SettledBounds): StatusAnswer | null {
    const settled = this.#byKey.get(key)
    if (settled === undefined || now - settled.at > bounds.settled_ms) return null
    return statusAnswer({ ...settled, ...NOT_QUEUED, state: 'settled' })
  }

  #forget(now: Millis, { settled_max, settled_ms }: SettledBounds): void {
    for (
      let oldest = this.#order[this.#head];
      oldest !== undefined;
      oldest = this.#order[this.#head]
    ) {
      if (this.#order.length - this.#head <= settled_max && now - oldest.at <= settled_ms) break
      // The id may have been used, and have ended, again.
      if (this.#byKey.get(oldest.key) === oldest) this.#byKey.delete(oldest.key)
      this.#head++
    }
    if (this.#head < SLACK || this.#head * 2 < this.#order.length) return
    this.#order = this.#order.slice(this.#head)
    this.#head = 0
  }
}
