/** What is wanted of several things: rises at once, falls by half in `WANT_HALVES`. */
import { WANT_HALVES } from '#core/laws/shares'
import type { Millis } from '#ports'

/** Below this nothing is wanted any more. */
const NOTHING = 0.5

export class DecayingPeak {
  readonly #wants = new Map<string, { want: number; at: Millis }>()

  note(name: string, wanted: number, now: Millis): void {
    const want = Math.max(wanted, this.of(name, now))
    if (want < NOTHING) this.#wants.delete(name)
    else this.#wants.set(name, { want, at: now })
  }

  of(name: string, now: Millis): number {
    const known = this.#wants.get(name)
    return known === undefined ? 0 : known.want * 2 ** -((now - known.at) / WANT_HALVES)
  }

  /** Those of which something is wanted. */
  get names(): Iterable<string> {
    return this.#wants.keys()
  }
}
