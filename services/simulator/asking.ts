/** One time that a caller asks one instance of a fleet, and what it hears of it. */
import type { Accounting, Refusal } from '#contracts/messages'
import type { Millis } from '#contracts/units'
import type { Incoming, Reply } from '#ports'
import type { SimRequest } from './sim-request.ts'

/** Its answer may have been lost, and nobody may ask once more. */
export const NO_ANSWER = 'no_answer'

export class Asking implements Reply {
  readonly request: SimRequest
  /** It was asked before, of an instance that died. */
  readonly again: boolean
  /** A word of the answer has come. */
  begun = false
  /** Its caller waits for nothing of it any more. */
  over = false
  readonly #ended: (asking: Asking) => void

  /** `ended` is told once, before the request hears of it. */
  constructor(of: { request: SimRequest; again: boolean; ended: (asking: Asking) => void }) {
    this.request = of.request
    this.again = of.again
    this.#ended = of.ended
  }

  /** `deadlineMs`: the time that it has left; null: the lane's. */
  words(deadlineMs: Millis | null): Incoming {
    const { tenant, lane, id, model, stream, maxTokens, prefix, body } = this.request
    const { degrade, headers } = this.request
    const words = { tenant, lane, id, model, stream, maxTokens, prefix, body, degrade, headers }
    return { ...words, deadlineMs, reply: this }
  }

  event(): void {
    this.begun = true
  }

  ping(): void {}

  answer(body: Uint8Array, accounting: Accounting): void {
    if (this.#ends()) this.request.answer(body, accounting)
  }

  end(accounting: Accounting): void {
    if (this.#ends()) this.request.end(accounting)
  }

  refuse(refusal: Refusal, accounting: Accounting): void {
    if (!this.#ends()) return
    // The first may have run: that the second never did is no end of the call.
    if (this.again && accounting.outcome === 'refused') this.request.ended('failed', NO_ANSWER)
    else this.request.refuse(refusal, accounting)
  }

  /** With a code of the client's own: nobody sent it. */
  break(code: string): void {
    if (this.#ends()) this.request.ended('failed', code)
  }

  #ends(): boolean {
    if (this.over) return false
    this.over = true
    this.#ended(this)
    return true
  }
}
