/** Room in the stream of jobs for the claims of those that it holds: without a claim no job is worked off, and a
 *  stream that is full of jobs would stay full for good. So new jobs are refused while claims still fit.
 *  Bound: what other instances store between two questions may pass it, and is not more than they store at once. */
import type { Clock, Millis } from '#ports'

/** Of the stream's bound, this part is for claims. */
const KEPT_PART = 0.05
/** And not more than so many bytes: a claim takes some 350. */
const KEPT_MOST = 64 * 1_024 * 1_024
/** An answer is good for so long where there is room, and for no other job where little is left. */
const GOOD_FOR: Millis = 1_000
const LITTLE_LEFT = 4
/** After a claim or a result that did not fit, no new job takes the room that comes. */
const HUNGRY_FOR: Millis = 5_000

export interface StreamHeld {
  bytes: number
  /** Not above 0: the stream has no bound of its own. */
  bytesMax: number
}

export class StreamRoom {
  readonly #clock: Pick<Clock, 'now'>
  readonly #held: () => Promise<StreamHeld>
  #known: (StreamHeld & { at: Millis }) | null = null
  /** Stored by us since then, as far as it counts. */
  #since = 0
  #asking: Promise<void> | null = null
  #hungryUntil: Millis = -Infinity

  constructor(of: { clock: Pick<Clock, 'now'>; held: () => Promise<StreamHeld> }) {
    this.#clock = of.clock
    this.#held = of.held
  }

  /** Whether a new job of so many bytes may go in; it is counted, if so. */
  async takes(bytes: number): Promise<boolean> {
    if (this.#clock.now() < this.#hungryUntil) return false
    if (this.#left(bytes) < 0) await (this.#asking ??= this.#ask())
    // Where nobody answers, the act itself says so.
    if (this.#known === null) return true
    if (this.#known.bytesMax > 0 && this.#free() < bytes) return false
    this.#since += bytes
    return true
  }

  /** A claim or a result did not fit. */
  refused(): void {
    this.#hungryUntil = this.#clock.now() + HUNGRY_FOR
  }

  /** One did. */
  fits(): void {
    this.#hungryUntil = -Infinity
  }

  /** How far we are from having to ask. */
  #left(bytes: number): number {
    if (this.#known === null || this.#clock.now() - this.#known.at > GOOD_FOR) return -1
    const { bytesMax } = this.#known
    return bytesMax <= 0 ? 0 : this.#free() - LITTLE_LEFT * keptOf(bytesMax) - bytes
  }

  #free(): number {
    if (this.#known === null) return 0
    const { bytes, bytesMax } = this.#known
    return bytesMax - keptOf(bytesMax) - bytes - this.#since
  }

  async #ask(): Promise<void> {
    const before = this.#since
    try {
      this.#known = { ...(await this.#held()), at: this.#clock.now() }
      this.#since -= before
    } catch {
      this.#known = null
    } finally {
      this.#asking = null
    }
  }
}

const keptOf = (bytesMax: number): number => Math.min(KEPT_MOST, KEPT_PART * bytesMax)
