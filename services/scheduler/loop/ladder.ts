/** The ladder of lesser answers (control-laws §13): the core chooses the step, here it is taken. A request on its way
 *  down stands on no route; what comes of a step is an answer, another step, or the refusal. */
import { carriedFrom, chainOf } from '#core/laws/admission'
import { refuse } from '#core/laws/refusal'
import { nextStep, saysMore, type Lesser } from '#core/laws/degradation'
import { speedAndTier } from '#core/laws/speed-and-tier'
import type { Refused } from '#core/model/effects'
import type { CachedAnswer, Deferrals, Deferred, Millis } from '#ports'
import type { Answers } from './answers.ts'
import type { KeptAnswers } from './kept-answers.ts'
import { spentBy, type LiveRequest } from './live.ts'
import type { Spine } from './spine.ts'

/** A cache that has not answered by then has nothing. */
export const CONSULT: Millis = 500
/** A store that has not taken a job by then has not. */
export const STORE: Millis = 5_000
const DEFER_MISSING = '; defer is not to be had: this Headgate keeps no durable jobs'
const DEFER_REFUSED = '; defer is not to be had either: '

export class Ladder {
  readonly #spine: Spine
  readonly #answers: Answers
  readonly #kept: KeptAnswers
  readonly #deferrals: () => Deferrals | null

  constructor(of: {
    spine: Spine
    answers: Answers
    kept: KeptAnswers
    deferrals: () => Deferrals | null
  }) {
    this.#spine = of.spine
    this.#answers = of.answers
    this.#kept = of.kept
    this.#deferrals = of.deferrals
  }

  /** Refused: something less may still come, else this is its answer and its end. */
  refused(live: LiveRequest, refused: Refused, now: Millis): void {
    if (this.#reroute(live, refused, now)) return
    const said = this.#sayingMost(live, refused)
    // What no other model took up is the refusal of the one asked for.
    if (said === live.refused?.refusal && said.verdict === null) live.model = live.incoming.model
    this.#answers.refuse(live, said, now)
    this.#spine.end(live, now)
  }

  /** Its time has come while something less was sought; false: nothing is. */
  wake(live: LiveRequest): boolean {
    if (live.seeks === null) return false
    live.seeks = null
    this.#stillRefused(live)
    return true
  }

  /** Nobody wants it any more while something less is sought; false: nothing is. */
  withdraw(live: LiveRequest): boolean {
    if (live.seeks === null) return false
    live.seeks = null
    const now = this.#spine.now()
    this.#answers.refuse(live, refuse('CANCELLED', 'cancelled, or the caller is gone'), now)
    this.#spine.end(live, now)
    return true
  }

  #reroute(live: LiveRequest, refused: Refused, now: Millis): boolean {
    const { incoming } = live
    if (incoming.degrade.length === 0 || live.answered) return false
    const { state } = this.#spine
    const next = nextStep({
      steps: incoming.degrade,
      rung: live.rung,
      reason: refused.reason,
      forwarded: live.cell.state === 'forwarding',
      chain: chainOf(state, incoming.model),
    })
    if (next === null) return false
    live.refused = { refusal: this.#sayingMost(live, refused), attempts: attemptsOf(live) }
    live.carried = carriedFrom(state, live, live.request, now)
    live.request = null
    live.rung = next.rung
    if (live.cell.state === 'running') this.#spine.move(live, 'attempt.rerouted', now)
    this.#descend(live, next, now)
    return true
  }

  #descend(live: LiveRequest, next: Lesser, now: Millis): void {
    switch (next.step) {
      case 'fallback':
        live.model = next.model
        Object.assign(live, speedAndTier(this.#spine.state, live.incoming, next.model))
        // After the effects of the present step: they are about a world without it.
        return this.#spine.enter(() => {
          if (!live.answered) this.#spine.step({ type: 'request', request: live })
        })
      case 'cache':
        return this.#consult(live, now)
      case 'defer':
        return this.#defer(live, now)
    }
  }

  /** Looks for an earlier answer, for as long as there is time. */
  #consult(live: LiveRequest, now: Millis): void {
    const asked = this.#kept.find(live.incoming)
    if (asked === null) return this.#spine.enter(() => this.#stillRefused(live))
    live.seeks = 'cached'
    this.#spine.heap.set(live.timer, Math.min(now + CONSULT, live.carried?.deadline ?? now))
    const found = (answer: CachedAnswer | null): void =>
      this.#spine.enter(() => {
        if (live.seeks !== 'cached' || live.answered) return
        live.seeks = null
        if (answer === null) return this.#stillRefused(live)
        const at = this.#spine.now()
        this.#answers.fromCache(live, answer, at)
        this.#spine.end(live, at)
      })
    asked.then(found, () => found(null))
  }

  /** Makes a job of it, whose receipt is the answer. One that is stored when nobody waits for the receipt any more
   *  is taken back. */
  #defer(live: LiveRequest, now: Millis): void {
    const deferrals = this.#deferrals()
    if (deferrals === null) return this.#spine.enter(() => this.#stillRefused(live, DEFER_MISSING))
    live.seeks = 'place'
    this.#spine.heap.set(live.timer, now + STORE)
    const deferred = (of: Deferred): void =>
      this.#spine.enter(() => {
        if (live.seeks !== 'place' || live.answered) {
          if ('receipt' in of && !of.receipt.duplicate) deferrals.takeBack(live.incoming)
          return
        }
        live.seeks = null
        if ('refused' in of) return this.#stillRefused(live, DEFER_REFUSED + of.refused.message)
        const at = this.#spine.now()
        this.#answers.deferred(live, of.receipt, at)
        this.#spine.end(live, at)
      })
    void deferrals.defer(live.incoming).then(deferred)
  }

  /** A step of the ladder led nowhere: the next one, or the refusal. */
  #stillRefused(live: LiveRequest, why = ''): void {
    const { refused } = live
    if (refused === null || live.answered) return
    const refusal =
      why === '' ? refused.refusal : { ...refused.refusal, message: refused.refusal.message + why }
    live.refused = { ...refused, refusal }
    this.refused(live, refusal, this.#spine.now())
  }

  #sayingMost(live: LiveRequest, refused: Refused): Refused {
    return saysMore({ before: live.refused, now: refused, attempts: attemptsOf(live) })
  }
}

const attemptsOf = (live: LiveRequest): number => {
  const spent = spentBy(live)
  return spent === null ? 0 : spent.attempts + spent.preemptions
}
