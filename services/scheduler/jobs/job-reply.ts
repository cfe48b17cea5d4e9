/** Where the outcome of a job's request goes: made into the message that a request would have been answered with,
 *  and handed over once. A streamed answer is gathered into the Message that it makes. */
import type { Accounting, Refusal } from '#contracts/messages'
import type { BusHeaders, Reply } from '#ports'

/** A message as it leaves, without its address. */
export interface Answered {
  headers: BusHeaders
  body: Uint8Array
}

export interface JobReplyOptions {
  /** How answers and errors look on the wire. */
  words: {
    answer(accounting: Accounting): BusHeaders
    error(of: {
      refusal: Refusal
      accounting: Accounting
      upstreamBody: Uint8Array | null
    }): Answered
    /** The Message that a stream's events make; null: none. */
    message(events: readonly Uint8Array[]): Uint8Array | null
  }
  done: (answered: Answered) => void
  refused: (refusal: Refusal, accounting: Accounting, upstreamBody: Uint8Array | null) => void
  /** The events do not make a message. */
  unreadable: (accounting: Accounting) => void
}

export class JobReply implements Reply {
  readonly #of: JobReplyOptions
  readonly #events: Uint8Array[] = []

  constructor(options: JobReplyOptions) {
    this.#of = options
  }

  event(data: Uint8Array): void {
    this.#events.push(data)
  }

  ping(): void {}

  answer(body: Uint8Array, accounting: Accounting): void {
    this.#of.done({ headers: this.#of.words.answer(accounting), body })
  }

  end(accounting: Accounting): void {
    const body = this.#of.words.message(this.#events)
    if (body === null) this.#of.unreadable(accounting)
    else this.answer(body, accounting)
  }

  refuse(refusal: Refusal, accounting: Accounting, upstreamBody: Uint8Array | null): void {
    this.#of.refused(refusal, accounting, upstreamBody)
  }
}
