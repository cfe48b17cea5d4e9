/** What is kept free for those who may come at any moment, learned from what they lately needed: slots that
 *  preemptible lanes leave to the others, and slots that a busy tenant leaves to its neighbours. Nobody's need is
 *  guessed: what was used is seen, what is no longer used is lent again within seconds. */
import type { Millis } from '#contracts/units'

/** Samples of one second each: how long a need is remembered, and how soon a need that is gone is noticed. */
export const WINDOW = 30
export const RECENT = 2
/** Of the seconds of the window: a rarer peak waits a moment instead of keeping slots idle all the time. */
export const USUAL = 0.9
/** Slots that come back within so long need not be kept: whoever comes waits no longer than that. */
export const SOON: Millis = 250
export const SMOOTH = 0.3

/** What somebody had at once in nearly every second of the last half minute, and still had within the last few. */
export class RecentNeed {
  value = 0
  #peak = 0
  readonly #seconds: number[] = []

  /** So much at this moment. */
  note(now: number): void {
    if (now > this.#peak) this.#peak = now
    if (this.#seconds.length === 0) this.value = this.#peak
  }

  /** Once a second; `waiting` comes on top, `now` begins the next second. */
  sample(waiting: number, now: number): void {
    this.#seconds.push(this.#peak + waiting)
    if (this.#seconds.length > WINDOW) this.#seconds.shift()
    this.#peak = now
    const sorted = this.#seconds.toSorted((a, b) => a - b)
    const usual = sorted[Math.ceil(USUAL * sorted.length) - 1] ?? 0
    this.value = Math.min(usual, Math.max(...this.#seconds.slice(-RECENT)))
  }
}

/** The need of lanes that are not preemptible, in one scope: a route, or all of them. */
export class FirmNeed {
  /** Attempts in flight now. */
  inflight = 0
  /** Slots to keep for them, in use or free. */
  slots = 0
  readonly #need = new RecentNeed()
  #ended = 0
  /** Attempts of any lane that end per second. */
  #turnover = 0

  changed(by: 1 | -1): void {
    this.inflight += by
    this.#need.note(this.inflight)
  }

  /** An attempt of any lane has given its slot back. */
  ended(): void {
    this.#ended++
  }

  /** Once a second; `waiting`: requests of these lanes that wait for a slot. */
  sample(waiting: number): void {
    this.#need.sample(waiting, this.inflight)
    this.#turnover += SMOOTH * (this.#ended - this.#turnover)
    this.#ended = 0
    this.slots = Math.max(0, this.#need.value - this.soon)
  }

  /** Slots to leave free now. */
  get free(): number {
    return Math.max(0, this.slots - this.inflight)
  }

  /** Slots that come back by themselves before anybody has waited long. */
  get soon(): number {
    return Math.floor((this.#turnover * SOON) / 1_000)
  }
}
