/** The pace of one queue: how fast its virtual time goes, what leaves it, and its usual service. */
import type { Seconds } from '#contracts/units'
import { RunningMean, type Expected } from './cost.ts'

/** Weights of the moving averages: of a second's pace, and of its mean over a minute. */
export const DIMENSIONS = ['duration', 'inputTokens', 'outputTokens'] as const
export const PACE = { sample: 0.3, minute: 1 / 60, least: 0.1 }

/** How fast one queue's virtual time goes, in its units per second, and its usual service. */
export class Pace {
  /** 0: unknown. */
  vdot = 0
  /** What leaves the queue per second, started or given up; all 0: unknown. */
  readonly leaving: Expected = { duration: 0, inputTokens: 0, outputTokens: 0 }
  readonly #service = new RunningMean()
  #minute = 0
  #busy = false

  /** Once a second; `moved` is how far virtual time came since. A sample counts when the queue held work
   *  from one end of it to the other. */
  sample(of: { moved: number; left: Expected; seconds: Seconds; busy: boolean }): void {
    const whole = of.busy && this.#busy
    this.#busy = of.busy
    if (!whole || of.seconds <= 0) return
    const unknown = this.leaving.duration === 0
    for (const what of DIMENSIONS) {
      const left = of.left[what] / of.seconds
      this.leaving[what] = unknown
        ? left
        : (1 - PACE.sample) * this.leaving[what] + PACE.sample * left
    }
    const pace = of.moved / of.seconds
    this.vdot = this.vdot === 0 ? pace : (1 - PACE.sample) * this.vdot + PACE.sample * pace
    this.#minute = this.#minute === 0 ? pace : (1 - PACE.minute) * this.#minute + PACE.minute * pace
  }

  /** Never so slow that one quiet second makes the wait endless. */
  get usable(): number {
    return Math.max(this.vdot, PACE.least * this.#minute)
  }

  /** 0: unknown. */
  get meanService(): Seconds {
    return this.#service.value
  }

  served(seconds: Seconds): void {
    this.#service.add(seconds)
  }
}
