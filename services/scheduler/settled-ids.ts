/** Ended requests that status and cancel still know: the last `settled_max`, for `settled_ms` each. */
import type { StatusAnswer } from '#contracts/messages'
import { statusAnswer, type Live } from './live.ts'
import type { Millis } from './ports.ts'

/** A body is not kept. */
interface Settled {
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

export class SettledIds {
  /** Oldest first. */
  readonly #all = new Map<string, Settled>()

  remember(live: Live, now: Millis, bounds: SettledBounds): void {
    const { tenant, id, lane, model } = live.incoming
    const attempts = live.request?.attempts ?? 0
    const { arrivedWall } = live
    this.#all.delete(live.key)
    this.#all.set(live.key, { at: now, tenant, id, lane, model, attempts, arrivedWall })
    for (const [old, one] of this.#all) {
      if (this.#all.size <= bounds.settled_max && now - one.at <= bounds.settled_ms) break
      this.#all.delete(old)
    }
  }

  recall(key: string, now: Millis, bounds: SettledBounds): StatusAnswer | null {
    const settled = this.#all.get(key)
    if (settled === undefined || now - settled.at > bounds.settled_ms) return null
    return statusAnswer({ ...settled, state: 'settled', position: null })
  }
}
